use super::declared::Policy;
use super::facts::{Action, AgentFacts, CapabilityFacts};
use super::rule::{PrincipalScope, ResourceScope};

/// A part of a rule, or of its declaration, that keeps it away from a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeadPart {
    /// The policy belongs to another owner than the capability.
    Owner,
    /// The head names another agent, or a role that the agent does not have.
    Principal,
    /// The head names other actions.
    Action,
    /// The head names another capability or environment.
    Resource,
}

impl Policy {
    /// The first part of its head that excludes requests of this agent for this capability by `action`; by any action without
    /// one.
    pub(super) fn unfit(
        &self,
        agent: &AgentFacts<'_>,
        capability: &CapabilityFacts<'_>,
        action: Option<Action>,
    ) -> Option<HeadPart> {
        if !self.fits_owner(capability) {
            return Some(HeadPart::Owner);
        }
        let head = self.rule.head();
        let fits = match &head.principal {
            PrincipalScope::Any => true,
            PrincipalScope::Agent(name) => name == agent.name,
            PrincipalScope::Role(name) => agent.roles.contains(name),
        };
        if !fits {
            return Some(HeadPart::Principal);
        }
        if action.is_some_and(|action| !self.rule.concerns(action)) {
            return Some(HeadPart::Action);
        }
        (!head.resource.fits(capability)).then_some(HeadPart::Resource)
    }

    /// Whether its owner and its head fit requests for this capability, by some agent and some action.
    #[must_use]
    pub fn can_concern_capability(&self, capability: &CapabilityFacts<'_>) -> bool {
        self.fits_owner(capability) && self.rule.head().resource.fits(capability)
    }

    fn fits_owner(&self, capability: &CapabilityFacts<'_>) -> bool {
        self.owner.is_none() || self.owner.as_ref() == capability.owner
    }
}

impl ResourceScope {
    fn fits(&self, capability: &CapabilityFacts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Capability(name) => name == capability.name,
            Self::Environment(name) => capability.environment == Some(name),
        }
    }
}
