use super::context::DecisionContext;
use super::decision::{Act, Certifying, Decision};
use crate::authn::{RenewingAgent, has_certificate};
use crate::base::{AgentId, InstanceId, code};
use crate::crypto::Digest;
use crate::quota::Permit;
use crate::registry::{Agent, Instance, InstanceState};

/// Issuing the next certificate of an instance.
#[derive(Debug)]
pub struct Renew {
    agent: AgentId,
    instance: InstanceId,
    step: RenewalStep,
}

/// The state of a renewal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RenewalStep {
    /// A new certificate has to be planned.
    Plan,
    /// The same key was requested before, and the response was lost: the planned certificate is issued.
    Repeat,
}

impl Act for Renew {
    const HANDS_OUT: bool = false;
}

impl Certifying for Renew {}

impl Renew {
    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> AgentId {
        self.agent
    }

    /// The instance.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// The state of a renewal.
    #[must_use]
    pub const fn step(&self) -> RenewalStep {
        self.step
    }
}

/// Decides on a renewal for `key` by the rules of an enrolment.
pub fn decide_renewal(
    context: &DecisionContext<'_>,
    renewing: &RenewingAgent,
    key: Digest,
    _permit: Permit,
) -> Decision<Renew> {
    let registry = context.records.registry;
    let now = context.now();
    let canonical = [&renewing.instance().as_bytes()[..], key.as_bytes()].concat();
    let basis = context.basis(vec![format!("instance {}", renewing.instance())], &canonical);
    let agent = registry.agent(renewing.agent());
    let instance = agent.and_then(|agent| agent.instances.get(renewing.instance()));
    let (Some(agent), Some(instance)) = (agent, instance) else {
        return Decision::deny(basis, code::CERTIFICATE_UNKNOWN);
    };
    if instance.current.key == key {
        return Decision::deny(basis, code::RENEWAL_SAME_KEY);
    }
    if registry.is_key_of_another(agent.id, &key) {
        return Decision::deny(basis, code::RENEWAL_KEY_IN_USE);
    }
    if elder_instances(context, agent, instance) >= usize::try_from(agent.max_instances).unwrap_or(usize::MAX)
    {
        return Decision::deny(basis, code::TOO_MANY_INSTANCES);
    }
    let pending = instance.next.as_ref().filter(|next| next.key == key && now < next.not_after);
    let step = if pending.is_some() { RenewalStep::Repeat } else { RenewalStep::Plan };
    Decision::allow(basis, Renew { agent: agent.id, instance: instance.id, step })
}

/// The number of live instances of the agent that enrolled before this one. If this instance was not live for a while,
/// younger instances count too.
fn elder_instances(context: &DecisionContext<'_>, agent: &Agent, this: &Instance) -> usize {
    let now = context.now();
    let lapsed = this.state(now) == InstanceState::Expired;
    let live = agent.instances.iter().filter(|one| {
        one.id != this.id
            && (lapsed || one.enrolled_seq < this.enrolled_seq)
            && one.state(now) == InstanceState::Live
            && has_certificate(context.records, agent, one)
    });
    live.count()
}
