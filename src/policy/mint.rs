use std::collections::{BTreeMap, BTreeSet};

use super::approval::{approved_again, judge_approval};
use super::approval_refusal::{ApprovalRefusal, Unapproved};
use super::context::DecisionContext;
use super::decision::{Act, AgentAct, Basis, Decision};
use super::granted::Granted;
use super::judged::{Judged, JudgedRequest};
use super::judged_mint::{JudgedMint, MintTerms, audience_of, judge_mint};
use super::left_out::LeftOut;
use super::mint_request::{AskedGrant, MintRequest};
use super::remedy::smaller_request;
use super::request_parameters::RequestParameters;
use super::request_target::target_of;
use super::requester::Requester;
use super::sensitivity::CapabilityConstraints;
use crate::authn::AgentPrincipal;
use crate::base::code::{self, Code};
use crate::base::{ApprovalId, Audience, CapabilityName, ClockReading, GrantedParameters};
use crate::idempotency::MintedBefore;
use crate::quota::Permit;
use crate::registry::{Access, Capability, Delivery};

/// Minting one token.
#[derive(Debug)]
pub struct Mint {
    principal: AgentPrincipal,
    capabilities: Vec<(CapabilityName, Access)>,
    parameters: BTreeMap<CapabilityName, GrantedParameters>,
    audience: Audience,
    life_s: u32,
    reading: ClockReading,
    left_out: Vec<LeftOut>,
    is_detailed: bool,
    approval: Option<ApprovalId>,
}

impl Mint {
    /// The names of the granted capabilities.
    #[must_use]
    pub fn capabilities(&self) -> &[(CapabilityName, Access)] {
        &self.capabilities
    }

    /// The parameters of a granted capability.
    #[must_use]
    pub fn parameters(&self, capability: &CapabilityName) -> Option<&GrantedParameters> {
        self.parameters.get(capability)
    }

    /// Whether a granted capability has parameters.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        !self.parameters.is_empty()
    }

    /// The token's audience.
    #[must_use]
    pub const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The token's life in seconds.
    #[must_use]
    pub const fn life_s(&self) -> u32 {
        self.life_s
    }

    /// The requested capabilities that are not granted.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Whether the request has `authorization_details`, so that the response has them, too.
    #[must_use]
    pub const fn is_detailed(&self) -> bool {
        self.is_detailed
    }

    /// The approval that is used.
    #[must_use]
    pub const fn approval(&self) -> Option<ApprovalId> {
        self.approval
    }

    /// The reading of the clocks of the decision.
    #[must_use]
    pub const fn reading(&self) -> ClockReading {
        self.reading
    }
}

impl Act for Mint {
    const HANDS_OUT: bool = true;
}

impl AgentAct for Mint {
    fn principal(&self) -> &AgentPrincipal {
        &self.principal
    }

    fn capability_names(&self) -> impl Iterator<Item = &CapabilityName> {
        self.capabilities.iter().map(|(name, _)| name)
    }
}

/// Codes of approvals that help no more, so that a denial names a smaller request.
const ENDED_APPROVAL: [Code; 4] =
    [code::APPROVAL_USED, code::APPROVAL_DENIED, code::APPROVAL_EXPIRED, code::APPROVAL_WITHDRAWN];

/// Decides on a token.
///
/// The token gets the requested capabilities that are declared and held by the agent's roles. Others are left out, with a
/// remark, unless none remains. The sensitivity of secrets and policies restrict the token further.
pub fn decide_mint(
    context: &DecisionContext<'_>,
    principal: AgentPrincipal,
    _permit: Permit,
    request: &MintRequest,
) -> Decision<Mint> {
    let requester = Requester::of(&principal);
    let JudgedMint { rules, judged, parameters, draft } = judge_mint(context, &requester, request);
    let recorded = parameters.recorded(principal.spiffe().text().as_str(), context.digests);
    let mut basis = request.basis(context, &principal, rules, recorded);
    basis.replayed.target = target_of(context, request);
    let smaller = |is_by_policy| {
        // A remedy is shown, and a sensitive value never is.
        let held = Granted::of(context.declarations(), principal.roles(), &request.scope).capabilities;
        let is_shown = !parameters.have_sensitive(&held);
        is_shown.then(|| smaller_request(context, &requester, request, is_by_policy)).flatten()
    };
    let draft = match draft {
        Ok(draft) => draft,
        Err(refusal) => {
            // Only policies refuse for the requested life.
            let (is_by_policy, is_unfit) = (refusal.policy.is_some(), refusal.parameter.is_some());
            return refusal
                .denied(basis)
                .with_remedy(|| (!is_unfit).then(|| smaller(is_by_policy)).flatten());
        }
    };
    if basis.is_frozen {
        return Decision::deny(basis, code::BROKER_FROZEN);
    }
    let asked = draft.asked(request, context.limits, &basis.replayed.parameters);
    let used = match judge_approval(context, &principal, request, &judged, asked) {
        Ok(used) => used,
        Err(unapproved) => {
            let has_ended = ENDED_APPROVAL.contains(&unapproved.code);
            let remedy = || has_ended.then(|| smaller(false)).flatten();
            return Decision::deny_unapproved(basis, unapproved, &request.scope).with_remedy(remedy);
        }
    };
    let approval = used.map(|used| used.id);
    let terms = draft.terms(context, request, used.and_then(|used| used.life_max_s));
    let Some(MintTerms { capabilities, audience, life_s, left_out, constrained }) = terms else {
        // Only the time of the approval is too short.
        let refusal = approval.map(|id| ApprovalRefusal::Named(id, None));
        let unapproved = Unapproved { code: code::APPROVAL_EXPIRED, refusal };
        return Decision::deny_unapproved(basis, unapproved, &request.scope);
    };
    let mint = Mint {
        parameters: parameters.granted(capabilities.iter().map(|(name, _)| name)),
        principal,
        capabilities,
        audience,
        life_s,
        reading: context.reading,
        left_out,
        is_detailed: request.details.is_some(),
        approval,
    };
    Decision::allow_constrained(basis, mint, constrained)
}

/// A token that is to be signed again.
#[derive(Clone, Copy, Debug)]
pub struct ReplayedMint<'a> {
    /// What was issued.
    pub minted: &'a MintedBefore,
    /// The approval with which it was issued.
    pub approval: Option<ApprovalId>,
}

/// Decides on signing an issued token again for the certificate that it is bound to: all its capabilities must still be
/// granted, with the same life and for the same audience. `requested` is the request, which is the same as the first one.
pub fn decide_again(
    context: &DecisionContext<'_>,
    principal: AgentPrincipal,
    _permit: Permit,
    ReplayedMint { minted, approval }: ReplayedMint<'_>,
    requested: &MintRequest,
) -> Decision<Mint> {
    let scope: BTreeSet<_> = minted.capabilities.iter().map(|(name, _)| name.clone()).collect();
    let requester = Requester::of(&principal);
    let demands = CapabilityConstraints::of(context.records, Some(&requester), &scope);
    let mut granted = Granted::of(context.declarations(), principal.roles(), &scope);
    let checked = RequestParameters::of(context.declarations(), requested);
    let asked = JudgedRequest::of_token(&requester, requested.life_s, &checked);
    let judged = Judged::of(context, &asked, granted.capabilities.iter().copied());
    judged.name_in(&mut granted.rules);
    let resource = Some(minted.audience.clone());
    let (life_s, asked) = (Some(minted.life_s), AskedGrant::default());
    // The same request has the same parameters.
    let parameters = requested.parameters.clone();
    let request = MintRequest { scope, resource, life_s, details: None, parameters, approval, asked };
    let recorded = checked.recorded(principal.spiffe().text().as_str(), context.digests);
    let mut basis = request.basis(context, &principal, granted.rules, recorded);
    basis.replayed.target = target_of(context, requested);
    let in_force = |one: &&&Capability| {
        !demands.suspends(&one.name) && demands.permits(&one.name) && requested.permits(one)
    };
    let fault = granted.capabilities.iter().filter(in_force).find_map(|one| checked.fault(&one.name));
    if let Some(fault) = fault {
        return Decision::deny_by_parameter(basis, fault.clone(), &requested.scope);
    }
    if let Some(refusal) = judged.first_refusal() {
        return Decision::deny_by_policy(basis, refusal, &requested.scope);
    }
    let limit = judged.life_limit(minted.capabilities.iter().map(|(name, _)| name));
    if let Some(limit) = limit.filter(|limit| minted.life_s > limit.max_s) {
        let refusal = limit.refusal("the first token of this Idempotency-Key lives longer");
        return Decision::deny_by_policy(basis, refusal, &requested.scope);
    }
    let approved = approved_again(context, &principal, approval, &judged, &granted.capabilities);
    if let Err(code) = approved {
        let unapproved = approval.map_or(Unapproved::new(code), |id| Unapproved::named(code, id));
        return Decision::deny_unapproved(basis, unapproved, &requested.scope);
    }
    let is_as_it_was = |one: &&&Capability| {
        let demanded = demands.life_max_s(&one.name).unwrap_or(one.max_life_s);
        !demands.suspends(&one.name)
            && demands.permits(&one.name)
            && minted.life_s <= demanded.min(one.max_life_s)
            && one.delivery != Delivery::Lease
            && *audience_of(one, context.limits) == minted.audience
    };
    let granted = granted.capabilities.iter().filter(is_as_it_was);
    let capabilities: Vec<_> = granted.map(|one| (one.name.clone(), one.access)).collect();
    let now = capabilities.iter().map(|(name, access)| (name, access.as_str()));
    if !now.eq(minted.capabilities.iter().map(|(name, access)| (name, access.as_str()))) {
        return Decision::deny_capabilities(basis, code::CAPABILITY_NOT_GRANTED, &requested.scope);
    }
    // The token names the earlier decision.
    let basis = Basis { decision: minted.decision, ..basis };
    let (audience, life_s, reading) = (minted.audience.clone(), minted.life_s, context.reading);
    let given = capabilities.iter().map(|(name, _)| name);
    let left_out = LeftOut::of(context, &requester, requested, &judged, given);
    let (parameters, is_detailed) =
        (checked.granted(capabilities.iter().map(|(name, _)| name)), requested.details.is_some());
    let mint = Mint {
        principal,
        capabilities,
        parameters,
        audience,
        life_s,
        reading,
        left_out,
        is_detailed,
        approval,
    };
    Decision::allow_constrained(basis, mint, minted.constrained.clone())
}
