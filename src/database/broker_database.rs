use std::io;

use super::log_use::{Claimant, LogUse};
use super::postgres_log::PostgresLog;
use super::target::DatabaseTarget;
use crate::ledger::Log;
use crate::store::OpenLog;

/// The database of a broker's ledger, as one start of the broker uses it.
#[derive(Debug)]
pub struct BrokerDatabase {
    /// The database.
    pub target: DatabaseTarget,
    /// The mark of the lock file that a pending order of `keyward adopt` names.
    pub adopted: Option<u64>,
    /// Whether the broker is in read-only mode, and claims nothing.
    pub is_read_only: bool,
}

impl OpenLog for BrokerDatabase {
    fn open_log(&self, lock: u64) -> io::Result<Box<dyn Log>> {
        let purpose = if self.is_read_only { LogUse::Look } else { LogUse::Serve };
        let claimant = Claimant { lock, is_adopted: self.adopted == Some(lock) };
        Ok(Box::new(PostgresLog::new(self.target.clone(), purpose, claimant)?))
    }
}
