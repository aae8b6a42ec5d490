use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::clock::Stopwatch;

/// Cancels work on another thread. The work checks it at every step. It counts the steps, so that tests can compare
/// two runs.
#[derive(Clone, Debug)]
pub struct Cancellation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cancelled: AtomicBool,
    steps: AtomicU64,
    steps_max: u64,
    begun: Stopwatch,
}

/// The work was cancelled before it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the work was cancelled")]
pub struct Cancelled;

impl Cancellation {
    /// Not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::after_steps(u64::MAX)
    }

    /// Work that is cancelled after `steps_max` steps.
    #[must_use]
    pub fn after_steps(steps_max: u64) -> Self {
        let (cancelled, steps) = (AtomicBool::new(false), AtomicU64::new(0));
        Self(Arc::new(Inner { cancelled, steps, steps_max, begun: Stopwatch::start() }))
    }

    /// Cancels the work.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// Checks before a step whether to continue.
    ///
    /// # Errors
    /// [`Cancelled`], from the cancellation on.
    pub fn step(&self) -> Result<(), Cancelled> {
        let steps = self.0.steps.fetch_add(1, Ordering::Relaxed);
        if self.0.cancelled.load(Ordering::Relaxed) || steps >= self.0.steps_max {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed) || self.steps() > self.0.steps_max
    }

    /// The time since the work was ordered.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.begun.elapsed()
    }

    /// The steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::Relaxed)
    }
}

impl Default for Cancellation {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_cancelled_by_its_owner_or_after_its_steps() {
        let work = Cancellation::new();
        assert_eq!(work.step(), Ok(()));
        work.clone().cancel();
        assert_eq!(work.step(), Err(Cancelled));
        let bounded = Cancellation::after_steps(2);
        assert_eq!([bounded.step(), bounded.step(), bounded.step()], [Ok(()), Ok(()), Err(Cancelled)]);
        assert_eq!(bounded.steps(), 3);
    }
}
