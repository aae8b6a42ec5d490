use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::agents::Agents;
use super::declared::Declarations;
use super::keys;
use super::narrowing::Narrowing;
use crate::base::{AgentId, AgentName, CapabilityName, RoleName};
use crate::ledger::Key;

/// The removals of an application, pair by pair, without its additions. Later additions of other applications stay:
/// they are in no pair.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Removals {
    /// Capabilities that are removed or delivered in another way. `roles` has the roles that lose them.
    pub capabilities: BTreeSet<CapabilityName>,
    /// The capabilities that each of these roles loses.
    pub roles: BTreeMap<RoleName, BTreeSet<CapabilityName>>,
    /// The roles that each of these agents loses.
    pub agents: BTreeMap<AgentName, BTreeSet<RoleName>>,
    /// Removed agents and resource servers.
    pub removed_agents: BTreeSet<AgentName>,
    /// The ids of the agents that are named. A later agent of the same name loses nothing.
    pub ids: BTreeMap<AgentName, AgentId>,
}

impl Removals {
    /// The removals of `narrowing`, in the form of earlier builds.
    pub(super) fn of_narrowing(declared: &Declarations, agents: &Agents, narrowing: &Narrowing) -> Self {
        let lost = narrowing.agents.iter().filter_map(|(name, kept)| {
            let before = &agents.named(name)?.roles;
            Some((name.clone(), before.difference(kept).cloned().collect()))
        });
        let removals = Self {
            capabilities: narrowing.capabilities.clone(),
            agents: lost.collect(),
            removed_agents: narrowing.removed_agents.clone(),
            ..Self::default()
        };
        let loses = |role: &RoleName, name: &CapabilityName| {
            narrowing.roles.get(role).is_some_and(|kept| !kept.contains(name))
        };
        removals.of_roles(declared, loses).with_ids(|name| agents.named(name))
    }

    /// With the capabilities that roles lose: those of `capabilities`, and those of which `loses` says so.
    pub(super) fn of_roles(
        mut self,
        declared: &Declarations,
        loses: impl Fn(&RoleName, &CapabilityName) -> bool,
    ) -> Self {
        for role in declared.roles() {
            let is_lost =
                |name: &&CapabilityName| self.capabilities.contains(*name) || loses(&role.name, name);
            let lost: BTreeSet<_> = role.capabilities.iter().filter(is_lost).cloned().collect();
            if !lost.is_empty() {
                self.roles.insert(role.name.clone(), lost);
            }
        }
        self
    }

    /// With the ids of the agents.
    pub(super) fn with_ids<'a>(mut self, agent: impl Fn(&AgentName) -> Option<&'a Agent>) -> Self {
        let named = self.agents.keys().chain(&self.removed_agents);
        self.ids = named.filter_map(|name| Some((name.clone(), agent(name)?.id))).collect();
        self
    }

    /// Whether nothing is removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the keys of what is removed: grants that rely on them are decided again.
    pub fn touched(&self, keys: &mut Vec<Key>) {
        keys.extend(self.ids.values().copied().map(keys::agent));
        keys.extend(self.capabilities.iter().map(keys::capability));
        keys.extend(self.roles.keys().map(keys::role));
    }

    /// What remains of the objects that lose something.
    pub(super) fn remaining(&self, declared: &Declarations, agents: &Agents) -> Narrowing {
        let roles = self.roles.iter().map(|(name, lost)| {
            let role = declared.role(name);
            let kept = role.map(|role| role.capabilities.difference(lost).cloned().collect());
            (name.clone(), kept.unwrap_or_default())
        });
        let narrower = self.agents.iter().map(|(name, lost)| {
            let agent = self.ids.get(name).and_then(|id| agents.get(*id));
            let kept = agent.map(|agent| agent.roles.difference(lost).cloned().collect());
            (name.clone(), kept.unwrap_or_default())
        });
        Narrowing {
            capabilities: self.capabilities.clone(),
            roles: roles.collect(),
            agents: narrower.collect(),
            removed_agents: self.removed_agents.clone(),
        }
    }
}
