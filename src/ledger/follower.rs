use std::fmt;
use std::io::Read;

use super::entry::Entry;
use super::tree::Tree;
use crate::base::Timestamp;
use crate::crypto::Digest;

/// The entry that a snapshot is as of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotPoint {
    /// Its sequence: the state has taken in all entries up to this one.
    pub through: u64,
    /// Its time.
    pub time: Timestamp,
    /// Its node in the tree. Its salt is random, so that no other history has an entry like it.
    pub node: Digest,
}

/// Why an entry cannot be taken in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TakeInError {
    /// Its seal is valid, but this version of keyward does not know its state change.
    #[error("a later version of keyward wrote its state change")]
    Newer,
    /// It contradicts the entries before it.
    #[error("{0}")]
    Contradiction(String),
}

/// Applies entries in order to the state that decisions read.
///
/// Called by the writer after an entry is durable and before the acknowledgement, and at open for every entry
/// that is already there: recovery is the normal path.
pub trait Follower: Send {
    /// Takes in one entry. `delta` is the state change in clear, `before` the tree over the entries before.
    ///
    /// # Errors
    /// [`TakeInError`]; the ledger then stops.
    fn apply(&mut self, entry: &Entry, delta: &[u8], before: &Tree) -> Result<(), TakeInError>;

    /// All entries of a group commit have been taken in; `tree` is over them all. They can be read from the ledger.
    fn settle(&mut self, _tree: &Tree) {}

    /// Takes in the state as of `point` in place of all entries up to it, which `tree` is over.
    ///
    /// # Errors
    /// A sentence that says why it does not; it is as it was before then, and is shown the entries.
    fn restore(&mut self, _point: &SnapshotPoint, _tree: &Tree, _state: &mut dyn Read) -> Result<(), String> {
        Err("this state has no stored form".to_owned())
    }
}

impl fmt::Debug for dyn Follower + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}
