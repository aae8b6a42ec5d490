use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Deserialize;

use crate::approvals::ApprovalRequested;
use crate::base::{
    AgentId, AgentName, ApprovalId, Audience, CapabilityName, DecisionId, GivenParameters, GivenValue,
    InstanceId, ParametersByCapability, RequestOutcome, RequestTarget, RoleName, SecretName, SystemEntropy,
    Timestamp, code,
};
use crate::broker::administration::entry_terms::address;
use crate::broker::world::World;
use crate::leases::{LeaseIntended, LeaseReused};
use crate::ledger::{Entry, Kind};
use crate::policy::{MintRequest, Past, RequestedActions, TrialRequest};
use crate::registry::{Access, Capability, Declarations};
use crate::rules::Action;
use crate::secrets::SecretRevealed;
use crate::store::Event;
use crate::token::{TokenDenied, TokenMinted};

/// A request of an agent, as the entry of its decision says.
#[derive(Clone, Debug)]
pub(in crate::broker) struct RecordedRequest {
    pub(in crate::broker) seq: u64,
    pub(in crate::broker) event: DecisionEvent,
    pub(in crate::broker) action: Action,
    pub(in crate::broker) outcome: RequestOutcome,
}

/// The fields of the events of decisions that a replay reads.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::broker) struct DecisionEvent {
    pub(in crate::broker) agent: AgentName,
    pub(in crate::broker) instance: InstanceId,
    pub(in crate::broker) decision: DecisionId,
    action: Option<String>,
    pub(in crate::broker) code: Option<String>,
    #[serde(default)]
    constrained: Vec<String>,
    pub(in crate::broker) snapshot: String,
    #[serde(default)]
    pub(in crate::broker) rules: Vec<String>,
    capability: Option<CapabilityName>,
    #[serde(default)]
    capabilities: Vec<CapabilityName>,
    secret: Option<SecretName>,
    pub(in crate::broker) source: Option<String>,
    approval: Option<ApprovalId>,
    facts: Option<EntryFacts>,
}

/// A part of a request that decided and is not in its entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::broker) struct NotRecorded {
    pub(in crate::broker) part: Part,
    /// The code of the refusal.
    code: code::Code,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::broker) enum Part {
    /// Parameters that did not fit their declaration.
    Parameters,
    /// The audience and the actions. Entries of the present version have them.
    Target,
}

impl NotRecorded {
    /// Why the request cannot be decided again, and why it was refused.
    pub(super) fn reasons(self) -> Vec<String> {
        let missing = match self.part {
            Part::Parameters => "the parameters of a refused request are not recorded",
            Part::Target => {
                "the entry of an earlier version does not have the audience and the actions that the request named"
            }
        };
        let recorded = format!("the recorded reason is {}: {}", self.code, self.code.meaning());
        vec![missing.to_owned(), recorded]
    }
}

/// See [`RequestFacts`](crate::base::RequestFacts). Entries of earlier versions have none.
#[derive(Clone, Debug, Default, Deserialize)]
struct EntryFacts {
    roles: BTreeSet<RoleName>,
    #[serde(default)]
    left_out: Vec<CapabilityName>,
    life_s: Option<u32>,
    since_sensitive_read_s: Option<u32>,
    target: Option<RequestTarget>,
    #[serde(default)]
    parameters: ParametersByCapability,
}

/// The kinds of entries of decisions on requests of agents.
const DECISIONS: [(Kind, &str); 6] = [
    (APPROVAL, <ApprovalRequested<'_> as Event>::NAME),
    (MINTED, <TokenMinted<'_> as Event>::NAME),
    (DENIED, <TokenDenied<'_> as Event>::NAME),
    (REVEALED, <SecretRevealed<'_> as Event>::NAME),
    (LEASED, <LeaseIntended<'_> as Event>::NAME),
    (LEASED_AGAIN, <LeaseReused<'_> as Event>::NAME),
];
const APPROVAL: Kind = <ApprovalRequested<'_> as Event>::KIND;
const MINTED: Kind = <TokenMinted<'_> as Event>::KIND;
const DENIED: Kind = <TokenDenied<'_> as Event>::KIND;
const REVEALED: Kind = <SecretRevealed<'_> as Event>::KIND;
const LEASED: Kind = <LeaseIntended<'_> as Event>::KIND;
const LEASED_AGAIN: Kind = <LeaseReused<'_> as Event>::KIND;

/// The names of the kinds of entries that record decisions on requests of agents.
pub(in crate::broker) fn decision_names() -> impl Iterator<Item = &'static str> {
    DECISIONS.into_iter().map(|(_, name)| name)
}

impl RecordedRequest {
    /// The request of `entry`, if it records a decision on one.
    pub(in crate::broker) fn of(entry: &Entry) -> Option<Self> {
        let kind = DECISIONS.into_iter().map(|(kind, _)| kind).find(|kind| *kind == entry.kind)?;
        let event: DecisionEvent = serde_json::from_slice(&entry.event).ok()?;
        let is_denied = kind == DENIED;
        let action = match (kind, event.action.as_deref()) {
            (MINTED | APPROVAL, _) | (DENIED, Some("mint")) => Action::Token,
            (REVEALED, _) | (DENIED, Some("reveal")) => Action::ReadSecret,
            (LEASED | LEASED_AGAIN, _) | (DENIED, Some("lease")) => Action::Lease,
            _ => return None,
        };
        let outcome = match (is_denied, event.constrained.is_empty()) {
            _ if kind == APPROVAL => RequestOutcome::Approval,
            (true, _) => RequestOutcome::Deny,
            (false, false) => RequestOutcome::Constrain,
            (false, true) => RequestOutcome::Allow,
        };
        Some(Self { seq: entry.seq, event, action, outcome })
    }

    /// The time of the decision.
    pub(in crate::broker) fn at(&self) -> Timestamp {
        self.event.decision.minted_at()
    }

    pub(in crate::broker) fn life_s(&self) -> Option<u32> {
        self.event.facts.as_ref().and_then(|facts| facts.life_s)
    }

    /// The facts of the past that a policy tested then. A policy that tests them for the first time finds none.
    pub(in crate::broker) fn past(&self) -> Past {
        let since_sensitive_read_s = self.event.facts.as_ref().and_then(|facts| facts.since_sensitive_read_s);
        Past::Stated { since_sensitive_read_s }
    }

    pub(in crate::broker) fn source(&self) -> Option<IpAddr> {
        self.event.source.as_deref().and_then(address)
    }

    /// The approval that the request opened, or that the token used.
    pub(in crate::broker) const fn approval(&self) -> Option<ApprovalId> {
        self.event.approval
    }

    /// Whether a token was issued by an approval, which a replay does not have.
    pub(in crate::broker) const fn used_approval(&self) -> bool {
        let is_granted = matches!(self.outcome, RequestOutcome::Allow | RequestOutcome::Constrain);
        is_granted && self.event.approval.is_some()
    }

    /// The part of the request that decided and is not in the entry.
    pub(in crate::broker) fn not_recorded(&self) -> Option<NotRecorded> {
        let refused_for = |codes: &[code::Code]| {
            codes.iter().copied().find(|one| self.event.code.as_deref() == Some(one.as_str()))
        };
        let parameters = [code::PARAMETER_INVALID, code::PARAMETER_MISSING, code::PARAMETER_UNKNOWN];
        let target = [code::AUDIENCE_MISMATCH, code::CAPABILITY_ACTION_MISMATCH];
        let parameters = refused_for(&parameters).map(|code| NotRecorded { part: Part::Parameters, code });
        let target = || refused_for(&target).filter(|_| self.target().is_none());
        parameters.or_else(|| target().map(|code| NotRecorded { part: Part::Target, code }))
    }

    fn target(&self) -> Option<&RequestTarget> {
        self.event.facts.as_ref().and_then(|facts| facts.target.as_ref())
    }

    /// The parameters of the request.
    pub(in crate::broker) fn parameters(&self) -> &ParametersByCapability {
        static NONE: ParametersByCapability = ParametersByCapability::new();
        self.event.facts.as_ref().map_or(&NONE, |facts| &facts.parameters)
    }

    /// The roles of the agent then; as of now if the entry does not say them.
    pub(in crate::broker) fn roles(&self, world: &World) -> BTreeSet<RoleName> {
        let now = || world.registry.agent_named(&self.event.agent).map(|agent| (*agent.roles).clone());
        self.event.facts.as_ref().map(|facts| facts.roles.clone()).or_else(now).unwrap_or_default()
    }

    /// The request, without names of capabilities that were not declared then. `declarations` say which capability delivers
    /// a secret that was read.
    pub(in crate::broker) fn request(
        &self,
        declarations: &Declarations,
        roles: &BTreeSet<RoleName>,
    ) -> TrialRequest {
        let DecisionEvent { capability, capabilities, secret, facts, .. } = &self.event;
        let left_out = facts.iter().flat_map(|facts| &facts.left_out);
        let mut scope: BTreeSet<CapabilityName> =
            capabilities.iter().chain(capability).chain(left_out).cloned().collect();
        if let Some(secret) = secret.as_ref().filter(|_| scope.is_empty()) {
            scope.extend(delivering(declarations, roles, secret));
        }
        let parameters = self.given(&scope, declarations);
        let plain = MintRequest { parameters, ..MintRequest::plain(scope, self.life_s()) };
        let request = match self.target() {
            Some(target) => MintRequest { resource: resource(target), details: details(target), ..plain },
            None => plain,
        };
        TrialRequest { action: self.action, request }
    }

    /// What the request gave the parameters of the capabilities in `scope`. Of a capability whose parameters are not recorded
    /// each declared one has a value that is not known.
    fn given(
        &self,
        scope: &BTreeSet<CapabilityName>,
        declarations: &Declarations,
    ) -> BTreeMap<CapabilityName, GivenParameters> {
        let recorded = self.parameters().iter().map(|(name, one)| (name.clone(), one.given()));
        let mut given: BTreeMap<CapabilityName, GivenParameters> = recorded.collect();
        if !self.not_recorded().is_some_and(|missing| missing.part == Part::Parameters) {
            return given;
        }
        for name in scope {
            let Some(declared) = declarations.parameters_of(name) else { continue };
            given.entry(name.clone()).or_insert_with(|| {
                let mut hidden = GivenParameters::default();
                for (parameter, _) in declared.iter() {
                    hidden.give(parameter.as_str(), GivenValue::Hidden);
                }
                hidden
            });
        }
        given
    }

    /// The id of the agent, or of an agent that does not exist any more.
    pub(in crate::broker) fn agent_id(&self, world: &World) -> AgentId {
        let found = world.registry.agent_named(&self.event.agent).map(|agent| agent.id);
        found.unwrap_or_else(|| AgentId::mint(self.at(), &SystemEntropy))
    }
}

#[cfg(test)]
impl RecordedRequest {
    /// A granted request in the entry `seq`.
    pub(in crate::broker) fn example(seq: u64) -> Self {
        let event = serde_json::json!({
            "agent": "a", "instance": "inst_00000000000000000000000000",
            "decision": "dec_00000000000000000000000000", "snapshot": "",
        });
        let event = serde_json::from_value(event).unwrap();
        Self { seq, event, action: Action::Token, outcome: RequestOutcome::Allow }
    }
}

/// The audience that the request named. One that no capability of the request had is another one in any case.
fn resource(target: &RequestTarget) -> Option<Audience> {
    let other = || "https://another.invalid".parse().ok().filter(|_| target.other_resource);
    target.resource.clone().or_else(other)
}

/// The actions that the request named.
fn details(target: &RequestTarget) -> Option<RequestedActions> {
    let mut details = RequestedActions::default();
    for (name, action) in &target.actions {
        if let Some(action) = [Access::Read, Access::Write].into_iter().find(|one| one.as_str() == action) {
            details.name(name.clone(), action);
        }
    }
    (!target.actions.is_empty()).then_some(details)
}

/// The capability that delivers `secret`: one that the roles hold, if there is one.
fn delivering(
    declarations: &Declarations,
    roles: &BTreeSet<RoleName>,
    secret: &SecretName,
) -> Option<CapabilityName> {
    let delivers = |one: &&Capability| one.delivery.secret() == Some(secret);
    let mut held = declarations.capabilities_of(roles).filter_map(|name| declarations.capability(name));
    held.find(delivers).or_else(|| declarations.capabilities().find(delivers)).map(|one| one.name.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn denied(facts: &Value) -> RecordedRequest {
        let mut event = json!({
            "agent": "a", "instance": "inst_00000000000000000000000000",
            "decision": "dec_00000000000000000000000000", "snapshot": "", "code": "audience_mismatch",
            "capabilities": ["c.read"],
        });
        event["facts"] = facts.clone();
        let event = serde_json::from_value(event).unwrap();
        RecordedRequest { seq: 1, event, action: Action::Token, outcome: RequestOutcome::Deny }
    }

    #[test]
    fn a_denial_of_an_earlier_version_does_not_say_its_audience() {
        let missing = denied(&json!({ "roles": [] })).not_recorded().unwrap();
        assert_eq!((missing.part, missing.code), (Part::Target, code::AUDIENCE_MISMATCH));
        assert_eq!(denied(&json!({ "roles": [], "target": {} })).not_recorded(), None);
        let other = denied(&json!({ "roles": [], "target": { "other_resource": true } }));
        let asked = other.request(&Declarations::default(), &BTreeSet::new());
        assert!(asked.request.resource.is_some() && other.not_recorded().is_none());
    }
}
