//! The ledger's log in PostgreSQL: where entries become durable on several machines.
//!
//! One row for each entry, in the stored form that files have too, and a row for the head. A batch is one transaction
//! that locks the head. The texts of the server's errors are discarded; SQLSTATEs are kept.

mod backend;
mod broker_database;
mod checks;
mod claim;
mod entries;
mod fault;
mod head;
mod line;
mod locks;
mod log_use;
mod others;
mod postgres_log;
mod prepared;
mod reader;
mod rows;
mod schema;
mod session;
mod stall;
mod target;
mod trouble;
mod worker;
mod writer;

pub use broker_database::BrokerDatabase;
pub use entries::DatabaseEntries;
pub use fault::{DatabaseFault, SqlStateCode};
pub use log_use::{Claimant, LogUse};
pub use postgres_log::PostgresLog;
pub use prepared::{check_new_database, prepare_database};
pub use target::DatabaseTarget;
