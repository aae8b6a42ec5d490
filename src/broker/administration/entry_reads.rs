//! Reads the entries that the search index finds, and those of the ranges that it does not have.

use std::iter::Peekable;

use super::entry_terms::EntryTerm;
use crate::base::Cancellation;
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::ledger::{Entry, ReadError};
use crate::postings::{PostingQuery, SearchOrder, SearchPart, TimeSpan};
use crate::store::Store;

/// Entries that are read at a time.
pub(super) const READ_AT_ONCE: usize = 64;
/// A gap between two wanted entries that is read over: entries next to each other are read together.
const GAP_MAX: u64 = 32;

/// The entries that one request may still read.
#[derive(Debug)]
pub(super) struct ReadBudget(u64);

impl ReadBudget {
    pub(super) const fn new(entries: u64) -> Self {
        Self(entries)
    }

    /// The next of `seqs`, at most `most`, and no more than are left to be read. Entries in a gap between two of them are
    /// read too.
    pub(super) fn batch(&mut self, seqs: &mut Peekable<impl Iterator<Item = u64>>, most: usize) -> Vec<u64> {
        let mut batch: Vec<u64> = Vec::new();
        while batch.len() < most {
            let next = seqs.next_if(|next| {
                let gap = batch.last().map(|last| last.abs_diff(*next)).filter(|gap| *gap <= GAP_MAX);
                let left = self.0.checked_sub(gap.unwrap_or(1));
                left.inspect(|left| self.0 = *left).is_some()
            });
            let Some(next) = next else { break };
            batch.push(next);
        }
        batch
    }
}

/// A search of a range of the ledger, the newest entries first.
pub(crate) struct TermSearch<'a> {
    pub(crate) store: &'a Store<World>,
    /// The alternatives, each a list of groups: an entry has a term of each group of one of them.
    pub(crate) any: Vec<Vec<Vec<EntryTerm>>>,
    pub(crate) from: u64,
    pub(crate) through: u64,
    /// Entries of other times may be found too, but not many.
    pub(crate) times: TimeSpan,
    /// The most entries that are read.
    pub(crate) most: u64,
}

impl TermSearch<'_> {
    /// Shows `take` the entries that may be wanted, a page at a time: those that the index finds, and all entries of the
    /// ranges that it does not have. The newest ones come first, but not within some pages. Gives the entry from which on
    /// the range was searched.
    ///
    /// # Errors
    /// [`Failure`] of `take`, or if the ledger is damaged there, or the work was cancelled.
    pub(crate) fn run(
        self,
        work: &Cancellation,
        mut take: impl FnMut(&[Entry]) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let Self { store, any, from, through, times, most } = self;
        let postings = store.postings();
        let term = |(field, text): &EntryTerm| postings.term(field.as_str(), text);
        let terms = |group: &Vec<EntryTerm>| group.iter().map(term).collect();
        let any = any.iter().map(|groups| groups.iter().map(terms).collect()).collect();
        let order = SearchOrder::NewestFirst;
        let mut search = postings.search(PostingQuery { any, from, through, times, order });
        let mut budget = ReadBudget::new(most);
        while let Some(part) = search.next_part(work)? {
            let mut seqs = candidates(&part, order).peekable();
            while let Some(first) = seqs.peek().copied() {
                let batch = budget.batch(&mut seqs, READ_AT_ONCE);
                if batch.is_empty() {
                    return Ok(first.saturating_add(1));
                }
                work.step()?;
                each_page(store, &batch, |page| take(&page))?;
            }
        }
        Ok(search.position().map_or(from, |next| next.saturating_add(1)))
    }
}

/// The entries of `part` that may be wanted, in this order.
pub(super) fn candidates(part: &SearchPart, order: SearchOrder) -> Box<dyn Iterator<Item = u64> + '_> {
    match (&part.hits, order) {
        (Some(hits), _) => Box::new(hits.seqs()),
        (None, SearchOrder::NewestFirst) => Box::new((part.from..=part.through).rev()),
        (None, SearchOrder::OldestFirst) => Box::new(part.from..=part.through),
    }
}

/// The entries with these numbers, rising.
pub(super) fn read_entries(store: &Store<World>, seqs: &[u64]) -> Result<Vec<Entry>, ReadError> {
    let mut found = Vec::with_capacity(seqs.len());
    each_page(store, seqs, |page| {
        found.extend(page);
        Ok::<_, ReadError>(())
    })?;
    Ok(found)
}

/// Shows `take` the entries with these numbers, rising, of one page of the ledger after the other.
fn each_page<E: From<ReadError>>(
    store: &Store<World>,
    seqs: &[u64],
    mut take: impl FnMut(Vec<Entry>) -> Result<(), E>,
) -> Result<(), E> {
    let mut sorted = seqs.to_vec();
    sorted.sort_unstable();
    for run in sorted.chunk_by(|one, next| next.saturating_sub(*one) <= GAP_MAX) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let mut next = *first;
        while next <= *last {
            let wanted = usize::try_from(last.saturating_sub(next)).unwrap_or(usize::MAX).saturating_add(1);
            let mut page = store.entries(next, wanted)?;
            let Some(end) = page.last().map(|entry| entry.seq) else { break };
            page.retain(|entry| run.binary_search(&entry.seq).is_ok());
            take(page)?;
            next = end.saturating_add(1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::base::limits::{
        AUDIT_ENTRIES_READ_MAX, DECISION_ENTRIES_READ_MAX, EVIDENCE_RELATED_ENTRIES_READ_MAX,
        PAST_DECLARATIONS_READ_MAX, READINGS_LOOKED_AT_MAX, SIMULATED_ENTRIES_READ_MAX,
    };
    use crate::base::{Stopwatch, SystemClock, SystemEntropy, Timestamp};
    use crate::keyring::{Keyring, SlotKey};
    use crate::ledger::{Build, Kind};
    use crate::store::{Change, Event, LedgerPlace, OnLostEntries, StoreOptions};
    use crate::wire::EntryField;

    #[derive(serde::Serialize)]
    struct Noted {
        secret: &'static str,
    }

    impl Event for Noted {
        const KIND: Kind = Kind(9999);
        const NAME: &'static str = "test.noted";
    }

    fn store(directory: &Path) -> Store<World> {
        let slot = SlotKey::create_file(&directory.join("k"), &SystemEntropy).unwrap();
        let (path, slots) = (directory.join("keyring"), std::slice::from_ref(&slot));
        let ring = Keyring::create(&path, slots, Timestamp::from_s(1), &SystemEntropy).unwrap();
        let options = StoreOptions {
            data_dir: directory.to_owned(),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
            segment_bytes: 1 << 20,
            build: Build::Executable,
            place: LedgerPlace::Files,
            on_lost_entries: OnLostEntries::Refuse,
        };
        Store::open(&options, &ring).unwrap().0
    }

    /// The entries about the secret `wanted`, and where the search began, if 50 entries may be read.
    fn searched(store: &Store<World>) -> (Vec<u64>, u64) {
        let mut found = Vec::new();
        let search = TermSearch {
            store,
            any: vec![vec![vec![(EntryField::SecretName, "wanted".to_owned())]]],
            from: 1,
            through: store.head().seq,
            times: TimeSpan::default(),
            most: 50,
        };
        let since = search.run(&Cancellation::new(), |entries| {
            found.extend(entries.iter().filter(|one| one.event.contains(&b'w')).map(|one| one.seq));
            Ok(())
        });
        found.sort_unstable();
        (found, since.unwrap())
    }

    #[tokio::test]
    async fn the_index_lets_a_search_reach_the_first_entry() {
        // Given a ledger with more entries than may be read, of which a few are wanted
        for is_indexed in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            if !is_indexed {
                std::fs::write(directory.path().join("postings"), "in the way").unwrap();
            }
            let store = store(directory.path());
            for number in 1..=200 {
                let secret = if number % 100 == 1 { "wanted" } else { "other" };
                drop(store.commit(Change::new(&Noted { secret }).unwrap(), ()).await.unwrap());
            }
            let waited = Stopwatch::start();
            while is_indexed && store.postings().indexed_through() < 200 {
                assert!(waited.elapsed().as_secs() < 60, "the index does not follow");
                std::thread::yield_now();
            }
            // When they are searched, then the whole range is with the index, and otherwise its end alone
            let expected = if is_indexed { (vec![1, 101], 1) } else { (vec![], 151) };
            assert_eq!(searched(&store), expected);
        }
        const { assert!(READINGS_LOOKED_AT_MAX <= EVIDENCE_RELATED_ENTRIES_READ_MAX) };
    }

    #[test]
    fn so_many_entries_are_read_for_one_request() {
        for most in [
            AUDIT_ENTRIES_READ_MAX,
            DECISION_ENTRIES_READ_MAX,
            PAST_DECLARATIONS_READ_MAX,
            SIMULATED_ENTRIES_READ_MAX,
        ] {
            let mut budget = ReadBudget::new(most);
            let mut seqs = (1..=most + 1).peekable();
            let batches = std::iter::from_fn(|| Some(budget.batch(&mut seqs, READ_AT_ONCE)));
            let read: usize = batches.map(|batch| batch.len()).take_while(|size| *size > 0).sum();
            assert_eq!(read as u64, most);
            assert_eq!(seqs.next(), Some(most + 1), "one beyond it is left for the next page");
        }
    }

    #[test]
    fn entries_that_are_read_over_count_too() {
        let mut budget = ReadBudget(100);
        // Each 20th entry, and one far away: read alone.
        let mut seqs = [20, 40, 60, 80, 1000, 1020, 1040].into_iter().peekable();
        assert_eq!(budget.batch(&mut seqs, 64), [20, 40, 60, 80, 1000, 1020]);
        assert_eq!(budget.0, 100 - (1 + 3 * 20) - (1 + 20));
        assert_eq!((budget.batch(&mut seqs, 64).len(), seqs.peek()), (1, None), "a batch begins anew");
        let mut newest_first = [1040, 1020, 1000].into_iter().peekable();
        assert_eq!(ReadBudget(30).batch(&mut newest_first, 64), [1040, 1020]);
    }
}
