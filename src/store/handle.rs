use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::anchor::{AcceptedLoss, AnchorKeeper, AnchorKeys};
use super::change::{Change, CommitError, StoredState};
use super::error::RecordError;
use super::follow::InMemoryState;
use super::lock_mark::lock_mark;
use super::newest::NewestSnapshot;
use super::posted::SearchedLedger;
use super::rebuild::{RebuiltIndex, effects_of, projection};
use crate::base::Sensitive;
use crate::index::IndexTree;
use crate::keyring::{Keyring, KeyringError};
use crate::ledger::{self, AppendError, Entry, Head, ReadError, Receipt, WriteState};
use crate::postings::Postings;
use crate::telemetry::Latency;

/// State, ledger and index as one thing: read in memory, changed through the ledger.
pub struct Store<W: StoredState> {
    /// Before the index, which its thread writes to.
    pub(super) anchors: AnchorKeeper,
    pub(super) accepted: Option<AcceptedLoss>,
    pub(super) memory: Arc<InMemoryState<W>>,
    pub(super) ledger: SearchedLedger,
    pub(super) index: RebuiltIndex,
    pub(super) newest_snapshot: NewestSnapshot,
    pub(super) is_read_only: AtomicBool,
    /// Held as long as anything below the data directory may be written.
    pub(super) lock: File,
}

impl<W: StoredState> Store<W> {
    /// Records that an operator has accepted what this start has found to be gone; anchors follow the
    /// ledger that is there from here on. Gives what it was.
    ///
    /// # Errors
    /// [`CommitError`]; the next start refuses as this one would have.
    pub async fn record_accepted_loss(&self) -> Result<Option<&AcceptedLoss>, CommitError> {
        let Some(loss) = &self.accepted else { return Ok(None) };
        self.commit(Change::new(loss)?, ()).await?.redeem();
        self.anchors.release();
        Ok(Some(loss))
    }

    /// Updates the keys in anchors to those of the written `keyring`.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn keys_changed(&self, keyring: &Keyring) -> Result<(), KeyringError> {
        self.anchors.keys_are(AnchorKeys::of(keyring)?);
        Ok(())
    }

    /// Reads the state. The second argument of `look` is the sequence of the last entry in it: what
    /// a change decided on this reading relies on.
    pub fn read<R>(&self, look: impl FnOnce(&W, u64) -> R) -> R {
        let (world, as_of) = self.memory.read();
        look(&world, as_of)
    }

    /// The sequence of an entry that the state has by now, without reading the state.
    #[must_use]
    pub fn as_of(&self) -> u64 {
        self.memory.as_of()
    }

    /// Commits `change` for `value`, and gives `value` back inside the proof that it is durable and
    /// that the state has taken it in.
    ///
    /// # Errors
    /// [`CommitError`]; after `AppendError::Conflict` the use case reads and decides again: something that
    /// the change relied on was advanced, or was denied in memory while its entry became durable.
    pub async fn commit<T: Send>(
        &self,
        change: Change<W::Effect>,
        value: T,
    ) -> Result<Receipt<T>, CommitError> {
        if self.is_read_only() {
            return Err(CommitError::ReadOnly);
        }
        let (relied_on, withheld) = (change.relied_on(), &self.memory.withheld);
        withheld.check_before(&relied_on).map_err(AppendError::Conflict)?;
        let takes_away = change.any_effect(W::takes_away);
        let receipt = self.ledger.commit(change.into_draft::<W>()?, value).await?;
        if takes_away {
            // Boxed: no mint keeps a place for it.
            Box::pin(self.anchors.reached(receipt.seq())).await;
        }
        withheld.check_after(&relied_on, receipt.seq()).map_err(AppendError::Conflict)?;
        Ok(receipt)
    }

    /// Takes no change from here on, until the next start. Nothing is given, and nobody upstream is called,
    /// without an entry that says so; so nothing is, and nobody.
    pub fn make_read_only(&self) {
        self.ledger.stop_probing();
        self.is_read_only.store(true, Ordering::Release);
    }

    /// Wipes every key in place, whichever thread holds it: nothing is written, and what is read does not open.
    pub fn forget_keys(&self) {
        self.make_read_only();
        self.anchors.forget_keys();
        self.ledger.postings.forget_keys();
        self.index.forget_keys();
        self.ledger.forget_keys();
    }

    /// Whether it takes no change until the next start.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.is_read_only.load(Ordering::Acquire)
    }

    /// The mark of the lock file ([`lock_mark`]): the data directory of another copy has another one.
    ///
    /// # Errors
    /// The file cannot be asked.
    pub fn lock_mark(&self) -> std::io::Result<u64> {
        Ok(lock_mark(&self.lock.metadata()?))
    }

    /// The number of unrecorded revocations in force.
    #[must_use]
    pub fn unrecorded_denials(&self) -> usize {
        self.memory.denials()
    }

    /// The record under `key` of `tree` that entry `seq` wrote, or one that a later entry has put in its place.
    ///
    /// Waits until the index has come that far. An index that cannot answer truthfully is passed
    /// over: the record is taken from the ledger entry itself, and the index is built anew.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn record(
        &self,
        tree: IndexTree,
        key: &[u8],
        seq: u64,
    ) -> Result<Sensitive<Vec<u8>>, RecordError> {
        let found = match tokio::time::timeout(INDEX_WAIT, self.index.wait(seq)).await {
            Ok(Ok(())) => self.index.get(tree, key),
            Ok(Err(error)) => Err(error),
            // It is behind, not broken: the ledger has what it will have.
            Err(_) => return self.record_from_ledger(tree, key, seq),
        };
        match found {
            Ok(Some(value)) => Ok(value),
            Ok(None) => {
                // It claims to have come this far and has not: a rebuild was cut short.
                let value = self.record_from_ledger(tree, key, seq)?;
                self.index.rebuild::<W>(&self.ledger);
                Ok(value)
            }
            Err(error) => {
                tracing::error!(%error, "the index cannot answer: the broker reads the ledger instead, and rebuilds the index");
                let value = self.record_from_ledger(tree, key, seq)?;
                self.index.rebuild::<W>(&self.ledger);
                Ok(value)
            }
        }
    }

    fn record_from_ledger(
        &self,
        tree: IndexTree,
        key: &[u8],
        seq: u64,
    ) -> Result<Sensitive<Vec<u8>>, RecordError> {
        let entries = self.ledger.read(seq, 1)?;
        let entry = entries.first().filter(|entry| entry.seq == seq).ok_or(RecordError::Missing)?;
        let put = projection::<W>(&self.ledger, entry)?
            .puts
            .into_iter()
            .find(|put| put.tree == tree && put.key == key);
        put.and_then(|put| put.value).map(Sensitive::new).ok_or(RecordError::Missing)
    }

    /// The Merkle tree over all durable entries.
    #[must_use]
    pub fn tree(&self) -> ledger::Tree {
        self.ledger.tree()
    }

    /// The newest durable entry.
    #[must_use]
    pub fn head(&self) -> Head {
        self.ledger.head()
    }

    /// Up to `max` entries from `from` on.
    ///
    /// # Errors
    /// [`ReadError`] when the ledger is damaged there.
    pub fn entries(&self, from: u64, max: usize) -> Result<Vec<Entry>, ReadError> {
        self.ledger.read(from, max)
    }

    /// The state changes of `entry`, which this store has read.
    ///
    /// # Errors
    /// [`ReadError`] when the entry is damaged, or a later version wrote it.
    pub fn effects(&self, entry: &Entry) -> Result<Vec<W::Effect>, ReadError> {
        effects_of::<W>(&self.ledger, entry)
    }

    /// The index in which entries are searched.
    #[must_use]
    pub const fn postings(&self) -> &Postings {
        &self.ledger.postings
    }

    /// The durations of group commits.
    #[must_use]
    pub fn syncs(&self) -> &Latency {
        self.ledger.syncs()
    }

    /// Entries that the index has yet to take in.
    #[must_use]
    pub fn index_lag(&self) -> u64 {
        self.head().seq.saturating_sub(self.index.applied())
    }

    /// Whether there is an index that goes on: it is sealed under the newest index key.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        !self.index.has_stopped()
    }

    /// Whether there is room for what takes away, should the disk be full.
    #[must_use]
    pub fn has_reserve(&self) -> bool {
        self.ledger.has_reserve()
    }

    /// How many machines are missing that a recorded change should be on.
    #[must_use]
    pub fn standbys_missing(&self) -> u32 {
        self.ledger.standbys_missing()
    }

    /// Resolves once acknowledged entries are known to be gone, with the reason: nothing is recorded until a restart.
    pub fn entries_lost(&self) -> impl Future<Output = String> + Send + use<W> {
        self.ledger.entries_lost()
    }

    /// Whether changes can be recorded, as the newest attempt experienced it.
    #[must_use]
    pub fn write_state(&self) -> WriteState {
        self.ledger.write_state()
    }

    /// The free space of the ledger's disk, in bytes, if known.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.ledger.free_bytes()
    }

    /// Whether it has neither been closed nor failed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ledger.is_writable()
    }

    /// Whether changes can still be acknowledged.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.ledger.is_writable() && !self.is_read_only()
    }

    /// Writes the waiting entries, closes the ledger cleanly and lets the index catch up.
    pub async fn close(&self) {
        self.ledger.postings.close();
        self.ledger.close();
        self.anchors.close();
        self.index.close();
    }
}

impl<W: StoredState> fmt::Debug for Store<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("head", &self.head().seq).finish_non_exhaustive()
    }
}

/// Longest wait of a read for the index before it reads the ledger.
const INDEX_WAIT: Duration = Duration::from_secs(2);
