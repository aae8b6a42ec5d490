use crate::base::code;
use crate::broker::failure::Failure;
use crate::ledger::AppendError;
use crate::store::CommitError;
use crate::upstream::UpstreamFault;

/// Why a step failed.
pub(super) enum StepError {
    /// A failure of the upstream: it is recorded, and the step is retried later.
    Upstream(UpstreamFault),
    /// The broker could not record an entry or open a value: nothing was done.
    Broker(Failure),
    /// The rotation has changed in the meantime.
    Overtaken,
}

impl StepError {
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Broker(failure) => failure,
            Self::Overtaken => Failure::new(code::MODIFIED_CONCURRENTLY),
            Self::Upstream(fault) => Failure::upstream(&fault),
        }
    }
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        if failure.code == code::MODIFIED_CONCURRENTLY { Self::Overtaken } else { Self::Broker(failure) }
    }
}

impl From<CommitError> for StepError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Append(AppendError::Conflict(_)) => Self::Overtaken,
            error @ (CommitError::Append(_)
            | CommitError::Unwritable
            | CommitError::Unanswered
            | CommitError::ReadOnly) => Self::Broker(error.into()),
        }
    }
}

impl From<UpstreamFault> for StepError {
    fn from(fault: UpstreamFault) -> Self {
        Self::Upstream(fault)
    }
}
