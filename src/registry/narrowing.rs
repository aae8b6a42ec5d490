use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::keys;
use crate::base::{AgentName, CapabilityName, RoleName};
use crate::ledger::Key;

/// What remains after an application of the objects that lose something. Events show it; effects and orders of earlier
/// builds have it in place of [`super::Removals`].
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
    /// Adds the keys of the declarations that it narrows.
    pub(super) fn advances(&self, keys: &mut Vec<Key>) {
        keys.push(keys::declarations());
        keys.extend(self.capabilities.iter().map(keys::capability));
        keys.extend(self.roles.keys().map(keys::role));
    }
}

#[cfg(test)]
#[path = "narrowing_tests.rs"]
mod tests;
