use std::ops::Range;
use std::time::Duration;

use super::step_error::StepError;
use crate::base::code;
use crate::base::limits::{CONFLICT_RETRIES_MAX, MADE_VALUE_RETRIES_MAX, MADE_VALUE_RETRY_MS};
use crate::broker::failure::Failure;

/// The retries to record a value that an upstream made: it exists nowhere else, and must not be lost by a conflict or
/// by a disk that is full for a moment.
pub(super) struct RecordRetries {
    conflicts: Range<u32>,
    pauses: Range<u32>,
}

impl RecordRetries {
    pub(super) const fn new() -> Self {
        Self { conflicts: 1..CONFLICT_RETRIES_MAX, pauses: 0..MADE_VALUE_RETRIES_MAX }
    }

    /// The wait before the next attempt; `error` if there is none.
    pub(super) fn wait_after(&mut self, error: StepError) -> Result<Duration, StepError> {
        match error {
            StepError::Overtaken if self.conflicts.next().is_some() => Ok(Duration::ZERO),
            StepError::Broker(failure) if wrote_nothing(&failure) && self.pauses.next().is_some() => {
                tracing::warn!(code = %failure.code, "a value that an upstream made is not recorded yet");
                Ok(Duration::from_millis(MADE_VALUE_RETRY_MS))
            }
            ended @ (StepError::Overtaken | StepError::Broker(_) | StepError::Upstream(_)) => Err(ended),
        }
    }
}

/// Whether the ledger wrote nothing, and may write soon.
fn wrote_nothing(failure: &Failure) -> bool {
    [code::LEDGER_UNWRITTEN, code::LEDGER_BUSY, code::LEDGER_NO_SPACE].contains(&failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::ROTATION_RETRY_FIRST_S;

    /// The waits after repeated `error`, and the error that ends them.
    fn waits_after(error: impl Fn() -> StepError) -> (Vec<Duration>, StepError) {
        let (mut retries, mut waits) = (RecordRetries::new(), Vec::new());
        loop {
            match retries.wait_after(error()) {
                Ok(wait) => waits.push(wait),
                Err(ended) => return (waits, ended),
            }
        }
    }

    #[test]
    fn a_made_value_is_recorded_after_writes_that_wrote_nothing() {
        for code in [code::LEDGER_UNWRITTEN, code::LEDGER_BUSY, code::LEDGER_NO_SPACE] {
            let (waits, ended) = waits_after(|| StepError::Broker(Failure::new(code)));
            assert_eq!(waits.len(), MADE_VALUE_RETRIES_MAX as usize, "{code}");
            assert!(waits.iter().all(|wait| *wait == Duration::from_millis(MADE_VALUE_RETRY_MS)));
            let longest: Duration = waits.iter().sum();
            assert!(longest.as_secs() < ROTATION_RETRY_FIRST_S.unsigned_abs(), "before a step is retried");
            assert_eq!(ended.failure().code, code);
        }
    }

    #[test]
    fn a_made_value_is_recorded_after_conflicts_and_not_after_a_stop() {
        let (waits, ended) = waits_after(|| StepError::Overtaken);
        assert_eq!(waits, vec![Duration::ZERO; CONFLICT_RETRIES_MAX.saturating_sub(1) as usize]);
        assert!(matches!(ended, StepError::Overtaken));
        let (waits, ended) = waits_after(|| StepError::Broker(Failure::new(code::LEDGER_FAILED)));
        assert!(waits.is_empty(), "it may be recorded");
        assert_eq!(ended.failure().code, code::LEDGER_FAILED);
    }
}
