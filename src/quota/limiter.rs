use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::base::Clock;

/// How often: `per_s` times a second in the long run, `burst` times at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// Times a second in the long run.
    pub per_s: NonZeroU32,
    /// Times at once.
    pub burst: NonZeroU32,
}

/// A request within its rate, made only by [`Limiter::admit`]. It is decided once, and once more after each conflict.
#[must_use]
#[derive(Debug)]
pub struct Admitted(());

impl Admitted {
    /// The permit for the next decision on the request.
    pub const fn permit(&mut self) -> Permit {
        Permit(())
    }
}

/// Permission for one decision, which takes it by value. Made only by [`Admitted::permit`].
#[must_use]
#[derive(Debug)]
pub struct Permit(());

/// Too often.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many requests: come back in {retry_after_s} s")]
pub struct Limited {
    /// Seconds until the next request would be admitted, at least 1.
    pub retry_after_s: u64,
}

/// Counts requests per key.
pub struct Limiter<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, OurClock, NoOpMiddleware<Nanos>>,
    clock: OurClock,
    admitted: AtomicU32,
}

/// Requests between two sweeps of keys that have not been seen for a while.
const SWEEP_STRIDE: u32 = 4096;

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// A limiter that has seen nobody yet.
    #[must_use]
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self::of(Quota::per_second(rate.per_s).allow_burst(rate.burst), clock)
    }

    /// The same for what comes seldom: `times` a minute in the long run, `burst` times at once.
    #[must_use]
    pub fn per_minute(times: NonZeroU32, burst: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        Self::of(Quota::per_minute(times).allow_burst(burst), clock)
    }

    fn of(quota: Quota, clock: Arc<dyn Clock>) -> Self {
        let clock = OurClock(clock);
        let limiter = RateLimiter::dashmap_with_clock(quota, clock.clone());
        Self { limiter, clock, admitted: AtomicU32::new(0) }
    }

    /// Admits one request of `key`.
    ///
    /// # Errors
    /// [`Limited`], which says when to come back.
    pub fn admit(&self, key: &K) -> Result<Admitted, Limited> {
        if self.admitted.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_STRIDE) {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(key) {
            Ok(()) => Ok(Admitted(())),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Err(Limited { retry_after_s: wait.as_secs().saturating_add(1) })
            }
        }
    }

    /// Counts `times` of `key` at once: all of them or none.
    ///
    /// # Errors
    /// [`Limited`]; also for more than are ever admitted at once.
    pub(super) fn admit_several(&self, key: &K, times: NonZeroU32) -> Result<(), Limited> {
        match self.limiter.check_key_n(key, times) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Err(Limited { retry_after_s: wait.as_secs().saturating_add(1) })
            }
            Err(_) => Err(Limited { retry_after_s: u64::from(u32::MAX) }),
        }
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter")
    }
}

/// The handed-in clock in the library's terms.
#[derive(Clone, Debug)]
struct OurClock(Arc<dyn Clock>);

impl GovernorClock for OurClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, Timestamp};

    fn rate(per_s: u32, burst: u32) -> Rate {
        Rate { per_s: NonZeroU32::new(per_s).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    #[test]
    fn the_burst_is_admitted_and_one_more_is_told_to_wait() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_s(1_000)));
        let limiter = Limiter::new(rate(1, 3), Arc::clone(&clock) as Arc<dyn Clock>);
        for _ in 0..3 {
            assert!(limiter.admit(&"a").is_ok());
        }
        let limited = limiter.admit(&"a").unwrap_err();
        assert!(limited.retry_after_s >= 1, "{limited}");
        assert!(limiter.admit(&"b").is_ok(), "another key is another count");
        clock.advance_s(1);
        assert!(limiter.admit(&"a").is_ok());
        assert!(limiter.admit(&"a").is_err());
    }

    #[test]
    fn a_limit_goes_on_while_the_clock_is_set_back() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_s(1_800_000_000)));
        let limiter = Limiter::new(rate(1, 3), Arc::clone(&clock) as Arc<dyn Clock>);
        while limiter.admit(&"a").is_ok() {}
        clock.step_s(-3600);
        clock.adopt(clock.raw());
        clock.advance_s(1);
        assert!(limiter.admit(&"a").is_ok());
    }

    #[test]
    fn what_comes_seldom_is_counted_by_the_minute() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_s(1_000)));
        let (times, burst) = (NonZeroU32::new(4).unwrap(), NonZeroU32::new(2).unwrap());
        let limiter = Limiter::per_minute(times, burst, Arc::clone(&clock) as Arc<dyn Clock>);
        assert!(limiter.admit(&()).is_ok() && limiter.admit(&()).is_ok());
        assert_eq!(limiter.admit(&()).unwrap_err().retry_after_s, 16);
        clock.advance_s(14);
        assert!(limiter.admit(&()).is_err());
        clock.advance_s(1);
        assert!(limiter.admit(&()).is_ok());
    }
}
