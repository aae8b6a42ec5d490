//! A log as a database would be one: several writers, answers that get lost, outcomes that are looked up.

use std::sync::{Arc, Condvar, Mutex};

use keyward::crypto::Digest;
use keyward::ledger::{
    BatchId, BatchNeed, Begun, Entry, Head, Log, LogContext, LogFailure, LogReader, LogReport, OpenError,
    ReadError, Replay, ScanFlow, Space, TakeStored, VerifyError,
};

use super::waiting::LONGEST;

/// The database: rows in the order of their numbers, and the lock of the head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Database(Arc<(Mutex<Rows>, Condvar)>);

#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Vec<u8>>,
    /// The writer that holds the head.
    held_by: Option<u64>,
    writers: u64,
    trouble: Option<Trouble>,
    /// So many commits are lost before any other trouble.
    losing: u32,
    /// What was lost on the way.
    lost: Vec<Vec<u8>>,
    /// The space of each batch that took the head.
    spaces: Vec<Space>,
    /// So many entries of others are read at once; 0 for all.
    page: usize,
}

/// What goes wrong with the next commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// It is committed, and the answer gets lost.
    LostAnswer,
    /// It is lost before it is committed, and so is the answer.
    LostRequest,
    /// Its outcome is unknown, and cannot be looked up either.
    Unreachable,
    /// The head cannot be taken for it.
    FailsToBegin,
    /// It fails, and is known to be lost.
    FailsToCommit,
    /// There is no space for it, and that is found out late.
    FullAtCommit,
}

impl Database {
    /// A connection for one writer.
    pub(crate) fn log(&self) -> Box<dyn Log> {
        let mut rows = self.0.0.lock().unwrap();
        rows.writers += 1;
        Box::new(RemoteLog { database: self.clone(), writer: rows.writers, unreachable: false })
    }

    pub(crate) fn trouble_next_commit(&self, trouble: Trouble) {
        self.0.0.lock().unwrap().trouble = Some(trouble);
    }

    /// The next `count` commits are lost before they are committed.
    pub(crate) fn lose_commits(&self, count: u32) {
        self.0.0.lock().unwrap().losing = count;
    }

    /// From now on so many entries of others are read at once.
    pub(crate) fn read_in_pages(&self, entries: usize) {
        self.0.0.lock().unwrap().page = entries;
    }

    /// The rows as they are stored.
    pub(crate) fn rows(&self) -> Vec<Vec<u8>> {
        self.0.0.lock().unwrap().rows.clone()
    }

    /// Rows that were sent and never committed.
    pub(crate) fn lost(&self) -> Vec<Vec<u8>> {
        self.0.0.lock().unwrap().lost.clone()
    }

    /// The space of each batch that took the head.
    pub(crate) fn spaces(&self) -> Vec<Space> {
        self.0.0.lock().unwrap().spaces.clone()
    }

    /// Puts `row` in the place of that of entry `seq`.
    pub(crate) fn put(&self, seq: u64, row: Vec<u8>) {
        self.0.0.lock().unwrap().rows[seq as usize - 1] = row;
    }

    fn entries(&self, after: u64) -> Vec<Entry> {
        let rows = self.0.0.lock().unwrap();
        rows.rows
            .iter()
            .skip(after as usize)
            .map(|row| Entry::from_bytes(row).expect("a stored entry"))
            .collect()
    }

    fn release(&self, writer: u64) {
        let mut rows = self.0.0.lock().unwrap();
        if rows.held_by == Some(writer) {
            rows.held_by = None;
            self.0.1.notify_all();
        }
    }
}

#[derive(Debug)]
struct RemoteLog {
    database: Database,
    writer: u64,
    unreachable: bool,
}

impl Log for RemoteLog {
    fn claim(&mut self, _context: LogContext) -> Result<(), OpenError> {
        Ok(())
    }

    fn stored(&self, seq: u64) -> Result<Option<Entry>, VerifyError> {
        Ok(self.database.entries(seq - 1).into_iter().next())
    }

    fn replay(&mut self, replay: &mut Replay<'_>) -> Result<LogReport, OpenError> {
        let mut batch = Vec::new();
        for entry in self.database.entries(replay.head().seq) {
            let is_last = entry.batch.is_last;
            batch.push(entry);
            if is_last {
                let checked = replay.check(std::mem::take(&mut batch), "the database")?;
                replay.take(checked)?;
            }
        }
        Ok(LogReport::default())
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(RemoteReader(self.database.clone()))
    }

    fn begin(&mut self, after: u64, need: BatchNeed) -> Result<Begun, LogFailure> {
        let (rows, changed) = &*self.database.0;
        let is_taken = |rows: &mut Rows| rows.held_by.is_some_and(|writer| writer != self.writer);
        let (mut rows, waited) = changed.wait_timeout_while(rows.lock().unwrap(), LONGEST, is_taken).unwrap();
        assert!(!waited.timed_out(), "the head is never given back");
        if rows.trouble == Some(Trouble::FailsToBegin) {
            rows.trouble = None;
            return Err(LogFailure::Failing("the database refuses".to_owned()));
        }
        let page = rows.page;
        let is_behind = page > 0 && rows.rows.len() as u64 - after > page as u64;
        if !is_behind {
            rows.held_by = Some(self.writer);
            rows.spaces.push(need.space);
        }
        drop(rows);
        let mut others = self.database.entries(after);
        if !is_behind {
            return Ok(Begun::Held(others));
        }
        others.truncate(page);
        Ok(Begun::Behind(others))
    }

    fn commit(&mut self, batch: &[Entry]) -> Result<(), LogFailure> {
        let mut rows = self.database.0.0.lock().unwrap();
        assert_eq!(rows.held_by, Some(self.writer), "a commit without the head");
        assert_eq!(batch.first().map(|first| first.seq), Some(rows.rows.len() as u64 + 1));
        let is_lost = rows.losing > 0;
        rows.losing = rows.losing.saturating_sub(1);
        let trouble = if is_lost { Some(Trouble::LostRequest) } else { rows.trouble.take() };
        self.unreachable = trouble == Some(Trouble::Unreachable);
        let written = batch.iter().map(Entry::to_bytes);
        let (is_there, answer) = match trouble {
            None | Some(Trouble::FailsToBegin) => (true, Ok(())),
            Some(Trouble::LostAnswer | Trouble::Unreachable) => (true, Err(LogFailure::Unknown)),
            Some(Trouble::LostRequest) => (false, Err(LogFailure::Unknown)),
            Some(Trouble::FailsToCommit) => (false, Err(LogFailure::Failing("it was refused".to_owned()))),
            Some(Trouble::FullAtCommit) => (false, Err(LogFailure::NoSpace)),
        };
        if is_there {
            rows.rows.extend(written);
        } else {
            rows.lost.extend(written);
        }
        drop(rows);
        self.database.release(self.writer);
        answer
    }

    fn release(&mut self) {
        self.database.release(self.writer);
    }

    fn look_up(&mut self, batch: &BatchId) -> Result<bool, LogFailure> {
        if self.unreachable {
            return Err(LogFailure::Stopped("the database cannot be reached".to_owned()));
        }
        let rows = self.database.entries(batch.first_seq - 1);
        Ok(rows.first().is_some_and(|first| batch.is(first)))
    }

    fn idle(&mut self, after: u64) -> Result<Vec<Entry>, LogFailure> {
        Ok(self.database.entries(after))
    }

    fn close(&mut self, _head: Head, _node: Digest) {}
}

impl Drop for RemoteLog {
    fn drop(&mut self) {
        self.database.release(self.writer);
    }
}

#[derive(Debug)]
struct RemoteReader(Database);

impl LogReader for RemoteReader {
    fn each(&self, from: u64, through: u64, take: &mut TakeStored<'_>) -> Result<(), ReadError> {
        for entry in self.0.entries(from - 1) {
            if entry.seq > through || take(entry)? == ScanFlow::Enough {
                break;
            }
        }
        Ok(())
    }

    fn holder(&self, _seq: u64) -> String {
        "the database".to_owned()
    }
}
