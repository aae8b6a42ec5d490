use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::denials::Note;
use crate::base::Clock;
use crate::base::limits::{SOURCE_NOTE_PAUSE_S, SOURCE_NOTED_CALLERS_MAX, SOURCE_NOTES_PER_CALLER_MAX};
use crate::base::peer_of;

/// Decides which denials get an entry if the address of the caller matters: one a minute for each caller and peer, so that
/// a misconfigured program hides nobody else who uses its certificate, and a limited number for each caller.
pub struct DenialsBySource<K> {
    clock: Arc<dyn Clock>,
    callers: Mutex<HashMap<K, Seen>>,
}

/// The denials of one caller.
#[derive(Debug, Default)]
struct Seen {
    /// The peers of the entries of the last minute, the oldest first.
    recorded: Vec<(Option<IpAddr>, Duration)>,
    /// Denials since the last entry that got none.
    unrecorded: u64,
}

impl<K: Hash + Eq + Clone> DenialsBySource<K> {
    /// No denials so far.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, callers: Mutex::new(HashMap::new()) }
    }

    /// The record of a further denial of `caller` at `from`, if its address is known.
    pub fn note(&self, caller: &K, from: Option<IpAddr>) -> Note {
        let now = self.clock.elapsed();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if !callers.contains_key(caller) && callers.len() >= SOURCE_NOTED_CALLERS_MAX {
            forget_oldest(&mut callers);
        }
        callers.entry(caller.clone()).or_default().note(from.map(peer_of), now)
    }
}

impl Seen {
    fn note(&mut self, peer: Option<IpAddr>, now: Duration) -> Note {
        let pause = Duration::from_secs(SOURCE_NOTE_PAUSE_S);
        self.recorded.retain(|(_, at)| now.saturating_sub(*at) < pause);
        let is_recorded = self.recorded.iter().any(|(known, _)| *known == peer);
        if is_recorded || self.recorded.len() >= SOURCE_NOTES_PER_CALLER_MAX {
            self.unrecorded = self.unrecorded.saturating_add(1);
            return Note::Count;
        }
        self.recorded.push((peer, now));
        Note::Record { unrecorded: std::mem::take(&mut self.unrecorded) }
    }
}

/// Forgets the caller whose last entry is the oldest.
fn forget_oldest<K: Hash + Eq + Clone>(callers: &mut HashMap<K, Seen>) {
    let last = |seen: &Seen| seen.recorded.last().map(|(_, at)| *at);
    let oldest = callers.iter().min_by_key(|(_, seen)| last(seen)).map(|(caller, _)| caller.clone());
    oldest.and_then(|oldest| callers.remove(&oldest));
}

impl<K> fmt::Debug for DenialsBySource<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DenialsBySource")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, Timestamp};

    const FIRST: Note = Note::Record { unrecorded: 0 };

    fn begun() -> (Arc<ManualClock>, DenialsBySource<usize>) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_s(1_000)));
        let denials = DenialsBySource::new(Arc::clone(&clock) as Arc<dyn Clock>);
        (clock, denials)
    }

    fn peer(last: usize) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, u8::try_from(last).unwrap()]))
    }

    #[test]
    fn one_peer_hides_no_other_peer_of_the_same_caller() {
        let (clock, denials) = begun();
        assert_eq!(denials.note(&1, peer(1)), FIRST);
        assert_eq!(denials.note(&1, peer(1)), Note::Count);
        assert_eq!(denials.note(&1, peer(2)), Note::Record { unrecorded: 1 });
        assert_eq!(denials.note(&1, None), FIRST);
        assert_eq!(denials.note(&2, peer(1)), FIRST, "another caller is another count");
        clock.advance_s(u32::try_from(SOURCE_NOTE_PAUSE_S).unwrap() - 1);
        assert_eq!(denials.note(&1, peer(1)), Note::Count);
        clock.advance_s(1);
        assert_eq!(denials.note(&1, peer(1)), Note::Record { unrecorded: 1 });
    }

    #[test]
    fn a_caller_has_a_limited_number_of_entries_a_minute() {
        let (clock, denials) = begun();
        for last in 0..SOURCE_NOTES_PER_CALLER_MAX {
            assert_eq!(denials.note(&1, peer(last)), FIRST);
        }
        assert_eq!(denials.note(&1, peer(SOURCE_NOTES_PER_CALLER_MAX)), Note::Count);
        clock.advance_s(u32::try_from(SOURCE_NOTE_PAUSE_S).unwrap());
        assert_eq!(denials.note(&1, peer(SOURCE_NOTES_PER_CALLER_MAX)), Note::Record { unrecorded: 1 });
    }

    #[test]
    fn the_caller_with_the_oldest_entry_is_forgotten_first() {
        let (clock, denials) = begun();
        assert_eq!(denials.note(&0, peer(1)), FIRST);
        clock.advance_s(1);
        for caller in 1..SOURCE_NOTED_CALLERS_MAX {
            assert_eq!(denials.note(&caller, peer(1)), FIRST);
        }
        assert_eq!(denials.note(&0, peer(1)), Note::Count, "all are known at the limit");
        assert_eq!(denials.note(&SOURCE_NOTED_CALLERS_MAX, peer(1)), FIRST);
        assert_eq!(denials.callers.lock().unwrap().len(), SOURCE_NOTED_CALLERS_MAX);
        assert_eq!(denials.note(&SOURCE_NOTED_CALLERS_MAX, peer(1)), Note::Count);
        assert_eq!(denials.note(&0, peer(1)), FIRST, "the oldest was forgotten");
    }
}
