use std::path::PathBuf;
use std::sync::Arc;

use super::keys::PostingsKeys;
use crate::base::{Entropy, LedgerId};

/// What `Postings::start` needs.
#[derive(Debug)]
pub struct PostingsOptions {
    /// The directory of the block files.
    pub dir: PathBuf,
    /// The ledger that is indexed.
    pub ledger: LedgerId,
    /// The keys of the index.
    pub keys: PostingsKeys,
    /// The source of salts.
    pub entropy: Arc<dyn Entropy>,
}
