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

    /// Whether the operator called `name` is suspended now.
    #[must_use]
    pub fn is_operator_suspended(&self, _by: &Authorised<ContainOperators>, name: &OperatorName) -> bool {
        self.0.state.store.read(|world, _| {
            let operator = world.operators.named(name);
            operator.is_some_and(|operator| world.revocations.is_blocked(&Subject::Operator(operator.id)))
        })
    }
}
