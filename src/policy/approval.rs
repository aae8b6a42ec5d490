use std::collections::BTreeMap;

use super::approval_refusal::{ApprovalRefusal, Unapproved};
use super::approver::is_still_met;
use super::context::DecisionContext;
use super::judged::Judged;
use super::mint_request::{AskedGrant, MintRequest};
use crate::approvals::{Approval, ApprovalTerms, PolicyDemand, RequestedCapability, RequestedGrant};
use crate::authn::AgentPrincipal;
use crate::base::code::{self, Code};
use crate::base::limits::{APPROVAL_DEMANDS_MAX, APPROVAL_POLICIES_MAX};
use crate::base::{ApprovalId, Audience, ParametersByCapability, PolicyName, length_text};
use crate::registry::Capability;
use crate::rules::{MatchedRules, rules_hash};
use crate::wire::ApprovalState;

/// The request that policies allow with an approval only.
#[derive(Clone, Copy)]
pub(super) struct GrantedRequest<'a> {
    pub(super) capabilities: &'a [&'a Capability],
    pub(super) audience: &'a Audience,
    /// The requested life, in seconds.
    pub(super) life_s: u32,
    /// The parameters of the request, as they are recorded.
    pub(super) parameters: &'a ParametersByCapability,
}

/// The approval that a request uses.
#[derive(Clone, Copy)]
pub(super) struct UsedApproval {
    pub(super) id: ApprovalId,
    /// The longest life of the token by the time of the grant, in seconds.
    pub(super) life_max_s: Option<u32>,
}

/// Judges the approval of a request by `principal`: what the policies demand now, and whether the approval that it names meets
/// this. `None` if no policy demands one.
pub(super) fn judge_approval(
    context: &DecisionContext<'_>,
    principal: &AgentPrincipal,
    request: &MintRequest,
    judged: &Judged,
    granted: GrantedRequest<'_>,
) -> Result<Option<UsedApproval>, Unapproved> {
    let (matched, demands) = demanded(judged, granted.capabilities);
    if let Some(id) = request.approval {
        let subject = ApprovedRequest { context, principal, granted };
        return match subject.judge(id, &matched) {
            Ok(life_max_s) => Ok(Some(UsedApproval { id, life_max_s })),
            Err((code, why)) => Err(Unapproved { code, refusal: Some(ApprovalRefusal::Named(id, why)) }),
        };
    }
    if demands.is_empty() {
        return Ok(None);
    }
    if demands.len() > APPROVAL_DEMANDS_MAX {
        return Err(Unapproved::new(code::APPROVAL_TOO_MANY_DEMANDS));
    }
    let person = context.records.registry.agent(principal.agent()).and_then(|agent| agent.person.as_ref());
    // Without it, nobody is known to be another person than the one behind the agent.
    if person.is_none() {
        return Err(Unapproved::new(code::APPROVAL_WITHOUT_PERSON));
    }
    let terms = ApprovalTerms {
        request: requested(context, principal, granted, &request.asked),
        rules: rules_hash(&matched),
        policies: matched.into_iter().take(APPROVAL_POLICIES_MAX).collect(),
        demands,
    };
    let refusal = Some(ApprovalRefusal::Needed(Box::new(terms)));
    Err(Unapproved { code: code::APPROVAL_REQUIRED, refusal })
}

/// Checks that a token that was issued before can be signed again: the policies demand no approval, or the same one as then, which
/// was not ended since. The approval may be used up.
///
/// # Errors
/// The code of the refusal.
pub(super) fn approved_again(
    context: &DecisionContext<'_>,
    principal: &AgentPrincipal,
    approval: Option<ApprovalId>,
    judged: &Judged,
    capabilities: &[&Capability],
) -> Result<(), Code> {
    let (matched, demands) = demanded(judged, capabilities);
    let Some(id) = approval else {
        return if demands.is_empty() { Ok(()) } else { Err(code::APPROVAL_REQUIRED) };
    };
    let approval = context.records.approvals.get(id).ok_or(code::APPROVAL_UNKNOWN)?;
    if !is_of(approval, principal) {
        return Err(code::APPROVAL_OF_ANOTHER_AGENT);
    }
    match approval.state(context.now()) {
        ApprovalState::Approved | ApprovalState::Used | ApprovalState::Expired => {}
        state @ (ApprovalState::Pending | ApprovalState::Denied | ApprovalState::Withdrawn) => {
            return Err(refusal_of(state).unwrap_or(code::APPROVAL_UNKNOWN));
        }
    }
    if rules_hash(&matched) != approval.opened.terms.rules {
        return Err(code::APPROVAL_RULES_CHANGED);
    }
    if is_still_met(context.records, approval) { Ok(()) } else { Err(code::APPROVER_INELIGIBLE) }
}

/// The policies that match one of `capabilities`, and the demand of each that has one.
pub(super) fn demanded(judged: &Judged, capabilities: &[&Capability]) -> (MatchedRules, Vec<PolicyDemand>) {
    let (mut matched, mut demands) = (MatchedRules::new(), BTreeMap::new());
    for verdict in capabilities.iter().filter_map(|one| judged.verdict(&one.name)) {
        matched.extend(verdict.matched().iter().map(|one| (one.name.clone(), one.rule)));
        for (policy, demand) in verdict.demands() {
            let (demand, reason) = (demand.clone(), policy.reason.clone());
            let name = &policy.name;
            demands.insert(name.clone(), PolicyDemand { policy: name.clone(), demand, reason });
        }
    }
    (matched, demands.into_values().collect())
}

/// The request in the form that is approved.
fn requested(
    context: &DecisionContext<'_>,
    principal: &AgentPrincipal,
    granted: GrantedRequest<'_>,
    asked: &AskedGrant,
) -> RequestedGrant {
    let declarations = context.declarations();
    let capability = |one: &&Capability| RequestedCapability {
        name: one.name.clone(),
        access: one.access.as_str().to_owned(),
        environment: declarations.environment_of(&one.name).cloned(),
        secret: one.delivery.secret().cloned(),
    };
    let mut capabilities: Vec<_> = granted.capabilities.iter().map(capability).collect();
    capabilities.sort_by(|one, other| one.name.cmp(&other.name));
    let parameters = capabilities.iter().filter_map(|one| granted.parameters.get_key_value(&one.name));
    let parameters = parameters.map(|(name, parameters)| (name.clone(), parameters.clone())).collect();
    RequestedGrant {
        agent: principal.spiffe().to_string(),
        capabilities,
        audience: granted.audience.clone(),
        life_s: granted.life_s,
        uses: asked.uses,
        grant_life_s: asked.grant_life_s,
        reason: asked.reason.clone(),
        parameters,
    }
}

/// A request that names an approval.
struct ApprovedRequest<'a> {
    context: &'a DecisionContext<'a>,
    principal: &'a AgentPrincipal,
    granted: GrantedRequest<'a>,
}

type Refused = (Code, Option<String>);

impl ApprovedRequest<'_> {
    /// The longest life of the token by the time of the grant, in seconds, if the approval allows the request.
    fn judge(&self, id: ApprovalId, matched: &MatchedRules) -> Result<Option<u32>, Refused> {
        let (records, now) = (self.context.records, self.context.now());
        let approval = records.approvals.get(id).ok_or((code::APPROVAL_UNKNOWN, None))?;
        if !is_of(approval, self.principal) {
            return Err((code::APPROVAL_OF_ANOTHER_AGENT, None));
        }
        if let Some(code) = refusal_of(approval.state(now)) {
            return Err((code, None));
        }
        let terms = &approval.opened.terms;
        let asked = AskedGrant {
            uses: terms.request.uses,
            grant_life_s: terms.request.grant_life_s,
            reason: terms.request.reason.clone(),
        };
        let present = requested(self.context, self.principal, self.granted, &asked);
        if present.digest() != terms.request.digest() {
            return Err((code::APPROVAL_REQUEST_DIFFERS, Some(difference(&terms.request, &present))));
        }
        if rules_hash(matched) != terms.rules {
            return Err((code::APPROVAL_RULES_CHANGED, Some(rules_difference(&terms.policies, matched))));
        }
        if !is_still_met(records, approval) {
            return Err((code::APPROVER_INELIGIBLE, None));
        }
        Ok(terms.request.grant_life_s.map(|grant_life_s| match approval.first_use {
            None => grant_life_s,
            Some(_) => u32::try_from(approval.expires_at().seconds_since(now)).unwrap_or(0),
        }))
    }
}

/// Whether this instance of an agent asked for the approval: the approver saw this instance and its address.
#[must_use]
pub fn is_of(approval: &Approval, principal: &AgentPrincipal) -> bool {
    let requester = &approval.opened.requester;
    (requester.agent, requester.instance) == (principal.agent(), principal.instance())
}

/// The code for an approval that cannot be used.
pub(super) const fn refusal_of(state: ApprovalState) -> Option<Code> {
    match state {
        ApprovalState::Approved => None,
        ApprovalState::Pending => Some(code::APPROVAL_PENDING),
        ApprovalState::Denied => Some(code::APPROVAL_DENIED),
        ApprovalState::Expired => Some(code::APPROVAL_EXPIRED),
        ApprovalState::Used => Some(code::APPROVAL_USED),
        ApprovalState::Withdrawn => Some(code::APPROVAL_WITHDRAWN),
    }
}

/// The fields in which the request differs from the approved one. Except for the lives, no value of the request is repeated.
fn difference(approved: &RequestedGrant, present: &RequestedGrant) -> String {
    let (approved_s, present_s) = (approved.life_s, present.life_s);
    let life = format!(
        "the life ({approved_s} s are approved, i.e. `expires_in={approved_s}` or `--expires-in {}`, and this request is for \
         {present_s} s)",
        length_text(approved_s)
    );
    let fields = [
        (
            "the capabilities, their access, environment or secret",
            approved.capabilities != present.capabilities,
        ),
        ("the parameters", approved.parameters != present.parameters),
        ("the audience", approved.audience != present.audience),
        (life.as_str(), approved_s != present_s),
        ("the identity of the agent", approved.agent != present.agent),
    ];
    let different: Vec<&str> =
        fields.iter().filter(|(_, differs)| *differs).map(|(field, _)| *field).collect();
    format!("the request differs from the approved one in {}", different.join(", "))
}

/// How many policies a message names.
const NAMED_MAX: usize = 5;

/// The difference between the policies that were approved and the present ones.
fn rules_difference(approved: &[(PolicyName, crate::crypto::Digest)], present: &MatchedRules) -> String {
    let before: MatchedRules = approved.iter().cloned().collect();
    let added = present.keys().filter(|name| !before.contains_key(*name));
    let removed = before.keys().filter(|name| !present.contains_key(*name));
    let changed = present.iter().filter(|(name, rule)| before.get(*name).is_some_and(|one| one != *rule));
    let added = listed("now also matching", added);
    let removed = listed("no longer matching", removed);
    let changed = listed("changed", changed.map(|(name, _)| name));
    let parts: Vec<String> = [added, removed, changed].into_iter().flatten().collect();
    format!("the policies that decide about this request have changed since: {}", parts.join("; "))
}

fn listed<'a>(what: &str, names: impl Iterator<Item = &'a PolicyName>) -> Option<String> {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return None;
    }
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!("{what} {shown}{more}"))
}
