use super::requester::Requester;
use crate::authn::{Records, may_be_issued};
use crate::base::limits::HIGH_TOKEN_LIFE_MAX_S;
use crate::base::{CapabilityName, Sensitivity};
use crate::registry::{Capability, Delivery, Owned};

/// The restrictions of a decision by the sensitivity of secrets and by suspensions, from the records of the decision's
/// state.
#[derive(Clone, Debug)]
pub struct CapabilityConstraints {
    /// The capabilities that deliver a secret of high sensitivity.
    high: Vec<(CapabilityName, Reached)>,
    /// The suspended capabilities, also by a suspension of a role, owner or secret.
    suspended: Vec<CapabilityName>,
}

/// The owner of a capability that delivers a secret of high sensitivity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reached {
    /// The owner of the secret.
    Own,
    /// Another owner.
    Foreign,
}

impl CapabilityConstraints {
    /// The restrictions for these capabilities and `holder`.
    pub fn of<'a>(
        records: Records<'_>,
        holder: Option<&Requester<'_>>,
        requested: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        let mut demands = Self { high: Vec::new(), suspended: Vec::new() };
        for name in requested {
            if let Some(capability) = records.registry.declarations().capability(name)
                && let Some(reached) = reached(records, capability)
            {
                demands.high.push((name.clone(), reached));
            }
            let may_be_issued =
                |holder: &Requester<'_>| may_be_issued(records, holder.roles, holder.instance, name);
            if !holder.is_some_and(may_be_issued) {
                demands.suspended.push(name.clone());
            }
        }
        demands
    }

    /// Whether `capability` is suspended.
    pub(super) fn suspends(&self, capability: &CapabilityName) -> bool {
        self.suspended.contains(capability)
    }

    /// Whether `capability` may deliver its secret.
    pub(super) fn permits(&self, capability: &CapabilityName) -> bool {
        self.of_capability(capability) != Some(Reached::Foreign)
    }

    /// Longest life of a token for `capability`, in seconds; `None` without a restriction.
    #[must_use]
    pub fn life_max_s(&self, capability: &CapabilityName) -> Option<u32> {
        self.of_capability(capability).map(|_| HIGH_TOKEN_LIFE_MAX_S)
    }

    fn of_capability(&self, capability: &CapabilityName) -> Option<Reached> {
        self.high.iter().find(|(name, _)| name == capability).map(|(_, reached)| *reached)
    }
}

/// The owner of `capability`, if it delivers a secret of high sensitivity.
fn reached(Records { registry, secrets, .. }: Records<'_>, capability: &Capability) -> Option<Reached> {
    let Delivery::Reveal { secret } = &capability.delivery else { return None };
    let secret = secrets.named(secret).filter(|secret| secret.sensitivity == Sensitivity::High)?;
    let owner = registry.owners().of(&Owned::Capability(capability.name.clone()));
    Some(if owner == secret.owner.as_ref() { Reached::Own } else { Reached::Foreign })
}
