use super::lease_upstream::{LeaseUpstreams, revocations_at};
use crate::authn::AgentPrincipal;
use crate::base::limits::{LEASE_OVERDUE_S, PAGE_ENTRIES_MAX};
use crate::base::{LeaseId, Scope, Timestamp};
use crate::broker::caller_services::{AdminServices, AgentServices};
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::leases::{Ending, Lease, LeaseStage};
use crate::policy::{Authorised, ReadLeases};
use crate::registry::Owned;
use crate::telemetry::LeaseCounts;
use crate::upstream::{explained, stored_lease_driver};
use crate::wire::{LeaseAnswer, LeaseEndingAnswer, PageAnswer};

impl AdminServices {
    /// Up to `limit` leases within the operator's scope after `after`, also those whose revocation failed.
    #[must_use]
    pub fn leases(
        &self,
        by: &Authorised<ReadLeases>,
        after: Option<LeaseId>,
        limit: usize,
    ) -> PageAnswer<LeaseAnswer> {
        let (now, scope) = (self.0.state.clock.now(), by.operator().scope());
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
        self.0.state.store.read(|world, _| {
            let mut within = world.leases.after(after).filter(|lease| is_within(world, scope, lease));
            let items: Vec<_> =
                within.by_ref().take(limit).map(|lease| self.0.lease_answer(world, lease, now)).collect();
            let next_after = within.next().and_then(|_| items.last().map(|last| last.lease.to_string()));
            PageAnswer { items, next_after }
        })
    }
}

impl AgentServices {
    /// The leases of the caller's instance.
    #[must_use]
    pub fn own_leases(&self, principal: &AgentPrincipal) -> Vec<LeaseAnswer> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let own = world.leases.of_agent(principal.agent());
            let own = own.filter(|lease| lease.holder.instance == principal.instance());
            own.map(|lease| self.0.lease_answer(world, lease, now)).collect()
        })
    }
}

/// Whether an operator may see a lease: its capability or its agent is within the scope.
pub(super) fn is_within(world: &World, scope: &Scope, lease: &Lease) -> bool {
    let owners = world.registry.owners();
    *scope == Scope::Everything
        || scope.covers(owners.of(&Owned::Capability(lease.capability.clone())))
        || scope.covers(owners.of(&Owned::Agent(lease.holder.agent_name.clone())))
}

/// Whether an operator may forget a lease: its capability and its agent are within the scope.
pub(super) fn is_wholly_within(world: &World, scope: &Scope, lease: &Lease) -> bool {
    let owners = world.registry.owners();
    *scope == Scope::Everything
        || scope.covers(owners.of(&Owned::Capability(lease.capability.clone())))
            && scope.covers(owners.of(&Owned::Agent(lease.holder.agent_name.clone())))
}

/// The server of a login, as text.
pub(super) fn described(world: &World, lease: &Lease) -> String {
    let driver = stored_lease_driver(world.leases.upstream(lease.login.upstream).unwrap_or_default());
    driver.map_or_else(|_| "unreadable".to_owned(), |driver| driver.describe())
}

impl Services {
    fn lease_answer(&self, world: &World, lease: &Lease, now: Timestamp) -> LeaseAnswer {
        let ending = match &lease.stage {
            LeaseStage::Ending(ending) => Some(ending_of(ending, self.next_revocation(world, lease, now))),
            LeaseStage::Intended | LeaseStage::Live { .. } => None,
        };
        LeaseAnswer {
            lease: lease.id,
            agent: lease.holder.agent_name.clone(),
            instance: lease.holder.instance,
            capability: lease.capability.clone(),
            login: lease.login.name.clone(),
            upstream: described(world, lease),
            stage: lease.stage.as_str().into(),
            issued_at: lease.issued.at.to_string(),
            expires_at: lease.ends.expires_at.to_string(),
            renewable_until: lease.ends.renewable_until.to_string(),
            uses: lease.uses.len(),
            ending,
            overdue: is_overdue(lease, now),
        }
    }

    /// The earliest next attempt of a failed revocation: not before `now`, and not while its circuit is open.
    fn next_revocation(&self, world: &World, lease: &Lease, now: Timestamp) -> Timestamp {
        let place = LeaseUpstreams::of(world, lease).place().filter(|_| lease.is_failing());
        let circuit = place.and_then(|place| self.circuit(&revocations_at(&place))?.until);
        circuit.map_or(now, |until| until.max(now))
    }
}

fn ending_of(ending: &Ending, earliest: Timestamp) -> LeaseEndingAnswer {
    let trouble = ending.trouble.as_ref();
    LeaseEndingAnswer {
        why: ending.why.as_str().into(),
        since: ending.since.to_string(),
        failures: ending.failures,
        code: trouble.map(|trouble| trouble.code.clone()),
        upstream_code: trouble.and_then(|trouble| trouble.upstream.clone()),
        reason: trouble.and_then(|trouble| explained(&trouble.code, trouble.upstream.as_deref())),
        retry_at: trouble.map(|trouble| trouble.retry_at.max(earliest).to_string()),
    }
}

pub(super) fn is_overdue(lease: &Lease, now: Timestamp) -> bool {
    lease.was_to_end_at().plus_s(LEASE_OVERDUE_S) < now
}

/// The number of leases in each stage, for the metrics.
pub(in crate::broker) fn counts(world: &World, now: Timestamp) -> LeaseCounts {
    let mut counts = LeaseCounts::default();
    for lease in world.leases.all() {
        let count = match &lease.stage {
            LeaseStage::Intended => &mut counts.intended,
            LeaseStage::Live { .. } => &mut counts.live,
            LeaseStage::Ending(_) => &mut counts.ending,
        };
        *count = count.saturating_add(1);
        if is_overdue(lease, now) {
            counts.overdue = counts.overdue.saturating_add(1);
        }
    }
    counts
}
