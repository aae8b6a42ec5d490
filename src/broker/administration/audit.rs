use serde_json::Value;

use super::entry_filter::EntryFilter;
use super::entry_reader::EntryReader;
use super::entry_terms::{EntryTerm, event_terms};
use super::events::{event_name, outcome_of};
use super::find_entries::{EntrySearch, FoundEntry, Further, WantedPage};
use crate::authn::OperatorPrincipal;
use crate::base::encoding::hex;
use crate::base::limits::PAGE_ENTRIES_MAX;
use crate::base::{Cancellation, Scope, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::ledger::{Entry, Key};
use crate::policy::{Authorised, ReadLedger};
use crate::postings::SearchOrder;
use crate::wire::{
    EntriesAnswer, EntriesQuery, EntryAnswer, EntryDetailsAnswer, EntryField, EntryLink, EntryOrder,
    MoreEntries,
};

impl AdminServices {
    /// The page of entries that `query` wants and the operator may see: all with the scope `all`, otherwise those that
    /// concern objects of the operator's owner or the operator. Only admins and security operators with the scope `all` see
    /// steps of incidents about themselves. A page may be empty, and not be the last one.
    ///
    /// # Errors
    /// [`Failure`] if no entry can have a text of the filter, or the ledger is damaged there.
    pub fn entries(
        &self,
        by: &Authorised<ReadLedger>,
        query: &EntriesQuery,
        work: &Cancellation,
    ) -> Result<EntriesAnswer, Failure> {
        let page = self.entries_for(by.operator(), query, work)?;
        Ok(EntriesAnswer { unknown: self.unknown_names(by.operator().scope(), &query.filter), ..page })
    }

    /// The same for a request with another right.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn entries_for(
        &self,
        operator: &OperatorPrincipal,
        query: &EntriesQuery,
        work: &Cancellation,
    ) -> Result<EntriesAnswer, Failure> {
        let state = &self.0.state;
        let filter = EntryFilter::check(&query.filter, state.clock.now())?;
        let filter = match operator.scope() {
            Scope::Everything => Some(filter),
            Scope::Owner(owner) => state.store.read(|world, _| filter.within(world, owner)),
        };
        let Some(filter) = filter else { return Ok(nothing(query)) };
        let wanted = WantedPage {
            after: query.after.unwrap_or(0),
            before: query.before.unwrap_or(u64::MAX),
            limit: query.limit.unwrap_or(PAGE_ENTRIES_MAX).clamp(1, PAGE_ENTRIES_MAX),
            order: match query.order {
                EntryOrder::Newest => SearchOrder::NewestFirst,
                EntryOrder::Oldest => SearchOrder::OldestFirst,
            },
            filter,
        };
        let reader = EntryReader::new(operator);
        // First: an entry that comes while they are read does not make a page of all that there is one of several.
        let head = state.store.head().seq;
        let found = EntrySearch::new(&state.store, &wanted, reader, work).run(head)?;
        let items: Vec<EntryAnswer> = found.items.into_iter().map(answer).collect();
        let (next_after, next_before) = match query.order {
            EntryOrder::Oldest => (found.next, None),
            EntryOrder::Newest => (None, found.next),
        };
        // The number of other owners' entries is nothing that the operator is told.
        let is_bound = reader.owner().is_some();
        Ok(EntriesAnswer {
            head: if is_bound { items.last().map_or(wanted.after, |item| item.seq) } else { head },
            more: further(found.more).filter(|_| !is_bound),
            indexed_through: (!is_bound).then(|| state.store.postings().indexed_through().min(head)),
            items,
            next_after,
            next_before,
            unknown: Vec::new(),
        })
    }
}

impl AdminServices {
    /// The entry `seq`, with the entries before it of the agents and operators that it names.
    ///
    /// # Errors
    /// [`Failure`] if there is no such entry, or none that the operator may see.
    pub fn entry(&self, by: &Authorised<ReadLedger>, seq: u64) -> Result<EntryDetailsAnswer, Failure> {
        let store = &self.0.state.store;
        let found = store.entries(seq, 1)?.into_iter().find(|entry| entry.seq == seq);
        let entry = found.ok_or_else(|| Failure::new(code::ENTRY_UNKNOWN))?;
        let event: Value = serde_json::from_slice(&entry.event).unwrap_or_default();
        let shown = EntryReader::new(by.operator()).shown(store, &entry, event);
        let shown = shown.ok_or_else(|| Failure::new(code::ENTRY_UNKNOWN))?;
        Ok(EntryDetailsAnswer {
            outcome: outcome_of(entry.kind).map(|outcome| outcome.as_str().into()),
            incident: entry.cause.incident.map(|incident| incident.to_string()),
            links: links(&entry, &shown.event),
            entry: answer(FoundEntry { entry, shown }),
        })
    }
}

impl AdminServices {
    /// Whether the operator sees the whole event of `entry`.
    pub(in crate::broker) fn shows_whole(&self, operator: &OperatorPrincipal, entry: &Entry) -> bool {
        let event: Value = serde_json::from_slice(&entry.event).unwrap_or_default();
        let shown = EntryReader::new(operator).shown(&self.0.state.store, entry, event);
        shown.is_some_and(|shown| !shown.is_redacted)
    }
}

/// A page without entries: those that the filter wants are not shown to the operator.
fn nothing(query: &EntriesQuery) -> EntriesAnswer {
    let head = query.after.unwrap_or(0);
    EntriesAnswer {
        items: Vec::new(),
        next_after: None,
        next_before: None,
        head,
        more: None,
        indexed_through: None,
        unknown: Vec::new(),
    }
}

/// The links of `entry` to earlier entries of the agents and operators that the shown `event` names.
fn links(entry: &Entry, event: &Value) -> Vec<EntryLink> {
    let link = |(field, name): EntryTerm| {
        let kind =
            [EntryField::Agent, EntryField::Operator].into_iter().find(|kind| *kind == field)?.as_str();
        // As in `store::concerns`.
        let subject = Key::of(kind, name.as_bytes());
        let link = entry.chain.links.iter().find(|link| link.subject == subject)?;
        Some(EntryLink { kind: kind.into(), name, previous: Some(link.previous).filter(|seq| *seq > 0) })
    };
    event_terms(event).into_iter().filter_map(link).collect()
}

const fn further(further: Further) -> Option<MoreEntries> {
    match further {
        Further::None => None,
        Further::Exactly(count) => Some(MoreEntries { count, exact: true }),
        Further::AtLeast(count) => Some(MoreEntries { count, exact: false }),
    }
}

fn answer(FoundEntry { entry, shown }: FoundEntry) -> EntryAnswer {
    EntryAnswer {
        seq: entry.seq,
        time: entry.time.to_string(),
        kind: event_name(entry.kind).into(),
        leaf: hex(&entry.leaf()),
        event: shown.event,
        redacted: shown.is_redacted,
        actor_hidden: shown.hides_actor,
        // A reason may name what was removed from the event.
        reason: entry.cause.reason.filter(|_| !shown.is_redacted).map(|reason| reason.to_string()),
    }
}
