use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use super::search::{PostingQuery, Search, SearchOrder};
use super::source::PostedEntry;
use super::state::Blocks;
use super::tests::{Entries, Place, index};
use super::times::TimeSpan;
use crate::base::{Cancellation, Timestamp};

const HEAD: u64 = 2 * 65_536 + 5000;

/// Every entry has a kind; many have an agent; one in seven has two capabilities. The clock went back once.
fn entry(seq: u64) -> PostedEntry {
    let mixed = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let mut terms = vec![("kind", (mixed % 4).to_string())];
    if !mixed.is_multiple_of(3) {
        terms.push(("agent", (mixed % 50).to_string()));
    }
    if mixed.is_multiple_of(7) {
        terms.extend([("capability", (mixed % 11).to_string()), ("capability", (mixed % 13).to_string())]);
    }
    let seconds = if seq < 100_000 { seq } else { seq.saturating_sub(40_000) };
    PostedEntry { time: Timestamp::from_s(i64::try_from(seconds).unwrap()), terms }
}

/// Block 0 in a file, block 1 not indexed, the newest block in memory.
fn blocks() -> &'static Blocks {
    static BLOCKS: OnceLock<(Place, Arc<Blocks>)> = OnceLock::new();
    let (_, blocks) = BLOCKS.get_or_init(|| {
        let place = Place::new();
        let whole = place.open(HEAD);
        index(&whole, Entries { head: HEAD, entry });
        std::fs::remove_file(place.file(1)).unwrap();
        drop(whole);
        let blocks = place.open(HEAD);
        // One page for each 512 entries of the newest block: the missing block would come after.
        let mut indexer =
            super::indexer::Indexer::new(Arc::clone(&blocks), Arc::new(Entries { head: HEAD, entry }));
        while blocks.next() <= HEAD {
            indexer.advance().unwrap();
        }
        (place, blocks)
    });
    blocks
}

type Filter = (&'static str, Vec<u64>);

fn filters() -> impl Strategy<Value = Vec<Filter>> {
    let filter = |field: &'static str, values: u64| {
        prop::collection::vec(0..values, 1..3).prop_map(move |texts| (field, texts))
    };
    let some = |field, values| prop::option::of(filter(field, values));
    (some("kind", 5), some("agent", 60), some("capability", 14))
        .prop_map(|(kind, agent, capability)| [kind, agent, capability].into_iter().flatten().collect())
}

fn is_wanted(seq: u64, filters: &[Filter], times: &TimeSpan) -> bool {
    let entry = entry(seq);
    let has = |field: &str, texts: &[u64]| {
        texts.iter().any(|text| {
            entry.terms.contains(&(
                if field == "kind" {
                    "kind"
                } else if field == "agent" {
                    "agent"
                } else {
                    "capability"
                },
                text.to_string(),
            ))
        })
    };
    times.contains(entry.time) && filters.iter().all(|(field, texts)| has(field, texts))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_search_finds_what_a_naive_filter_finds(
        any in prop::collection::vec(filters(), 1..3), ends in (0..HEAD + 10, 0..HEAD + 10), newest_first: bool,
        span in (prop::option::of(0..140_000_i64), prop::option::of(0..140_000_i64)),
    ) {
        let blocks = blocks();
        let (from, through) = (ends.0.min(ends.1).max(1), ends.0.max(ends.1));
        let times = TimeSpan { since: span.0.map(Timestamp::from_s), until: span.1.map(Timestamp::from_s) };
        let order = if newest_first { SearchOrder::NewestFirst } else { SearchOrder::OldestFirst };
        let group = |(field, texts): &Filter| texts.iter().filter_map(|text| blocks.keys.term(field, &text.to_string())).collect();
        let query = any.iter().map(|filters| filters.iter().map(group).collect()).collect();
        let is_wanted = |seq: u64| any.iter().any(|filters| is_wanted(seq, filters, &times));
        let mut search = Search::new(blocks, PostingQuery { any: query, from, through, times, order });
        let (mut found, mut covered) = (Vec::new(), Vec::new());
        while let Some(part) = search.next_part(&Cancellation::new()).unwrap() {
            covered.push((part.from, part.through));
            match part.hits {
                Some(hits) => {
                    let seqs: Vec<u64> = hits.seqs().collect();
                    prop_assert_eq!(seqs.len() as u64, hits.count());
                    prop_assert!(seqs.iter().all(|seq| (part.from..=part.through).contains(seq)));
                    // Runs that have a wanted time are found as a whole.
                    found.extend(seqs.into_iter().filter(|seq| times.contains(entry(*seq).time)));
                }
                None => {
                    prop_assert!(part.through > HEAD || part.from >> 16 == 1, "{} is indexed", part.from);
                    let unknown: Box<dyn Iterator<Item = u64>> =
                        if newest_first { Box::new((part.from..=part.through).rev()) } else { Box::new(part.from..=part.through) };
                    found.extend(unknown.filter(|seq| *seq <= HEAD && is_wanted(*seq)));
                }
            }
        }
        let mut naive: Vec<u64> = (from..=through.min(HEAD)).filter(|seq| is_wanted(*seq)).collect();
        if newest_first {
            naive.reverse();
            covered.reverse();
        }
        prop_assert_eq!(found, naive);
        let mut next = from;
        for (first, last) in covered {
            prop_assert_eq!(first, next);
            next = last.saturating_add(1);
        }
        prop_assert_eq!(next, through.max(from.saturating_sub(1)).saturating_add(1));
    }
}
