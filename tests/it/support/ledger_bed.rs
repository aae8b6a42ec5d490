//! Places where a ledger can be opened, and a follower that remembers.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use keyward::base::{Clock, Entropy, LedgerId, ManualClock, Sensitive, Stopwatch, Timestamp};
use keyward::crypto::Digest;
use keyward::ledger::{
    AppendError, Build, Committed, DeltaKeys, Draft, Entry, EntryCause, Expectation, FileLog, Follower,
    HostLayer, Key, Kind, Layer, Ledger, OpenError, OpenReport, Options, Pending, SnapshotPoint,
    SnapshotState, Space, TakeInError, Tree,
};

use super::remote_log::Database;
use super::unsynced::{Dice, Disk};
use super::waiting::LONGEST;

pub(crate) const LEDGER: [u8; 16] = [42; 16];
pub(crate) const RESERVE_BYTES: u64 = 2 * 1024;
pub(crate) const BUILD: Build = Build::Named(Digest::from_bytes([7; 32]));

/// Chance that repeats with its seed, so that a failing run can be run again.
#[derive(Debug)]
pub(crate) struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let word = Dice(self.0.fetch_add(1, Ordering::Relaxed)).roll().to_be_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// A ledger that was opened, and what was found.
pub(crate) type Opened = Result<(Ledger, OpenReport), OpenError>;

/// Something that opens the same ledger again and again.
pub(crate) trait Bed {
    fn open(&self, follower: Box<dyn Follower>) -> Result<Arc<Ledger>, OpenError>;
    fn clock(&self) -> &Arc<ManualClock>;
}

/// A file ledger on a disk that forgets.
#[derive(Debug)]
pub(crate) struct UnsyncedBed {
    pub(crate) disk: Disk,
    site: Site,
}

/// A file ledger in a directory of this machine.
#[derive(Debug)]
pub(crate) struct HostBed {
    pub(crate) dir: tempfile::TempDir,
    site: Site,
}

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) clock: Arc<ManualClock>,
    entropy: Arc<Seeded>,
    segment_bytes: u64,
}

pub(crate) fn keys() -> DeltaKeys {
    DeltaKeys::new(2, vec![(1, Sensitive::new([1; 32])), (2, Sensitive::new([2; 32]))])
}

impl Site {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self {
            clock: Arc::new(ManualClock::new(Timestamp::from_s(1_000_000))),
            entropy: Arc::new(Seeded(AtomicU64::new(1))),
            segment_bytes,
        }
    }

    pub(crate) fn options(&self, snapshots: Arc<dyn Layer>) -> Options {
        let clock = Arc::clone(&self.clock);
        Options {
            ledger: LedgerId::from_bytes(LEDGER),
            keys: Arc::new(keys()),
            clock: clock as Arc<dyn Clock>,
            entropy: Arc::clone(&self.entropy) as Arc<dyn Entropy>,
            snapshots,
            build: BUILD,
        }
    }

    fn open(&self, layer: Arc<dyn Layer>, follower: Box<dyn Follower>) -> Opened {
        let log = FileLog::new(Arc::clone(&layer), self.segment_bytes, RESERVE_BYTES);
        Ledger::open(self.options(layer), Box::new(log), follower)
    }
}

impl UnsyncedBed {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self { disk: Disk::default(), site: Site::new(segment_bytes) }
    }

    pub(crate) fn on(disk: Disk, segment_bytes: u64) -> Self {
        Self { disk, site: Site::new(segment_bytes) }
    }

    pub(crate) fn options(&self) -> Options {
        self.site.options(self.disk.layer())
    }

    /// Opens the ledger with these options.
    pub(crate) fn open_as(&self, options: Options, recorder: &Recorder) -> Opened {
        let log = FileLog::new(self.disk.layer(), self.site.segment_bytes, RESERVE_BYTES);
        Ledger::open(options, Box::new(log), Box::new(recorder.clone()))
    }

    pub(crate) fn open_file(&self, recorder: &Recorder) -> Opened {
        self.site.open(self.disk.layer(), Box::new(recorder.clone()))
    }
}

impl HostBed {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), site: Site::new(64 * 1024) }
    }

    pub(crate) fn open_file(&self, recorder: &Recorder) -> Opened {
        let layer = HostLayer::open(&self.dir.path().join("ledger"))?;
        self.site.open(Arc::new(layer), Box::new(recorder.clone()))
    }
}

/// Ledgers on one database, each with a directory of its own for snapshots.
#[derive(Debug)]
pub(crate) struct RemoteBed {
    pub(crate) database: Database,
    site: Site,
}

impl RemoteBed {
    pub(crate) fn new() -> Self {
        Self { database: Database::default(), site: Site::new(0) }
    }
}

impl Bed for RemoteBed {
    fn open(&self, follower: Box<dyn Follower>) -> Result<Arc<Ledger>, OpenError> {
        let options = self.site.options(Disk::default().layer());
        Ok(Arc::new(Ledger::open(options, self.database.log(), follower)?.0))
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.site.clock
    }
}

impl Bed for UnsyncedBed {
    fn open(&self, follower: Box<dyn Follower>) -> Result<Arc<Ledger>, OpenError> {
        Ok(Arc::new(self.site.open(self.disk.layer(), follower)?.0))
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.site.clock
    }
}

impl Bed for HostBed {
    fn open(&self, follower: Box<dyn Follower>) -> Result<Arc<Ledger>, OpenError> {
        let layer = HostLayer::open(&self.dir.path().join("ledger"))?;
        Ok(Arc::new(self.site.open(Arc::new(layer), follower)?.0))
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.site.clock
    }
}

/// What a follower was shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Taken {
    pub(crate) seq: u64,
    pub(crate) event: Vec<u8>,
    pub(crate) delta: Vec<u8>,
    pub(crate) time: Timestamp,
}

/// A follower that remembers, and that can be held still so that a group commit forms behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<(Mutex<Recorded>, Condvar)>);

#[derive(Debug, Default)]
struct Recorded {
    taken: Vec<Taken>,
    writes: Vec<u8>,
    restored: Option<(u64, Vec<u8>)>,
    settled: Vec<u64>,
    refuse: bool,
    held: bool,
    reached: bool,
}

impl Follower for Recorder {
    fn apply(&mut self, entry: &Entry, delta: &[u8], _before: &Tree) -> Result<(), TakeInError> {
        let mut recorded = self.0.0.lock().unwrap();
        if recorded.refuse {
            return Err(TakeInError::Contradiction("told to refuse".to_owned()));
        }
        let (event, delta) = (entry.event.clone(), delta.to_vec());
        recorded.taken.push(Taken { seq: entry.seq, event, delta, time: entry.time });
        Ok(())
    }

    fn restore(&mut self, point: &SnapshotPoint, _tree: &Tree, state: &mut dyn Read) -> Result<(), String> {
        let mut bytes = Vec::new();
        state.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        self.0.0.lock().unwrap().restored = Some((point.through, bytes));
        Ok(())
    }

    fn settle(&mut self, _tree: &Tree) {
        let mut recorded = self.0.0.lock().unwrap();
        let last = recorded.taken.last().map_or(0, |taken| taken.seq);
        recorded.settled.push(last);
        while recorded.held {
            recorded.reached = true;
            self.0.1.notify_all();
            let (still, waited) = self.0.1.wait_timeout(recorded, LONGEST).unwrap();
            assert!(!waited.timed_out(), "nobody lets go");
            recorded = still;
        }
    }
}

impl SnapshotState for Recorder {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.0.0.lock().unwrap().writes)
    }
}

impl Recorder {
    /// One that is written into snapshots as `state`.
    pub(crate) fn writing(state: &[u8]) -> Self {
        let recorder = Self::default();
        recorder.0.0.lock().unwrap().writes = state.to_vec();
        recorder
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.0.0.lock().unwrap().taken.clone()
    }

    /// The state that it was given in place of entries, and the last of those.
    pub(crate) fn restored(&self) -> Option<(u64, Vec<u8>)> {
        self.0.0.lock().unwrap().restored.clone()
    }

    /// The last sequence of each group commit.
    pub(crate) fn settled(&self) -> Vec<u64> {
        self.0.0.lock().unwrap().settled.clone()
    }

    pub(crate) fn refuse(&self) {
        self.0.0.lock().unwrap().refuse = true;
    }

    /// Submits `first`, and after it `rest`, all of which becomes one group commit.
    pub(crate) fn group(&self, ledger: &Ledger, first: Draft, rest: Vec<Draft>) -> (Pending, Vec<Pending>) {
        self.while_still(ledger, first, || rest.into_iter().map(|draft| ledger.append(draft)).collect())
    }

    /// Submits `first`, waits until the writer stands still at taking it in, does what `then` does, and lets go.
    pub(crate) fn while_still<T>(
        &self,
        ledger: &Ledger,
        first: Draft,
        then: impl FnOnce() -> T,
    ) -> (Pending, T) {
        let begin = Stopwatch::start();
        let mut recorded = self.0.0.lock().unwrap();
        (recorded.held, recorded.reached) = (true, false);
        let first = ledger.append(first);
        while !recorded.reached && ledger.is_writable() {
            assert!(begin.elapsed() < LONGEST, "the writer does not come there");
            recorded = self.0.1.wait_timeout(recorded, Duration::from_millis(1)).unwrap().0;
        }
        let done = then();
        recorded.held = false;
        self.0.1.notify_all();
        (first, done)
    }
}

pub(crate) fn wait(pending: Pending) -> Result<Committed, AppendError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(pending)
}

pub(crate) fn draft(event: &str, delta: &[u8]) -> Draft {
    Draft {
        kind: Kind(7),
        event: event.as_bytes().to_vec(),
        delta: Sensitive::new(delta.to_vec()),
        expect: Vec::new(),
        advance: Vec::new(),
        space: Space::Usual,
        concerns: Vec::new(),
        cause: EntryCause::default(),
    }
}

/// A draft that relies on `key` as of `as_of` and advances it.
pub(crate) fn using(key: Key, as_of: u64) -> Draft {
    let mut draft = draft("use", b"used");
    draft.expect.push(Expectation { key, as_of });
    draft.advance.push(key);
    draft
}

/// Appends `count` entries one after another, each in a group commit of its own.
pub(crate) fn fill(ledger: &Ledger, count: u64) {
    for n in 0..count {
        let seq = ledger.head().seq + 1;
        wait(ledger.append(draft(&format!("{{\"entry\":{seq},\"n\":{n}}}"), &[n as u8; 100]))).unwrap();
    }
}
