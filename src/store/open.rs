use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::anchor::{
    AcceptedLoss, Anchor, AnchorFile, AnchorFileError, AnchorKeeper, AnchorKeys, ExpectedAnchors,
    KeeperShared, KeeperStart, RootWatch,
};
use super::change::StoredState;
use super::error::StoreError;
use super::follow::{InMemoryState, WorldFollower};
use super::handle::Store;
use super::lock_mark::lock_mark;
use super::newest::NewestSnapshot;
use super::posted::{LedgerEntries, SearchedLedger};
use super::rebuild::{RebuiltIndex, reindex};
use crate::base::{Clock, Entropy, Sensitive};
use crate::index::{Index, IndexKeys, Origin};
use crate::keyring::{Family, Keyring, KeyringError};
use crate::ledger::{
    Build, DeltaKeys, FileLog, Head, HostLayer, Layer, Ledger, Log, OpenReport, Options, RESERVE_BYTES,
    lock_file,
};
use crate::postings::{self, PostingSource, Postings, PostingsKeys, PostingsOptions};

/// The options of a store.
#[derive(Debug)]
pub struct StoreOptions {
    /// The data directory: `ledger/` and `index/` live below it.
    pub data_dir: PathBuf,
    /// The clock of entries.
    pub clock: Arc<dyn Clock>,
    /// The source of salts.
    pub entropy: Arc<dyn Entropy>,
    /// Bytes preallocated for a ledger segment.
    pub segment_bytes: u64,
    /// The build, which reads only its own snapshots.
    pub build: Build,
    /// Where the entries of the ledger are durable.
    pub place: LedgerPlace,
    /// What to do when the index has seen entries that the ledger no longer has.
    pub on_lost_entries: OnLostEntries,
}

/// Where the entries of a ledger are durable.
#[derive(Clone, Debug)]
pub enum LedgerPlace {
    /// In files below the data directory.
    Files,
    /// In a log elsewhere; snapshots and indexes are below the data directory.
    Elsewhere(Arc<dyn OpenLog>),
}

/// What opens a log.
pub trait OpenLog: std::fmt::Debug + Send + Sync {
    /// A log that is not claimed yet, for the data directory whose lock file has the mark `lock`.
    ///
    /// # Errors
    /// The system gives no thread or file.
    fn open_log(&self, lock: u64) -> std::io::Result<Box<dyn Log>>;
}

/// The operator's word on acknowledged entries that are gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnLostEntries {
    /// Do not open.
    Refuse,
    /// Open at what the ledger has: an operator has said that it may be so.
    Accept,
}

impl<W: StoredState> Store<W> {
    /// Opens what is below `options.data_dir` with the keys of `keyring`: the state is made of the newest
    /// snapshot and the entries since.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed then, except that a broken index has been moved aside.
    pub fn open(options: &StoreOptions, keyring: &Keyring) -> Result<(Self, OpenReport), StoreError> {
        match &options.place {
            LedgerPlace::Files => {
                ledger_is_there(options)?;
                let layer = ledger_layer(options)?;
                let log = FileLog::new(layer, options.segment_bytes, RESERVE_BYTES);
                Self::open_on(options, keyring, Box::new(log))
            }
            LedgerPlace::Elsewhere(place) => {
                let lock = directory_lock(options)?;
                let log = place.open_log(lock_mark(&lock.metadata()?))?;
                Self::open_locked(options, keyring, log, lock)
            }
        }
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
        Self::open_locked(options, keyring, log, directory_lock(options)?)
    }

    fn open_locked(
        options: &StoreOptions,
        keyring: &Keyring,
        log: Box<dyn Log>,
        lock: File,
    ) -> Result<(Self, OpenReport), StoreError> {
        let keys = AnchorKeys::of(keyring)?;
        let mut expected = ExpectedAnchors::default();
        let (file, anchored) = anchor_file(options, &keys, &mut expected)?;
        // Before the index is opened: with older keys it looks broken.
        let fault = keyring_or_file_fault(&expected, options.on_lost_entries)?;
        let index = open_index(options, keyring)?;
        expected.by_index(index.anchor().ok().flatten().as_ref().map(|text| text.expose().as_slice()), &keys);
        let fault = keyring_or_file_fault(&expected, options.on_lost_entries)?.or(fault);
        let indexed = index.applied();
        let memory = Arc::new(InMemoryState::new(W::default()));
        let indexed_through = Arc::new(AtomicU64::new(0));
        let (differs_at, urge) = (Arc::new(AtomicU64::new(0)), KeeperShared::new(keys));
        let follower = WorldFollower::new(
            Arc::clone(&memory),
            Arc::clone(&index),
            Arc::clone(&indexed_through),
            RootWatch { check: expected.root_check(&differs_at), anchors: Arc::clone(&urge) },
        );
        let (ledger, report) = Ledger::open(ledger_options(options, keyring)?, log, Box::new(follower))?;
        let Head { seq: head, time: newest } = ledger.head();
        if head > 0 {
            options.clock.start_after(newest);
        }
        let seen = report.lost.max(expected.newest()).unwrap_or_default().max(index.seen());
        let lost = lost_entries(seen, head, report.lost.is_some(), differs_at.load(Ordering::Acquire));
        let is_lost = lost.is_some();
        let lost = match (lost, options.on_lost_entries) {
            (Some(error), OnLostEntries::Refuse) => return Err(error),
            (lost, _) => lost.map(|error| error.to_string()),
        };
        if is_lost {
            index.reset()?;
            ledger.forget_snapshots_after(report.resumed_after.unwrap_or_default())?;
        }
        let accepted = lost.or(fault).map(|what| AcceptedLoss { what, seen, ledger: head });
        let ledger = Arc::new(ledger);
        let tree_of = Arc::clone(&ledger);
        let head_of = Box::new(move || tree_of.tree());
        let start = KeeperStart {
            head: head_of,
            file,
            newest: anchored,
            index: Arc::clone(&index),
            is_held: accepted.is_some(),
        };
        let anchors = AnchorKeeper::start(&urge, start)?;
        let postings =
            start_postings(options, keyring, LedgerEntries::<W>::of(Arc::clone(&ledger)), is_lost)?;
        let newest_snapshot = NewestSnapshot::as_of(report.resumed_after.unwrap_or_default());
        let store = Self {
            anchors,
            accepted,
            memory,
            ledger: SearchedLedger { postings, ledger },
            index: RebuiltIndex::new(index),
            newest_snapshot,
            is_read_only: AtomicBool::new(false),
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
}

/// Locks the data directory. Before the index is looked at: one that another process has open looks broken.
fn directory_lock(options: &StoreOptions) -> Result<File, StoreError> {
    lock_file(&options.data_dir.join("lock"))?.ok_or(StoreError::InUse)
}

/// The index in which entries are searched. If the ledger has lost entries, it is built again.
fn start_postings(
    options: &StoreOptions,
    keyring: &Keyring,
    entries: impl PostingSource + 'static,
    is_lost: bool,
) -> Result<Postings, StoreError> {
    let dir = options.data_dir.join("postings");
    if is_lost {
        postings::discard(&dir)?;
    }
    let (id, index_key) = keyring.current(Family::Index)?;
    let keys = PostingsKeys::derive(id, index_key);
    let (ledger, entropy) = (keyring.ledger(), Arc::clone(&options.entropy));
    Ok(Postings::start(PostingsOptions { dir, ledger, keys, entropy }, Arc::new(entries)))
}

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
    expected: &mut ExpectedAnchors,
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
fn keyring_or_file_fault(
    expected: &ExpectedAnchors,
    on_lost: OnLostEntries,
) -> Result<Option<String>, StoreError> {
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
        Origin::Resealed => {
            tracing::info!("the index was sealed under an earlier key: the broker rebuilds it")
        }
        Origin::Rebuilt(why) => {
            tracing::warn!(reason = %why, "the index was damaged: the broker has moved it aside, and rebuilds it from the ledger");
        }
        Origin::Absent(why) => {
            tracing::error!(reason = %why, "the index cannot be created: the broker reads the ledger instead");
        }
    }
    Ok(Arc::new(index))
}

/// Why the ledger is not the one that was acknowledged. `seen` was there once; `differs_at` is not 0 when
/// the tree differs at an anchor.
fn lost_entries(seen: u64, head: u64, lacks_snapshot: bool, differs_at: u64) -> Option<StoreError> {
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
    Ok(Arc::new(HostLayer::open(&ledger_dir(options))?))
}

fn ledger_dir(options: &StoreOptions) -> PathBuf {
    options.data_dir.join("ledger")
}

/// Refuses a data directory from which the ledger was removed. A new directory in its place would hide this, and a
/// backup that is moved to the data directory would come to lie in it.
fn ledger_is_there(options: &StoreOptions) -> Result<(), StoreError> {
    let ledger = ledger_dir(options);
    let is_used = ["anchor", "index"].iter().any(|name| options.data_dir.join(name).exists());
    if options.on_lost_entries == OnLostEntries::Accept || ledger.exists() || !is_used {
        return Ok(());
    }
    Err(StoreError::LedgerMissing(ledger))
}
