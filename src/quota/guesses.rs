use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::limiter::{Limited, Limiter};
use crate::base::Clock;

/// Limits guesses: each question counts, or only a question that was answered with a hit. After too many, nothing is
/// compared for a while, so that an answer tells nothing.
pub struct Guesses<K: Hash + Eq + Clone> {
    limiter: Limiter<K>,
    clock: Arc<dyn Clock>,
    /// Until when nothing is compared for these keys.
    blocked: Mutex<HashMap<K, Duration>>,
}

impl<K: Hash + Eq + Clone> Guesses<K> {
    /// No guesses so far.
    #[must_use]
    pub fn new(limiter: Limiter<K>, clock: Arc<dyn Clock>) -> Self {
        Self { limiter, clock, blocked: Mutex::default() }
    }

    /// Counts a question of `key` with this number of guesses, at least one: all of them or none.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn ask(&self, key: &K, guesses: u32) -> Result<(), Limited> {
        self.limiter.admit_several(key, NonZeroU32::new(guesses).unwrap_or(NonZeroU32::MIN))
    }

    /// Whether a text of `key` may be compared.
    ///
    /// # Errors
    /// [`Limited`] after too many hits.
    pub fn may_compare(&self, key: &K) -> Result<(), Limited> {
        let now = self.clock.elapsed();
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.retain(|_, until| *until > now);
        match blocked.get(key) {
            Some(until) => Err(Limited { retry_after_s: until.saturating_sub(now).as_secs().max(1) }),
            None => Ok(()),
        }
    }

    /// Counts a hit of `key`.
    ///
    /// # Errors
    /// [`Limited`] if there are too many: then nothing is compared until that time.
    pub fn hit(&self, key: &K) -> Result<(), Limited> {
        let Err(limited) = self.ask(key, 1) else { return Ok(()) };
        let until = self.clock.elapsed().saturating_add(Duration::from_secs(limited.retry_after_s));
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), until);
        Err(limited)
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Guesses<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guesses")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, Timestamp};

    #[test]
    fn nothing_is_compared_after_too_many_hits() {
        let (clock, two) = (Arc::new(ManualClock::new(Timestamp::from_s(1))), NonZeroU32::new(2).unwrap());
        let limiter = Limiter::per_minute(two, two, Arc::clone(&clock) as Arc<dyn Clock>);
        let guesses = Guesses::new(limiter, Arc::clone(&clock) as Arc<dyn Clock>);
        assert!(guesses.hit(&1).is_ok() && guesses.hit(&1).is_ok());
        assert!(guesses.may_compare(&1).is_ok(), "the next one may be a text like any other");
        let limited = guesses.hit(&1).unwrap_err();
        assert!(guesses.may_compare(&1).is_err() && guesses.may_compare(&2).is_ok());
        clock.advance_s(u32::try_from(limited.retry_after_s).unwrap());
        assert!(guesses.may_compare(&1).is_ok());
    }

    #[test]
    fn several_guesses_of_a_question_count_together() {
        let (clock, two) = (Arc::new(ManualClock::new(Timestamp::from_s(1))), NonZeroU32::new(2).unwrap());
        let limiter = Limiter::per_minute(two, two, Arc::clone(&clock) as Arc<dyn Clock>);
        let guesses = Guesses::new(limiter, Arc::clone(&clock) as Arc<dyn Clock>);
        assert!(guesses.ask(&1, 1).is_ok() && guesses.ask(&1, 2).is_err(), "only one is left");
        assert!(guesses.ask(&1, 1).is_ok() && guesses.ask(&1, 1).is_err(), "the refused ones did not count");
        assert!(guesses.ask(&2, 3).is_err(), "more than at once");
    }
}
