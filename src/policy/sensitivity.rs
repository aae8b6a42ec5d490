use crate::base::limits::HIGH_TOKEN_LIFE_MAX_S;
use crate::base::{CapabilityName, Sensitivity};
use crate::registry::{Capability, Delivery, Owned, Registry};
use crate::secrets::Catalogue;

/// What the secrets that capabilities reach ask of a decision. Read from the records, and from nothing
/// else, as of the same state that the rest of the decision is made on.
#[derive(Clone, Debug)]
pub struct Demands {
    /// The capabilities that reach a secret of high sensitivity.
    high: Vec<(CapabilityName, Reached)>,
}

/// Whose capability a secret of high sensitivity is reached by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reached {
    /// One of its own owner.
    Own,
    /// Somebody else's.
    Foreign,
}

impl Demands {
    /// What is asked of a decision about the capabilities of these names.
    pub fn of<'a>(
        registry: &Registry,
        secrets: &Catalogue,
        asked: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        let declared = asked.into_iter().filter_map(|name| registry.declarations().capability(name));
        let high = declared.filter_map(|capability| {
            let reached = reached(registry, secrets, capability)?;
            Some((capability.name.clone(), reached))
        });
        Self { high: high.collect() }
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
fn reached(registry: &Registry, secrets: &Catalogue, capability: &Capability) -> Option<Reached> {
    let Delivery::Reveal { secret } = &capability.delivery else { return None };
    let secret = secrets.named(secret).filter(|secret| secret.sensitivity == Sensitivity::High)?;
    let owner = registry.owners().of(&Owned::Capability(capability.name.clone()));
    Some(if owner == secret.owner.as_ref() { Reached::Own } else { Reached::Foreign })
}
