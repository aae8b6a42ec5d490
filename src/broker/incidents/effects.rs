use std::net::IpAddr;
use std::sync::Arc;

use super::reach::Look;
use crate::authn::{Credential, live};
use crate::base::limits::{INCIDENT_NAMES_MAX, PAGE_ENTRIES_MAX, READINGS_LOOKED_AT_MAX};
use crate::base::{AgentName, Cancellation, CapabilityName, IncidentId, LeaseId, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::world::{World, records};
use crate::incidents::Incident;
use crate::leases::{Lease, LeaseEnded, LeaseRevocationFailed, LeaseStage};
use crate::ledger::Entry;
use crate::pki::{PeerCertificate, SpiffeId};
use crate::policy::{Authorised, ReadIncidents};
use crate::revocation::Subject;
use crate::store::Event;
use crate::wire::{
    ConnectionEffectsAnswer, FailedLeaseAnswer, IncidentEffectAnswer, IncidentEffectsAnswer,
    LeaseEffectsAnswer,
};

/// Objects that are read at a time, so that no request waits.
const PART: usize = 1000;

/// The parts of an entry about the end of a lease that matter here.
#[derive(serde::Deserialize)]
struct LeaseEvent {
    lease: LeaseId,
    agent: AgentName,
    capability: CapabilityName,
    code: Option<String>,
}

impl AdminServices {
    /// The effects of the incident's last containment: the ends of leases in the ledger entries after `after`, leases and
    /// connections that are not ended yet, and connections that this process has closed.
    ///
    /// # Errors
    /// [`Failure`] if no incident within the scope has this id, or if the ledger is damaged.
    pub fn incident_effects(
        &self,
        by: &Authorised<ReadIncidents>,
        id: IncidentId,
        after: Option<u64>,
        work: &Cancellation,
    ) -> Result<IncidentEffectsAnswer, Failure> {
        let services = &*self.0;
        let subjects = services.affected_subjects(by.operator(), id)?;
        let contained = services.state.store.read(|world, _| {
            let incidents = world.incidents();
            let parts = incidents.recorded_incident(id).into_iter().chain(incidents.unrecorded_of(id));
            parts.filter_map(|part| part.contained()).max_by_key(|step| step.at).cloned()
        });
        let head = services.state.store.head().seq;
        let Some(contained) = contained else {
            return Ok(IncidentEffectsAnswer { next_after: head, ..IncidentEffectsAnswer::default() });
        };
        let since = contained.at;
        let contains = services.state.store.read(|world, _| {
            let incidents = world.incidents();
            incidents.get(id).is_some_and(Incident::is_containing)
                || incidents.unrecorded_of(id).next().is_some()
        });
        // Before the entries: a lease that ends in between is in them.
        let leases = self.lease_effects(&subjects, contains, work)?;
        let connections = self.connection_effects(&subjects, since);
        let head = services.state.store.head().seq;
        let first = after.unwrap_or(contained.seq).max(contained.seq).saturating_add(1);
        let last = head.min(first.saturating_add(READINGS_LOOKED_AT_MAX));
        let (mut items, mut next) =
            (Vec::new(), if contained.seq == 0 { head.saturating_add(1) } else { first });
        while next <= last {
            work.step()?;
            let entries = services.state.store.entries(next, PAGE_ENTRIES_MAX)?;
            let Some(newest) = entries.last().map(|entry| entry.seq) else { break };
            services.state.store.read(|world, _| {
                let look = Look { world, subjects: &subjects, now: services.state.clock.now() };
                items.extend(entries.iter().filter_map(|entry| effect(&look, entry, since)));
            });
            next = newest.saturating_add(1);
        }
        let next_after = next.saturating_sub(1);
        let pending = leases.pending > 0 || connections.open > 0;
        Ok(IncidentEffectsAnswer { items, next_after, pending, leases, connections })
    }

    fn lease_effects(
        &self,
        subjects: &[Subject],
        contains: bool,
        work: &Cancellation,
    ) -> Result<LeaseEffectsAnswer, Failure> {
        let (store, now) = (&self.0.state.store, self.0.state.clock.now());
        let (mut answer, mut after) = (LeaseEffectsAnswer::default(), None);
        loop {
            work.step()?;
            after = store.read(|world, _| {
                let look = Look { world, subjects, now };
                let mut leases = world.leases.after(after);
                let mut last = None;
                for lease in leases.by_ref().take(PART) {
                    // After the lift, new leases are good.
                    if contains || matches!(lease.stage, LeaseStage::Ending(_)) {
                        count_lease(&look, lease, &mut answer);
                    }
                    last = Some(lease.id);
                }
                leases.next().and(last)
            });
            if after.is_none() {
                return Ok(answer);
            }
        }
    }

    fn connection_effects(&self, subjects: &[Subject], since: Timestamp) -> ConnectionEffectsAnswer {
        let (services, now) = (&*self.0, self.0.state.clock.now());
        let (open, closed) = (
            services.notifications.connections.open(),
            services.notifications.connections.closed_since(since),
        );
        let mut answer = ConnectionEffectsAnswer::default();
        for part in open.chunks(PART) {
            services.state.store.read(|world, _| {
                let look = Look { world, subjects, now };
                let refused = part.iter().filter(|(peer, _)| is_of(&look, peer, true));
                let count: usize = refused.map(|(_, count)| *count).sum();
                answer.open = answer.open.saturating_add(count);
            });
        }
        for part in closed.chunks(PART) {
            services.state.store.read(|world, _| {
                let look = Look { world, subjects, now };
                for one in part.iter().filter(|one| is_of(&look, &one.peer, false)) {
                    answer.closed = answer.closed.saturating_add(1);
                    answer.last_closed_ms = answer.last_closed_ms.max(Some(ms_between(since, one.at)));
                }
            });
        }
        answer
    }
}

/// The effect that an entry records, if it is one of the subjects.
fn effect(look: &Look<'_>, entry: &Entry, since: Timestamp) -> Option<IncidentEffectAnswer> {
    let what = match entry.kind {
        kind if kind == LeaseEnded::KIND => LeaseEnded::NAME,
        kind if kind == LeaseRevocationFailed::KIND => LeaseRevocationFailed::NAME,
        _ => return None,
    };
    let event: LeaseEvent = serde_json::from_slice(&entry.event).ok()?;
    let is_of_agent =
        || look.world.registry.agent_named(&event.agent).is_some_and(|agent| look.concerns(agent));
    if !look.subjects.contains(&Subject::Capability(event.capability.clone())) && !is_of_agent() {
        return None;
    }
    Some(IncidentEffectAnswer {
        seq: entry.seq,
        ms: ms_between(since, entry.time),
        what: what.into(),
        lease: event.lease,
        agent: event.agent,
        capability: event.capability,
        code: event.code,
    })
}

/// Counts a lease of the subjects whose login may still exist.
fn count_lease(look: &Look<'_>, lease: &Lease, answer: &mut LeaseEffectsAnswer) {
    let administering = crate::broker::leases::administering(look.world, lease);
    if !look.is_under(Credential::Lease { lease, administering: administering.as_ref() }) {
        return;
    }
    answer.pending = answer.pending.saturating_add(1);
    let LeaseStage::Ending(ending) = &lease.stage else { return };
    let Some(trouble) = ending.trouble.as_ref().filter(|_| answer.failed.len() < INCIDENT_NAMES_MAX) else {
        return;
    };
    let agent = look.world.registry.agent(lease.holder.agent).map(|agent| agent.name.clone());
    answer.failed.push(FailedLeaseAnswer {
        lease: lease.id,
        agent,
        capability: lease.capability.clone(),
        code: trouble.code.to_string(),
        failures: ending.failures,
    });
}

/// Whether the certificate of the connection is one of the subjects; with `only_refused`, if it is not accepted, too.
fn is_of(look: &Look<'_>, peer: &Arc<PeerCertificate>, only_refused: bool) -> bool {
    let (serial, from) = (peer.serial(), peer.from());
    let is_it = |credential: Credential<'_>| {
        look.is_under(credential) && !(only_refused && live(credential, records(look.world)).is_ok())
    };
    match peer.spiffe() {
        SpiffeId::Agent { name, .. } | SpiffeId::ResourceServer { name, .. } => {
            agent_is(look.world, name, serial.as_bytes(), from, is_it)
        }
        SpiffeId::Operator { name, .. } => {
            let operator = look.world.operators.named(name);
            let held = operator.and_then(|one| Some((one, one.certificate(serial.as_bytes())?)));
            held.is_some_and(|(operator, certificate)| {
                is_it(Credential::OperatorCertificate { operator, certificate, from })
            })
        }
    }
}

fn agent_is(
    world: &World,
    name: &AgentName,
    serial: &[u8; 16],
    from: Option<IpAddr>,
    is_it: impl Fn(Credential<'_>) -> bool,
) -> bool {
    let Some(agent) = world.registry.agent_named(name) else { return false };
    let instance = agent.instances.iter().find(|one| one.has_serial(serial));
    let Some(instance) = instance else { return false };
    let holding = instance.holdings().find(|one| one.serial == *serial).unwrap_or(&instance.current);
    is_it(Credential::Certificate { agent, instance, holding, from })
}

fn ms_between(since: Timestamp, at: Timestamp) -> u64 {
    u64::try_from(at.ms().saturating_sub(since.ms())).unwrap_or_default()
}
