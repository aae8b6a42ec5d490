use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::keys;
use crate::base::{AgentName, CapabilityName, RoleName};
use crate::ledger::Key;

/// What an application takes away, and nothing that it gives: whenever it is done, nobody may do more than before.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Narrowing {
    /// Capabilities that no role has any more: they are gone, or delivered otherwise.
    pub capabilities: BTreeSet<CapabilityName>,
    /// The remaining capabilities of each of these roles.
    pub roles: BTreeMap<RoleName, BTreeSet<CapabilityName>>,
    /// The remaining roles of each of these agents.
    pub agents: BTreeMap<AgentName, BTreeSet<RoleName>>,
    /// Agents that are gone.
    pub removed_agents: BTreeSet<AgentName>,
}

impl Narrowing {
    /// Whether it takes nothing away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the keys of the declarations that it narrows.
    pub(super) fn advances(&self, keys: &mut Vec<Key>) {
        keys.push(keys::declarations());
        keys.extend(self.capabilities.iter().map(keys::capability));
        keys.extend(self.roles.keys().map(keys::role));
    }

    /// The remaining capabilities of a role.
    pub(super) fn left(
        &self,
        role: &RoleName,
        capabilities: &BTreeSet<CapabilityName>,
    ) -> BTreeSet<CapabilityName> {
        let kept = self.roles.get(role);
        let stays = |name: &&CapabilityName| {
            !self.capabilities.contains(*name) && kept.is_none_or(|kept| kept.contains(*name))
        };
        capabilities.iter().filter(stays).cloned().collect()
    }
}

#[cfg(test)]
#[path = "narrowing_tests.rs"]
mod tests;
