use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::fault::DatabaseFault;
use super::rows::{EntryRow, PAGE_ENTRIES, page};
use super::session::Session;
use super::target::DatabaseTarget;
use super::worker::Worker;
use crate::base::Stopwatch;
use crate::ledger::{Entry, LogReader, ReadError, ScanFlow, TakeStored};

/// The name of the database where messages name the file of an entry.
pub(super) const HOLDER: &str = "the database";

/// A connection for reading, which needs no claim.
pub(super) struct Reading {
    target: DatabaseTarget,
    session: Option<Session>,
    /// Longest time of a read.
    limit: Duration,
    /// Since the database did not answer a reader.
    down: Option<Stopwatch>,
}

/// Longest time of a read, with its login, while a request waits for it.
pub(super) const READ_OF_REQUEST: Duration = Duration::from_secs(2);
/// The same of a command that reads everything.
pub(super) const READ_OF_COMMAND: Duration = Duration::from_secs(60);
/// How long readers are refused at once after the database did not answer one.
const DOWN: Duration = Duration::from_secs(2);

impl Reading {
    pub(super) const fn new(target: DatabaseTarget, limit: Duration) -> Self {
        Self { target, session: None, limit, down: None }
    }

    /// A session that can be used.
    pub(super) async fn session(&mut self) -> Result<&mut Session, DatabaseFault> {
        if !self.session.as_ref().is_some_and(Session::is_usable) {
            self.session = None;
            self.session = Some(Session::open(&self.target).await?);
        }
        self.session.as_mut().ok_or(DatabaseFault::Lost)
    }

    /// A page for a reader who cannot wait for long.
    async fn page(&mut self, from: u64, through: u64, most: i64) -> Result<Vec<EntryRow>, DatabaseFault> {
        if self.down.as_ref().is_some_and(|down| down.elapsed() < DOWN) {
            return Err(DatabaseFault::Slow);
        }
        let read = timeout(self.limit, self.fetch(from, through, most)).await;
        if read.is_err() {
            // What is under way on it would be the answer to the next request.
            self.session = None;
        }
        let read = read.unwrap_or(Err(DatabaseFault::Slow));
        let answers = matches!(read, Ok(_) | Err(DatabaseFault::Refused(_) | DatabaseFault::Unusable(_)));
        self.down = (!answers).then(Stopwatch::start);
        read
    }

    async fn fetch(&mut self, from: u64, through: u64, most: i64) -> Result<Vec<EntryRow>, DatabaseFault> {
        let was_open = self.session.as_ref().is_some_and(Session::is_usable);
        let found = page(self.session().await?, from, through, most).await;
        let is_open = self.session.as_ref().is_some_and(Session::is_usable);
        if found.is_err() && was_open && !is_open {
            return page(self.session().await?, from, through, most).await;
        }
        found
    }
}

/// Entries of the first page: most readers want one entry, or a few.
const FIRST_PAGE_ENTRIES: i64 = 8;
/// How many times as many entries the next page has.
const PAGE_GROWTH: i64 = 8;

/// Reads what a [`PostgresLog`](super::PostgresLog) has written.
#[derive(Debug)]
pub(super) struct PostgresReader {
    pub(super) reading: Arc<Worker<Reading>>,
    /// As the newest check of the writer has found them.
    pub(super) standbys_missing: Arc<AtomicU32>,
}

impl LogReader for PostgresReader {
    fn each(&self, from: u64, through: u64, take: &mut TakeStored<'_>) -> Result<(), ReadError> {
        let (mut next, mut most) = (from, FIRST_PAGE_ENTRIES);
        while next <= through {
            let (first, fetched) = (next, most);
            let asked = self
                .reading
                .ask(move |runtime, reading| runtime.block_on(reading.page(first, through, fetched)));
            most = most.saturating_mul(PAGE_GROWTH).min(PAGE_ENTRIES);
            let rows = asked.unwrap_or(Err(DatabaseFault::Lost));
            let rows = rows.map_err(|fault| ReadError::Io(fault.to_string()))?;
            if rows.is_empty() {
                return Err(ReadError::Io(format!("there is no entry {next}")));
            }
            for row in rows {
                let entry = entry_of(&row, next).map_err(|what| ReadError::Damaged {
                    seq: next,
                    segment: HOLDER.to_owned(),
                    what: what.to_owned(),
                })?;
                next = next.saturating_add(1);
                if take(entry)? == ScanFlow::Enough {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn holder(&self, _seq: u64) -> String {
        HOLDER.to_owned()
    }

    fn standbys_missing(&self) -> u32 {
        self.standbys_missing.load(Ordering::Relaxed)
    }
}

/// The entry of a row, which has to be entry `seq`; what is wrong with it otherwise.
pub(super) fn entry_of(row: &EntryRow, seq: u64) -> Result<Entry, &'static str> {
    let entry = Entry::from_bytes(&row.stored).ok_or("it is no entry that this version of keyward knows")?;
    if entry.seq == seq && row.seq == seq { Ok(entry) } else { Err("another entry stands in its place") }
}
