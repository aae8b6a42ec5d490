use std::collections::BTreeSet;

use super::ineligible::is_ineligible;
use crate::base::{AgentId, CapabilityName, InstanceId, RoleName};
use crate::broker::tokens::mint::relying_on;
use crate::broker::world::{Effect, World};
use crate::leases::Lease;
use crate::store::Change;

/// The holder of a lease, who may have it as of an entry.
pub(super) struct LeaseHolder {
    agent: AgentId,
    instance: InstanceId,
    roles: BTreeSet<RoleName>,
    capability: CapabilityName,
    pub(super) as_of: u64,
}

impl LeaseHolder {
    /// That of `lease`; none when the holder was revoked, suspended or removed, or has the capability no more.
    pub(super) fn of(world: &World, lease: &Lease, as_of: u64) -> Option<Self> {
        let agent = world.registry.agent(lease.agent).filter(|_| !is_ineligible(world, lease))?;
        agent.instances.get(lease.instance)?;
        Some(Self {
            agent: agent.id,
            instance: lease.instance,
            roles: agent.roles.iter().cloned().collect(),
            capability: lease.capability.clone(),
            as_of,
        })
    }

    /// `change`, which commits only while that is so.
    pub(super) fn relying(&self, change: Change<Effect>) -> Change<Effect> {
        relying_on(
            change,
            self.agent,
            self.instance,
            &self.roles,
            std::iter::once(&self.capability),
            self.as_of,
        )
    }
}
