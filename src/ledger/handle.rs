use std::fmt;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::append::{AppendError, Pending, Receipt};
use super::attempts::WriteState;
use super::draft::Draft;
use super::entry::Entry;
use super::error::{OpenError, ReadError};
use super::follower::Follower;
use super::history::{Head, LedgerHistory};
use super::keys::OpenedEntry;
use super::log::{Closing, Log, LogContext, LogReader, ScanFlow, TornTail};
use super::options::Options;
use super::replay::Replay;
use super::resume::{Resumed, resume};
use super::sequencer::{Sequencer, Waiting};
use super::shared::LedgerShared;
use super::tree::Tree;
use super::writer::{LedgerWriter, WriterMessage, WriterTrouble};
use crate::base::limits::{APPENDS_WAITING_MAX, PAGE_BYTES_MAX};
use crate::base::{Sensitive, Stopwatch};
use crate::telemetry::Latency;

/// The report of an opening.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenReport {
    /// The newest entry; its sequence is also the number of entries.
    pub head: Head,
    /// The number of their segments.
    pub segments: usize,
    /// Entries at the end that the last stop left in doubt; they were written again and are durable.
    pub written_again: u64,
    /// The discarded bytes of an incomplete group commit, which was never acknowledged.
    pub torn: Option<TornTail>,
    /// The entry that a snapshot is as of by which those up to it did not have to be read.
    pub resumed_after: Option<u64>,
    /// An entry that a snapshot is as of, and that is gone.
    pub lost: Option<u64>,
    /// Whether this process may write; otherwise nothing can be appended.
    pub is_claimed: bool,
}

/// The receiver of entries with decrypted state changes.
pub type Take<'a> = dyn FnMut(&Entry, &[u8]) -> Result<(), String> + 'a;

/// An append-only sequence of entries, durable in a [`Log`] and written by one thread.
///
/// - When [`Ledger::append`] resolves to `Ok`, the entry is on stable storage, whole, and the
///   follower has taken it in. Losing power at any later moment does not lose it.
/// - Entries are numbered from 1 without gap or fork, in the order in which they became durable;
///   of two appends, the one acknowledged before the other was submitted has the lower number.
/// - An append whose expectations do not hold, entries of the same group commit and of other writers included, gets
///   [`AppendError::Conflict`] and writes nothing.
/// - A failed write or sync is never retried. From then on every append gets
///   [`AppendError::Failed`], which means *unknown*: the entry may be there after the next start. A log that can tell
///   afterwards whether a batch was committed is asked; a batch that never will be is sequenced anew.
/// - At the next open, entries that were never acknowledged may be there or not, but always as a
///   prefix in order, and a group commit is there whole or not at all. What was written but not
///   known to be synced is written again and synced before it is applied or served.
/// - Damage to anything that was once acknowledged is reported with the entry's number, and no
///   entry from there on is served.
pub struct Ledger {
    pub(super) options: Options,
    pub(super) reader: Arc<dyn LogReader>,
    shared: Arc<LedgerShared>,
    queue: SyncSender<WriterMessage>,
    closing: Closing,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    /// Opens the ledger in `log`, showing every entry that is there to `follower`, which from then on takes in each new
    /// one.
    ///
    /// # Errors
    /// [`OpenError`]. Damage changes nothing.
    pub fn open(
        options: Options,
        mut log: Box<dyn Log>,
        mut follower: Box<dyn Follower>,
    ) -> Result<(Self, OpenReport), OpenError> {
        let Options { ledger, keys, entropy, .. } = &options;
        let session = Arc::new(keys.session(*ledger, entropy.bytes())?);
        let (keys, entropy) = (Arc::clone(keys), Arc::clone(entropy));
        let closing = Closing::default();
        let context = LogContext { ledger: *ledger, entropy, closing: closing.clone(), keys, session };
        log.claim(context.clone())?;
        let stored = |seq| log.stored(seq);
        let Resumed { history, lost } = resume(&options, &stored, follower.as_mut())?;
        let resumed_after = history.as_ref().map(|history| history.head().seq);
        let history = history.unwrap_or_else(LedgerHistory::new);
        let mut replay =
            Replay { ledger: *ledger, keys: &options.keys, follower: follower.as_mut(), history };
        let found = log.replay(&mut replay)?;
        let history = replay.history;
        let head = history.head();
        let report = OpenReport {
            head,
            segments: found.segments,
            written_again: found.written_again,
            torn: found.torn,
            resumed_after,
            lost,
            is_claimed: log.is_claimed(),
        };
        let shared = Arc::new(LedgerShared::new(head, history.tree().clone()));
        shared.free_bytes_are(log.free_bytes());
        shared.reserve_is(log.has_reserve());
        let (clock, entropy) = (Arc::clone(&options.clock), Arc::clone(&options.entropy));
        let sequencer = Sequencer::new(clock, entropy, Arc::clone(&context.session), history);
        let reader = log.reader();
        let (trouble, looked) = (WriterTrouble::default(), Stopwatch::start());
        let writer_shared = Arc::clone(&shared);
        let writer =
            LedgerWriter { context, shared: writer_shared, follower, sequencer, log, trouble, looked };
        let (queue, waiting) = sync_channel(APPENDS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|source| OpenError::io("start the ledger's thread", source))?;
        Ok((Self { options, reader, shared, queue, closing, thread: Mutex::new(Some(thread)) }, report))
    }

    /// Submits `draft`. The append goes on even if the answer is not waited for.
    pub fn append(&self, draft: Draft) -> Pending {
        if draft.is_too_large() {
            return Pending::refused(AppendError::TooLarge);
        }
        if !self.is_writable() {
            return Pending::refused(AppendError::Failed);
        }
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(WriterMessage::Append(Waiting { draft: Box::new(draft), reply })) {
            Ok(()) => Pending::of(answer),
            Err(TrySendError::Full(_)) => Pending::refused(AppendError::Busy),
            Err(TrySendError::Disconnected(_)) => Pending::refused(AppendError::Failed),
        }
    }

    /// Writes `draft` for `value` and gives `value` back inside the proof that it is durable.
    ///
    /// # Errors
    /// [`AppendError`]; `value` is spent then: what it allowed has to be decided again.
    pub fn commit<T: Send>(
        &self,
        draft: Draft,
        value: T,
    ) -> impl Future<Output = Result<Receipt<T>, AppendError>> + Send + use<T> {
        // Before the future: a caller that waits for it need not keep a place for the draft.
        self.append(draft).committing(value)
    }

    /// The newest durable entry.
    #[must_use]
    pub fn head(&self) -> Head {
        self.shared.head()
    }

    /// The Merkle tree over all durable entries.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.shared.tree()
    }

    /// Up to `max` durable entries from `from` on, and no more than `PAGE_BYTES_MAX` makes full. The one that makes it
    /// full is still on the page, so that every page has one.
    ///
    /// # Errors
    /// [`ReadError`]; no damaged entry is ever among the answers.
    pub fn read(&self, from: u64, max: usize) -> Result<Vec<Entry>, ReadError> {
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        if max > 0 {
            self.each_opened(from, self.head().seq, &mut |entry, _| {
                bytes = bytes.saturating_add(entry.len());
                entries.push(entry);
                let is_full = entries.len() >= max || bytes >= PAGE_BYTES_MAX;
                Ok(if is_full { ScanFlow::Enough } else { ScanFlow::On })
            })?;
        }
        Ok(entries)
    }

    /// Shows the entries from `from` to `through`, with their state changes in clear, to `take`.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Io`] with the words of `take` when it refuses one.
    pub fn each(&self, from: u64, through: u64, take: &mut Take<'_>) -> Result<(), ReadError> {
        self.each_opened(from, through.min(self.head().seq), &mut |entry, opened| {
            take(&entry, opened.delta()).map_err(ReadError::Io)?;
            Ok(ScanFlow::On)
        })
    }

    fn each_opened(
        &self,
        from: u64,
        through: u64,
        take: &mut dyn FnMut(Entry, &OpenedEntry) -> Result<ScanFlow, ReadError>,
    ) -> Result<(), ReadError> {
        self.reader.each(from.max(1), through, &mut |entry| {
            let opened = self.opened(&entry)?;
            take(entry, &opened)
        })
    }

    /// An altered entry is refused even if its checksum was made to match.
    fn opened(&self, entry: &Entry) -> Result<OpenedEntry, ReadError> {
        let damaged = || ReadError::Damaged {
            seq: entry.seq,
            segment: self.reader.holder(entry.seq),
            what: "its seal does not match".to_owned(),
        };
        self.options.keys.open(self.options.ledger, entry)?.ok_or_else(damaged)
    }

    /// The state change of `entry`, which this ledger has read back, in clear.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when it does not open: the entry is not this ledger's, or was altered.
    pub fn delta(&self, entry: &Entry) -> Result<Sensitive<Vec<u8>>, ReadError> {
        Ok(Sensitive::new(self.opened(&entry.unread())?.delta().to_vec()))
    }

    /// Whether appends can still be acknowledged.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.shared.is_writable()
    }

    /// Whether there is room for what takes away, should the disk be full.
    #[must_use]
    pub fn has_reserve(&self) -> bool {
        self.shared.has_reserve()
    }

    /// How many machines are missing that an acknowledged entry should be on.
    #[must_use]
    pub fn standbys_missing(&self) -> u32 {
        self.reader.standbys_missing()
    }

    /// Resolves once acknowledged entries are known to be gone, with the reason. The ledger has stopped then.
    pub fn entries_lost(&self) -> impl Future<Output = String> + Send + use<> {
        let mut lost = self.shared.lost();
        async move {
            let told = lost.wait_for(Option::is_some).await.map(|why| why.clone());
            match told {
                Ok(Some(why)) => why,
                // The ledger has ended without.
                _ => std::future::pending().await,
            }
        }
    }

    /// Whether entries can be written, as the newest attempt experienced it.
    #[must_use]
    pub fn write_state(&self) -> WriteState {
        if self.is_writable() { self.shared.attempts.state() } else { WriteState::Stopped }
    }

    /// The free space at the last check, in bytes; `None` if unknown.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.shared.free_bytes()
    }

    /// Writes no probes from now on: a copy of a broker's data is only looked at.
    pub fn stop_probing(&self) {
        self.shared.stop_probing();
    }

    /// The durations of group commits.
    #[must_use]
    pub fn syncs(&self) -> &Latency {
        &self.shared.syncs
    }

    /// Wipes every key in place, whichever thread holds it: no entry is written or opened any more.
    pub fn forget_keys(&self) {
        self.options.keys.forget();
    }

    /// Writes the waiting entries, marks the end, ends the thread and gives the log back. Appends from
    /// now on get [`AppendError::Failed`]; reading goes on. Once is enough; more does no harm.
    pub fn close(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            self.closing.begin();
            // It fails only when the thread is gone already, and then there is nothing to close.
            drop(self.queue.send(WriterMessage::Close));
            if thread.join().is_err() {
                tracing::error!("the ledger's thread has panicked");
            }
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("ledger", &self.options.ledger)
            .field("head", &self.head().seq)
            .finish_non_exhaustive()
    }
}
