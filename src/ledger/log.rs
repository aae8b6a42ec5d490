//! Where entries become durable: what a [`Ledger`](super::Ledger) asks of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::draft::Space;
use super::entry::Entry;
use super::error::{OpenError, ReadError, VerifyError};
use super::history::Head;
use super::keys::{DeltaKeys, WriterSession};
use super::replay::Replay;
use crate::base::{Entropy, LedgerId};
use crate::crypto::Digest;

/// The options of a log.
#[derive(Clone, Debug)]
pub struct LogContext {
    /// The expected ledger.
    pub ledger: LedgerId,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Whether the ledger is being closed.
    pub closing: Closing,
    pub(super) keys: Arc<DeltaKeys>,
    pub(super) session: Arc<WriterSession>,
}

/// Whether a ledger is being closed: a log that waits for something without an end gives up then.
#[derive(Clone, Debug, Default)]
pub struct Closing(Arc<AtomicBool>);

impl Closing {
    /// Whether the close has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl LogContext {
    /// The salt that names the writer session: no two sessions have the same.
    #[must_use]
    pub fn writer_session(&self) -> [u8; 32] {
        self.session.salt()
    }
}

/// The input of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchNeed {
    /// How many entries it has at most.
    pub entries: u64,
    /// Most bytes of the stored forms of these entries together, without what the log adds to each.
    pub bytes: u64,
    /// Whether they go to space that was taken beforehand, should there be no other.
    pub space: Space,
}

/// What a log answers a writer that wants to commit a batch.
#[derive(Clone, Debug)]
pub enum Begun {
    /// The head is held for the batch. These are all entries that others have committed since.
    Held(Vec<Entry>),
    /// Others have committed more than is read while the head is held. These are the next entries, and nothing is held.
    Behind(Vec<Entry>),
}

/// Names one attempt to commit a batch: the writer session and the nonce of its first entry, which never come again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BatchId {
    /// The first entry that it was to have.
    pub first_seq: u64,
    /// The salt of the writer session.
    pub session: [u8; 32],
    /// The sealed state change of the first entry, which begins with key and nonce.
    pub sealed: Vec<u8>,
}

impl BatchId {
    /// The id of the batch that begins with `first`.
    #[must_use]
    pub fn of(first: &Entry) -> Self {
        Self { first_seq: first.seq, session: first.state.session, sealed: first.state.sealed.clone() }
    }

    /// Whether the batch that begins with `first` is the one.
    #[must_use]
    pub fn is(&self, first: &Entry) -> bool {
        (first.seq, first.state.session, &first.state.sealed) == (self.first_seq, self.session, &self.sealed)
    }
}

/// Why a log did not do what it was asked. Of a batch, the writer refuses the drafts after [`LogFailure::NoSpace`] and
/// [`LogFailure::Failing`], and continues; the others leave entries in doubt.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LogFailure {
    /// There is no space; nothing was written. Recovers by itself once there is.
    #[error("there is no space")]
    NoSpace,
    /// An attempt failed that wrote no entry, and none of it ever will be there; the next one may succeed.
    #[error("{0}")]
    Failing(String),
    /// Whether the batch was committed is unknown, and [`Log::look_up`] can tell.
    #[error("the outcome is unknown")]
    Unknown,
    /// Nothing can be committed until the next start; what was under way may be there then.
    #[error("{0}")]
    Stopped(String),
    /// The log does not continue the newest entry that the ledger has: acknowledged entries are gone.
    #[error("{0}")]
    EntriesLost(String),
}

/// The report of opening a log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogReport {
    /// The number of segments.
    pub segments: usize,
    /// Entries at the end that the last stop left in doubt; they were written again and are durable.
    pub written_again: u64,
    /// The discarded bytes of an incomplete group commit, which was never acknowledged.
    pub torn: Option<TornTail>,
}

/// The end of a segment that was set aside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TornTail {
    /// The first entry of the group commit that is not whole.
    pub first_seq: u64,
    /// The file that its bytes were copied to.
    pub kept_as: String,
    /// The size in bytes.
    pub bytes: u64,
}

/// Where entries become durable, from the writer's side. One thread calls it.
///
/// A batch is committed in two steps. [`Log::begin`] takes the head, so that no other writer commits until the batch
/// has ended, and gives the entries that others have committed; the writer takes them in. Only then does the sequencer
/// check every expectation, number and seal. [`Log::commit`] then makes the batch durable, whole or not at all; or
/// [`Log::release`] ends it.
pub trait Log: Send + fmt::Debug {
    /// Claims the log for this process.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when the log has one writer at a time, and there is another one.
    fn claim(&mut self, context: LogContext) -> Result<(), OpenError>;

    /// Whether the claim gives this process the right to write. Without it, the log is only read.
    fn is_claimed(&self) -> bool {
        true
    }

    /// The entry `seq` as it is stored, or nothing; asked before [`Log::replay`].
    ///
    /// # Errors
    /// [`VerifyError`].
    fn stored(&self, seq: u64) -> Result<Option<Entry>, VerifyError>;

    /// Shows what is durable to `replay`, batch by batch, and makes durable what is in doubt before it shows that.
    ///
    /// # Errors
    /// [`OpenError`]. Until all entries have been checked, nothing is changed.
    fn replay(&mut self, replay: &mut Replay<'_>) -> Result<LogReport, OpenError>;

    /// The readers' side.
    fn reader(&self) -> Arc<dyn LogReader>;

    /// Takes the head for a batch, and gives the entries that others have committed after the entry `after`: whole group
    /// commits, which no failover removes.
    ///
    /// # Errors
    /// [`LogFailure`]; nothing of the batch was written, and the head was not taken. The writer continues only after
    /// [`LogFailure::NoSpace`] and [`LogFailure::Failing`].
    fn begin(&mut self, after: u64, need: BatchNeed) -> Result<Begun, LogFailure>;

    /// Releases the head without a commit.
    fn release(&mut self) {}

    /// Makes `batch` durable and gives the head back, also when it fails; the entries begin where the head was taken.
    ///
    /// # Errors
    /// [`LogFailure`]. After [`LogFailure::NoSpace`] and [`LogFailure::Failing`], nothing of the batch is there, and
    /// never will be.
    fn commit(&mut self, batch: &[Entry]) -> Result<(), LogFailure>;

    /// Whether the batch with an unknown outcome is there. `false` means that it never will be.
    ///
    /// # Errors
    /// [`LogFailure`]; the batch stays in doubt, and the writer stops after each of them.
    fn look_up(&mut self, batch: &BatchId) -> Result<bool, LogFailure>;

    /// Tries the log while nothing is appended, and gives what others have committed after the entry `after`.
    ///
    /// # Errors
    /// [`LogFailure`]. The writer continues only after [`LogFailure::NoSpace`] and [`LogFailure::Failing`].
    fn idle(&mut self, after: u64) -> Result<Vec<Entry>, LogFailure>;

    /// Ends in good order: nothing comes after the entry `head`, whose node is `node`.
    fn close(&mut self, head: Head, node: Digest);

    /// The free space, in bytes; `None` if unknown.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Whether there is space for what takes away, should there be no other.
    fn has_reserve(&self) -> bool {
        true
    }
}

/// Where entries are durable, from the readers' side.
pub trait LogReader: Send + Sync + fmt::Debug {
    /// Shows the entries from `from` to `through`, as far as they are there, to `take`, until that has enough.
    ///
    /// # Errors
    /// [`ReadError`]; the first error of `take`.
    fn each(&self, from: u64, through: u64, take: &mut TakeStored<'_>) -> Result<(), ReadError>;

    /// The container of entry `seq`, e.g. a segment's name.
    fn holder(&self, seq: u64) -> String;

    /// How many machines are missing that an acknowledged entry should be on, as the log has found out last.
    fn standbys_missing(&self) -> u32 {
        0
    }
}

/// The receiver of stored entries.
pub type TakeStored<'a> = dyn FnMut(Entry) -> Result<ScanFlow, ReadError> + 'a;

/// Whether reading goes on after an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScanFlow {
    /// With the next entry.
    On,
    /// It is enough.
    Enough,
}
