use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::claim::{Claim, ClaimOutcome};
use super::fault::DatabaseFault;
use super::head::EntryMark;
use super::log_use::{Claimant, LogUse};
use super::reader::{HOLDER, PostgresReader, READ_OF_COMMAND, READ_OF_REQUEST, Reading, entry_of};
use super::rows::{BatchRows, EntryRow, HELD_BYTES_MAX};
use super::stall::told;
use super::target::DatabaseTarget;
use super::trouble::Trouble;
use super::worker::Worker;
use super::writer::Writer;
use crate::base::limits::BATCH_ENTRIES_MAX;
use crate::crypto::Digest;
use crate::ledger::{
    BatchId, BatchNeed, Begun, Entry, Head, Log, LogContext, LogFailure, LogReader, LogReport, OpenError,
    Replay, VerifyError,
};

/// A log in PostgreSQL: one row for each entry, and a row for the head, whose lock orders the batches.
///
/// An acknowledged entry is on the disk of the primary and of a synchronous standby, if the database has any. One broker
/// at a time may write, or several that share the ledger ([`LogUse::Share`]).
#[derive(Debug)]
pub struct PostgresLog {
    writer: Worker<Writer>,
    reader: Arc<Worker<Reading>>,
    /// As the newest check has found them.
    standbys_missing: Arc<AtomicU32>,
    purpose: LogUse,
    claimant: Claimant,
    is_claimed: bool,
    is_closed: bool,
}

impl PostgresLog {
    /// The log in the database of `target`, with which nothing is connected yet.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(target: DatabaseTarget, purpose: LogUse, claimant: Claimant) -> io::Result<Self> {
        let limit = match purpose {
            LogUse::Serve | LogUse::Look | LogUse::Share => READ_OF_REQUEST,
            LogUse::TakeBack | LogUse::MoveAway => READ_OF_COMMAND,
        };
        let reader = Worker::start("ledger-reads", Reading::new(target.clone(), limit))?;
        let standbys_missing = Arc::new(AtomicU32::new(0));
        let writer = Writer::new(target, Arc::clone(&standbys_missing));
        let writer = Worker::start("ledger-writes", writer)?;
        let reader = Arc::new(reader);
        Ok(Self { writer, reader, standbys_missing, purpose, claimant, is_claimed: false, is_closed: false })
    }

    /// Whether a close in good order is durable, at the standbys too.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn page(&self, from: u64, through: u64) -> Result<Vec<EntryRow>, VerifyError> {
        let asked = self.writer.ask(move |runtime, writer| runtime.block_on(writer.page(from, through)));
        asked.unwrap_or(Err(DatabaseFault::Lost)).map_err(unreadable)
    }
}

/// The failure of a log whose thread has panicked.
fn gone<T>() -> Result<T, Trouble> {
    Err(Trouble::Stop("the thread of the ledger's database has panicked".to_owned()))
}

impl Log for PostgresLog {
    fn claim(&mut self, context: LogContext) -> Result<(), OpenError> {
        let (purpose, claimant) = (self.purpose, self.claimant);
        let claim = Claim { ledger: context.ledger, writer: context.writer_session(), purpose, claimant };
        let closing = context.closing.clone();
        let claimed = self.writer.ask(move |runtime, writer| runtime.block_on(writer.claim(claim, closing)));
        match claimed.unwrap_or(Err(DatabaseFault::Lost)) {
            Ok(outcome) => {
                self.is_claimed = outcome == ClaimOutcome::Claimed;
                Ok(())
            }
            Err(fault) => Err(unreadable(fault).into()),
        }
    }

    fn is_claimed(&self) -> bool {
        self.is_claimed
    }

    fn stored(&self, seq: u64) -> Result<Option<Entry>, VerifyError> {
        let row = self.page(seq, seq)?.into_iter().next();
        row.map(|row| entry_of(&row, seq).map_err(|what| damaged(seq, what))).transpose()
    }

    fn replay(&mut self, replay: &mut Replay<'_>) -> Result<LogReport, OpenError> {
        let newest = self.writer.ask(|_, writer| writer.seen()).unwrap_or(EntryMark::NONE);
        let mut next = replay.head().seq.saturating_add(1);
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        while next <= newest.seq {
            let rows = self.page(next, newest.seq)?;
            if rows.is_empty() {
                return Err(damaged(next, "it is missing").into());
            }
            for row in rows {
                let entry = entry_of(&row, next).map_err(|what| damaged(next, what))?;
                next = next.saturating_add(1);
                let (seq, is_last) = (entry.seq, entry.batch.is_last);
                // Before it is taken in.
                if is_last && next > newest.seq && entry.node() != newest.node {
                    return Err(damaged(seq, OTHER_HEAD).into());
                }
                batch.push(entry);
                bytes = bytes.saturating_add(row.stored.len());
                if batch.len() > BATCH_ENTRIES_MAX || bytes > HELD_BYTES_MAX {
                    return Err(damaged(seq, "the group commit that it belongs to is larger than any").into());
                }
                if is_last {
                    let checked = replay.check(std::mem::take(&mut batch), HOLDER)?;
                    replay.take(checked)?;
                    bytes = 0;
                }
            }
        }
        if !batch.is_empty() {
            return Err(damaged(newest.seq, "the group commit that it belongs to is not whole").into());
        }
        // Also after a snapshot that has everything, when no row was read.
        if replay.head().seq == newest.seq && replay.node() == newest.node {
            return Ok(LogReport::default());
        }
        Err(damaged(newest.seq, OTHER_HEAD).into())
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        let reading = Arc::clone(&self.reader);
        Arc::new(PostgresReader { reading, standbys_missing: Arc::clone(&self.standbys_missing) })
    }

    /// The writer knows which entry the ledger has taken in last. Unless the ledger is shared, nobody else writes, and
    /// there is never an entry of others.
    fn begin(&mut self, _after: u64, _need: BatchNeed) -> Result<Begun, LogFailure> {
        if !self.is_claimed {
            return Err(LogFailure::Failing(NOT_CLAIMED.to_owned()));
        }
        let begun = self.writer.ask(|runtime, writer| runtime.block_on(told(writer.begin())));
        Ok(begun.unwrap_or_else(gone)?)
    }

    fn release(&mut self) {
        self.writer.ask(|runtime, writer| runtime.block_on(writer.release()));
    }

    fn commit(&mut self, batch: &[Entry]) -> Result<(), LogFailure> {
        let Some(last) = batch.last() else { return Ok(()) };
        let (rows, last) = (BatchRows::of(batch), EntryMark { seq: last.seq, node: last.node() });
        let committed =
            self.writer.ask(move |runtime, writer| runtime.block_on(told(writer.commit(rows, last))));
        Ok(committed.unwrap_or_else(gone)?)
    }

    fn look_up(&mut self, batch: &BatchId) -> Result<bool, LogFailure> {
        let batch = batch.clone();
        let found = self.writer.ask(move |runtime, writer| runtime.block_on(writer.look_up(&batch)));
        Ok(found.unwrap_or_else(gone)?)
    }

    fn idle(&mut self, _after: u64) -> Result<Vec<Entry>, LogFailure> {
        if !self.is_claimed {
            return Ok(Vec::new());
        }
        let probed = self.writer.ask(|runtime, writer| runtime.block_on(told(writer.probe())));
        Ok(probed.unwrap_or_else(gone)?)
    }

    /// On a full disk of the server, revocations are refused too.
    fn has_reserve(&self) -> bool {
        false
    }

    fn close(&mut self, _head: Head, _node: Digest) {
        let closed = self.writer.ask(|runtime, writer| runtime.block_on(writer.close()));
        match closed.unwrap_or(Err(DatabaseFault::Lost)) {
            Ok(()) => self.is_closed = self.is_claimed,
            Err(fault) => {
                tracing::warn!(%fault, "the ledger could not be marked as closed in the database");
            }
        }
    }
}

const OTHER_HEAD: &str = "the head of the ledger names another entry";
const NOT_CLAIMED: &str = "the ledger was opened for reading only";

fn unreadable(fault: DatabaseFault) -> VerifyError {
    VerifyError::Database(fault.to_string())
}

fn damaged(seq: u64, what: &str) -> VerifyError {
    VerifyError::Damaged { seq, segment: HOLDER.to_owned(), what: what.to_owned() }
}
