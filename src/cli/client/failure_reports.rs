use std::time::Duration;

use crate::console::CommandFailure;

/// When a process that repeats a request reports its failures: the first one and every new kind at once, further ones
/// at intervals, so that a long outage does not fill a log.
#[derive(Debug, Default)]
pub(crate) struct FailureReports {
    reported: Option<Reported>,
}

#[derive(Debug)]
struct Reported {
    code: String,
    began: Duration,
    last: Duration,
}

/// Interval between two reports of the same failure.
const INTERVAL: Duration = Duration::from_secs(60);

impl FailureReports {
    /// Notes a failure at `now` (any monotonic clock). The time since the first failure if this one is to be reported.
    pub(crate) fn failed(&mut self, failure: &CommandFailure, now: Duration) -> Option<Duration> {
        let began = self.reported.as_ref().map_or(now, |reported| reported.began);
        let is_due = self.reported.as_ref().is_none_or(|reported| {
            reported.code != failure.code() || now.saturating_sub(reported.last) >= INTERVAL
        });
        if !is_due {
            return None;
        }
        self.reported = Some(Reported { code: failure.code().to_owned(), began, last: now });
        Some(now.saturating_sub(began))
    }

    /// Notes a success at `now`. The time since the first failure if there was one.
    pub(crate) fn succeeded(&mut self, now: Duration) -> Option<Duration> {
        self.reported.take().map(|reported| now.saturating_sub(reported.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::code;

    #[test]
    fn a_failure_is_reported_at_once_and_then_once_a_minute() {
        let (mut reports, down) = (FailureReports::default(), CommandFailure::new(code::BROKER_UNREACHABLE));
        let at = Duration::from_secs;
        assert_eq!(reports.failed(&down, at(100)), Some(at(0)));
        assert_eq!(reports.failed(&down, at(104)), None);
        assert_eq!(reports.failed(&down, at(159)), None, "one second before");
        assert_eq!(reports.failed(&down, at(160)), Some(at(60)));
        assert_eq!(reports.failed(&CommandFailure::new(code::SEALED), at(161)), Some(at(61)), "another one");
        assert_eq!(reports.succeeded(at(170)), Some(at(70)));
        assert_eq!(reports.succeeded(at(171)), None);
        assert_eq!(reports.failed(&down, at(172)), Some(at(0)), "the next outage");
    }
}
