use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::entry::{Draft, Entry, Key};
use super::flaw::VerifyError;
use crate::base::Timestamp;

/// Why an append was not acknowledged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Something the decision relied on has changed since; nothing was written. Decide again.
    #[error("something this relied on has changed")]
    Conflict(Key),
    /// No space for a new segment; nothing was written. Recovers by itself once there is space.
    #[error("the ledger's disk is full")]
    NoSpace,
    /// More appends wait than the limit allows; nothing was written.
    #[error("too many appends wait for the ledger")]
    Busy,
    /// The draft is beyond a limit; nothing was written.
    #[error("the entry is larger than the ledger takes")]
    TooLarge,
    /// A write or sync has failed: whether this entry is durable is unknown until the next start.
    #[error("the ledger has stopped after a failed write")]
    Failed,
}

/// Why entries could not be read back.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes of this entry are not what was written.
    #[error("ledger entry {seq} in {segment} is damaged: {what}")]
    Damaged {
        /// The first entry that does not read back.
        seq: u64,
        /// The segment file's name.
        segment: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file cannot be read.
    #[error("the ledger cannot be read: {0}")]
    Io(String),
}

impl From<VerifyError> for ReadError {
    fn from(error: VerifyError) -> Self {
        let why = error.to_string();
        match error {
            VerifyError::Damaged { seq, segment, what } => Self::Damaged { seq, segment, what },
            VerifyError::KeyMissing { .. } | VerifyError::Io { .. } => Self::Io(why),
        }
    }
}

/// The newest durable entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Its sequence; 0 when there is none.
    pub seq: u64,
    /// Its time.
    pub time: Timestamp,
}

/// Says that an entry is durable and taken in. Made only by this room's engines.
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

    /// What the entry was written for.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Gives up the proof for what it was about.
    pub fn redeem(self) -> T {
        self.value
    }
}

/// An append under way. Dropping it does not take the append back.
#[derive(Debug)]
pub struct Pending(Stage);

#[derive(Debug)]
enum Stage {
    Refused(AppendError),
    Submitted(oneshot::Receiver<Result<Committed, AppendError>>),
}

impl Pending {
    pub(super) const fn refused(error: AppendError) -> Self {
        Self(Stage::Refused(error))
    }

    /// The answer comes through `answer`; whoever drops the other end has failed.
    pub(super) const fn of(answer: oneshot::Receiver<Result<Committed, AppendError>>) -> Self {
        Self(Stage::Submitted(answer))
    }
}

impl Future for Pending {
    type Output = Result<Committed, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Stage::Refused(error) => Poll::Ready(Err(error.clone())),
            Stage::Submitted(answer) => {
                Pin::new(answer).poll(cx).map(|answer| answer.unwrap_or(Err(AppendError::Failed)))
            }
        }
    }
}

/// The durability contract that every engine keeps.
///
/// - When [`Ledger::append`] resolves to `Ok`, the entry is on stable storage, whole, and the
///   follower has taken it in. Losing power at any later moment does not lose it.
/// - Entries are numbered from 1 without gap or fork, in the order in which they became durable;
///   of two appends, the one acknowledged before the other was submitted has the lower number.
/// - An append whose expectations do not hold, entries of the same group commit included, gets
///   [`AppendError::Conflict`] and writes nothing.
/// - A failed write or sync is never retried. From then on every append gets
///   [`AppendError::Failed`], which means *unknown*: the entry may be there after the next start.
/// - At the next open, entries that were never acknowledged may be there or not, but always as a
///   prefix in order, and a group commit is there whole or not at all. What was written but not
///   known to be synced is written again and synced before it is applied or served.
/// - Damage to anything that was once acknowledged is reported with the entry's number, and no
///   entry from there on is served.
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Submits `draft`. The append goes on even if the answer is not waited for.
    fn append(&self, draft: Draft) -> Pending;

    /// The newest durable entry.
    fn head(&self) -> Head;

    /// Up to `max` durable entries from `from` on, and no more than `PAGE_BYTES_MAX` makes full.
    ///
    /// # Errors
    /// [`ReadError`]; no damaged entry is ever among the answers.
    fn read(&self, from: u64, max: usize) -> Result<Vec<Entry>, ReadError>;

    /// Whether appends can still be acknowledged.
    fn is_writable(&self) -> bool;
}

/// Appending with something in hand.
pub trait Append {
    /// Writes `draft` for `value` and gives `value` back inside the proof that it is durable.
    ///
    /// # Errors
    /// [`AppendError`]; `value` is spent then: what it allowed has to be decided again.
    fn commit<T: Send>(
        &self,
        draft: Draft,
        value: T,
    ) -> impl Future<Output = Result<Receipt<T>, AppendError>> + Send;
}

impl<L: Ledger + ?Sized> Append for L {
    fn commit<T: Send>(
        &self,
        draft: Draft,
        value: T,
    ) -> impl Future<Output = Result<Receipt<T>, AppendError>> + Send {
        // Before the future: whoever waits for it need not keep a place for the draft.
        let pending = self.append(draft);
        async move { Ok(Receipt { committed: pending.await?, value }) }
    }
}
