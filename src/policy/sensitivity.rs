use crate::authn::{AgentPrincipal, Records, may_be_issued};
use crate::base::limits::HIGH_TOKEN_LIFE_MAX_S;
use crate::base::{CapabilityName, Sensitivity};
use crate::registry::{Capability, Delivery, Owned};

/// What the secrets that capabilities reach ask of a decision. Read from the records, and from nothing
/// else, as of the same state that the rest of the decision is made on.
#[derive(Clone, Debug)]
pub struct CapabilityConstraints {
    /// The capabilities that reach a secret of high sensitivity.
    high: Vec<(CapabilityName, Reached)>,
    /// The capabilities that nothing is issued for now: they, or a role, owner or secret of theirs is suspended.
    suspended: Vec<CapabilityName>,
}

/// Whose capability a secret of high sensitivity is reached by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reached {
    /// One of its own owner.
    Own,
    /// Another owner's.
    Foreign,
}

impl CapabilityConstraints {
    /// What is asked of a decision about the capabilities of these names, for `holder`; of nothing without one.
    pub fn of<'a>(
        records: Records<'_>,
        holder: Option<&AgentPrincipal>,
        asked: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        let mut demands = Self { high: Vec::new(), suspended: Vec::new() };
        for name in asked {
            if let Some(capability) = records.registry.declarations().capability(name)
                && let Some(reached) = reached(records, capability)
            {
                demands.high.push((name.clone(), reached));
            }
            let may_be_issued =
                |holder: &AgentPrincipal| may_be_issued(records, (holder.roles(), holder.instance()), name);
            if !holder.is_some_and(may_be_issued) {
                demands.suspended.push(name.clone());
            }
        }
        demands
    }

    /// Whether nothing is issued for `capability` now.
    pub(super) fn suspends(&self, capability: &CapabilityName) -> bool {
        self.suspended.contains(capability)
    }

    /// Whether `capability` may reach its secret at all.
    pub(super) fn permits(&self, capability: &CapabilityName) -> bool {
        self.of_capability(capability) != Some(Reached::Foreign)
    }

    /// The longest life of a token that is good for `capability`, in seconds; none when nothing is asked.
    #[must_use]
    pub fn life_max_s(&self, capability: &CapabilityName) -> Option<u32> {
        self.of_capability(capability).map(|_| HIGH_TOKEN_LIFE_MAX_S)
    }

    fn of_capability(&self, capability: &CapabilityName) -> Option<Reached> {
        self.high.iter().find(|(name, _)| name == capability).map(|(_, reached)| *reached)
    }
}

/// How `capability` reaches a secret of high sensitivity, if it does.
fn reached(Records { registry, secrets, .. }: Records<'_>, capability: &Capability) -> Option<Reached> {
    let Delivery::Reveal { secret } = &capability.delivery else { return None };
    let secret = secrets.named(secret).filter(|secret| secret.sensitivity == Sensitivity::High)?;
    let owner = registry.owners().of(&Owned::Capability(capability.name.clone()));
    Some(if owner == secret.owner.as_ref() { Reached::Own } else { Reached::Foreign })
}
