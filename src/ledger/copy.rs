//! Copying the entries of a stopped ledger from one log to another.

use std::sync::Arc;

use super::draft::Space;
use super::entry::Entry;
use super::error::{OpenError, ReadError};
use super::follower::{Follower, TakeInError};
use super::history::{Head, LedgerHistory};
use super::keys::DeltaKeys;
use super::log::{BatchId, BatchNeed, Begun, Closing, Log, LogContext, LogFailure, LogReader, ScanFlow};
use super::replay::Replay;
use super::tree::Tree;
use crate::base::limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, LOG_RETRIES_MAX};
use crate::base::{Entropy, LedgerId};
use crate::crypto::Digest;

/// Which ledger is copied, and the keys that open its entries.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// The ledger.
    pub ledger: LedgerId,
    /// The keys of its state changes.
    pub keys: Arc<DeltaKeys>,
    /// The source of salts.
    pub entropy: Arc<dyn Entropy>,
}

/// The result of a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Copied {
    /// The newest entry of both logs.
    pub head: Head,
    /// The root of the Merkle tree over all entries, in both logs.
    pub root: Digest,
    /// How many entries an earlier copy had left there.
    pub found: u64,
}

/// Why a copy ended early. The source is as it was, and the copy can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The log that is copied does not open.
    #[error(transparent)]
    Source(OpenError),
    /// The log that is copied to does not open.
    #[error(transparent)]
    Destination(OpenError),
    /// An entry of the source cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The destination has entries that are not the source's.
    #[error("the destination has {0} entries that are not the first ones of this ledger")]
    Foreign(u64),
    /// An entry cannot be written.
    #[error("the entries cannot be written: {0}")]
    Write(#[from] LogFailure),
    /// The tree over the copy is another one.
    #[error("the copy differs from the ledger: the root over its {0} entries is another one")]
    Differs(u64),
}

/// Copies every entry of `source` to `destination`, as it is: sealed bytes, links and batches are the same, and so is
/// the tree. Entries that `destination` has already are compared, so that a copy that was interrupted goes on. Both
/// logs are closed in good order at the end.
///
/// # Errors
/// [`CopyError`].
pub fn copy_entries(
    options: &CopyOptions,
    source: &mut dyn Log,
    destination: &mut dyn Log,
) -> Result<Copied, CopyError> {
    let from = opened(options, source).map_err(CopyError::Source)?;
    let to = opened(options, destination).map_err(CopyError::Destination)?;
    let (head, found) = (from.head(), to.head().seq);
    let reader = source.reader();
    if found > head.seq || !continues(reader.as_ref(), &to)? {
        return Err(CopyError::Foreign(found));
    }
    let (mut batch, mut written) = (CopyBatch::default(), Ok(()));
    reader.each(found.saturating_add(1), head.seq, &mut |entry| {
        batch.push(entry);
        if batch.is_full() {
            written = batch.write(destination);
        }
        Ok(if written.is_ok() { ScanFlow::On } else { ScanFlow::Enough })
    })?;
    written?;
    batch.write(destination)?;
    let root = root_of(destination.reader().as_ref(), head.seq)?;
    if root != from.tree().root() {
        return Err(CopyError::Differs(head.seq));
    }
    destination.close(head, from.node());
    source.close(head, from.node());
    Ok(Copied { head, root, found })
}

/// Claims and checks a log; its history.
fn opened(options: &CopyOptions, log: &mut dyn Log) -> Result<LedgerHistory, OpenError> {
    let CopyOptions { ledger, keys, entropy } = options;
    let session = Arc::new(keys.session(*ledger, entropy.bytes())?);
    let context = LogContext {
        ledger: *ledger,
        entropy: Arc::clone(entropy),
        closing: Closing::default(),
        keys: Arc::clone(keys),
        session,
    };
    log.claim(context)?;
    let history = LedgerHistory::new();
    let mut replay = Replay { ledger: *ledger, keys, follower: &mut NoState, history };
    log.replay(&mut replay)?;
    Ok(replay.history)
}

/// Whether the entries that `reader` shows continue `history`.
fn continues(reader: &dyn LogReader, history: &LedgerHistory) -> Result<bool, ReadError> {
    let seq = history.head().seq;
    let mut same = seq == 0;
    if seq > 0 {
        reader.each(seq, seq, &mut |entry| {
            same = entry.node() == history.node();
            Ok(ScanFlow::Enough)
        })?;
    }
    Ok(same)
}

fn root_of(reader: &dyn LogReader, through: u64) -> Result<Digest, ReadError> {
    let mut tree = Tree::new();
    reader.each(1, through, &mut |entry| {
        tree.append_node(entry.node());
        Ok(ScanFlow::On)
    })?;
    Ok(tree.root())
}

/// A follower for whom it is enough that entries are there as they were written.
struct NoState;

impl Follower for NoState {
    fn apply(&mut self, _entry: &Entry, _delta: &[u8], _before: &Tree) -> Result<(), TakeInError> {
        Ok(())
    }
}

/// Whole batches of the source, which are written together.
#[derive(Default)]
struct CopyBatch {
    entries: Vec<Entry>,
    bytes: usize,
}

impl CopyBatch {
    fn push(&mut self, entry: Entry) {
        self.bytes = self.bytes.saturating_add(entry.len());
        self.entries.push(entry);
    }

    fn is_full(&self) -> bool {
        let is_whole = self.entries.last().is_some_and(|entry| entry.batch.is_last);
        is_whole && (self.bytes >= BATCH_BYTES_MAX || self.entries.len() >= BATCH_ENTRIES_MAX)
    }

    fn write(&mut self, log: &mut dyn Log) -> Result<(), LogFailure> {
        let entries = std::mem::take(&mut self.entries);
        let bytes = std::mem::take(&mut self.bytes) as u64;
        let Some(first) = entries.first() else { return Ok(()) };
        let need = BatchNeed { entries: entries.len() as u64, bytes, space: Space::Usual };
        for _ in 0..=LOG_RETRIES_MAX {
            let begun = log.begin(first.seq.saturating_sub(1), need)?;
            if !matches!(begun, Begun::Held(others) if others.is_empty()) {
                log.release();
                return Err(LogFailure::Stopped("another writer has written to the log".to_owned()));
            }
            let committed = log.commit(&entries);
            if committed != Err(LogFailure::Unknown) || log.look_up(&BatchId::of(first))? {
                return if committed == Err(LogFailure::Unknown) { Ok(()) } else { committed };
            }
        }
        Err(LogFailure::Unknown)
    }
}
