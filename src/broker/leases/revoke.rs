use std::collections::BTreeSet;

use super::views::is_within;
use crate::base::limits::LEASE_AGENTS_NAMED_MAX;
use crate::base::{AgentId, AgentName, CapabilityName, LeaseId, Scope, code};
use crate::broker::administration::near_names::{NamedKind, unknown_within};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeRequest, OperatorRequest};
use crate::broker::denial::MemoryRevocation;
use crate::broker::failure::Failure;
use crate::broker::removals::{Ended, Removal, RemovalOrder, Removed};
use crate::broker::services::Services;
use crate::broker::world::{Effect, World};
use crate::custody::{LeasesOf, RevocationOrder};
use crate::leases::{self, EndReason, LeaseSelection, LeaseStage, LeasesRevoked, keys};
use crate::ledger::Key;
use crate::policy::{Authorised, EndLeases};
use crate::registry::Owned;
use crate::store::Change;

/// The leases that an operator selects.
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

/// Leases that were revoked, or whose revocation is retried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeasesEnded {
    /// The state of the change.
    pub ended: Ended,
    /// Their number; unknown for a repeated request.
    pub count: Option<usize>,
}

/// Leases to revoke.
pub(in super::super) struct Selected {
    which: LeaseSelection,
    /// The selection of the operator.
    chosen: Option<Chosen>,
}

impl Selected {
    /// The leases of a stored order.
    pub(in super::super) const fn by_order(which: LeaseSelection) -> Self {
        Self { which, chosen: None }
    }
}

impl AdminServices {
    /// Revokes leases. After the entry, no login of them is returned or renewed. The logins are revoked at the
    /// upstreams at once, with retries until they succeed. A repeated request does no harm.
    ///
    /// # Errors
    /// [`Failure`], also if no object within the scope has this id or name.
    pub async fn end_leases(
        &self,
        by: &Authorised<EndLeases>,
        chosen: &Chosen,
        request: OperatorRequest<'_>,
    ) -> Result<LeasesEnded, Failure> {
        let operator = by.operator();
        let find = |world: &World| {
            let which = selection(world, operator.scope(), chosen)?;
            Ok(Selected { which, chosen: Some(chosen.clone()) })
        };
        let applied = self.0.revoke_leases(ChangeRequest::of(operator, request), &find).await?;
        let count = applied.count;
        Ok(LeasesEnded { ended: self.0.conclude(applied).await, count })
    }
}

impl Services {
    /// Revokes leases, and counts them. No upstream is called before the entry is durable.
    pub(in super::super) async fn revoke_leases(
        &self,
        request: ChangeRequest<'_>,
        find: &(dyn Fn(&World) -> Result<Selected, Failure> + Sync),
    ) -> Result<Removed, Failure> {
        // Without preconditions: a revocation is valid after every earlier entry.
        let removed = self.state.change_revoking(request, |reading| {
            let Selected { which, chosen } = find(reading.unconditional())?;
            let LeaseFacts { count, agents, withheld, order } =
                LeaseFacts::of(reading.unconditional(), &which);
            let (lease, agent, capability) = chosen.as_ref().map_or((None, None, None), named);
            let (by, why) = (request.by.name(), EndReason::Revoked);
            let event = LeasesRevoked { by, why: why.as_str(), lease, agent, agents, capability, count };
            let end = leases::Effect::End { which: which.clone(), why };
            Ok(Removal {
                change: Change::new(&event)?.effect(Effect::Lease(end)).urgent(),
                denial: Some(MemoryRevocation::leases(reading.now(), which, why, withheld)),
                order: RemovalOrder::Unconditional(Some(RevocationOrder::RevokeLeases(order))),
                count: Some(count),
            })
        });
        let applied = removed.await?;
        self.notifications.leases_changed();
        Ok(applied)
    }
}

/// Facts about leases that are about to be revoked.
struct LeaseFacts {
    /// The number of leases that are not ending already.
    count: usize,
    /// The agents of these.
    agents: Vec<AgentName>,
    /// The keys of changes that would return one of them.
    withheld: Vec<Key>,
    /// The order that ends them.
    order: LeasesOf,
}

impl LeaseFacts {
    fn of(world: &World, which: &LeaseSelection) -> Self {
        let selected: Vec<&leases::Lease> = world.leases.all().filter(|one| which.has(one)).collect();
        let open = selected.iter().copied().filter(|one| !matches!(one.stage, LeaseStage::Ending(_)));
        let open: Vec<&leases::Lease> = open.collect();
        let (count, agents) = (open.len(), agents_of(&open));
        let mut withheld: Vec<Key> = selected.iter().map(|lease| keys::lease(lease.id)).collect();
        let name = |agent: &AgentId| world.registry.agent(*agent).map(|agent| agent.name.clone());
        let order = match which {
            LeaseSelection::Each(ids) => LeasesOf::Each(ids.clone()),
            LeaseSelection::Agent(agent) => {
                withheld.push(keys::of_agent(*agent));
                let agents = name(agent).into_iter().collect();
                LeasesOf::Some { agents, capabilities: BTreeSet::new() }
            }
            LeaseSelection::Capability(capability) => {
                withheld.push(keys::offer(capability));
                LeasesOf::Some { agents: BTreeSet::new(), capabilities: [capability.clone()].into() }
            }
            LeaseSelection::All => {
                withheld = vec![keys::endings()];
                withheld.extend(world.leases.offers().map(|offer| keys::offer(&offer.capability)));
                LeasesOf::Everybody
            }
            LeaseSelection::Within { agents, capabilities } => {
                withheld.extend(agents.iter().map(|agent| keys::of_agent(*agent)));
                withheld.extend(capabilities.iter().map(keys::offer));
                let agents = agents.iter().filter_map(name).collect();
                LeasesOf::Some { agents, capabilities: capabilities.clone() }
            }
        };
        Self { count, agents, withheld, order }
    }
}

/// The agents that have `leases`: their histories are linked to the entry. Their number is limited, because the entry
/// has to fit into the ledger's reserve.
pub(super) fn agents_of(leases: &[&leases::Lease]) -> Vec<AgentName> {
    let names: BTreeSet<&AgentName> = leases.iter().map(|lease| &lease.holder.agent_name).collect();
    names.into_iter().take(LEASE_AGENTS_NAMED_MAX).cloned().collect()
}

/// The selection, as the event names it.
pub(super) const fn named(chosen: &Chosen) -> (Option<LeaseId>, Option<&AgentName>, Option<&CapabilityName>) {
    match chosen {
        Chosen::Lease(lease) => (Some(*lease), None, None),
        Chosen::Agent(agent) => (None, Some(agent), None),
        Chosen::Capability(capability) => (None, None, Some(capability)),
        Chosen::All => (None, None, None),
    }
}

/// The chosen leases within `scope`.
pub(super) fn selection(world: &World, scope: &Scope, chosen: &Chosen) -> Result<LeaseSelection, Failure> {
    let owners = world.registry.owners();
    match chosen {
        Chosen::Lease(id) => {
            let lease = world.leases.lease(*id).filter(|lease| is_within(world, scope, lease));
            let lease = lease.ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))?;
            Ok(LeaseSelection::Each([lease.id].into()))
        }
        Chosen::Agent(name) => {
            let agent = world.registry.agent_named(name);
            let agent = agent.filter(|_| scope.covers(owners.of(&Owned::Agent(name.clone()))));
            let unknown = || {
                let unknown = Failure::new(code::AGENT_UNKNOWN);
                unknown_within(unknown, world, scope, NamedKind::Agent, name.as_str())
            };
            Ok(LeaseSelection::Agent(agent.ok_or_else(unknown)?.id))
        }
        Chosen::Capability(name) => {
            let is_known = world.leases.offer(name).is_some()
                || world.leases.all().any(|lease| lease.capability == *name);
            if is_known && scope.covers(owners.of(&Owned::Capability(name.clone()))) {
                Ok(LeaseSelection::Capability(name.clone()))
            } else {
                let unknown = Failure::new(code::CAPABILITY_UNKNOWN);
                Err(unknown_within(unknown, world, scope, NamedKind::Capability, name.as_str()))
            }
        }
        Chosen::All if *scope == Scope::Everything => Ok(LeaseSelection::All),
        Chosen::All => {
            let agents = world.registry.agents();
            let agents = agents.filter(|one| scope.covers(owners.of(&Owned::Agent(one.name.clone()))));
            let offered = world.leases.all().map(|lease| &lease.capability);
            let offered = offered.filter(|name| scope.covers(owners.of(&Owned::Capability((*name).clone()))));
            Ok(LeaseSelection::Within {
                agents: agents.map(|agent| agent.id).collect(),
                capabilities: offered.cloned().collect(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::store::At;

    #[test]
    fn an_entry_names_so_many_agents_whose_leases_it_revokes() {
        let at = At { seq: 1, time: Timestamp::from_s(1_800_000_000) };
        for count in [LEASE_AGENTS_NAMED_MAX, LEASE_AGENTS_NAMED_MAX + 1] {
            let mut leases = leases::Leases::default();
            for i in 0..count {
                let mut intent = leases::tests::intended(at.time);
                intent.holder.agent_name = format!("agent-{i}").parse().unwrap();
                leases.apply(at, &leases::Effect::Intend(Box::new(intent)));
            }
            let all: Vec<&leases::Lease> = leases.all().collect();
            assert_eq!((all.len(), agents_of(&all).len()), (count, LEASE_AGENTS_NAMED_MAX));
        }
    }

    #[test]
    fn an_entry_names_no_agent_whose_leases_are_ending_already() {
        // Given the leases of two agents, one of which is ending
        let at = At { seq: 1, time: Timestamp::from_s(1_800_000_000) };
        let mut world = World::default();
        for name in ["ending", "open"] {
            let mut intent = leases::tests::intended(at.time);
            intent.holder.agent_name = name.parse().unwrap();
            let which = LeaseSelection::Each([intent.id].into());
            world.leases.apply(at, &leases::Effect::Intend(Box::new(intent)));
            if name == "ending" {
                world.leases.apply(at, &leases::Effect::End { which, why: EndReason::Revoked });
            }
        }
        // When all are revoked
        let facts = LeaseFacts::of(&world, &LeaseSelection::All);
        // Then the entry names the other agent alone
        let names: Vec<&str> = facts.agents.iter().map(AgentName::as_str).collect();
        assert_eq!((facts.count, names), (1, vec!["open"]));
    }
}
