use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use super::change::StoredState;
use crate::crypto::Digest;
use crate::ledger::{Entry, Ledger};
use crate::postings::{PostedEntry, PostingSource, Postings};

/// The entries of a ledger with the terms that `W` gives them.
pub(super) struct LedgerEntries<W> {
    ledger: Arc<Ledger>,
    state: PhantomData<fn() -> W>,
}

impl<W> LedgerEntries<W> {
    pub(super) const fn of(ledger: Arc<Ledger>) -> Self {
        Self { ledger, state: PhantomData }
    }
}

impl<W: StoredState> PostingSource for LedgerEntries<W> {
    fn head(&self) -> u64 {
        self.ledger.head().seq
    }

    fn rule(&self) -> u16 {
        W::TERMS_RULE
    }

    fn node(&self, seq: u64) -> Result<Digest, String> {
        let entries = self.ledger.read(seq, 1).map_err(|error| error.to_string())?;
        let entry = entries.iter().find(|entry| entry.seq == seq);
        entry.map(Entry::node).ok_or_else(|| format!("entry {seq} is not there"))
    }

    fn read(&self, from: u64, max: usize) -> Result<Vec<PostedEntry>, String> {
        let entries = self.ledger.read(from, max).map_err(|error| error.to_string())?;
        Ok(entries.iter().map(|entry| PostedEntry { time: entry.time, terms: W::terms(entry) }).collect())
    }
}

/// A ledger with the index in which its entries are searched.
#[derive(Debug)]
pub(super) struct SearchedLedger {
    /// First: its thread reads the ledger.
    pub(super) postings: Postings,
    pub(super) ledger: Arc<Ledger>,
}

impl Deref for SearchedLedger {
    type Target = Arc<Ledger>;

    fn deref(&self) -> &Arc<Ledger> {
        &self.ledger
    }
}
