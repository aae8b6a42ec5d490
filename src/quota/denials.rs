use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use super::limiter::Limiter;

/// The record of a denial.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Note {
    /// An entry of its own, which also tells of `unrecorded` earlier ones.
    Record {
        /// Denials of the same caller since its last entry that got none.
        unrecorded: u64,
    },
    /// Nothing now: it is counted, and told with the caller's next entry.
    Count,
}

/// Decides which denials get an entry, so that nobody fills the disk by being refused.
pub struct Denials<K: Hash + Eq + Clone> {
    limiter: Limiter<K>,
    unrecorded: Mutex<HashMap<K, u64>>,
}

impl<K: Hash + Eq + Clone> Denials<K> {
    /// Records at the rate of `limiter`.
    #[must_use]
    pub fn new(limiter: Limiter<K>) -> Self {
        Self { limiter, unrecorded: Mutex::new(HashMap::new()) }
    }

    /// The record of a further denial of `key`.
    pub fn note(&self, key: &K) -> Note {
        let admitted = self.limiter.admit(key).is_ok();
        let mut unrecorded = self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner);
        if admitted {
            Note::Record { unrecorded: unrecorded.remove(key).unwrap_or(0) }
        } else {
            let count = unrecorded.entry(key.clone()).or_insert(0);
            *count = count.saturating_add(1);
            Note::Count
        }
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Denials<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Denials")
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use super::super::limiter::Rate;
    use super::*;
    use crate::base::{Clock, ManualClock, Timestamp};

    #[test]
    fn denials_beyond_the_cap_are_counted_and_told_later() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_s(1_000)));
        let one = NonZeroU32::MIN;
        let limiter = Limiter::new(Rate { per_s: one, burst: one }, Arc::clone(&clock) as Arc<dyn Clock>);
        let denials = Denials::new(limiter);
        assert_eq!(denials.note(&1), Note::Record { unrecorded: 0 });
        assert_eq!(denials.note(&1), Note::Count);
        assert_eq!(denials.note(&1), Note::Count);
        clock.advance_s(1);
        assert_eq!(denials.note(&1), Note::Record { unrecorded: 2 });
    }
}
