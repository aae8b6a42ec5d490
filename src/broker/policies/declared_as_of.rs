//! Declarations of a past entry, made again from the state changes that the ledger holds.

use std::sync::Arc;

use crate::base::limits::PAST_DECLARATIONS_READ_MAX;
use crate::base::{Cancellation, Timestamp};
use crate::broker::administration::entry_reads::TermSearch;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::crypto::Digest;
use crate::ledger::{Entry, Kind};
use crate::postings::TimeSpan;
use crate::registry::{self, Declarations, DeclarationsApplied, DeclarationsNarrowed, Registry};
use crate::rules::Rules;
use crate::store::{At, Event as _};
use crate::wire::EntryField;

/// Capabilities, roles, policies, environments and groups of approvers as of an entry.
#[derive(Debug)]
pub(super) struct DeclaredAsOf {
    pub(super) declarations: Arc<Declarations>,
    pub(super) rules: Rules,
    /// The entry that made them so; 0 if nothing was declared.
    pub(super) seq: u64,
}

impl DeclaredAsOf {
    /// The hash of the policy snapshot.
    pub(super) fn snapshot(&self) -> Digest {
        self.rules.snapshot_with(self.declarations.snapshot())
    }
}

/// The entries that change declarations.
pub(in crate::broker) struct DeclaringEntries {
    pub(in crate::broker) from: u64,
    pub(in crate::broker) through: u64,
    /// Only entries until this time.
    pub(in crate::broker) until: Option<Timestamp>,
}

impl DeclaringEntries {
    const KINDS: [(Kind, &'static str); 2] = [
        (DeclarationsApplied::KIND, DeclarationsApplied::NAME),
        (DeclarationsNarrowed::KIND, DeclarationsNarrowed::NAME),
    ];

    /// Shows `take` the entries, newer ones mostly first. Gives the entry from which on the ledger was searched.
    pub(in crate::broker) fn each(
        self,
        services: &Services,
        work: &Cancellation,
        mut take: impl FnMut(&Entry) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let Self { from, through, until } = self;
        let kinds = Self::KINDS.map(|(_, name)| (EntryField::Kind, name.to_owned()));
        let search = TermSearch {
            store: &services.state.store,
            any: vec![vec![kinds.to_vec()]],
            from,
            through,
            times: TimeSpan { since: None, until },
            most: PAST_DECLARATIONS_READ_MAX,
        };
        let is_wanted = |entry: &&Entry| {
            Self::KINDS.iter().any(|(kind, _)| *kind == entry.kind)
                && until.is_none_or(|until| entry.time <= until)
        };
        search.run(work, |entries| {
            entries.iter().filter(is_wanted).try_for_each(|entry| {
                work.step()?;
                take(entry)
            })
        })
    }
}

impl Services {
    /// The declarations as of the entry `through`; `None` if more entries would have to be read than one request may.
    pub(super) fn declared_as_of(
        &self,
        through: u64,
        work: &Cancellation,
    ) -> Result<Option<DeclaredAsOf>, Failure> {
        let mut seqs = Vec::new();
        let searched_from = DeclaringEntries { from: 1, through, until: None }.each(self, work, |entry| {
            seqs.push(entry.seq);
            Ok(())
        })?;
        if searched_from > 1 {
            return Ok(None);
        }
        seqs.sort_unstable();
        let (mut registry, mut rules, mut last) = (Registry::default(), Rules::default(), 0);
        for seq in seqs {
            work.step()?;
            let entries = self.state.store.entries(seq, 1)?;
            let Some(entry) = entries.first().filter(|entry| entry.seq == seq) else { return Ok(None) };
            let at = At { seq, time: entry.time };
            for effect in &self.state.store.effects(entry)? {
                if let Effect::Registry(effect) = effect
                    && declares(effect)
                {
                    registry.apply(at, effect);
                } else if let Effect::Rules(effect) = effect {
                    rules.apply(effect);
                }
            }
            last = seq;
        }
        Ok(Some(DeclaredAsOf { declarations: Arc::clone(registry.declarations()), rules, seq: last }))
    }
}

/// Whether the state change is one of declarations. Each new state change has to be named here: one that is left out makes
/// the hash of past declarations another one.
const fn declares(effect: &registry::Effect) -> bool {
    use registry::Effect;
    match effect {
        Effect::Declare { .. }
        | Effect::Narrow(_)
        | Effect::Withdraw(_)
        | Effect::Place(_)
        | Effect::Redirect(_)
        | Effect::Parametrise(_) => true,
        Effect::PutAgent { .. }
        | Effect::RemoveAgent(_)
        | Effect::Enrol { .. }
        | Effect::RecordCertificate { .. }
        | Effect::Renew { .. }
        | Effect::RecordRenewed { .. }
        | Effect::Promote { .. }
        | Effect::IssueCode { .. }
        | Effect::Serve { .. }
        | Effect::Own { .. }
        | Effect::ReportCode(_)
        | Effect::EnrolledFrom { .. }
        | Effect::Reserve(_)
        | Effect::ActsFor { .. }
        | Effect::EndCodes(_)
        | Effect::ReadSensitive(_) => false,
    }
}
