use std::collections::{BTreeMap, BTreeSet};

use super::canonical::Canonical;
use super::context::DecisionContext;
use super::decision::Basis;
use crate::authn::AgentPrincipal;
use crate::base::{ApprovalId, Audience, CapabilityName, GivenParameters, ParametersByCapability, Reason};
use crate::registry::{Access, Capability};

/// An agent's request for a token.
#[derive(Debug)]
pub struct MintRequest {
    /// The requested capabilities; at least one.
    pub scope: BTreeSet<CapabilityName>,
    /// The requested audience of the token (RFC 8707).
    pub resource: Option<Audience>,
    /// The requested life of the token, in seconds.
    pub life_s: Option<u32>,
    /// What the request says of its capabilities beyond their names; `None` if it has no `authorization_details`.
    pub details: Option<RequestedActions>,
    /// What the request gives the parameters of its capabilities, as it came.
    pub parameters: BTreeMap<CapabilityName, GivenParameters>,
    /// The approval that the request names.
    pub approval: Option<ApprovalId>,
    /// What the request asks for if it needs an approval.
    pub asked: AskedGrant,
}

/// What an agent asks for besides one token.
#[derive(Clone, Debug)]
pub struct AskedGrant {
    /// The most tokens, at least 1.
    pub uses: u32,
    /// The time from the first to the last use, in seconds.
    pub grant_life_s: Option<u32>,
    /// The agent's reason.
    pub reason: Option<Reason>,
}

impl Default for AskedGrant {
    fn default() -> Self {
        Self { uses: 1, grant_life_s: None, reason: None }
    }
}

/// The actions that `authorization_details` of a request name, each for one capability (RFC 9396 §2.2).
#[derive(Clone, Debug, Default)]
pub struct RequestedActions(BTreeMap<CapabilityName, Access>);

impl RequestedActions {
    /// Names `action` for `capability`.
    pub fn name(&mut self, capability: CapabilityName, action: Access) {
        self.0.insert(capability, action);
    }

    /// The actions, by capability.
    pub(super) fn actions(&self) -> impl Iterator<Item = (&CapabilityName, Access)> {
        self.0.iter().map(|(name, action)| (name, *action))
    }

    fn permit(&self, capability: &Capability) -> bool {
        self.0.get(&capability.name).is_none_or(|action| *action == capability.access)
    }
}

impl MintRequest {
    /// A request for these capabilities with this life in seconds, without an approval.
    #[must_use]
    pub fn plain(scope: BTreeSet<CapabilityName>, life_s: Option<u32>) -> Self {
        let (parameters, asked) = (BTreeMap::new(), AskedGrant::default());
        Self { scope, resource: None, life_s, details: None, parameters, approval: None, asked }
    }

    /// Whether the request names the access of `capability`, or no action of it.
    pub(super) fn permits(&self, capability: &Capability) -> bool {
        self.details.as_ref().is_none_or(|actions| actions.permit(capability))
    }

    pub(super) fn basis(
        &self,
        context: &DecisionContext<'_>,
        caller: &AgentPrincipal,
        rules: Vec<String>,
        parameters: ParametersByCapability,
    ) -> Basis {
        let mut canonical = Canonical::new("mint", caller, context.decision);
        for capability in &self.scope {
            let action = self.details.as_ref().and_then(|actions| actions.0.get(capability));
            canonical = canonical.field(capability.as_str()).field(action.map_or("", |one| one.as_str()));
        }
        let resource = self.resource.as_ref().map_or("", Audience::as_str);
        let canonical = canonical.field(resource).number(self.life_s);
        let canonical = match &self.approval {
            Some(approval) => canonical.bytes(approval.as_bytes()),
            None => canonical,
        };
        let canonical = match serde_json::to_vec(&self.parameters) {
            Ok(given) if !self.parameters.is_empty() => canonical.field("parameters").bytes(&given),
            Ok(_) | Err(_) => canonical,
        };
        let mut basis = context.basis_of(caller.agent(), self.life_s, rules, canonical.as_bytes());
        basis.replayed.parameters = parameters;
        basis
    }
}
