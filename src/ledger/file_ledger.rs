use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::append::{AppendError, Head, Ledger, Pending, ReadError};
use super::attempts::{Attempts, WriteState};
use super::catalog::{Catalog, Found, Going, Marks, Room, Spot};
use super::entry::{Draft, Entry, Follower};
use super::flaw::{OpenError, VerifyError};
use super::keys::DeltaKeys;
use super::layer::Layer;
use super::recovery::{OpenReport, Recovered, load, recover};
use super::reserve;
use super::resume::resume;
use super::segment::{Frame, Mark, segment_name};
use super::snapshot::{self, Build, Point, Written};
use super::walk::Walker;
use super::writer::{Message, Waiting, Writer};
use crate::base::limits::{APPENDS_WAITING_MAX, PAGE_BYTES_MAX};
use crate::base::{Clock, Entropy, LedgerId, Sensitive, io_reason};
use crate::telemetry::Latency;

/// Bytes preallocated for a segment, unless configured otherwise.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes that are kept twice over for what takes away, unless configured otherwise: for some thousand
/// revocations.
pub const RESERVE_BYTES: u64 = 1024 * 1024;

/// How a ledger is opened.
#[derive(Debug)]
pub struct Options {
    /// Which ledger it must be.
    pub ledger: LedgerId,
    /// The keys that state changes are sealed under.
    pub keys: DeltaKeys,
    /// Where entry times come from.
    pub clock: Arc<dyn Clock>,
    /// Where salts come from.
    pub entropy: Arc<dyn Entropy>,
    /// Where the files are.
    pub layer: Arc<dyn Layer>,
    /// Bytes preallocated for a segment: see [`SEGMENT_BYTES`]. What is larger gets a segment of its
    /// own size.
    pub segment_bytes: u64,
    /// Bytes kept for what takes away, should the disk be full: see [`RESERVE_BYTES`].
    pub reserve_bytes: u64,
    /// Which build this is: it reads the snapshots that it wrote.
    pub build: Build,
}

/// What takes entries with their state changes in clear, or says why it does not.
pub type Take<'a> = dyn FnMut(&Entry, &[u8]) -> Result<(), String> + 'a;

/// The ledger in files: segments in one directory, written by one thread.
///
/// Each start writes to a segment of its own, so that its key seals no number twice. A clean
/// [`FileLedger::close`] spares the next start from writing the last group commit again.
pub struct FileLedger {
    options: Arc<Options>,
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl FileLedger {
    /// Opens the ledger, showing every entry that is there to `follower`, which from then on takes
    /// in each new one.
    ///
    /// # Errors
    /// [`OpenError`]. Damage changes nothing on disk.
    pub fn open(options: Options, mut follower: Box<dyn Follower>) -> Result<(Self, OpenReport), OpenError> {
        let locked = options.layer.lock();
        let locked =
            locked.map_err(|source| OpenError::Io { doing: "lock the ledger's directory", source })?;
        let lock = locked.ok_or(OpenError::InUse)?;
        let recovered = recover(&options, follower.as_mut())?;
        let Recovered { active, catalog, head, report } = recovered;
        let options = Arc::new(options);
        let shared = Arc::new(Shared {
            head: Mutex::new(head),
            catalog: RwLock::new(catalog),
            writable: AtomicBool::new(true),
            has_reserve: AtomicBool::new(false),
            attempts: Attempts::default(),
            is_read_only: AtomicBool::new(false),
            free_bytes: AtomicU64::new(options.layer.free_bytes().unwrap_or(u64::MAX)),
            syncs: Latency::new(),
        });
        shared.keep_reserve(&options);
        let writer = Writer::new(Arc::clone(&options), Arc::clone(&shared), follower, active, lock);
        let (queue, waiting) = sync_channel(APPENDS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|source| OpenError::Io { doing: "start the ledger's thread", source })?;
        Ok((Self { options, shared, queue, thread: Mutex::new(Some(thread)) }, report))
    }

    /// Whether there is room for what takes away, should the disk be full.
    #[must_use]
    pub fn has_reserve(&self) -> bool {
        self.shared.has_reserve()
    }

    /// Whether entries can be written, as the newest attempt experienced it.
    #[must_use]
    pub fn write_state(&self) -> WriteState {
        if self.is_writable() { self.shared.attempts.state() } else { WriteState::Stopped }
    }

    /// How much can still be written to the disk, in bytes, as of the newest look; `None` when that is not
    /// known.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        Some(self.shared.free_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes < u64::MAX)
    }

    /// Writes no probes from now on: a copy of a broker's data is only looked at.
    pub fn stop_probing(&self) {
        self.shared.is_read_only.store(true, Ordering::Release);
    }

    /// How long group commits take to be durable.
    #[must_use]
    pub fn syncs(&self) -> &Latency {
        &self.shared.syncs
    }

    /// Wipes every key in place, whichever thread holds it: no entry is written or opened any more.
    pub fn forget_keys(&self) {
        self.options.keys.forget();
    }

    /// The state change of `entry`, which this ledger has read back, in clear.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when it does not open: the entry is not this ledger's, or was altered.
    pub fn delta(&self, entry: &Entry) -> Result<Sensitive<Vec<u8>>, ReadError> {
        let spot = self.spot(entry.seq)?;
        let opened = spot.keys.open(&Frame::of(entry, entry.seq, Mark::Last));
        let opened = opened.ok_or_else(|| spot.damaged(entry.seq, "its seal does not match"))?;
        Ok(Sensitive::new(opened.delta().to_vec()))
    }

    /// Writes what waits, marks the end, ends the thread and gives the directory back. Appends from
    /// now on get [`AppendError::Failed`]; reading goes on. Once is enough; more does no harm.
    pub fn close(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // It fails only when the thread is gone already, and then there is nothing to close.
            drop(self.queue.send(Message::Close));
            if thread.join().is_err() {
                tracing::error!("the ledger's thread has panicked");
            }
        }
    }

    /// Writes a snapshot as of `point`, whose state `fill` hands over. Takes as long as that does; nothing
    /// waits for it.
    ///
    /// # Errors
    /// The file cannot be made; those that were there before still are.
    pub fn write_snapshot(
        &self,
        point: Point,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Written> {
        snapshot::write(&self.options, point, fill)
    }

    /// Lets `follower` take in the newest snapshot that this build wrote, and says as of which entry it is.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn restore(&self, follower: &mut dyn Follower) -> Result<Option<u64>, ReadError> {
        let firsts = self.shared.catalog.read().unwrap_or_else(PoisonError::into_inner).firsts();
        let resumed = resume(&self.options, &firsts, follower)?;
        Ok(resumed.point.map(|point| point.through))
    }

    /// Takes away the snapshots that are as of a later entry than `through`: they are another history's.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn forget_snapshots_after(&self, through: u64) -> io::Result<()> {
        snapshot::forget_after(self.options.layer.as_ref(), through)
    }

    /// Shows the entries from `from` to `through`, with their state changes in clear, to `take`.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Io`] with the words of `take` when it refuses one.
    pub fn each(&self, from: u64, through: u64, take: &mut Take<'_>) -> Result<(), ReadError> {
        let (mut next, through) = (from.max(1), through.min(self.head().seq));
        while next <= through {
            let spot = self.spot(next)?;
            next = spot.each(self.options.layer.as_ref(), next, through, &mut |frame, opened| {
                take(&frame.to_entry(), opened.delta()).map_err(ReadError::Io)?;
                Ok(Going::On)
            })?;
        }
        Ok(())
    }

    fn spot(&self, seq: u64) -> Result<Spot, ReadError> {
        let find = || self.shared.catalog.read().unwrap_or_else(PoisonError::into_inner).find(seq);
        let nowhere = || ReadError::Io(format!("there is no entry {seq}"));
        match find() {
            Found::Here(spot) => return Ok(spot),
            Found::Nowhere => return Err(nowhere()),
            Found::Unread { first_seq, next_first } => self.look_through(first_seq, next_first)?,
        }
        if let Found::Here(spot) = find() { Ok(spot) } else { Err(nowhere()) }
    }

    /// Finds out where the entries of a segment stand that no start has had to read.
    fn look_through(&self, first_seq: u64, next_first: u64) -> Result<(), ReadError> {
        let (file, header) = load(self.options.layer.as_ref(), first_seq)?;
        let name = segment_name(first_seq);
        let mut marks = Marks::default();
        Walker::new(&file, &header, &name).walk_settled(next_first, |batch| {
            for (frame, offset) in batch.places(batch.offset as u64) {
                marks.note(frame.seq, offset, frame.size());
            }
            Ok::<(), VerifyError>(())
        })?;
        self.shared.catalog_mut().has_read(first_seq, marks);
        Ok(())
    }
}

impl Ledger for FileLedger {
    fn append(&self, draft: Draft) -> Pending {
        if draft.is_too_large() {
            return Pending::refused(AppendError::TooLarge);
        }
        if !self.is_writable() {
            return Pending::refused(AppendError::Failed);
        }
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Message::Append(Waiting { draft: Box::new(draft), reply })) {
            Ok(()) => Pending::of(answer),
            Err(TrySendError::Full(_)) => Pending::refused(AppendError::Busy),
            Err(TrySendError::Disconnected(_)) => Pending::refused(AppendError::Failed),
        }
    }

    fn head(&self) -> Head {
        self.shared.head()
    }

    fn read(&self, from: u64, max: usize) -> Result<Vec<Entry>, ReadError> {
        let through = self.head().seq;
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = from.max(1);
        let mut room = Room { entries: max, bytes: PAGE_BYTES_MAX };
        while next <= through && room.is_left() {
            let read = self.spot(next)?.read(self.options.layer.as_ref(), next, through, &mut room)?;
            let Some(last) = read.last() else { break };
            next = last.seq.saturating_add(1);
            entries.extend(read);
        }
        Ok(entries)
    }

    fn is_writable(&self) -> bool {
        self.shared.writable.load(Ordering::Acquire)
    }
}

impl Drop for FileLedger {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for FileLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { seq, .. } = self.head();
        f.debug_struct("FileLedger")
            .field("ledger", &self.options.ledger)
            .field("head", &seq)
            .finish_non_exhaustive()
    }
}

/// What the writer shows to everyone else.
#[derive(Debug)]
pub(super) struct Shared {
    head: Mutex<Head>,
    catalog: RwLock<Catalog>,
    writable: AtomicBool,
    has_reserve: AtomicBool,
    pub(super) attempts: Attempts,
    is_read_only: AtomicBool,
    /// `u64::MAX` while it is not known.
    free_bytes: AtomicU64,
    pub(super) syncs: Latency,
}

impl Shared {
    pub(super) fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a new head, after the catalog has its entries.
    pub(super) fn publish(&self, head: Head) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
    }

    pub(super) fn catalog_mut(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for what takes away, unless it is there. Without it everything else goes on.
    pub(super) fn keep_reserve(&self, options: &Options) {
        let kept = reserve::keep(options.layer.as_ref(), options.reserve_bytes);
        if let Err(error) = &kept {
            tracing::error!(error = %io_reason(error), "there is no room left for revocations on a full disk: give the ledger space");
        }
        self.has_reserve.store(kept.is_ok(), Ordering::Release);
    }

    /// Whether probes are written.
    pub(super) fn is_probed(&self) -> bool {
        !self.is_read_only.load(Ordering::Acquire)
    }

    /// Notes how much space the disk has.
    pub(super) fn look_at_space(&self, layer: &dyn Layer) {
        self.free_bytes.store(layer.free_bytes().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn has_reserve(&self) -> bool {
        self.has_reserve.load(Ordering::Acquire)
    }

    /// The reserve is in use.
    pub(super) fn spend_reserve(&self) {
        self.has_reserve.store(false, Ordering::Release);
    }

    /// From now on nothing is acknowledged.
    pub(super) fn retire(&self) {
        self.writable.store(false, Ordering::Release);
    }
}
