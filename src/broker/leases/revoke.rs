use super::super::authorise::while_allowed;
use super::super::desk::{AdminDesk, deciding_again};
use super::super::failure::Failure;
use super::super::once::{done_before, remembering};
use super::super::world::{Effect, World};
use super::views::is_within;
use crate::base::limits::OUTCOME_LIFE_S;
use crate::base::{AgentName, CapabilityName, LeaseId, Scope, code};
use crate::idempotency::{Once, Outcome};
use crate::leases::{self, LeasesEnding, Selection, Stage, Why, keys};
use crate::policy::{Authorised, EndLeases};
use crate::registry::Owned;
use crate::store::Change;

/// Which leases an operator means.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// This one.
    Lease(LeaseId),
    /// Those of an agent.
    Agent(AgentName),
    /// Those of a capability.
    Capability(CapabilityName),
    /// All within reach.
    All,
}

/// Leases that are to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeasesEnded {
    /// The entry that says so.
    pub seq: u64,
    /// How many there were; none known when the request had been carried out before.
    pub count: Option<usize>,
}

impl AdminDesk {
    /// Has leases end. From the entry on no login among them is handed out again or renewed; upstream is
    /// told at once, and for as long as it takes. Repeating it does no harm.
    ///
    /// # Errors
    /// [`Failure`], also when nothing within reach has this id or name.
    pub async fn end_leases(
        &self,
        by: &Authorised<EndLeases>,
        chosen: &Chosen,
        once: Option<&Once>,
    ) -> Result<LeasesEnded, Failure> {
        let core = &*self.0;
        let operator = by.operator();
        deciding_again!(async {
            let (before, selected, as_of) = core.store.read(|world, as_of| {
                let selected = selection(world, operator.scope(), chosen).map(|which| {
                    let is_standing = |lease: &&leases::Lease| !matches!(lease.stage, Stage::Ending(_));
                    let count = world.leases.all().filter(is_standing).filter(|one| which.has(one)).count();
                    (which, count)
                });
                (done_before(world, once, core.clock.now()), selected, as_of)
            });
            if let Some(before) = before? {
                return Ok(LeasesEnded { seq: before.seq, count: None });
            }
            let (which, count) = selected?;
            let (lease, agent, capability) = named(chosen);
            let (by, why) = (operator.name().as_str(), Why::Revoked);
            let event = LeasesEnding { by, why: why.as_str(), lease, agent, capability, count };
            // It relies on nothing of its leases: an end is never too late and never in anybody's way.
            let mut change = Change::new(&event)?
                .effect(Effect::Lease(leases::Effect::End { which, why }))
                .advance(keys::endings());
            change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Recorded);
            let seq = core.record_of_leases(while_allowed(change, operator)).await?;
            Ok(LeasesEnded { seq, count: Some(count) })
        })
    }
}

/// What was chosen, as an entry names it.
pub(super) const fn named(chosen: &Chosen) -> (Option<LeaseId>, Option<&AgentName>, Option<&CapabilityName>) {
    match chosen {
        Chosen::Lease(lease) => (Some(*lease), None, None),
        Chosen::Agent(agent) => (None, Some(agent), None),
        Chosen::Capability(capability) => (None, None, Some(capability)),
        Chosen::All => (None, None, None),
    }
}

/// What was chosen, as far as somebody with this `scope` reaches.
pub(super) fn selection(world: &World, scope: &Scope, chosen: &Chosen) -> Result<Selection, Failure> {
    let owners = world.registry.owners();
    match chosen {
        Chosen::Lease(id) => {
            let lease = world.leases.lease(*id).filter(|lease| is_within(world, scope, lease));
            let lease = lease.ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))?;
            Ok(Selection::Each([lease.id].into()))
        }
        Chosen::Agent(name) => {
            let agent = world.registry.agent_named(name);
            let agent = agent.filter(|_| scope.covers(owners.of(&Owned::Agent(name.clone()))));
            Ok(Selection::Agent(agent.ok_or_else(|| Failure::new(code::AGENT_UNKNOWN))?.id))
        }
        Chosen::Capability(name) => {
            let is_known = world.leases.offer(name).is_some()
                || world.leases.all().any(|lease| lease.capability == *name);
            if is_known && scope.covers(owners.of(&Owned::Capability(name.clone()))) {
                Ok(Selection::Capability(name.clone()))
            } else {
                Err(Failure::new(code::CAPABILITY_UNKNOWN))
            }
        }
        Chosen::All if *scope == Scope::Everything => Ok(Selection::All),
        Chosen::All => {
            let agents = world.registry.agents();
            let agents = agents.filter(|one| scope.covers(owners.of(&Owned::Agent(one.name.clone()))));
            let offered = world.leases.all().map(|lease| &lease.capability);
            let offered = offered.filter(|name| scope.covers(owners.of(&Owned::Capability((*name).clone()))));
            Ok(Selection::Within {
                agents: agents.map(|agent| agent.id).collect(),
                capabilities: offered.cloned().collect(),
            })
        }
    }
}
