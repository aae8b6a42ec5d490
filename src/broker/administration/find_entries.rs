use std::time::Duration;

use serde_json::Value;

use super::entry_filter::EntryFilter;
use super::entry_reader::EntryReader;
use super::entry_reads::{READ_AT_ONCE, ReadBudget, candidates, read_entries};
use super::visible::VisibleEvent;
use crate::base::Cancellation;
use crate::base::limits::{AUDIT_ENTRIES_READ_MAX, HEAVY_WAIT_S, PAGE_BYTES_MAX};
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::ledger::Entry;
use crate::postings::{Hits, PostingQuery, Search, SearchOrder, SearchPart};
use crate::store::Store;

/// A wanted page of entries.
#[derive(Debug)]
pub(super) struct WantedPage {
    /// Only entries after this one.
    pub(super) after: u64,
    /// Only entries before this one.
    pub(super) before: u64,
    pub(super) limit: usize,
    pub(super) order: SearchOrder,
    pub(super) filter: EntryFilter,
}

/// An entry of the page, as its reader sees it.
pub(super) struct FoundEntry {
    pub(super) entry: Entry,
    pub(super) shown: VisibleEvent,
}

/// The entries of a page, and what is beyond it.
#[derive(Default)]
pub(super) struct FoundPage {
    pub(super) items: Vec<FoundEntry>,
    /// The entry after which, in the order of the page, the next one continues; none on the last page.
    pub(super) next: Option<u64>,
    pub(super) more: Further,
    bytes: usize,
}

/// Entries beyond the page.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Further {
    #[default]
    None,
    Exactly(u64),
    AtLeast(u64),
}

/// Time after which a page ends, whether it is full or not.
const PAGE_WAIT: Duration = Duration::from_secs(HEAVY_WAIT_S / 2);

/// A search for the entries of a page.
pub(super) struct EntrySearch<'a> {
    store: &'a Store<World>,
    wanted: &'a WantedPage,
    reader: EntryReader<'a>,
    work: &'a Cancellation,
    budget: ReadBudget,
    page: FoundPage,
}

/// Why the search goes on, or ends.
enum Taken {
    On,
    /// The page is full, and this entry would be on the next one.
    Full,
}

impl<'a> EntrySearch<'a> {
    pub(super) fn new(
        store: &'a Store<World>,
        wanted: &'a WantedPage,
        reader: EntryReader<'a>,
        work: &'a Cancellation,
    ) -> Self {
        Self {
            store,
            wanted,
            reader,
            work,
            budget: ReadBudget::new(AUDIT_ENTRIES_READ_MAX),
            page: FoundPage::default(),
        }
    }

    /// The page, from the entries up to `head`.
    ///
    /// # Errors
    /// [`Failure`] if the ledger is damaged there, or the work was cancelled.
    pub(super) fn run(mut self, head: u64) -> Result<FoundPage, Failure> {
        let postings = self.store.postings();
        let term = |(field, text): &(crate::wire::EntryField, String)| postings.term(field.as_str(), text);
        let groups = self.wanted.filter.groups();
        let mut search = postings.search(PostingQuery {
            any: vec![groups.iter().map(|group| group.iter().map(term).collect()).collect()],
            from: self.wanted.after.saturating_add(1),
            through: head.min(self.wanted.before.saturating_sub(1)),
            times: self.wanted.filter.times,
            order: self.wanted.order,
        });
        while let Some(part) = search.next_part(self.work)? {
            let mut seqs = candidates(&part, self.wanted.order).peekable();
            let mut taken: u64 = 0;
            while let Some(first) = seqs.peek().copied() {
                let batch = self.budget.batch(&mut seqs, self.batch());
                let Some(last) = batch.last().copied() else {
                    self.page.next = Some(self.before_in_order(first));
                    return Ok(self.page);
                };
                for entry in self.read(&batch)? {
                    if matches!(self.take(entry), Taken::Full) {
                        self.page.next = self.page.items.last().map(|item| item.entry.seq);
                        self.page.more = self.further(&part, taken, search)?;
                        return Ok(self.page);
                    }
                    taken = taken.saturating_add(1);
                }
                self.page.next = Some(last);
                // A page ends in time, so that the next one continues. Without progress it would be asked for again.
                if self.work.elapsed() >= PAGE_WAIT {
                    return Ok(self.page);
                }
            }
        }
        self.page.next = search.position().map(|next| self.before_in_order(next));
        Ok(self.page)
    }

    /// How many candidates are read next: no more than the page needs, if the index is right about them.
    fn batch(&self) -> usize {
        let missing = self.wanted.limit.saturating_sub(self.page.items.len()).saturating_add(1);
        missing.clamp(READ_AT_ONCE / 4, READ_AT_ONCE)
    }

    const fn before_in_order(&self, seq: u64) -> u64 {
        match self.wanted.order {
            SearchOrder::NewestFirst => seq.saturating_add(1),
            SearchOrder::OldestFirst => seq.saturating_sub(1),
        }
    }

    /// The entries with these numbers, in this order.
    fn read(&mut self, seqs: &[u64]) -> Result<Vec<Entry>, Failure> {
        self.work.step()?;
        let mut found = read_entries(self.store, seqs)?;
        if self.wanted.order == SearchOrder::NewestFirst {
            found.reverse();
        }
        Ok(found)
    }

    /// Puts `entry` on the page, if it is wanted and its reader sees it.
    fn take(&mut self, entry: Entry) -> Taken {
        if !self.wanted.filter.times.contains(entry.time) {
            return Taken::On;
        }
        let event: Value = serde_json::from_slice(&entry.event).unwrap_or_default();
        let shown = self.reader.shown(self.store, &entry, event);
        let Some(shown) = shown else { return Taken::On };
        // The filter is about what is shown: it does not tell what was removed.
        let with_world = |ask: &dyn Fn(&World) -> bool| self.store.read(|world, _| ask(world));
        if !self.wanted.filter.accepts(entry.kind, &shown.event, with_world) {
            return Taken::On;
        }
        if self.page.items.len() >= self.wanted.limit || self.page.bytes >= PAGE_BYTES_MAX {
            return Taken::Full;
        }
        self.page.bytes = self.page.bytes.saturating_add(entry.event.len());
        self.page.items.push(FoundEntry { entry, shown });
        Taken::On
    }

    /// The entries beyond a full page. `taken` candidates of its last part were on it or before it.
    fn further(&self, part: &SearchPart, taken: u64, mut search: Search<'_>) -> Result<Further, Failure> {
        let Some(last) = self.page.next else { return Ok(Further::AtLeast(1)) };
        if self.reader.sees_all() && self.wanted.filter.is_empty() {
            let (first, end) =
                (self.wanted.after, self.wanted.before.min(self.store.head().seq.saturating_add(1)));
            let count = match self.wanted.order {
                SearchOrder::NewestFirst => last.saturating_sub(first).saturating_sub(1),
                SearchOrder::OldestFirst => end.saturating_sub(last).saturating_sub(1),
            };
            return Ok(Further::Exactly(count));
        }
        if !self.reader.sees_all() || !self.wanted.filter.is_indexed_exactly() {
            return Ok(Further::AtLeast(1));
        }
        // The entry for which there was no room is one of the candidates that were not taken.
        let rest = |hits: &Hits| hits.count().saturating_sub(taken).max(1);
        let (mut count, mut is_exact) = part.hits.as_ref().map_or((1, false), |hits| (rest(hits), true));
        while let Some(part) = search.next_part(self.work)? {
            match &part.hits {
                Some(hits) => count = count.saturating_add(hits.count()),
                None => is_exact = false,
            }
        }
        let is_whole = is_exact && search.position().is_none();
        Ok(if is_whole { Further::Exactly(count) } else { Further::AtLeast(count) })
    }
}
