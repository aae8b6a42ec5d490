use super::ineligible::is_ineligible;
use crate::authn::AgentPrincipal;
use crate::base::{AgentId, CapabilityName, LeaseId, code};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::leases::{Lease, LeaseOffer, keys};
use crate::registry::Agent;

impl<'w> Reading<'w> {
    /// The lease offer of `capability`, and the entry that declared it.
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

    /// The recorded lease, without denials in memory: no server is called before the entry.
    pub(super) fn recorded_lease(&self, id: LeaseId) -> Option<&'w Lease> {
        self.under(keys::endings());
        self.under(keys::lease(id)).recorded_leases().lease(id)
    }

    /// The agent that holds `lease`; `None` if it was revoked, suspended or removed, or no longer has the capability.
    pub(super) fn lease_holder(&self, lease: &Lease) -> Option<&'w Agent> {
        self.records();
        let world = self.unconditional();
        let agent = world.registry.agent(lease.holder.agent).filter(|_| !is_ineligible(world, lease))?;
        agent.instances.get(lease.holder.instance)?;
        self.holds(agent.id, lease.holder.instance, &agent.roles, [&lease.capability]);
        Some(agent)
    }

    /// The lease with this id, if the caller's instance holds it.
    pub(super) fn own_lease(&self, id: LeaseId, principal: &AgentPrincipal) -> Result<&'w Lease, Failure> {
        let is_own = |lease: &&Lease| {
            lease.holder.agent == principal.agent() && lease.holder.instance == principal.instance()
        };
        self.lease(id).filter(is_own).ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))
    }
}
