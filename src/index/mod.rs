//! Sled as a fast, forgettable index: the only room that names it.
//!
//! The index follows the ledger and is never the truth. It may be missing, broken or behind; it is
//! then moved aside and built anew, or waited for. Values are sealed under the index key and bound
//! to their place, so that what it cannot tell truthfully it does not tell at all.

mod database;
mod follower;
mod place;

pub use database::{IndexError, IndexKeys, Origin};
pub use follower::Index;
pub use place::{Batch, IndexTree, Put};
