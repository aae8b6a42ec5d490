//! The file by which `keyward adopt` orders a broker to serve from a copy of its data.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::{Timestamp, code, io_reason};
use crate::console::CommandFailure;
use crate::files::Replacement;
use crate::store::lock_mark;

/// The lock file of the data directory.
pub(super) const LOCK: &str = "lock";

/// The file in which `keyward adopt` stores its order.
pub(super) const ADOPT: &str = "adopt";

/// The stored order to serve from this copy of the data.
#[derive(Deserialize, Serialize)]
pub(crate) struct AdoptionFile {
    /// The mark of the lock file that the order is for, so that a copy of the order has no effect.
    pub(crate) lock: u64,
    pub(crate) by: String,
    /// The time of the order by the host's clock: another copy that acts later was not stopped. Absent in orders of earlier
    /// versions.
    pub(crate) at: Option<Timestamp>,
}

/// Whether an order to adopt this data directory is pending.
pub(super) fn is_adopted(data_dir: &Path) -> bool {
    adoption(data_dir).is_some_and(|adoption| lock_of(data_dir).is_ok_and(|lock| lock == adoption.lock))
}

pub(super) fn adoption(data_dir: &Path) -> Option<AdoptionFile> {
    serde_json::from_slice(&fs::read(data_dir.join(ADOPT)).ok()?).ok()
}

pub(crate) fn lock_of(data_dir: &Path) -> io::Result<u64> {
    Ok(lock_mark(&fs::metadata(data_dir.join(LOCK))?))
}

/// Stores `order` in the data directory.
pub(crate) fn write(dir: &Path, order: &AdoptionFile) -> Result<(), CommandFailure> {
    let path = dir.join(ADOPT);
    let written = serde_json::to_vec(order).map_err(io::Error::other);
    // The broker reads it as its own user, but root may have written it.
    let replaced = written.and_then(|bytes| Replacement::write(&path, 0o644, &bytes)?.commit());
    replaced.map_err(|error| unusable(&path, &error))
}

pub(crate) fn unusable(dir: &Path, error: &io::Error) -> CommandFailure {
    let why = format!("`{}` cannot be used: {}", dir.display(), io_reason(error));
    CommandFailure::new(code::DATA_DIR_UNUSABLE).because(why)
}
