use std::sync::Arc;

use super::collect::collect;
use super::summary::timeline;
use crate::base::{AgentName, Cancellation, OperatorName, Timestamp, code};
use crate::broker::administration::audit::event_name;
use crate::broker::administration::heavy::Priority;
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::ChangeRequest;
use crate::broker::failure::Failure;
use crate::broker::identity::operators::operator_unknown;
use crate::broker::identity::revoke::unknown;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::evidence::{
    ArchiveError, BundleParts, EvidenceExported, EvidenceRecord, EvidenceScope, EvidenceSubject, bundle,
};
use crate::ledger::Receipt;
use crate::policy::{Authorised, ExportEvidence};
use crate::registry::DeletedName;
use crate::store::Change;

/// The subject and the range of a bundle.
#[derive(Clone, Debug)]
pub struct EvidenceQuery {
    /// The subject.
    pub subject: EvidenceOf,
    /// The range.
    pub range: EvidenceRange,
}

/// The beginning of a bundle's range. It ends with the bundle.
#[derive(Clone, Copy, Debug)]
pub enum EvidenceRange {
    /// The first entry.
    All,
    /// The entries from this time on.
    Since(Timestamp),
    /// The entries of the last so many seconds.
    Last(u32),
}

/// The subjects whose entries are linked.
#[derive(Clone, Debug)]
pub enum EvidenceOf {
    /// An agent or a resource server, also a deleted one.
    Agent(AgentName),
    /// An operator, also a deleted one.
    Operator(OperatorName),
}

impl EvidenceOf {
    fn subject(&self) -> EvidenceSubject {
        let (kind, name) = match self {
            Self::Agent(name) => ("agent", name.to_string()),
            Self::Operator(name) => ("operator", name.to_string()),
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
                    || former.is_deleted(&DeletedName::Agent(name.clone()));
                if is_known { Ok(()) } else { Err(unknown()) }
            }
            Self::Operator(name) => {
                let is_known = world.operators.named(name).is_some()
                    || former.is_deleted(&DeletedName::Operator(name.clone()));
                if is_known { Ok(()) } else { Err(operator_unknown()) }
            }
        }
    }
}

impl AdminServices {
    /// A signed bundle of the entries about an agent or operator, with their proofs. Its own entry is the last one of the
    /// range.
    ///
    /// # Errors
    /// [`Failure`] if the subject never existed, the range has too many entries, or the bundle cannot be recorded.
    pub async fn export_evidence(
        &self,
        by: &Authorised<ExportEvidence>,
        query: &EvidenceQuery,
    ) -> Result<Vec<u8>, Failure> {
        let heavy = self.heavy(by)?;
        let services = Arc::clone(&self.0);
        let (name, subject) = (by.operator().name().clone(), query.subject.subject());
        let since = match query.range {
            EvidenceRange::All => Timestamp::from_s(0),
            EvidenceRange::Since(time) if time > services.state.clock.now() => {
                let why = format!("{time} is in the future for the broker");
                return Err(Failure::new(code::EVIDENCE_RANGE_EMPTY).because(why));
            }
            EvidenceRange::Since(time) => time,
            EvidenceRange::Last(seconds) => {
                services.state.clock.now().plus_s(i64::from(seconds).saturating_neg())
            }
        };
        let request = ChangeRequest::by(by.operator(), None);
        let (known, preconditions) = services.state.read(|reading| {
            request.by.still_allowed(reading)?;
            query.subject.is_known(reading.unconditional())
        });
        known?;
        let event = EvidenceExported { by: &name, subject: &subject, since: since.to_string() };
        let receipt: Receipt<()> = services.state.commit(Change::new(&event)?, preconditions, ()).await?;
        let scope = EvidenceScope { subject, incident: None, since_ms: since.ms(), through: receipt.seq() };
        let made = heavy.run(Priority::Low, move |work| services.evidence(&scope, name.as_str(), work)).await;
        made.map_err(|failure| {
            if failure.code != code::HEAVY_TIMEOUT {
                return failure;
            }
            failure
                .because("the ledger is long: the proofs were not finished within 20 seconds")
                .mended_by("repeat the command: it continues where this request stopped")
        })
    }
}

impl Services {
    fn evidence(&self, scope: &EvidenceScope, by: &str, work: &Cancellation) -> Result<Vec<u8>, Failure> {
        let store = &self.state.store;
        let link = scope.subject.link().ok_or(Failure::new(code::INTERNAL))?;
        let collected = collect(store, scope, &link, work)?;
        let tree = store.tree();
        let wanted = collected.entries.iter().map(|one| one.entry.seq).collect();
        let paths = self.signing.proofs.prove(store, wanted, tree.size(), work)?;
        let records = collected.entries.iter().zip(&paths).map(|(one, path)| {
            EvidenceRecord::of(one.entry.clone(), one.place, event_name(one.entry.kind), path)
        });
        let records: Vec<EvidenceRecord> =
            records.collect::<Result<_, _>>().map_err(|_| Failure::new(code::INTERNAL))?;
        let timeline = timeline(scope, &records, &collected, by);
        let takeovers = self.signing.proofs.takeovers(tree.size());
        self.with_notary(|notary| {
            let checkpoint = notary.sign(&tree);
            let parts = BundleParts {
                scope,
                records: &records,
                checkpoint: &checkpoint,
                takeovers: &takeovers,
                timeline: &timeline,
            };
            bundle(&parts, notary).map_err(|error| match error {
                ArchiveError::TooLarge => Failure::new(code::EVIDENCE_TOO_LARGE),
                ArchiveError::Form => Failure::new(code::INTERNAL),
            })
        })
    }
}
