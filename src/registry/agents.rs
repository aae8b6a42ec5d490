use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::agent::{Agent, Instances};
use super::agent_spec::AgentSpec;
use crate::base::{AgentId, AgentName, Person, RoleName, Timestamp};

/// All agents, to be found by id and by name. There may be a million: what is the same for many is kept once.
#[derive(Clone, Debug, Default)]
pub(super) struct Agents {
    by_id: HashMap<AgentId, Agent>,
    /// By name in order, to tell who there is.
    in_order: BTreeMap<AgentName, AgentId>,
    /// An index to find one quickly.
    by_name: HashMap<AgentName, AgentId>,
    roles: RoleSets,
}

impl Agents {
    pub(super) fn get(&self, id: AgentId) -> Option<&Agent> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: AgentId) -> Option<&mut Agent> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn named(&self, name: &AgentName) -> Option<&Agent> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    /// All of them, by name.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Agent> {
        self.in_order.values().filter_map(|id| self.by_id.get(id))
    }

    /// Those after `name`, by name.
    pub(super) fn after(&self, name: Option<&AgentName>) -> impl Iterator<Item = &Agent> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.in_order.range((from, Bound::Unbounded)).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Creates an agent, or changes what was declared of it.
    pub(super) fn put(&mut self, id: AgentId, spec: &AgentSpec) {
        self.in_order.insert(spec.name.clone(), id);
        self.by_name.insert(spec.name.clone(), id);
        let roles = self.roles.shared(spec.roles.clone());
        let agent = self.by_id.entry(id).or_insert_with(|| Agent {
            id,
            name: spec.name.clone(),
            roles: Arc::clone(&roles),
            max_instances: spec.max_instances,
            serves: None,
            person: None,
            last_sensitive_read: None,
            instances: Instances::default(),
        });
        (agent.roles, agent.max_instances) = (roles, spec.max_instances);
    }

    /// Sets the person for whom the agent of this name acts.
    pub(super) fn act_for(&mut self, name: &AgentName, person: Option<&Person>) {
        if let Some(agent) = self.by_name.get(name).and_then(|id| self.by_id.get_mut(id)) {
            agent.person = person.cloned();
        }
    }

    /// Notes that the agent read a secret of the sensitivity `high`.
    pub(super) fn read_sensitive(&mut self, id: AgentId, at: Timestamp) {
        if let Some(agent) = self.by_id.get_mut(&id) {
            agent.last_sensitive_read = Some(at);
        }
    }

    /// Times in the future move back to `now`.
    pub(super) fn time_went_back(&mut self, now: Timestamp) {
        for time in self.by_id.values_mut().filter_map(|agent| agent.last_sensitive_read.as_mut()) {
            *time = (*time).min(now);
        }
    }

    /// Removes these roles from all agents.
    pub(super) fn lose_roles(&mut self, gone: &BTreeSet<&RoleName>) {
        let loses = |agent: &&mut Agent| agent.roles.iter().any(|role| gone.contains(&role));
        for agent in self.by_id.values_mut().filter(loses) {
            let left = agent.roles.iter().filter(|role| !gone.contains(role)).cloned().collect();
            agent.roles = self.roles.shared(left);
        }
    }

    pub(super) fn remove(&mut self, id: AgentId) -> Option<Agent> {
        let agent = self.by_id.remove(&id)?;
        self.in_order.remove(&agent.name);
        self.by_name.remove(&agent.name);
        Some(agent)
    }
}

/// The agents one after the other, by name: everything else follows from them.
impl Serialize for Agents {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.in_order().collect::<Vec<_>>())
    }
}

impl<'de> Deserialize<'de> for Agents {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(OneByOne)
    }
}

struct OneByOne;

impl<'de> Visitor<'de> for OneByOne {
    type Value = Agents;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("agents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Agents, A::Error> {
        let count = seq.size_hint().unwrap_or_default().min(ROOM_AHEAD_MAX);
        let mut agents = Agents {
            by_id: HashMap::with_capacity(count),
            by_name: HashMap::with_capacity(count),
            ..Agents::default()
        };
        let mut in_order = Vec::with_capacity(count);
        while let Some(mut agent) = seq.next_element::<Agent>()? {
            agent.roles = agents.roles.share(agent.roles);
            in_order.push((agent.name.clone(), agent.id));
            agents.by_name.insert(agent.name.clone(), agent.id);
            agents.by_id.insert(agent.id, agent);
        }
        // Of what is in order already a tree is made at once, its nodes full.
        agents.in_order = in_order.into_iter().collect();
        Ok(agents)
    }
}

/// Agents for whom room is made before they have been read.
const ROOM_AHEAD_MAX: usize = 1 << 20;

/// Each set of roles that agents hold, once: most agents hold what many others do.
#[derive(Clone, Debug, Default)]
struct RoleSets {
    all: HashSet<Arc<BTreeSet<RoleName>>>,
    /// How many there were when those that nobody held were last forgotten.
    held: usize,
}

impl RoleSets {
    fn shared(&mut self, roles: BTreeSet<RoleName>) -> Arc<BTreeSet<RoleName>> {
        if let Some(known) = self.all.get(&roles) {
            return Arc::clone(known);
        }
        self.share(Arc::new(roles))
    }

    fn share(&mut self, roles: Arc<BTreeSet<RoleName>>) -> Arc<BTreeSet<RoleName>> {
        if let Some(known) = self.all.get(&roles) {
            return Arc::clone(known);
        }
        if self.all.len() > self.held.saturating_mul(2).max(UNHELD_MAX) {
            self.all.retain(|one| Arc::strong_count(one) > 1);
            self.held = self.all.len();
        }
        self.all.insert(Arc::clone(&roles));
        roles
    }
}

/// Sets that may be kept although nobody holds them any more.
const UNHELD_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    fn put(agents: &mut Agents, name: &str, role: &str) -> AgentId {
        let id = AgentId::mint(Timestamp::from_s(1), &SystemEntropy);
        let roles = [role.parse().unwrap()].into();
        agents.put(id, &AgentSpec { name: name.parse().unwrap(), roles, max_instances: 1 });
        id
    }

    #[test]
    fn agents_read_back_are_found_alike_and_share_equal_parts() {
        let mut agents = Agents::default();
        let [b, a, gone] = [("b", "reader"), ("a", "reader"), ("gone", "writer")]
            .map(|(name, role)| put(&mut agents, name, role));
        agents.remove(gone);
        let read: Agents = postcard::from_bytes(&postcard::to_stdvec(&agents).unwrap()).unwrap();
        for agents in [agents, read] {
            let names: Vec<_> = agents.in_order().map(|agent| agent.name.as_str().to_owned()).collect();
            assert_eq!(names, ["a", "b"]);
            let [first, second] = [a, b].map(|id| agents.get(id).unwrap());
            assert!(Arc::ptr_eq(&first.roles, &second.roles));
            assert_eq!(agents.named(&"b".parse().unwrap()).unwrap().id, b);
            assert!(agents.named(&"gone".parse().unwrap()).is_none() && agents.get(gone).is_none());
        }
    }

    #[test]
    fn sets_of_roles_that_nobody_holds_are_forgotten() {
        let mut agents = Agents::default();
        let id = put(&mut agents, "a", "reader");
        for number in 0..10 * UNHELD_MAX {
            let roles = [format!("role-{number}").parse().unwrap()].into();
            agents.put(id, &AgentSpec { name: "a".parse().unwrap(), roles, max_instances: 1 });
        }
        assert!(agents.roles.all.len() <= UNHELD_MAX + 2);
        assert_eq!(agents.get(id).unwrap().roles.len(), 1);
    }
}
