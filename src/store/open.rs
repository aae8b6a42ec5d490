use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::anchor::{Anchor, AnchorFile, AnchorFileError, AnchorKeys, Expected, Keeper, Loss, Shared};
use super::change::{Change, CommitError, World};
use super::error::{RecordError, StoreError};
use super::follow::{Memory, WorldFollower};
use super::lock_mark::lock_mark;
use super::rebuild::{Rebuild, projection, reindex};
use super::snapshot::Newest;
use super::take_away::Unrecorded;
use crate::base::{Clock, Entropy, Sensitive};
use crate::index::{Index, IndexKeys, Origin, Tree};
use crate::keyring::{Family, Keyring, KeyringError};
use crate::ledger::{
    self, AppendError, Build, DeltaKeys, Entry, FileLog, Head, HostLayer, Layer, Ledger, Log,
    OpenReport, Options, RESERVE_BYTES, ReadError, Receipt, WriteState, lock_file,
};
use crate::telemetry::Latency;

/// How a store is opened.
#[derive(Debug)]
pub struct StoreOptions {
    /// The data directory: `ledger/` and `index/` live below it.
    pub data_dir: PathBuf,
    /// Where entry times come from.
    pub clock: Arc<dyn Clock>,
    /// Where salts come from.
    pub entropy: Arc<dyn Entropy>,
    /// Bytes preallocated for a ledger segment.
    pub segment_bytes: u64,
    /// Which build this is: it reads the snapshots that it wrote.
    pub build: Build,
    /// What to do when the index has seen entries that the ledger no longer has.
    pub on_lost_entries: OnLostEntries,
}

/// The operator's word on acknowledged entries that are gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnLostEntries {
    /// Do not open.
    Refuse,
    /// Open at what the ledger has: an operator has said that it may be so.
    Accept,
}

/// State, ledger and index as one thing: read in memory, changed through the ledger.
pub struct Store<W: World> {
    /// Before the index, which its thread writes to.
    pub(super) anchors: Keeper,
    accepted: Option<Loss>,
    pub(super) memory: Arc<Memory<W>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) index: Arc<Index>,
    rebuild: Rebuild,
    pub(super) newest_snapshot: Newest,
    is_read_only: AtomicBool,
    pub(super) unrecorded: Unrecorded,
    /// Held as long as anything below the data directory may be written.
    lock: File,
}

impl<W: World> Store<W> {
    /// Opens what is below `options.data_dir` with the keys of `keyring`: the state is made of the newest
    /// snapshot and the entries since.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed then, except that a broken index has been moved aside.
    pub fn open(options: &StoreOptions, keyring: &Keyring) -> Result<(Self, OpenReport), StoreError> {
        let layer = ledger_layer(options)?;
        Self::open_on(options, keyring, Box::new(FileLog::new(layer, options.segment_bytes, RESERVE_BYTES)))
    }

    /// Opens the ledger in `log`; what else there is, is below `options.data_dir`.
    ///
    /// # Errors
    /// [`StoreError`], as for [`Store::open`].
    pub fn open_on(
        options: &StoreOptions,
        keyring: &Keyring,
        log: Box<dyn Log>,
    ) -> Result<(Self, OpenReport), StoreError> {
        // Before the index is looked at: one that another process has open looks broken.
        let lock = lock_file(&options.data_dir.join("lock"))?.ok_or(StoreError::InUse)?;
        let keys = AnchorKeys::of(keyring)?;
        let mut expected = Expected::default();
        let file = anchor_file(options, &keys, &mut expected)?;
        // Before the index is opened: with older keys it looks broken.
        let fault = keyring_or_file_fault(&expected, options.on_lost_entries)?;
        let index = open_index(options, keyring)?;
        expected.by_index(index.anchor().ok().flatten().as_ref().map(|text| text.expose().as_slice()), &keys);
        let fault = keyring_or_file_fault(&expected, options.on_lost_entries)?.or(fault);
        let indexed = index.applied();
        let memory = Arc::new(Memory::new(W::default()));
        let indexed_through = Arc::new(AtomicU64::new(0));
        let (differs_at, urge) = (Arc::new(AtomicU64::new(0)), Shared::new(keys));
        let follower = WorldFollower::new(
            Arc::clone(&memory),
            Arc::clone(&index),
            Arc::clone(&indexed_through),
            (expected.root_check(&differs_at), Arc::clone(&urge)),
        );
        let (ledger, report) = Ledger::open(ledger_options(options, keyring)?, log, Box::new(follower))?;
        let Head { seq: head, time: newest } = ledger.head();
        if head > 0 {
            options.clock.start_after(newest);
        }
        let seen = report.lost.max(expected.newest()).unwrap_or_default().max(index.seen());
        let lost = lost_entries((seen, head), report.lost.is_some(), differs_at.load(Ordering::Acquire));
        let is_lost = lost.is_some();
        let lost = match (lost, options.on_lost_entries) {
            (Some(error), OnLostEntries::Refuse) => return Err(error),
            (lost, _) => lost.map(|error| error.to_string()),
        };
        if is_lost {
            index.reset()?;
            ledger.forget_snapshots_after(report.resumed_after.unwrap_or_default())?;
        }
        let accepted = lost.or(fault).map(|what| Loss { what, seen, ledger: head });
        let ledger = Arc::new(ledger);
        let tree_of = Arc::clone(&ledger);
        let head_of = Box::new(move || tree_of.tree());
        let anchors = Keeper::start(&urge, head_of, file, Arc::clone(&index), accepted.is_some())?;
        let newest_snapshot = Newest::as_of(report.resumed_after.unwrap_or_default());
        let store = Self {
            anchors,
            accepted,
            memory,
            ledger,
            index,
            rebuild: Rebuild::default(),
            newest_snapshot,
            is_read_only: AtomicBool::new(false),
            unrecorded: Unrecorded::default(),
            lock,
        };
        let lacks_entries = report.resumed_after.is_some_and(|resumed| resumed > indexed);
        if is_lost || lacks_entries {
            // What is committed from here on comes after the entries that it is handed now.
            indexed_through.store(head, Ordering::Release);
            if !store.index.has_stopped() {
                let from = if is_lost { 1 } else { indexed.saturating_add(1) };
                reindex::<W>(&store.ledger, &store.index, from).map_err(StoreError::Read)?;
            }
        }
        Ok((store, report))
    }

    /// Records that an operator has accepted what this start has found to be gone; anchors follow the
    /// ledger that is there from here on. Gives what it was.
    ///
    /// # Errors
    /// [`CommitError`]; the next start refuses as this one would have.
    pub async fn record_accepted_loss(&self) -> Result<Option<&Loss>, CommitError> {
        let Some(loss) = &self.accepted else { return Ok(None) };
        self.commit(Change::new(loss)?, ()).await?.redeem();
        self.anchors.release();
        Ok(Some(loss))
    }

    /// Has anchors name the keys of `keyring`, which was written just now.
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

    /// How many revocations are in force in memory that no entry of the ledger says.
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
    pub async fn record(&self, tree: Tree, key: &[u8], seq: u64) -> Result<Sensitive<Vec<u8>>, RecordError> {
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
                self.rebuild.start::<W>(&self.ledger, &self.index);
                Ok(value)
            }
            Err(error) => {
                tracing::error!(%error, "the index cannot answer: read the ledger instead, rebuilding the index");
                let value = self.record_from_ledger(tree, key, seq)?;
                self.rebuild.start::<W>(&self.ledger, &self.index);
                Ok(value)
            }
        }
    }

    fn record_from_ledger(
        &self,
        tree: Tree,
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

    /// How long group commits take to be durable.
    #[must_use]
    pub fn syncs(&self) -> &Latency {
        self.ledger.syncs()
    }

    /// Entries that the index has yet to take in.
    #[must_use]
    pub fn index_lag(&self) -> u64 {
        self.head().seq.saturating_sub(self.index.applied())
    }

    /// Whether there is room for what takes away, should the disk be full.
    #[must_use]
    pub fn has_reserve(&self) -> bool {
        self.ledger.has_reserve()
    }

    /// Whether changes can be recorded, as the newest attempt experienced it.
    #[must_use]
    pub fn write_state(&self) -> WriteState {
        self.ledger.write_state()
    }

    /// How much can still be written to the ledger's disk, in bytes, when that is known.
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

    /// Writes what waits, closes the ledger cleanly and lets the index catch up.
    pub async fn close(&self) {
        self.ledger.close();
        self.anchors.close();
        self.index.close();
    }
}

impl<W: World> fmt::Debug for Store<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("head", &self.head().seq).finish_non_exhaustive()
    }
}

/// How long a reading waits for the index before it asks the ledger.
const INDEX_WAIT: Duration = Duration::from_secs(2);

/// The keys of the index.
fn index_keys(keyring: &Keyring) -> Result<IndexKeys, KeyringError> {
    let current = keyring.aead(Family::Index)?;
    let newest = current.id().generation;
    let earlier = keyring.generations(Family::Index).map(|(generation, _)| generation);
    let earlier = earlier.filter(|generation| *generation != newest);
    let earlier = earlier.map(|generation| keyring.aead_of(Family::Index, generation));
    Ok(IndexKeys { current, earlier: earlier.collect::<Result<_, _>>()? })
}

/// The keys that open the ledger's state changes.
///
/// # Errors
/// [`KeyringError`] when the keyring has none.
pub fn delta_keys(keyring: &Keyring) -> Result<DeltaKeys, KeyringError> {
    let current = keyring.current(Family::Delta)?.0.generation;
    let keys = keyring
        .generations(Family::Delta)
        .map(|(generation, key)| (generation, Sensitive::new(*key.expose())))
        .collect();
    Ok(DeltaKeys::new(current, keys))
}

/// The anchor file and what it holds. One that cannot be believed is written anew, once that is accepted.
fn anchor_file(
    options: &StoreOptions,
    keys: &AnchorKeys,
    expected: &mut Expected,
) -> Result<(AnchorFile, Option<Anchor>), StoreError> {
    let layer: Arc<dyn Layer> = Arc::new(HostLayer::existing(&options.data_dir));
    match AnchorFile::open(Arc::clone(&layer), keys) {
        Ok((file, anchor)) => {
            expected.by_file(Ok(anchor.clone()), keys);
            Ok((file, anchor))
        }
        Err(AnchorFileError::Io(error)) => Err(error.into()),
        Err(error) => {
            expected.by_file(Err(&error), keys);
            Ok((AnchorFile::absent(layer), None))
        }
    }
}

/// What is wrong with the keyring or the anchor file, when it is to be accepted.
fn keyring_or_file_fault(expected: &Expected, on_lost: OnLostEntries) -> Result<Option<String>, StoreError> {
    let keyring = expected.keyring_fault().map(|why| StoreError::KeyringOlder(why.to_owned()));
    let file = expected.file_fault().map(|why| StoreError::AnchorAltered(why.to_owned()));
    match (keyring.or(file), on_lost) {
        (Some(error), OnLostEntries::Refuse) => Err(error),
        (fault, _) => Ok(fault.map(|error| error.to_string())),
    }
}

fn open_index(options: &StoreOptions, keyring: &Keyring) -> Result<Arc<Index>, StoreError> {
    let dir = options.data_dir.join("index");
    let index = Index::open(&dir, index_keys(keyring)?, keyring.ledger(), Arc::clone(&options.entropy))?;
    match index.origin() {
        Origin::Existing | Origin::Fresh => {}
        Origin::Resealed => tracing::info!("the index was sealed under an earlier key: building it anew"),
        Origin::Rebuilt(why) => {
            tracing::warn!(reason = %why, "the index was broken: moved aside, rebuilding it from the ledger");
        }
        Origin::Absent(why) => {
            tracing::error!(reason = %why, "there is no index: reads go to the ledger until one can be made");
        }
    }
    Ok(Arc::new(index))
}

/// Why the ledger is not the one that was acknowledged. `seen` was there once; `differs_at` is not 0 when
/// the tree differs at an anchor.
fn lost_entries((seen, head): (u64, u64), lacks_snapshot: bool, differs_at: u64) -> Option<StoreError> {
    if seen > head || lacks_snapshot {
        Some(StoreError::EntriesLost { seen, ledger: head })
    } else if differs_at > 0 {
        Some(StoreError::EntriesReplaced { seq: differs_at })
    } else {
        None
    }
}

fn ledger_options(options: &StoreOptions, keyring: &Keyring) -> Result<Options, StoreError> {
    Ok(Options {
        ledger: keyring.ledger(),
        keys: Arc::new(delta_keys(keyring)?),
        clock: Arc::clone(&options.clock),
        entropy: Arc::clone(&options.entropy),
        snapshots: ledger_layer(options)?,
        build: options.build,
    })
}

fn ledger_layer(options: &StoreOptions) -> Result<Arc<dyn Layer>, StoreError> {
    Ok(Arc::new(HostLayer::open(&options.data_dir.join("ledger"))?))
}
