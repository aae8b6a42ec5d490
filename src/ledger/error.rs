use std::io;

use super::follower::TakeInError;
use crate::base::io_reason;

/// Why the files of a ledger cannot be read as they were written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Bytes that were once durable are not what was written.
    #[error("ledger entry {seq} in {segment} is damaged: {what}")]
    Damaged {
        /// The first entry that is not there as it was written.
        seq: u64,
        /// The segment file's name.
        segment: String,
        /// The problem.
        what: String,
    },
    /// The files are of a format that only a later build reads. Nothing was changed.
    #[error("segment {segment} has format {format}, which this version of keyward does not read")]
    Newer {
        /// The segment file's name.
        segment: String,
        /// The format that it names.
        format: u16,
    },
    /// The files are of a format that only earlier builds read. Nothing was changed.
    #[error("segment {segment} has format {format}, which only earlier versions of keyward read")]
    Older {
        /// The segment file's name.
        segment: String,
        /// The format that it names.
        format: u16,
    },
    /// State changes were sealed under a delta key that the keyring does not hold.
    #[error("delta key generation {generation} is not in the keyring")]
    KeyMissing {
        /// The generation that is asked for.
        generation: u32,
    },
    /// The database of the ledger cannot be used.
    #[error("{0}")]
    Database(String),
    /// A file operation failed.
    #[error("cannot {doing}: {}", io_reason(source))]
    Io {
        /// The failed operation.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl VerifyError {
    pub(super) fn damaged(seq: u64, segment: &str, what: &str) -> Self {
        Self::Damaged { seq, segment: segment.to_owned(), what: what.to_owned() }
    }
}

/// Why entries could not be read back.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes of this entry are not what was written.
    #[error("ledger entry {seq} in {segment} is damaged: {what}")]
    Damaged {
        /// The first entry that does not read back.
        seq: u64,
        /// The segment file's name.
        segment: String,
        /// The problem.
        what: String,
    },
    /// The file cannot be read.
    #[error("the ledger cannot be read: {0}")]
    Io(String),
}

impl From<VerifyError> for ReadError {
    fn from(error: VerifyError) -> Self {
        let why = error.to_string();
        match error {
            VerifyError::Damaged { seq, segment, what } => Self::Damaged { seq, segment, what },
            VerifyError::Newer { .. }
            | VerifyError::Older { .. }
            | VerifyError::KeyMissing { .. }
            | VerifyError::Database(_)
            | VerifyError::Io { .. } => Self::Io(why),
        }
    }
}

/// Why a ledger did not open. Nothing was changed then, unless a step of writing failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another ledger of this one, writes to the directory.
    #[error("the ledger is in use by another process")]
    InUse,
    /// The files cannot be read as they were written. Nothing was changed.
    #[error(transparent)]
    Files(#[from] VerifyError),
    /// What was written last must be written again before it is believed, and there is no space.
    #[error("the ledger's disk is full")]
    NoSpace,
    /// The state cannot take in an entry.
    #[error("ledger entry {seq} cannot be taken in: {why}")]
    NotTakenIn {
        /// The entry.
        seq: u64,
        /// Why.
        why: TakeInError,
    },
}

impl OpenError {
    /// The failure of `doing`.
    pub(super) const fn io(doing: &'static str, source: io::Error) -> Self {
        Self::Files(VerifyError::Io { doing, source })
    }
}
