use super::grant::{Basis, Grant};
use crate::authn::{Records, RenewingAgent, has_certificate};
use crate::base::{AgentId, DecisionId, InstanceId, Timestamp};
use crate::crypto::{Digest, MacKey};
use crate::quota::Permit;
use crate::registry::{Agent, Instance, InstanceState};

/// Giving one instance its next certificate.
#[derive(Debug)]
pub struct Renew {
    agent: AgentId,
    instance: InstanceId,
    step: RenewalStep,
}

/// Whether there is something new to be planned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RenewalStep {
    /// A certificate is to be planned.
    Plan,
    /// This very key has asked before and its answer was lost, or never came: the certificate that
    /// was planned then is due.
    Repeat,
}

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

    /// Whether there is something new to be planned.
    #[must_use]
    pub const fn step(&self) -> RenewalStep {
        self.step
    }
}

/// Why an instance gets no next certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RenewalRefused {
    /// The agent or the instance is gone.
    Gone,
    /// The request is for the key that is in use: a renewal is for a new one.
    SameKey,
    /// The request is for a key that another agent or resource server holds: it is that one's.
    OtherKey,
    /// The agent may have fewer live instances than it has, and older ones come first.
    TooManyInstances,
}

/// Decides on a renewal for `key`, as a first issue would be decided on now.
///
/// # Errors
/// [`RenewalRefused`].
pub fn decide_renewal(
    records: Records<'_>,
    (renewing, key): (&RenewingAgent, Digest),
    _permit: &Permit,
    (decision, digests): (DecisionId, &MacKey),
    now: Timestamp,
) -> Result<Grant<Renew>, RenewalRefused> {
    let registry = records.registry;
    let agent = registry.agent(renewing.agent()).ok_or(RenewalRefused::Gone)?;
    let instance = agent.instances.get(renewing.instance()).ok_or(RenewalRefused::Gone)?;
    if instance.current.key == key {
        return Err(RenewalRefused::SameKey);
    }
    if registry.is_key_of_another(agent.id, &key) {
        return Err(RenewalRefused::OtherKey);
    }
    if elder_instances(records, (agent, instance), now)
        >= usize::try_from(agent.max_instances).unwrap_or(usize::MAX)
    {
        return Err(RenewalRefused::TooManyInstances);
    }
    let pending = instance.next.as_ref().filter(|next| next.key == key && now < next.not_after);
    let step = if pending.is_some() { RenewalStep::Repeat } else { RenewalStep::Plan };
    let canonical = [&instance.id.as_bytes()[..], key.as_bytes()].concat();
    let basis = Basis {
        decision,
        snapshot: registry.declarations().snapshot(),
        rules: vec![format!("instance {}", instance.id)],
        request: digests.tag(&canonical),
    };
    Ok(Grant::assertion(basis, Renew { agent: agent.id, instance: instance.id, step }))
}

/// How many live instances of the agent come before this one, by the time of enrolment. A late
/// instance may find its place taken by younger ones, which count then.
fn elder_instances(records: Records<'_>, (agent, this): (&Agent, &Instance), now: Timestamp) -> usize {
    let lapsed = this.state(now) == InstanceState::Expired;
    let live = agent.instances.iter().filter(|one| {
        one.id != this.id
            && (lapsed || one.enrolled_seq < this.enrolled_seq)
            && one.state(now) == InstanceState::Live
            && has_certificate(records, agent, one)
    });
    live.count()
}
