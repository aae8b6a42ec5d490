use std::path::PathBuf;

use crate::base::io_reason;
use crate::index::IndexError;
use crate::keyring::KeyringError;
use crate::ledger::{OpenError, ReadError};

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The ledger did not open.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The index did not open, not even anew.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Another process uses the data directory.
    #[error("the data directory is in use by another process")]
    InUse,
    /// The data directory cannot be used.
    #[error("the data directory cannot be used: {}", io_reason(.0))]
    Io(#[from] std::io::Error),
    /// The keyring lacks a key that is needed.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The ledger could not be read back to build the index.
    #[error(transparent)]
    Read(ReadError),
    /// Entries that were acknowledged are gone: the ledger was cut or replaced by an older copy.
    #[error(
        "the ledger ends at entry {ledger}, but the broker has acknowledged entry {seen}: entries are lost"
    )]
    EntriesLost {
        /// The last sequence that the index or a snapshot knows of.
        seen: u64,
        /// The ledger's last sequence.
        ledger: u64,
    },
    /// The ledger's directory is missing beside other files of a broker. Nothing was made.
    #[error(
        "there is no ledger: the directory `{}` is missing, but the broker has acknowledged entries", .0.display()
    )]
    LedgerMissing(PathBuf),
    /// The ledger is another history than the one that was anchored.
    #[error(
        "ledger entry {seq}, or an earlier one, differs from the one that the broker has acknowledged: entries are lost"
    )]
    EntriesReplaced {
        /// The entry of the anchor.
        seq: u64,
    },
    /// The keyring is older than the one that an anchor names.
    #[error("the keyring is an older copy: {0}")]
    KeyringOlder(String),
    /// The anchor file does not say what was there.
    #[error("{0}")]
    AnchorAltered(String),
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Neither the index nor the ledger has it.
    #[error("the record does not exist")]
    Missing,
    /// The ledger, asked because the index could not answer, is damaged.
    #[error(transparent)]
    Ledger(#[from] ReadError),
}
