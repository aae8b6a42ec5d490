use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::database::{Database, IndexError, IndexKeys, Origin, Seal};
use super::place::{Batch, IndexTree};
use crate::base::limits::INDEX_WAITING_MAX;
use crate::base::{Entropy, LedgerId, Sensitive, ends_within, io_reason};

/// How far the index has come; the second part is whether it still goes on.
type IndexProgress = (u64, IndexingState);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum IndexingState {
    On,
    Stopped,
}

/// The index and the thread that keeps it up.
pub struct Index {
    shared: Arc<Shared>,
    origin: Origin,
    seen: u64,
    queue: Mutex<Option<SyncSender<Batch>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    dir: PathBuf,
    seal: Seal,
    entropy: Arc<dyn Entropy>,
    /// `None` while the database is being replaced.
    database: RwLock<Option<Database>>,
    /// Closes the database that is to be replaced, until it has ended.
    closing: Mutex<Option<JoinHandle<()>>>,
    progress: watch::Sender<IndexProgress>,
}

/// Attempts at a full queue and their interval: two seconds in all.
const SUBMIT_TRIES: u32 = 400;
const SUBMIT_PAUSE: Duration = Duration::from_millis(5);
/// Longest wait until a database is closed.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// Most batches that become one write.
const COALESCE_MAX: usize = 256;

impl Index {
    /// Opens the index in `dir`, which belongs to `ledger`. A broken one is moved aside; where not even a
    /// fresh one can be made, it begins as one that has stopped: the ledger says all that it would.
    ///
    /// # Errors
    /// [`IndexError`] when its thread does not start.
    pub fn open(
        dir: &Path,
        keys: impl Into<IndexKeys>,
        ledger: LedgerId,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, IndexError> {
        let seal = Seal::new(keys.into(), ledger);
        let (database, applied, origin) = match Database::open(dir, &seal, &*entropy) {
            Ok((database, applied, origin)) => (Some(database), applied, origin),
            Err(error) => (None, 0, Origin::Absent(error)),
        };
        let seen = applied;
        let applied = if origin == Origin::Resealed { 0 } else { applied };
        let going = if database.is_some() { IndexingState::On } else { IndexingState::Stopped };
        let (progress, _) = watch::channel((applied, going));
        let database = RwLock::new(database);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            seal,
            entropy,
            database,
            closing: Mutex::new(None),
            progress,
        });
        let (queue, batches) = sync_channel(INDEX_WAITING_MAX);
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("index".to_owned())
            .spawn(move || worker.follow(&batches))
            .map_err(|error| IndexError::Io(io_reason(&error)))?;
        Ok(Self { shared, origin, seen, queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// The last entry that it had taken in before it was opened, also under an earlier key.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// How it came to be as it is.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether it takes nothing until it is built anew.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.shared.progress.borrow().1 == IndexingState::Stopped
    }

    /// The last entry whose writes it has.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.shared.progress.borrow().0
    }

    /// Hands over `batch`. Waits a moment when many wait already. An index that still takes nothing
    /// after that, or has stopped, is given up until it is built anew: the ledger must not wait for it,
    /// and a revocation with it.
    pub fn submit(&self, batch: Batch) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else { return self.shared.stop() };
        if self.shared.progress.borrow().1 == IndexingState::Stopped {
            return;
        }
        let mut batch = batch;
        for _ in 0..SUBMIT_TRIES {
            match queue.try_send(batch) {
                Ok(()) => return,
                Err(TrySendError::Full(back)) => {
                    batch = back;
                    std::thread::sleep(SUBMIT_PAUSE);
                }
                Err(TrySendError::Disconnected(_)) => break,
            }
        }
        self.shared.stop();
    }

    /// Returns when the index has come to entry `seq`.
    ///
    /// # Errors
    /// [`IndexError::Stopped`] when it never will, unless it is built anew.
    pub async fn wait(&self, seq: u64) -> Result<(), IndexError> {
        let mut progress = self.shared.progress.subscribe();
        let reached =
            progress.wait_for(|(applied, going)| *applied >= seq || *going == IndexingState::Stopped).await;
        match reached {
            Ok(progress) if progress.0 >= seq => Ok(()),
            Ok(_) | Err(_) => Err(IndexError::Stopped),
        }
    }

    /// What lies under `key` of `tree`. `None` says nothing while the index is being built anew: the
    /// ledger knows.
    ///
    /// # Errors
    /// [`IndexError::Corrupt`] when it is not what was put there.
    pub fn get(&self, tree: IndexTree, key: &[u8]) -> Result<Option<Sensitive<Vec<u8>>>, IndexError> {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        database.as_ref().ok_or(IndexError::Stopped)?.get(tree, key, &self.shared.seal)
    }

    /// Keeps `anchor`: it survives the end of the process, and a power cut within about a second not always.
    ///
    /// # Errors
    /// [`IndexError`] when it takes nothing.
    pub fn keep_anchor(&self, anchor: &[u8]) -> Result<(), IndexError> {
        if self.has_stopped() {
            return Err(IndexError::Stopped);
        }
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(IndexError::Stopped)?;
        database.keep_anchor(anchor, &self.shared.seal, &*self.shared.entropy)
    }

    /// The anchor that was kept last; `None` when there is none, as in an index that was built anew.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn anchor(&self) -> Result<Option<Sensitive<Vec<u8>>>, IndexError> {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        database.as_ref().map_or(Ok(None), |database| database.anchor(&self.shared.seal))
    }

    /// Wipes the keys in place, whichever thread holds them: it takes nothing any more, and tells nothing.
    pub fn forget_keys(&self) {
        self.shared.seal.forget();
        self.shared.stop();
    }

    /// Moves the database aside and starts an empty one: the caller hands over everything again.
    ///
    /// # Errors
    /// [`IndexError`] when no fresh one can be made, the index has stopped then; and when it has been
    /// closed, because nobody would fill a fresh one.
    pub fn reset(&self) -> Result<(), IndexError> {
        if self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Err(IndexError::Stopped);
        }
        self.shared.reset()
    }

    /// Applies the waiting writes and closes the database. Other waiting tasks learn that it has stopped. A disk
    /// that hangs, or that took nothing more, is waited for no longer than five seconds: what is lost is built
    /// anew from the ledger.
    pub fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if !ends_within(&thread, STOP_WAIT) {
            tracing::error!("the index could not be closed in time: the next start checks it");
        } else if thread.join().is_err() {
            tracing::error!("the index thread had panicked");
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn follow(&self, batches: &Receiver<Batch>) {
        let _ended = EndedSignal(self);
        while let Ok(first) = batches.recv() {
            let mut together = vec![first];
            together.extend(batches.try_iter().take(COALESCE_MAX));
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let Some(open) = database.as_ref() else { continue };
            let (before, going) = *self.progress.borrow();
            // After a failed write the next would claim the lost one too.
            if going == IndexingState::Stopped {
                continue;
            }
            // Its position never goes back, also for repeated writes.
            together.push(Batch { seq: before, puts: Vec::new() });
            match open.apply(&together, &self.seal, &*self.entropy) {
                Ok(()) => {
                    let last = together.iter().map(|batch| batch.seq).max().unwrap_or(before);
                    self.progress.send_modify(|progress| progress.0 = progress.0.max(last));
                }
                Err(error) => {
                    tracing::error!(%error, "the index has stopped; the next read rebuilds it");
                    self.stop();
                }
            }
        }
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = database.map(|open| open.flush()) {
            tracing::warn!(%error, "the index could not be flushed");
        }
    }

    fn stop(&self) {
        self.progress.send_modify(|progress| progress.1 = IndexingState::Stopped);
    }

    fn reset(&self) -> Result<(), IndexError> {
        self.seal.check()?;
        self.close_former()?;
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = Database::replace(&self.dir, &self.seal, &*self.entropy);
        match replaced {
            Ok(fresh) => {
                *database = Some(fresh);
                self.progress.send_modify(|progress| *progress = (0, IndexingState::On));
                Ok(())
            }
            Err(error) => {
                self.stop();
                Err(error)
            }
        }
    }
}

impl Shared {
    /// Closes the database that is to be replaced. After a full disk sled may never return from that: it has a
    /// thread of its own, no reader waits for it, and nothing takes its place while it has not ended.
    fn close_former(&self) -> Result<(), IndexError> {
        let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        if closing.is_none() {
            let former = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
            let thread = std::thread::Builder::new().name("index-end".to_owned()).spawn(move || drop(former));
            *closing = Some(thread.map_err(|error| IndexError::Io(io_reason(&error)))?);
        }
        if !closing.as_ref().is_some_and(|thread| ends_within(thread, STOP_WAIT)) {
            self.stop();
            return Err(IndexError::Stopped);
        }
        *closing = None;
        Ok(())
    }
}

/// Wakes the waiting tasks when the index thread ends, also by a panic.
struct EndedSignal<'a>(&'a Shared);

impl Drop for EndedSignal<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("applied", &self.applied()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
