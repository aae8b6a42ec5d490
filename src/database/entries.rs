use std::sync::Arc;

use super::fault::DatabaseFault;
use super::head::HeadRow;
use super::log_use::{Claimant, HeadState};
use super::reader::{PostgresReader, READ_OF_COMMAND, Reading};
use super::target::DatabaseTarget;
use super::worker::Worker;
use crate::ledger::{LogReader, StoredHead};

/// The entries in a database as they are, which is read and not claimed.
#[derive(Debug)]
pub struct DatabaseEntries {
    reading: Arc<Worker<Reading>>,
    head: StoredHead,
    is_moved: bool,
    claimed_by: Option<u64>,
}

impl DatabaseEntries {
    /// Connects with the database of `target`, and reads the head.
    ///
    /// # Errors
    /// [`DatabaseFault`].
    pub fn open(target: DatabaseTarget) -> Result<Self, DatabaseFault> {
        let reading = Worker::start("ledger-reads", Reading::new(target, READ_OF_COMMAND))
            .map_err(|_| DatabaseFault::Lost)?;
        let head = reading.ask(|runtime, reading| runtime.block_on(head_of(reading)));
        let head = head.unwrap_or(Err(DatabaseFault::Lost))?;
        let claimed_by = head.claimed_by();
        let HeadRow { ledger, newest, writer, state, .. } = head;
        let head = StoredHead { ledger, seq: newest.seq, node: newest.node, is_closed: writer.is_none() };
        Ok(Self { reading: Arc::new(reading), head, is_moved: state == HeadState::InFiles, claimed_by })
    }

    /// The newest entry.
    #[must_use]
    pub const fn head(&self) -> StoredHead {
        self.head
    }

    /// Whether the ledger was moved to files.
    #[must_use]
    pub const fn is_moved(&self) -> bool {
        self.is_moved
    }

    /// Whether the directory of `claimant` may claim the ledger.
    #[must_use]
    pub fn may_be_claimed_by(&self, claimant: Claimant) -> bool {
        claimant.may_claim(self.claimed_by)
    }

    /// Reads the entries.
    #[must_use]
    pub fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(PostgresReader { reading: Arc::clone(&self.reading), standbys_missing: Arc::default() })
    }
}

async fn head_of(reading: &mut Reading) -> Result<HeadRow, DatabaseFault> {
    HeadRow::read(&reading.session().await?.send(HeadRow::SELECT).await?)
}
