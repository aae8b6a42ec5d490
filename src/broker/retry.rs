use super::failure::Failure;
use crate::authn::AuthnError;
use crate::base::limits::CONFLICT_RETRIES_MAX;
use crate::ledger::AppendError;
use crate::store::CommitError;

/// Whether a use case that met a conflict decides again.
pub(crate) enum AttemptError {
    /// Something it relied on changed: yes.
    Retry,
    /// No: this is the answer.
    Stop(Failure),
}

impl From<CommitError> for AttemptError {
    fn from(error: CommitError) -> Self {
        if matches!(error, CommitError::Append(AppendError::Conflict(_))) {
            Self::Retry
        } else {
            Self::Stop(error.into())
        }
    }
}

impl<E: Into<Failure>> From<E> for AttemptError
where
    E: NotCommit,
{
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

/// Every failure but the one that may be a conflict.
pub(crate) trait NotCommit {}
impl NotCommit for Failure {}
impl NotCommit for AuthnError {}
impl NotCommit for crate::base::Cancelled {}
impl NotCommit for crate::quota::Limited {}
impl NotCommit for crate::issuance::IssueError {}
impl NotCommit for crate::secrets::VaultError {}
impl NotCommit for crate::store::RecordError {}

/// How often a use case has met a conflict.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    conflicts: u32,
}

impl Conflicts {
    /// Whether to try again after `again`; the failure that ends it otherwise.
    pub(crate) fn next(&mut self, again: AttemptError) -> Result<(), Failure> {
        match again {
            AttemptError::Stop(failure) => Err(failure),
            AttemptError::Retry if self.conflicts >= CONFLICT_RETRIES_MAX => {
                let conflict = AppendError::Conflict(crate::ledger::Key::of("retries", b""));
                Err(CommitError::Append(conflict).into())
            }
            AttemptError::Retry => {
                self.conflicts = self.conflicts.saturating_add(1);
                Ok(())
            }
        }
    }
}

/// Runs the async block until it is not told of a conflict, at most `CONFLICT_RETRIES_MAX` times
/// again. Each round reads the state anew: a decision is never carried over.
macro_rules! retry_on_conflict {
    ($attempt:expr) => {{
        let mut attempts = $crate::broker::retry::Conflicts::default();
        loop {
            match $attempt.await {
                Ok(done) => break Ok(done),
                Err(again) => {
                    if let Err(failure) = attempts.next(again) {
                        break Err(failure);
                    }
                }
            }
        }
    }};
}
pub(crate) use retry_on_conflict;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_case_decides_again_so_often_and_then_says_that_it_is_busy() {
        let mut attempts = Conflicts::default();
        for _ in 0..CONFLICT_RETRIES_MAX {
            assert!(attempts.next(AttemptError::Retry).is_ok());
        }
        let failure = attempts.next(AttemptError::Retry).unwrap_err();
        assert_eq!(failure.code, crate::base::code::MODIFIED_CONCURRENTLY);
    }
}
