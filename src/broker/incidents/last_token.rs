//! The time by which the tokens under a subject have expired.

use serde_json::Value;

use super::touched::own_term;
use crate::base::limits::{LEEWAY_S, READINGS_LOOKED_AT_MAX, TOKEN_LIFE_MAX_S};
use crate::base::{Cancellation, Timestamp};
use crate::broker::administration::entry_reads::TermSearch;
use crate::broker::administration::entry_terms::{EntryTerm, terms_of};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::incidents::IncidentSubject;
use crate::ledger::Entry;
use crate::postings::TimeSpan;
use crate::revocation::Subject;
use crate::store::Event;
use crate::token::TokenMinted;
use crate::wire::EntryField;

/// The time after which every token of before has expired.
const TOKENS_END_S: i64 = TOKEN_LIFE_MAX_S + LEEWAY_S;

impl Services {
    /// The time by which the tokens of before `contained` under `subjects` have expired: the end of the latest of them, if the
    /// entries of their issues name the subjects, else the latest possible end.
    ///
    /// # Errors
    /// [`Failure`] if the ledger is damaged there, or the work was cancelled.
    pub(super) fn tokens_expire_by(
        &self,
        subjects: &[(Subject, IncidentSubject)],
        contained: Timestamp,
        work: &Cancellation,
    ) -> Result<Timestamp, Failure> {
        let latest_possible = contained.plus_s(TOKENS_END_S);
        let own: Option<Vec<EntryTerm>> = subjects
            .iter()
            .map(|(subject, named)| {
                // An entry of an issue names no secret.
                own_term(subject, named).filter(|_| !matches!(subject, Subject::Secret(_)))
            })
            .collect();
        let Some(own) = own.filter(|own| !own.is_empty()) else { return Ok(latest_possible) };
        let kind = || vec![(EntryField::Kind, TokenMinted::NAME.to_owned())];
        let since = contained.plus_s(TOKENS_END_S.saturating_neg());
        let search = TermSearch {
            store: &self.state.store,
            any: own.iter().map(|term| vec![kind(), vec![term.clone()]]).collect(),
            from: 1,
            through: self.state.store.head().seq,
            times: TimeSpan { since: Some(since), until: None },
            most: READINGS_LOOKED_AT_MAX,
        };
        let mut last: Option<Timestamp> = None;
        let searched_from = search.run(work, |entries| {
            let minted =
                entries.iter().filter(|entry| entry.kind == TokenMinted::KIND && entry.time >= since);
            let theirs = minted.filter(|entry| terms_of(entry).iter().any(|term| own.contains(term)));
            last = last.max(theirs.filter_map(end_of).max());
            Ok(())
        })?;
        let is_whole = searched_from <= 1;
        Ok(last.map(|last| last.plus_s(LEEWAY_S)).filter(|_| is_whole).unwrap_or(latest_possible))
    }
}

/// The end of the token that the entry issued.
fn end_of(entry: &Entry) -> Option<Timestamp> {
    let event: Value = serde_json::from_slice(&entry.event).ok()?;
    Timestamp::parse(event.get("expires_at")?.as_str()?)
}
