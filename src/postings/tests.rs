use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::indexer::{Indexer, Postings, Progress, discard};
use super::keys::{PostingsKeys, Term};
use super::options::PostingsOptions;
use super::place::last_of;
use super::search::{PostingQuery, SEARCH_PARTS_MAX, Search, SearchOrder};
use super::source::{PostedEntry, PostingSource};
use super::state::Blocks;
use super::times::TimeSpan;
use crate::base::limits::POSTING_PAGES_KEPT_MAX;
use crate::base::{Cancellation, LedgerId, Sensitive, Stopwatch, SystemEntropy, Timestamp};
use crate::crypto::{Digest, KeyId, SEAL_OVERHEAD_BYTES, sha256};

/// Entries as `entry` makes them, up to `head`.
pub(super) struct Entries {
    pub(super) head: u64,
    pub(super) entry: fn(u64) -> PostedEntry,
}

impl PostingSource for Entries {
    fn head(&self) -> u64 {
        self.head
    }

    fn rule(&self) -> u16 {
        RULE
    }

    fn node(&self, seq: u64) -> Result<Digest, String> {
        Ok(sha256(&(self.entry)(seq).time.ms().to_be_bytes()))
    }

    fn read(&self, from: u64, max: usize) -> Result<Vec<PostedEntry>, String> {
        Ok((from..=self.head).take(max).map(self.entry).collect())
    }
}

/// One rare term, one of every entry, and one in a hundred.
fn few_terms(seq: u64) -> PostedEntry {
    let mut terms = vec![("kind", "all".to_owned())];
    if seq.is_multiple_of(100) {
        terms.push(("agent", format!("a-{}", seq % 3)));
    }
    if seq == RARE {
        terms.push(("secret", "rare".to_owned()));
    }
    PostedEntry { time: Timestamp::from_s(i64::try_from(seq).unwrap()), terms }
}

const RARE: u64 = 4242;
const RULE: u16 = 7;
const HEAD: u64 = 65_536 + 1000;

pub(super) struct Place {
    directory: tempfile::TempDir,
    pub(super) ledger: LedgerId,
    generation: u32,
}

impl Place {
    pub(super) fn new() -> Self {
        let ledger = LedgerId::mint(Timestamp::from_s(1), &SystemEntropy);
        Self { directory: tempfile::tempdir().unwrap(), ledger, generation: 1 }
    }

    fn dir(&self) -> PathBuf {
        self.directory.path().join("postings")
    }

    fn keys(&self) -> PostingsKeys {
        PostingsKeys::derive(
            KeyId { family: 3, generation: self.generation },
            &Sensitive::new([u8::try_from(self.generation).unwrap(); 32]),
        )
    }

    pub(super) fn open(&self, head: u64) -> Arc<Blocks> {
        self.open_about(Entries { head, entry: few_terms })
    }

    fn open_about(&self, entries: impl PostingSource + 'static) -> Arc<Blocks> {
        Arc::new(Blocks::open(self.options(), Arc::new(entries)))
    }

    fn options(&self) -> PostingsOptions {
        let (ledger, entropy) = (self.ledger, Arc::new(SystemEntropy));
        PostingsOptions { dir: self.dir(), ledger, keys: self.keys(), entropy }
    }

    /// An index of all entries of `few_terms`.
    fn indexed(&self) -> Arc<Blocks> {
        let blocks = self.open(HEAD);
        index(&blocks, Entries { head: HEAD, entry: few_terms });
        blocks
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(super) fn file(&self, block: u64) -> PathBuf {
        self.dir().join(format!("{block:012}.postings"))
    }
}

/// Indexes everything; the number of pages that it took.
pub(super) fn index(blocks: &Arc<Blocks>, entries: Entries) -> usize {
    let mut indexer = Indexer::new(Arc::clone(blocks), Arc::new(entries));
    let mut pages = 0_usize;
    while indexer.advance().unwrap() == Progress::Some {
        pages = pages.saturating_add(1);
    }
    pages
}

/// The found entries, newest first, and the entries that the index does not have.
fn found(blocks: &Blocks, field: &str, text: &str) -> (Vec<u64>, u64) {
    let query = PostingQuery {
        any: vec![vec![vec![blocks.keys.term(field, text).unwrap_or(Term::NONE)]]],
        from: 1,
        through: HEAD,
        times: TimeSpan::default(),
        order: SearchOrder::NewestFirst,
    };
    let (mut hits, mut unknown) = (Vec::new(), 0_u64);
    let mut search = Search::new(blocks, query);
    while let Some(part) = search.next_part(&Cancellation::new()).unwrap() {
        match part.hits {
            Some(found) => hits.extend(found.seqs()),
            None => {
                let entries = part.through.saturating_sub(part.from).saturating_add(1);
                unknown = unknown.saturating_add(entries);
            }
        }
    }
    (hits, unknown)
}

#[test]
fn entries_are_found_after_a_start_from_files() {
    let place = Place::new();
    drop(place.indexed());
    assert_eq!(place.files(), ["000000000000.postings"]);
    let blocks = place.open(HEAD);
    assert_eq!(
        found(&blocks, "secret", "rare"),
        (vec![RARE], HEAD - last_of(0)),
        "the newest block is not read yet"
    );
    let pages = index(&blocks, Entries { head: HEAD, entry: few_terms });
    assert_eq!(pages, 2, "only the newest block is read again");
    assert_eq!((found(&blocks, "secret", "rare"), blocks.through()), ((vec![RARE], 0), HEAD));
    let all: Vec<u64> = (1..=HEAD).rev().filter(|seq| seq % 300 == 100).collect();
    assert_eq!(found(&blocks, "agent", "a-1"), (all, 0));
    assert_eq!(found(&blocks, "agent", "nobody"), (vec![], 0));
    assert_eq!(found(&blocks, "secret", "all"), (vec![], 0), "a field is part of its term");
}

#[test]
fn a_file_that_was_not_finished_is_removed() {
    let place = Place::new();
    drop(place.indexed());
    let whole = fs::read(place.file(0)).unwrap();
    let unfinished = place.dir().join("000000000000.postings.new");
    for len in [0, 1, whole.len() / 2, whole.len()] {
        fs::remove_file(place.file(0)).unwrap();
        fs::write(&unfinished, &whole[..len]).unwrap();
        let blocks = place.open(HEAD);
        assert!(!unfinished.exists() && blocks.through() == 0, "{len} bytes");
        fs::write(place.file(0), &whole).unwrap();
    }
}

#[test]
fn a_damaged_file_is_moved_aside_and_built_again() {
    let place = Place::new();
    drop(place.indexed());
    let whole = fs::read(place.file(0)).unwrap();
    let mut bad = Vec::new();
    // A kill or a disk may leave any part of a file; an attacker may alter any byte.
    for len in (0..whole.len()).step_by(whole.len() / 40) {
        bad.push(whole[..len].to_vec());
    }
    for at in (0..whole.len()).step_by(whole.len() / 60).chain([0, 9, 30, 35, 70, 73]) {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        bad.push(altered);
    }
    bad.push([whole.as_slice(), b"more"].concat());
    // Between the last page and the directory, which has a line of 20 bytes
    let (pages, directory) = whole.split_at(whole.len() - 20 - SEAL_OVERHEAD_BYTES);
    bad.push([pages, b"more", directory].concat());
    for (case, bytes) in bad.iter().enumerate() {
        fs::write(place.file(0), bytes).unwrap();
        let blocks = place.open(HEAD);
        let terms =
            [("secret", "rare"), ("kind", "all"), ("agent", "a-0"), ("agent", "a-1"), ("agent", "a-2")];
        let noticed = terms.map(|(field, text)| found(&blocks, field, text).1 > HEAD - last_of(0));
        assert!(noticed.contains(&true), "case {case} of {}", bad.len());
        assert_eq!(blocks.newest_missing(|_| true), Some(0), "case {case}");
    }
    let blocks = place.open(HEAD);
    index(&blocks, Entries { head: HEAD, entry: few_terms });
    assert_eq!(found(&blocks, "secret", "rare"), (vec![RARE], 0));
    assert_eq!(place.files(), ["000000000000.broken", "000000000000.postings"]);
}

#[test]
fn a_file_of_another_block_or_ledger_is_noticed() {
    let (place, mut other) = (Place::new(), Place::new());
    drop(place.indexed());
    drop(other.indexed());
    let (own, foreign) = (fs::read(place.file(0)).unwrap(), fs::read(other.file(0)).unwrap());
    fs::write(place.file(0), &foreign).unwrap();
    assert_eq!(place.open(HEAD).newest_missing(|_| true), Some(0), "another ledger");
    // Its header says what it should say, but nothing opens.
    let renamed = [&own[..10], place.ledger.as_bytes(), &foreign[26..]].concat();
    fs::write(place.file(0), &renamed).unwrap();
    let blocks = place.open(HEAD);
    assert_eq!(found(&blocks, "secret", "rare"), (vec![], HEAD));
    fs::write(place.file(1), &own).unwrap();
    let blocks = place.open(HEAD + 65_536);
    assert_eq!(found(&blocks, "secret", "rare").0, Vec::<u64>::new(), "another block");
    assert_eq!(blocks.newest_missing(|_| true), Some(1));
    other.generation = 2;
    assert_eq!(other.open(HEAD).newest_missing(|_| true), Some(0), "a former index key");
    assert_eq!(other.files(), Vec::<String>::new(), "its holder could read the file: it is not kept");
}

/// Other entries with the same numbers.
fn other_history(seq: u64) -> PostedEntry {
    PostedEntry { time: few_terms(seq).time.plus_s(1), terms: vec![] }
}

#[test]
fn a_file_about_a_lost_history_is_noticed() {
    let place = Place::new();
    drop(place.indexed());
    let lost = Entries { head: HEAD, entry: other_history };
    let blocks = place.open_about(lost);
    assert_eq!(found(&blocks, "secret", "rare"), (vec![], HEAD));
    assert_eq!(blocks.newest_missing(|_| true), Some(0));
}

/// Entries that get terms by another rule, or cannot be read from one of them on.
struct Changed {
    rule: u16,
    unreadable_from: u64,
}

impl PostingSource for Changed {
    fn head(&self) -> u64 {
        HEAD
    }

    fn rule(&self) -> u16 {
        self.rule
    }

    fn node(&self, seq: u64) -> Result<Digest, String> {
        Entries { head: HEAD, entry: few_terms }.node(seq)
    }

    fn read(&self, from: u64, max: usize) -> Result<Vec<PostedEntry>, String> {
        if from >= self.unreadable_from {
            return Err("it is damaged".to_owned());
        }
        Entries { head: HEAD, entry: few_terms }.read(from, max)
    }
}

#[test]
fn files_by_another_rule_of_terms_are_built_again() {
    let place = Place::new();
    drop(place.indexed());
    let blocks = place.open_about(Changed { rule: RULE + 1, unreadable_from: u64::MAX });
    assert_eq!(blocks.newest_missing(|_| true), Some(0));
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn a_block_that_cannot_be_read_stops_no_other_one() {
    // Given a ledger whose newest entries cannot be read
    let place = Place::new();
    let source = || Changed { rule: RULE, unreadable_from: last_of(0) + 1 };
    let blocks = place.open_about(source());
    let mut indexer = Indexer::new(Arc::clone(&blocks), Arc::new(source()));
    // When the newest block fails
    assert_eq!(indexer.advance().unwrap_err().block, 1);
    // Then the one before is built, and the failed one is not tried again at once
    while indexer.advance().unwrap() == Progress::Some {}
    assert_eq!(found(&blocks, "secret", "rare"), (vec![RARE], HEAD - last_of(0)));
}

#[test]
fn keys_that_are_being_wiped_make_no_terms() {
    let keys = Place::new().keys();
    assert!(keys.term("kind", "all").is_some());
    keys.forget();
    assert!(keys.term("kind", "all").is_none());
}

#[test]
fn a_file_that_disappears_while_it_is_in_use_is_built_again() {
    let place = Place::new();
    let blocks = place.indexed();
    discard(&place.dir()).unwrap();
    assert_eq!(found(&blocks, "secret", "rare"), (vec![], last_of(0)));
    index(&blocks, Entries { head: HEAD, entry: few_terms });
    assert_eq!(found(&blocks, "secret", "rare"), (vec![RARE], 0));
}

#[test]
fn files_of_entries_that_there_are_not_are_removed() {
    let place = Place::new();
    drop(place.indexed());
    let blocks = place.open(1000);
    assert_eq!(place.files(), Vec::<String>::new());
    index(&blocks, Entries { head: 1000, entry: few_terms });
    assert_eq!(blocks.through(), 1000);
}

#[test]
fn no_file_shows_a_field_or_a_text() {
    let place = Place::new();
    drop(place.indexed());
    let bytes = fs::read(place.file(0)).unwrap();
    let term = *place.keys().term("secret", "rare").unwrap().as_bytes();
    for secret in [b"rare".as_slice(), b"secret", b"agent", &term] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[test]
fn wiped_keys_find_nothing_and_write_nothing() {
    let place = Place::new();
    let blocks = place.indexed();
    assert_eq!(found(&blocks, "secret", "rare").0, [RARE]);
    blocks.forget_keys();
    assert_eq!(found(&blocks, "secret", "rare"), (vec![], HEAD));
    fs::remove_file(place.file(0)).unwrap();
    let fresh = place.open(HEAD);
    fresh.keys.forget();
    let mut indexer = Indexer::new(Arc::clone(&fresh), Arc::new(Entries { head: HEAD, entry: few_terms }));
    while let Ok(progress) = indexer.advance() {
        assert_eq!(progress, Progress::Some, "it never says that everything is indexed");
    }
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn a_search_ends_when_it_is_cancelled_and_after_so_many_parts() {
    let place = Place::new();
    let blocks = place.open(1);
    let query = |through| PostingQuery {
        any: vec![vec![]],
        from: 1,
        through,
        times: TimeSpan::default(),
        order: SearchOrder::OldestFirst,
    };
    let mut search = Search::new(&blocks, query(u64::MAX));
    let parts = std::iter::from_fn(|| search.next_part(&Cancellation::new()).unwrap()).count();
    assert_eq!(parts as u64, SEARCH_PARTS_MAX);
    assert_eq!(search.position(), Some(SEARCH_PARTS_MAX << 16), "the next search continues there");
    assert!(Search::new(&blocks, query(9)).next_part(&Cancellation::after_steps(0)).is_err());
    assert_eq!(Search::new(&blocks, query(0)).position(), None, "an empty range");
    const { assert!(POSTING_PAGES_KEPT_MAX * (4 + 28 / 4) < 32 * 1024) };
}

#[test]
fn the_thread_follows_the_ledger_until_it_is_closed() {
    let place = Place::new();
    let entries = Arc::new(Entries { head: 700, entry: few_terms });
    let postings = Postings::start(place.options(), entries);
    let waited = Stopwatch::start();
    while postings.indexed_through() < 700 {
        assert!(waited.elapsed() < Duration::from_secs(60), "{postings:?}");
        std::thread::yield_now();
    }
    postings.close();
    postings.close();
}

#[test]
fn a_directory_that_cannot_be_used_leaves_the_ledger() {
    let place = Place::new();
    fs::write(place.dir(), "a file").unwrap();
    let blocks = place.open(HEAD);
    assert!(!blocks.is_open());
    assert_eq!(found(&blocks, "secret", "rare"), (vec![], HEAD));
}
