use std::sync::Arc;

use super::collect::{Wanted, collect};
use super::summary::timeline;
use crate::authn::OperatorPrincipal;
use crate::base::{AgentName, Cancellation, IncidentId, OperatorName, Timestamp, code};
use crate::broker::administration::events::event_name;
use crate::broker::administration::heavy::Priority;
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::ChangeRequest;
use crate::broker::failure::Failure;
use crate::broker::identity::revoke::unknown;
use crate::broker::incidents::views::{is_shown, sees_own_incidents};
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::evidence::{
    ArchiveError, BundleParts, EvidenceExported, EvidenceRecord, EvidenceScope, EvidenceSubject, bundle,
    verify,
};
use crate::ledger::Receipt;
use crate::policy::{Authorised, ExportEvidence};
use crate::registry::{DeletedName, Owned};
use crate::store::Change;

/// The subject and the range of a bundle.
#[derive(Clone, Debug)]
pub struct EvidenceQuery {
    /// The subject.
    pub subject: EvidenceOf,
    /// The beginning of the range.
    pub since: EvidenceSince,
    /// The end of the range; without it the entry that records the bundle.
    pub until: Option<Timestamp>,
}

/// The beginning of a bundle's range.
#[derive(Clone, Copy, Debug)]
pub enum EvidenceSince {
    /// The first entry.
    First,
    /// This time.
    Time(Timestamp),
    /// So many seconds ago.
    Last(u32),
}

/// The subjects whose entries are linked.
#[derive(Clone, Debug)]
pub enum EvidenceOf {
    /// An agent or a resource server, also a deleted one.
    Agent(AgentName),
    /// An operator, also a deleted one.
    Operator(OperatorName),
    /// An incident, with all subjects that it affects.
    Incident(IncidentId),
}

impl EvidenceOf {
    fn subject(&self) -> EvidenceSubject {
        let (kind, name) = match self {
            Self::Agent(name) => ("agent", name.to_string()),
            Self::Operator(name) => ("operator", name.to_string()),
            Self::Incident(id) => ("incident", id.to_string()),
        };
        EvidenceSubject { kind: kind.to_owned(), name }
    }

    /// # Errors
    /// [`Failure`] if no such subject exists or existed.
    fn is_known(&self, world: &World) -> Result<(), Failure> {
        let former = world.registry.former();
        match self {
            Self::Agent(name) => {
                let is_known = world.registry.agent_named(name).is_some()
                    || former.is_deleted(&DeletedName::Agent(name.clone()))
                    || former.knows(&Owned::Agent(name.clone()));
                if is_known { Ok(()) } else { Err(unknown()) }
            }
            Self::Operator(name) => {
                let is_known = world.operators.named(name).is_some()
                    || former.is_deleted(&DeletedName::Operator(name.clone()));
                if is_known { Ok(()) } else { Err(Failure::new(code::OPERATOR_UNKNOWN)) }
            }
            Self::Incident(id) => match world.incidents().recorded_incident(*id) {
                Some(_) => Ok(()),
                None => Err(Failure::new(code::INCIDENT_UNKNOWN)),
            },
        }
    }
}

impl EvidenceOf {
    /// # Errors
    /// [`Failure`] if the subject is the operator itself, or an incident about it that it may not see.
    fn is_shown_to(&self, world: &World, operator: &OperatorPrincipal) -> Result<(), Failure> {
        let is_oneself = matches!(self, Self::Operator(name) if name == operator.name());
        if is_oneself && !sees_own_incidents(operator) {
            return Err(Failure::new(code::EVIDENCE_ABOUT_ONESELF));
        }
        let Self::Incident(id) = self else { return Ok(()) };
        let incident = world.incidents().recorded_incident(*id);
        let is_shown = incident.is_some_and(|one| is_shown(world, operator, one));
        if is_shown { Ok(()) } else { Err(Failure::new(code::INCIDENT_UNKNOWN)) }
    }
}

impl AdminServices {
    /// A signed bundle of the entries about an agent, an operator or the subjects of an incident, with their proofs. Its own
    /// entry is the last one of the range.
    ///
    /// # Errors
    /// [`Failure`] if the subject never existed, the range has too many entries or steps of an incident about the operator
    /// itself, or the bundle cannot be recorded.
    pub async fn export_evidence(
        &self,
        by: &Authorised<ExportEvidence>,
        query: &EvidenceQuery,
    ) -> Result<Vec<u8>, Failure> {
        let heavy = self.heavy(by)?;
        let services = Arc::clone(&self.0);
        let (name, subject) = (by.operator().name().clone(), query.subject.subject());
        let (since, until) = query.range(services.state.clock.now())?;
        let request = ChangeRequest::by(by.operator(), None);
        let (known, preconditions) = services.state.read(|reading| {
            request.by.still_allowed(reading)?;
            query.subject.is_known(reading.unconditional())?;
            query.subject.is_shown_to(reading.unconditional(), by.operator())
        });
        known?;
        let until_text = until.map(|until| until.to_string());
        let incident = match &query.subject {
            EvidenceOf::Incident(id) => services.incident_evidence(*id),
            EvidenceOf::Agent(_) | EvidenceOf::Operator(_) => None,
        };
        let subjects = incident.as_ref().map(|incident| incident.subjects.clone()).unwrap_or_default();
        let event = EvidenceExported {
            by: &name,
            subject: &subject,
            subjects: &subjects,
            since: since.to_string(),
            until: until_text,
        };
        let mut change = request.attribute(Change::new(&event)?);
        if let Some(incident) = &incident {
            change = change.of_incident(incident.wanted.id);
        }
        let receipt: Receipt<()> = services.state.commit(change, preconditions, ()).await?;
        let recorded = receipt.seq();
        let links = std::iter::once(&subject).chain(&subjects).filter_map(EvidenceSubject::link).collect();
        let wanted = Wanted {
            links,
            incident: incident.as_ref().map(|incident| incident.wanted.clone()),
            since_ms: since.ms(),
            until_ms: until.map(Timestamp::ms),
            recorded,
            kept_from: (!sees_own_incidents(by.operator())).then(|| name.clone()),
        };
        let record = incident.map(|incident| incident.record);
        let scope = EvidenceScope {
            subject,
            incident: wanted.incident.as_ref().map(|incident| incident.id),
            subjects,
            since_ms: wanted.since_ms,
            until_ms: wanted.until_ms,
            through: recorded,
        };
        let made = heavy.run(Priority::Low, move |work| {
            services.evidence(scope, &wanted, record.as_ref(), name.as_str(), work)
        });
        made.await.map_err(|failure| not_made(failure, recorded))
    }
}

impl EvidenceQuery {
    /// # Errors
    /// [`Failure`] if the range contains no time before `now`.
    fn range(&self, now: Timestamp) -> Result<(Timestamp, Option<Timestamp>), Failure> {
        let since = match self.since {
            EvidenceSince::First => Timestamp::from_s(0),
            EvidenceSince::Time(time) => time,
            EvidenceSince::Last(seconds) => now.plus_s(i64::from(seconds).saturating_neg()),
        };
        let why = match self.until {
            _ if since > now => format!("it begins at {since}, and the broker's clock says {now}"),
            Some(until) if until >= now => format!("it ends at {until}, and the broker's clock says {now}"),
            Some(until) if until < since => format!("it begins at {since} and ends at {until}"),
            Some(_) | None => return Ok((since, self.until)),
        };
        Err(Failure::new(code::EVIDENCE_RANGE_EMPTY).because(why))
    }
}

/// The failure of a bundle whose entry is in the ledger.
fn not_made(failure: Failure, recorded: u64) -> Failure {
    if failure.code == code::HEAVY_TIMEOUT {
        return failure
            .because(format!(
                "the proofs were not finished within 20 seconds; ledger entry {recorded} records the attempt"
            ))
            .mended_by("repeat the command, which then reads less of the ledger, or name a shorter range");
    }
    if failure.code == code::EVIDENCE_TOO_LARGE {
        let fix = "make several bundles with `--since` and `--until`";
        let why = format!("{}; ledger entry {recorded} records the attempt", failure.why);
        return failure.because(why).mended_by(fix);
    }
    failure
}

impl Services {
    fn evidence(
        &self,
        scope: EvidenceScope,
        wanted: &Wanted,
        incident: Option<&serde_json::Value>,
        by: &str,
        work: &Cancellation,
    ) -> Result<Vec<u8>, Failure> {
        let internal = || Failure::new(code::INTERNAL);
        let store = &self.state.store;
        let collected = collect(store, wanted, work)?;
        let scope = EvidenceScope { through: collected.through, ..scope };
        let tree = store.tree();
        let seqs = collected.entries.iter().map(|one| one.entry.seq).collect();
        let paths = self.signing.proofs.prove(store, seqs, tree.size(), work)?;
        let records = collected.entries.iter().zip(&paths).map(|(one, path)| {
            EvidenceRecord::of(one.entry.clone(), one.place, event_name(one.entry.kind), path)
        });
        let records: Vec<EvidenceRecord> = records.collect::<Result<_, _>>().map_err(|_| internal())?;
        let timeline = timeline(&scope, &records, &collected, incident, by);
        let takeovers = self.signing.proofs.takeovers(tree.size());
        self.with_notary(|notary| {
            let parts = BundleParts {
                scope: &scope,
                records: &records,
                checkpoint: &notary.sign(&tree),
                takeovers: &takeovers,
                timeline: &timeline,
                incident,
            };
            let bytes = bundle(&parts, notary).map_err(|error| match error {
                ArchiveError::TooLarge => Failure::new(code::EVIDENCE_TOO_LARGE),
                ArchiveError::Form => internal(),
            })?;
            // As its receiver will: a broker that is being sealed signs nothing.
            verify(&bytes, notary.verifier()).map(|_| bytes).map_err(|_| internal())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_time_before_now() {
        let (now, at) = (Timestamp::from_s(1000), Timestamp::from_s);
        let range = |since, until| {
            let subject = EvidenceOf::Agent("a".parse().unwrap());
            EvidenceQuery { subject, since, until }.range(now).map_err(|refused| refused.code.as_str())
        };
        assert_eq!(range(EvidenceSince::First, None), Ok((at(0), None)));
        assert_eq!(range(EvidenceSince::Last(100), Some(at(950))), Ok((at(900), Some(at(950)))));
        assert_eq!(range(EvidenceSince::Time(now), None), Ok((now, None)));
        for (since, until) in [(1001, None), (0, Some(1000)), (500, Some(499))] {
            let refused = range(EvidenceSince::Time(at(since)), until.map(at));
            assert_eq!(refused, Err("evidence_range_empty"), "{since}, {until:?}");
        }
    }
}
