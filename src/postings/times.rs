use roaring::RoaringBitmap;

use super::place::{BLOCK_ENTRIES, offset_of};
use crate::base::Timestamp;

/// A span of time; both ends belong to it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TimeSpan {
    /// Its beginning, if it has one.
    pub since: Option<Timestamp>,
    /// Its end, if it has one.
    pub until: Option<Timestamp>,
}

impl TimeSpan {
    /// Whether `time` is in it.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }

    fn is_unlimited(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }
}

/// The earliest and the latest time of each run of entries in a block. After an adjustment of the clock, times go back:
/// so a search for a time does not rely on their order.
#[derive(Clone, Debug)]
pub(super) struct BlockTimes(Vec<RunTimes>);

#[derive(Clone, Copy, Debug)]
struct RunTimes {
    earliest: i64,
    latest: i64,
}

const RUN_ENTRIES: usize = 256;
const RUNS: usize = BLOCK_ENTRIES / RUN_ENTRIES;
const RUN_BYTES: usize = 16;

impl BlockTimes {
    /// Bytes of the stored form.
    pub(super) const BYTES: usize = RUNS * RUN_BYTES;

    pub(super) fn new() -> Self {
        Self(vec![RunTimes { earliest: i64::MAX, latest: i64::MIN }; RUNS])
    }

    /// The entry at `offset` has this time.
    pub(super) fn note(&mut self, offset: u16, time: Timestamp) {
        if let Some(run) = self.0.get_mut(usize::from(offset) / RUN_ENTRIES) {
            run.earliest = run.earliest.min(time.ms());
            run.latest = run.latest.max(time.ms());
        }
    }

    /// Removes from `offsets` the runs that have no entry in `span`.
    pub(super) fn narrow(&self, offsets: &mut RoaringBitmap, span: &TimeSpan) {
        if span.is_unlimited() {
            return;
        }
        for (run, times) in self.0.iter().enumerate() {
            let is_before = span.since.is_some_and(|since| times.latest < since.ms());
            let is_after = span.until.is_some_and(|until| times.earliest > until.ms());
            if is_before || is_after {
                let first = run.saturating_mul(RUN_ENTRIES);
                let last = first.saturating_add(const { RUN_ENTRIES - 1 });
                offsets.remove_range(u32::from(offset_of(first as u64))..=u32::from(offset_of(last as u64)));
            }
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|run| [run.earliest, run.latest]).flat_map(i64::to_be_bytes).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let (runs, odd) = numbers.as_chunks::<2>();
        let run = |[earliest, latest]: &[[u8; 8]; 2]| RunTimes {
            earliest: i64::from_be_bytes(*earliest),
            latest: i64::from_be_bytes(*latest),
        };
        let is_whole = rest.is_empty() && odd.is_empty() && runs.len() == RUNS;
        is_whole.then(|| Self(runs.iter().map(run).collect()))
    }
}
