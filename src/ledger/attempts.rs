//! What the newest attempts to write experienced.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::Stopwatch;
use crate::base::limits::{LEDGER_SLOW_MS, LEDGER_STALLED_MS};

/// Whether the ledger can write, as the newest append or, without any, the newest probe experienced it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteState {
    /// It can.
    Writable,
    /// It can, but the newest write was slow.
    Slow(Duration),
    /// The disk is full: there was no space for the newest entry.
    NoSpace,
    /// The disk has not answered a write for so long.
    Stalled(Duration),
    /// The newest attempt failed, and wrote nothing.
    Failing,
    /// A write of entries failed: nothing is acknowledged until a restart.
    Stopped,
}

impl WriteState {
    /// Whether an entry that is appended now would be acknowledged.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::Writable | Self::Slow(_))
    }

    /// Seconds for which the disk has not answered a write; 0 while it answers.
    #[must_use]
    pub const fn stalled_s(self) -> u64 {
        if let Self::Stalled(since) = self { since.as_secs() } else { 0 }
    }
}

/// The writer's attempts. A reader never waits for the disk.
#[derive(Debug, Default)]
pub(super) struct WriteAttempts(Mutex<Newest>);

#[derive(Debug, Default)]
struct Newest {
    /// Running since the watch was started.
    running: Option<Stopwatch>,
    took: Duration,
    trouble: Option<WriteState>,
}

impl WriteAttempts {
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt begins.
    pub(super) fn begin(&self) {
        self.newest().running = Some(Stopwatch::start());
    }

    /// The attempt has come to an end; `trouble` is why it wrote nothing.
    pub(super) fn end(&self, trouble: Option<WriteState>) {
        let mut newest = self.newest();
        newest.took = newest.running.take().map(|watch| watch.elapsed()).unwrap_or_default();
        newest.trouble = trouble;
    }

    /// As the newest attempt experienced it, also while it runs.
    pub(super) fn state(&self) -> WriteState {
        let newest = self.newest();
        let running = newest.running.as_ref().map(Stopwatch::elapsed).unwrap_or_default();
        if running > Duration::from_millis(LEDGER_STALLED_MS) {
            return WriteState::Stalled(running);
        }
        let took = newest.took.max(running);
        let slow = || (took > Duration::from_millis(LEDGER_SLOW_MS)).then_some(WriteState::Slow(took));
        newest.trouble.or_else(slow).unwrap_or(WriteState::Writable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_that_of_the_newest_attempt() {
        let attempts = WriteAttempts::default();
        assert_eq!(attempts.state(), WriteState::Writable, "nothing was tried yet");
        attempts.begin();
        assert_eq!(attempts.state(), WriteState::Writable, "it has only begun");
        attempts.end(Some(WriteState::NoSpace));
        assert!(!attempts.state().is_writable());
        attempts.begin();
        assert_eq!(attempts.state(), WriteState::NoSpace, "until the next one has ended");
        attempts.end(None);
        assert_eq!(attempts.state(), WriteState::Writable);
    }
}
