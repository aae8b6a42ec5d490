use std::time::Duration;

use super::failure_reports::FailureReports;
use super::retry::Backoff;
use crate::base::SystemEntropy;
use crate::console::CommandFailure;

/// The attempts of one task that a process repeats without a person at it. Each task has its own, so that a failure of
/// one task delays no other. Times are of a monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    backoff: Backoff,
    reports: FailureReports,
    retry_at: Option<Duration>,
}

impl Attempts {
    /// The next attempt of a task that is due at `due`.
    pub(crate) fn next(&self, due: Duration) -> Duration {
        self.retry_at.unwrap_or(due)
    }

    /// Ends the wait after a failure: the reason for the failure may be gone.
    pub(crate) const fn retry_now(&mut self) {
        self.retry_at = None;
    }

    /// Notes that an attempt succeeded at `now`. The time since the first failure if there was one.
    pub(crate) fn succeeded(&mut self, now: Duration) -> Option<Duration> {
        self.backoff.reset();
        self.retry_at = None;
        self.reports.succeeded(now)
    }

    /// Notes that an attempt failed at `now`. The time since the first failure if this one is to be reported.
    pub(crate) fn failed(&mut self, failure: &CommandFailure, now: Duration) -> Option<Duration> {
        self.retry_at = Some(now.saturating_add(self.backoff.wait_after(failure, &SystemEntropy)));
        self.reports.failed(failure, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::code;

    #[test]
    fn a_failed_task_is_repeated_and_a_succeeded_one_waits_until_it_is_due() {
        let (mut attempts, now) = (Attempts::default(), Duration::from_secs(100));
        assert_eq!(attempts.next(now), now);
        let down = CommandFailure::new(code::BROKER_UNREACHABLE);
        assert!(attempts.failed(&down, now).is_some(), "the first is reported");
        let next = attempts.next(Duration::from_secs(500));
        assert!(next > now && next <= Duration::from_secs(101), "{next:?}");
        attempts.retry_now();
        assert_eq!(attempts.next(now), now);
        assert_eq!(attempts.succeeded(now), Some(Duration::ZERO));
        assert_eq!(attempts.next(Duration::from_secs(500)), Duration::from_secs(500));
    }
}
