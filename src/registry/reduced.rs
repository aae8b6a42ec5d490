use std::sync::Arc;

use super::agent::Agent;
use super::agent_spec::AgentSpec;
use super::declared::Declarations;
use super::effect::Effect;
use super::owners::Owned;
use super::state::Registry;
use crate::base::{AgentName, Timestamp};
use crate::store::At;

impl Registry {
    /// The declarations of capabilities and roles, and these agents without their instances: what decisions that are only
    /// tried read of it. A broker can have very many agents, so the copy has few.
    #[must_use]
    pub fn reduced_to<'a>(&self, agents: impl IntoIterator<Item = &'a AgentName>) -> Self {
        let mut reduced = Self::default();
        reduced.declarations = Arc::clone(&self.declarations);
        let at = At { seq: 0, time: Timestamp::from_s(0) };
        let agents: Vec<&Agent> = agents.into_iter().filter_map(|name| self.agent_named(name)).collect();
        for agent in &agents {
            let (name, roles) = (agent.name.clone(), (*agent.roles).clone());
            let spec = AgentSpec { name: name.clone(), roles, max_instances: agent.max_instances };
            reduced.apply(at, &Effect::PutAgent { id: agent.id, spec });
            reduced.apply(at, &Effect::ActsFor { agent: name, person: agent.person.clone() });
        }
        let capabilities = self.declarations.capabilities().map(|one| Owned::Capability(one.name.clone()));
        let agents = agents.iter().map(|agent| Owned::Agent(agent.name.clone()));
        for thing in capabilities.chain(agents) {
            if let Some(owner) = self.owners().of(&thing).cloned() {
                reduced.apply(at, &Effect::Own { thing, owner: Some(owner) });
            }
        }
        reduced
    }

    /// The same with these declarations of capabilities and roles.
    #[must_use]
    pub fn declaring(mut self, declarations: &Arc<Declarations>) -> Self {
        self.declarations = Arc::clone(declarations);
        self
    }
}
