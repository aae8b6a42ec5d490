use super::facts::counting;
use super::standing::InstanceStanding;
use crate::base::{AgentName, OperatorName};
use crate::broker::caller_services::AdminServices;
use crate::policy::{Authorised, Contain, ContainOperators};
use crate::revocation::Subject;

impl AdminServices {
    /// Whether the agent called `name` is suspended now.
    #[must_use]
    pub fn is_agent_suspended(&self, _by: &Authorised<Contain>, name: &AgentName) -> bool {
        self.0.state.store.read(|world, _| {
            let agent = world.registry.agent_named(name);
            agent.is_some_and(|agent| world.revocations.is_blocked(&Subject::Agent(agent.id)))
        })
    }

    /// Whether the agent called `name` was revoked, and has no valid certificate now: a resumption gives it none.
    #[must_use]
    pub fn is_agent_revoked(&self, _by: &Authorised<Contain>, name: &AgentName) -> bool {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let is_live =
                |agent, instance| InstanceStanding::of(world, agent, instance, now) == InstanceStanding::Live;
            world.registry.agent_named(name).is_some_and(|agent| {
                world.revocations.dead_before(&Subject::Agent(agent.id)) > 0
                    && !agent.instances.iter().any(|one| is_live(agent, one))
            })
        })
    }

    /// The same of the operator called `name`.
    #[must_use]
    pub fn is_operator_revoked(&self, _by: &Authorised<ContainOperators>, name: &OperatorName) -> bool {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            world.operators.named(name).is_some_and(|operator| {
                world.revocations.dead_before(&Subject::Operator(operator.id)) > 0
                    && counting(operator, world, now).next().is_none()
            })
        })
    }

    /// Whether the operator called `name` is suspended now.
    #[must_use]
    pub fn is_operator_suspended(&self, _by: &Authorised<ContainOperators>, name: &OperatorName) -> bool {
        self.0.state.store.read(|world, _| {
            let operator = world.operators.named(name);
            operator.is_some_and(|operator| world.revocations.is_blocked(&Subject::Operator(operator.id)))
        })
    }
}
