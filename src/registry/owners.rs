use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{AgentName, CapabilityName, OwnerName, RoleName};

/// Something declared that can belong to an owner.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Owned {
    /// A capability.
    Capability(CapabilityName),
    /// A role.
    Role(RoleName),
    /// An agent.
    Agent(AgentName),
}

/// The owners of objects; other objects have no owner.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Owners(BTreeMap<Owned, OwnerName>);

impl Owners {
    /// The owner of `thing`.
    #[must_use]
    pub fn of(&self, thing: &Owned) -> Option<&OwnerName> {
        self.0.get(thing)
    }

    /// The owner of each object that has one.
    pub fn named(&self) -> impl Iterator<Item = &OwnerName> {
        self.0.values()
    }

    /// The number of objects of `owner`.
    #[must_use]
    pub fn count(&self, owner: &OwnerName) -> usize {
        self.0.values().filter(|one| *one == owner).count()
    }

    pub(super) fn set(&mut self, thing: Owned, owner: Option<OwnerName>) {
        match owner {
            Some(owner) => drop(self.0.insert(thing, owner)),
            None => drop(self.0.remove(&thing)),
        }
    }
}
