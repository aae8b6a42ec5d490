use crate::base::code;
use crate::broker::failure::Failure;
use crate::ledger::AppendError;
use crate::store::CommitError;
use crate::upstream::UpstreamFault;

/// Why a step was not taken.
pub(super) enum StepError {
    /// Upstream, or what was to be done there, failed: recorded, and tried again later.
    Upstream(UpstreamFault),
    /// The broker could not record or open something: nothing was done.
    Broker(Failure),
    /// The rotation was changed meanwhile.
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
