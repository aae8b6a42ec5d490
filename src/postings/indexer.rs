use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::block::Block;
use super::keys::Term;
use super::options::PostingsOptions;
use super::place::{block_of, last_of};
use super::search::{PostingQuery, Search};
use super::source::{PostedEntry, PostingSource};
use super::state::{self, Blocks};
use super::term_cache::TermCache;
use crate::base::{Stopwatch, Timestamp, ends_within, io_reason};
use crate::telemetry::wait_for_idle_processor;

/// The index and the thread that follows the ledger.
pub struct Postings {
    blocks: Arc<Blocks>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Entries that are read at a time.
const PAGE_ENTRIES: usize = 512;
/// Entries that are added while searches wait: the thread may lose its processor meanwhile.
const ADDED_AT_ONCE: usize = 32;
/// The thread rests for this many times as long as it worked, so that requests have the processor.
const REST: u32 = 3;
/// The same while the ledger grows fast: requests need the processor then, and the index catches up afterwards.
const BUSY_REST: u32 = 30;
/// Entries a second from which the ledger grows fast.
const BUSY_ENTRIES_PER_S: u128 = 2000;
const REST_MAX: Duration = Duration::from_millis(200);
/// The time between two looks at the ledger, when everything is indexed.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The time until the next try after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Longest wait for the end of the thread.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

impl Postings {
    /// Opens the index and starts its thread. If that is not possible, it finds nothing: its caller reads the ledger.
    #[must_use]
    pub fn start(options: PostingsOptions, source: Arc<dyn PostingSource>) -> Self {
        let blocks = Arc::new(Blocks::open(options, Arc::clone(&source)));
        let indexer = Indexer::new(Arc::clone(&blocks), source);
        let started = std::thread::Builder::new().name("postings".to_owned()).spawn(move || indexer.run());
        if let Err(error) = &started {
            tracing::warn!(reason = %io_reason(error), "the thread of the ledger's search index cannot be started: the broker reads the ledger instead");
            blocks.close();
        }
        Self { blocks, thread: Mutex::new(started.ok()) }
    }

    /// The term of `text` in the field called `field`. Once the keys were wiped, it is none that an entry has.
    #[must_use]
    pub fn term(&self, field: &str, text: &str) -> Term {
        self.blocks.keys.term(field, text).unwrap_or(Term::NONE)
    }

    /// Begins a search.
    #[must_use]
    pub fn search(&self, query: PostingQuery) -> Search<'_> {
        Search::new(&self.blocks, query)
    }

    /// The last entry up to which the index has every entry.
    #[must_use]
    pub fn indexed_through(&self) -> u64 {
        self.blocks.through()
    }

    /// Wipes the keys in place: it takes nothing any more, and finds nothing.
    pub fn forget_keys(&self) {
        self.blocks.forget_keys();
    }

    /// Ends the thread. What is in memory is read from the ledger by the next start.
    pub fn close(&self) {
        self.blocks.close();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if !ends_within(&thread, CLOSE_WAIT) {
            tracing::warn!("the ledger's search index could not be closed in time: the next start checks it");
        } else if thread.join().is_err() {
            tracing::error!("the thread of the ledger's search index had panicked");
        }
    }
}

impl Drop for Postings {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Postings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postings").field("through", &self.indexed_through()).finish_non_exhaustive()
    }
}

/// Removes the index in `dir`, because the ledger has lost entries: it is built again.
///
/// # Errors
/// The directory cannot be removed.
pub fn discard(dir: &Path) -> std::io::Result<()> {
    state::discard(dir)
}

/// Follows the ledger.
pub(super) struct Indexer {
    blocks: Arc<Blocks>,
    source: Arc<dyn PostingSource>,
    /// The earlier block that is being built.
    earlier: Option<Block>,
    /// The blocks that could not be built lately, and when they were tried.
    failed: BTreeMap<u64, Stopwatch>,
    terms: TermCache,
}

/// How fast the ledger grows.
struct Growth {
    /// The newest entry at the last look.
    head: u64,
    since: Stopwatch,
}

impl Growth {
    /// Whether the ledger grew fast since the last look.
    fn is_fast(&mut self, head: u64) -> bool {
        let entries = u128::from(head.saturating_sub(self.head)).saturating_mul(1000);
        let ms = self.since.elapsed().as_millis().max(1);
        *self = Self { head, since: Stopwatch::start() };
        entries > ms.saturating_mul(BUSY_ENTRIES_PER_S)
    }
}

/// Why a block could not be built.
#[derive(Debug)]
pub(super) struct BlockFailure {
    pub(super) block: u64,
    pub(super) reason: String,
}

/// Whether there was something to index.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Progress {
    Some,
    /// Everything is indexed.
    None,
}

impl Indexer {
    pub(super) fn new(blocks: Arc<Blocks>, source: Arc<dyn PostingSource>) -> Self {
        Self { blocks, source, earlier: None, failed: BTreeMap::new(), terms: TermCache::default() }
    }

    fn run(mut self) {
        wait_for_idle_processor();
        let mut reported = BTreeSet::new();
        let mut growth = Growth { head: self.source.head(), since: Stopwatch::start() };
        while self.blocks.is_open() {
            let work = Stopwatch::start();
            let advanced = self.advance();
            let rest = if growth.is_fast(self.source.head()) { BUSY_REST } else { REST };
            let pause = match advanced {
                Ok(Progress::Some) => work.elapsed().saturating_mul(rest).min(REST_MAX),
                Ok(Progress::None) => LOOK_EVERY,
                Err(BlockFailure { block, reason }) => {
                    if self.blocks.is_open() && reported.insert(block) {
                        tracing::warn!(block, %reason, "a block of the ledger's search index cannot be built now: the broker tries again every 30 seconds, and reads these entries in the ledger instead");
                    }
                    LOOK_EVERY
                }
            };
            self.blocks.pause(pause);
        }
    }

    /// Takes in a page of the newest entries, or of an earlier block that is missing. A block that cannot be built keeps no
    /// other one from being built.
    pub(super) fn advance(&mut self) -> Result<Progress, BlockFailure> {
        self.failed.retain(|_, tried| tried.elapsed() < RETRY_AFTER);
        let next = self.blocks.next();
        let newest = block_of(next);
        let (block, advanced) = if next <= self.source.head() && !self.failed.contains_key(&newest) {
            (newest, self.advance_newest(next))
        } else {
            let Some(missing) = self.blocks.newest_missing(|block| !self.failed.contains_key(&block)) else {
                self.earlier = None;
                return Ok(Progress::None);
            };
            (missing, self.advance_earlier(missing))
        };
        match advanced {
            Ok(()) => Ok(Progress::Some),
            Err(reason) => {
                self.failed.insert(block, Stopwatch::start());
                Err(BlockFailure { block, reason })
            }
        }
    }

    fn advance_newest(&mut self, next: u64) -> Result<(), String> {
        let page = self.page(next, last_of(block_of(next)))?;
        for part in page.chunks(ADDED_AT_ONCE) {
            if let Some(full) = self.blocks.add(|newest| add_page(newest, part)) {
                return self.blocks.write(&full);
            }
        }
        Ok(())
    }

    fn advance_earlier(&mut self, missing: u64) -> Result<(), String> {
        let begun = self.earlier.take().filter(|block| block.number == missing);
        let mut block = begun.unwrap_or_else(|| Block::new(missing));
        let page = self.page(block.next(), last_of(missing))?;
        add_page(&mut block, &page);
        if block.is_full() {
            return self.blocks.write(&block);
        }
        self.earlier = Some(block);
        Ok(())
    }

    /// Entries from `from` on, at most up to `last`, with their terms.
    fn page(&mut self, from: u64, last: u64) -> Result<Vec<(Timestamp, Vec<Term>)>, String> {
        let left = usize::try_from(last.saturating_sub(from)).unwrap_or(usize::MAX).saturating_add(1);
        let entries = self.source.read(from, left.min(PAGE_ENTRIES))?;
        if entries.is_empty() {
            return Err(format!("entry {from} is not there"));
        }
        let keys = &self.blocks.keys;
        let mut term = |(field, text): &(&'static str, String)| self.terms.term(keys, field, text);
        let posted = |entry: PostedEntry| {
            Some((entry.time, entry.terms.iter().map(&mut term).collect::<Option<_>>()?))
        };
        let page: Option<Vec<_>> = entries.into_iter().take(left).map(posted).collect();
        // A kept term needs no key.
        page.filter(|_| keys.are_kept()).ok_or_else(|| {
            self.terms.clear();
            "the keys were wiped".to_owned()
        })
    }
}

fn add_page(block: &mut Block, page: &[(Timestamp, Vec<Term>)]) {
    page.iter().for_each(|(time, terms)| block.add(*time, terms));
}
