use crate::base::Timestamp;
use crate::crypto::Digest;

/// An entry, as the index takes it in.
#[derive(Clone, Debug)]
pub struct PostedEntry {
    /// Its time.
    pub time: Timestamp,
    /// The names of its fields, and their texts.
    pub terms: Vec<(&'static str, String)>,
}

/// The entries that are indexed. The ledger is one.
pub trait PostingSource: Send + Sync {
    /// The newest entry; entries up to it are not taken back.
    fn head(&self) -> u64;

    /// The number of the rule by which entries get terms: blocks by another rule are built again.
    fn rule(&self) -> u16;

    /// The hash of entry `seq`, which no other entry has: it tells whether a block is about these entries.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn node(&self, seq: u64) -> Result<Digest, String>;

    /// At most `max` entries from `from` on, in order and without a gap; at least one if there is one.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn read(&self, from: u64, max: usize) -> Result<Vec<PostedEntry>, String>;
}
