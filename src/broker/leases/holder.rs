use super::ineligible::is_ineligible;
use crate::authn::AgentPrincipal;
use crate::base::{AgentId, CapabilityName, LeaseId, code};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::leases::{Lease, LeaseOffer, keys};
use crate::registry::Agent;

impl<'w> Reading<'w> {
    /// What leases of `capability` are of, and the entry that declared it.
    pub(super) fn lease_offer(&self, capability: &CapabilityName) -> Option<&'w (LeaseOffer, u64)> {
        self.under(keys::offer(capability)).leases.offer(capability)
    }

    pub(super) fn leases_of(&self, agent: AgentId) -> impl Iterator<Item = &'w Lease> {
        self.under(keys::of_agent(agent)).leases.of_agent(agent)
    }

    pub(super) fn lease(&self, id: LeaseId) -> Option<&'w Lease> {
        self.under(keys::endings());
        self.under(keys::lease(id)).leases.lease(id)
    }

    /// The lease as entries alone say: no server is called about an end that is only denied.
    pub(super) fn recorded_lease(&self, id: LeaseId) -> Option<&'w Lease> {
        self.under(keys::endings());
        self.under(keys::lease(id)).recorded_leases().lease(id)
    }

    /// The agent that holds `lease`; none when the holder was revoked, suspended or removed, or has the capability no
    /// more.
    pub(super) fn lease_holder(&self, lease: &Lease) -> Option<&'w Agent> {
        self.records();
        let world = self.unconditional();
        let agent = world.registry.agent(lease.holder.agent).filter(|_| !is_ineligible(world, lease))?;
        agent.instances.get(lease.holder.instance)?;
        self.holds(agent.id, lease.holder.instance, &agent.roles, [&lease.capability]);
        Some(agent)
    }

    /// The lease with this id, when it is the caller's own instance's. Another instance's is unknown.
    pub(super) fn own_lease(&self, id: LeaseId, principal: &AgentPrincipal) -> Result<&'w Lease, Failure> {
        let is_own = |lease: &&Lease| {
            lease.holder.agent == principal.agent() && lease.holder.instance == principal.instance()
        };
        self.lease(id).filter(is_own).ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))
    }
}
