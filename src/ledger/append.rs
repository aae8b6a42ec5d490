use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::key::Key;
use crate::base::Timestamp;

/// Why an append was not acknowledged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Something the decision relied on has changed since; nothing was written. Decide again.
    #[error("an object of this change was modified concurrently")]
    Conflict(Key),
    /// No space for a new segment; nothing was written. Recovers by itself once there is space.
    #[error("the ledger's disk is full")]
    NoSpace,
    /// More appends wait than the limit allows; nothing was written.
    #[error("the ledger's queue of writes is full")]
    Busy,
    /// The draft is beyond a limit; nothing was written.
    #[error("the entry is larger than the ledger allows")]
    TooLarge,
    /// An attempt to write failed, and wrote nothing. Recovers by itself once writes succeed.
    #[error("a write to the ledger failed, and nothing was written")]
    Unwritten,
    /// A write or sync has failed: whether this entry is durable is unknown until the next start.
    #[error("the ledger has stopped after a failed write")]
    Failed,
}

/// The proof that an entry is durable and applied. Made only by this room.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    seq: u64,
    time: Timestamp,
}

impl Committed {
    pub(super) const fn assertion(seq: u64, time: Timestamp) -> Self {
        Self { seq, time }
    }

    /// The entry's sequence.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }
}

/// Proof that the entry for `T` is durable. Owns the `T` it was written for, so that it cannot be
/// paired with another one; spent by [`Receipt::redeem`].
#[must_use]
#[derive(Debug)]
pub struct Receipt<T> {
    committed: Committed,
    value: T,
}

impl<T> Receipt<T> {
    /// The entry's sequence.
    pub const fn seq(&self) -> u64 {
        self.committed.seq
    }

    /// The entry's time.
    pub const fn time(&self) -> Timestamp {
        self.committed.time
    }

    /// The value of the entry.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Returns the value, and drops the proof.
    pub fn redeem(self) -> T {
        self.value
    }
}

/// An append under way. Dropping it does not take the append back.
#[derive(Debug)]
pub struct Pending(PendingStage);

#[derive(Debug)]
enum PendingStage {
    Refused(AppendError),
    Submitted(oneshot::Receiver<Result<Committed, AppendError>>),
}

impl Pending {
    pub(super) const fn refused(error: AppendError) -> Self {
        Self(PendingStage::Refused(error))
    }

    /// Returns `value` inside the proof that its entry is durable.
    pub(super) async fn committing<T>(self, value: T) -> Result<Receipt<T>, AppendError> {
        Ok(Receipt { committed: self.await?, value })
    }

    /// The answer comes through `answer`; a writer that drops the other end has failed.
    pub(super) const fn of(answer: oneshot::Receiver<Result<Committed, AppendError>>) -> Self {
        Self(PendingStage::Submitted(answer))
    }
}

impl Future for Pending {
    type Output = Result<Committed, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            PendingStage::Refused(error) => Poll::Ready(Err(error.clone())),
            PendingStage::Submitted(answer) => {
                Pin::new(answer).poll(cx).map(|answer| answer.unwrap_or(Err(AppendError::Failed)))
            }
        }
    }
}
