use super::entry::Entry;
use super::error::{OpenError, VerifyError};
use super::follower::Follower;
use super::history::{Head, LedgerHistory};
use super::keys::{DeltaKeys, OpenedEntry};
use crate::base::LedgerId;
use crate::crypto::Digest;

/// Takes in what is in a log when it is opened: nothing that was altered, left out or put in gets past it.
#[derive(Debug)]
pub struct Replay<'a> {
    pub(super) ledger: LedgerId,
    pub(super) keys: &'a DeltaKeys,
    pub(super) follower: &'a mut dyn Follower,
    pub(super) history: LedgerHistory,
}

/// A batch of entries that may be taken in next.
#[derive(Debug)]
pub struct CheckedBatch {
    entries: Vec<Entry>,
    opened: Vec<OpenedEntry>,
}

impl CheckedBatch {
    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Replay<'_> {
    /// The entry that has been taken in last: earlier ones need not be shown.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.history.head()
    }

    /// The node of that entry; zeros before the first one.
    #[must_use]
    pub const fn node(&self) -> Digest {
        self.history.node()
    }

    /// Checks all of a batch, which `holder` holds, and takes in nothing of it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn check(&self, entries: Vec<Entry>, holder: &str) -> Result<CheckedBatch, OpenError> {
        let mut succession = self.history.succession();
        let mut opened = Vec::with_capacity(entries.len());
        for entry in &entries {
            let damaged = |what| VerifyError::damaged(entry.seq, holder, what);
            opened.push(self.open(entry, holder)?);
            succession.check(entry).map_err(damaged)?;
            succession.add(entry);
        }
        Ok(CheckedBatch { entries, opened })
    }

    /// Opens the seal of an entry, which `holder` holds.
    pub(super) fn open(&self, entry: &Entry, holder: &str) -> Result<OpenedEntry, VerifyError> {
        let opened = self.keys.open(self.ledger, entry)?;
        opened.ok_or_else(|| VerifyError::damaged(entry.seq, holder, "its seal does not match"))
    }

    /// Takes in a batch that was checked after the one before it had been taken in.
    ///
    /// # Errors
    /// [`OpenError::NotTakenIn`].
    pub fn take(&mut self, batch: CheckedBatch) -> Result<(), OpenError> {
        for (entry, opened) in batch.entries.iter().zip(&batch.opened) {
            self.follower
                .apply(entry, opened.delta(), self.history.tree())
                .map_err(|why| OpenError::NotTakenIn { seq: entry.seq, why })?;
            self.history.take(entry);
        }
        self.follower.settle(self.history.tree());
        Ok(())
    }
}
