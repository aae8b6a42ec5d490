use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::database::{Database, IndexError, Origin, Seal};
use super::place::{Batch, Tree};
use crate::base::limits::INDEX_WAITING_MAX;
use crate::base::{Entropy, LedgerId, Sensitive};
use crate::crypto::AeadKey;

/// How far the index has come; the second part is whether it still goes on.
type Progress = (u64, Going);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Going {
    On,
    Stopped,
}

/// The index and the thread that keeps it up.
pub struct Index {
    shared: Arc<Shared>,
    origin: Origin,
    queue: Mutex<Option<SyncSender<Batch>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    dir: PathBuf,
    seal: Seal,
    entropy: Arc<dyn Entropy>,
    /// `None` while the database is being replaced.
    database: RwLock<Option<Database>>,
    progress: watch::Sender<Progress>,
}

/// How often a full queue is asked again, and how long apart: two seconds in all.
const SUBMIT_TRIES: u32 = 400;
const SUBMIT_PAUSE: Duration = Duration::from_millis(5);
/// Most batches that become one write.
const COALESCE_MAX: usize = 256;

impl Index {
    /// Opens the index in `dir`, which belongs to `ledger`. A broken one is moved aside.
    ///
    /// # Errors
    /// [`IndexError`] when not even a fresh one can be made.
    pub fn open(
        dir: &Path,
        key: AeadKey,
        ledger: LedgerId,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, IndexError> {
        let seal = Seal { key, ledger };
        let (database, applied, origin) = Database::open(dir, &seal, &*entropy)?;
        let (progress, _) = watch::channel((applied, Going::On));
        let database = RwLock::new(Some(database));
        let shared = Arc::new(Shared { dir: dir.to_owned(), seal, entropy, database, progress });
        let (queue, batches) = sync_channel(INDEX_WAITING_MAX);
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("index".to_owned())
            .spawn(move || worker.follow(&batches))
            .map_err(|error| IndexError::Io(error.kind().to_string()))?;
        Ok(Self { shared, origin, queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// How it came to be as it is.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
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
        if self.shared.progress.borrow().1 == Going::Stopped {
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
        let reached = progress.wait_for(|(applied, going)| *applied >= seq || *going == Going::Stopped).await;
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
    pub fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Sensitive<Vec<u8>>>, IndexError> {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        database.as_ref().ok_or(IndexError::Stopped)?.get(tree, key, &self.shared.seal)
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

    /// Applies what waits and closes the database. Whoever waits for more is told that it has stopped.
    pub fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
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
        let _ended = Ended(self);
        while let Ok(first) = batches.recv() {
            let mut together = vec![first];
            together.extend(batches.try_iter().take(COALESCE_MAX));
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let Some(open) = database.as_ref() else { continue };
            let (before, going) = *self.progress.borrow();
            // After a failed write the next would claim the lost one too.
            if going == Going::Stopped {
                continue;
            }
            // How far it has come never goes back, whatever is handed over again.
            together.push(Batch { seq: before, puts: Vec::new() });
            match open.apply(&together, &self.seal, &*self.entropy) {
                Ok(()) => {
                    let last = together.iter().map(|batch| batch.seq).max().unwrap_or(before);
                    self.progress.send_modify(|progress| progress.0 = progress.0.max(last));
                }
                Err(error) => {
                    tracing::error!(%error, "the index has stopped; it is built anew when it is next asked");
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
        self.progress.send_modify(|progress| progress.1 = Going::Stopped);
    }

    fn reset(&self) -> Result<(), IndexError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(database.take());
        let replaced = Database::replace(&self.dir, &self.seal, &*self.entropy);
        match replaced {
            Ok(fresh) => {
                *database = Some(fresh);
                self.progress.send_modify(|progress| *progress = (0, Going::On));
                Ok(())
            }
            Err(error) => {
                self.stop();
                Err(error)
            }
        }
    }
}

/// Wakes whoever waits when the index thread ends, also by a panic.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
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
mod tests {
    use std::fs;

    use super::super::place::Put;
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};
    use crate::crypto::KeyId;

    const TREE: Tree = Tree::new("test");

    struct Bench {
        directory: tempfile::TempDir,
        ledger: LedgerId,
    }

    fn bench() -> Bench {
        let ledger = LedgerId::mint(Timestamp::from_s(1), &SystemEntropy);
        Bench { directory: tempfile::tempdir().unwrap(), ledger }
    }

    impl Bench {
        fn dir(&self) -> PathBuf {
            self.directory.path().join("index")
        }

        fn open(&self) -> Index {
            let key = AeadKey::new(KeyId { family: 3, generation: 1 }, &Sensitive::new([9; 32]));
            Index::open(&self.dir(), key, self.ledger, Arc::new(SystemEntropy)).unwrap()
        }

        /// An index that holds `a`, then closed.
        async fn filled(&self) {
            let index = self.open();
            index.submit(put(1, b"a", b"value"));
            index.wait(1).await.unwrap();
            index.close();
        }

        fn files(&self) -> Vec<PathBuf> {
            let mut found = Vec::new();
            let mut dirs = vec![self.dir()];
            while let Some(dir) = dirs.pop() {
                for entry in fs::read_dir(dir).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() { dirs.push(path) } else { found.push(path) }
                }
            }
            found.sort();
            found
        }
    }

    fn put(seq: u64, key: &[u8], value: &[u8]) -> Batch {
        Batch { seq, puts: vec![Put { tree: TREE, key: key.to_vec(), value: Some(value.to_vec()) }] }
    }

    fn value(index: &Index, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        index.get(TREE, key).map(|found| found.map(|value| value.expose().clone()))
    }

    #[tokio::test]
    async fn what_was_put_is_there_after_a_restart() {
        let bench = bench();
        bench.filled().await;
        let index = bench.open();
        assert_eq!((index.origin(), index.applied()), (&Origin::Existing, 1));
        assert_eq!(value(&index, b"a"), Ok(Some(b"value".to_vec())));
        assert_eq!(value(&index, b"b"), Ok(None));
    }

    #[tokio::test]
    async fn a_missing_index_is_fresh() {
        let bench = bench();
        bench.filled().await;
        fs::remove_dir_all(bench.dir()).unwrap();
        let index = bench.open();
        assert_eq!((index.origin(), index.applied()), (&Origin::Fresh, 0));
    }

    #[tokio::test]
    async fn truncated_or_flipped_files_never_give_a_wrong_value() {
        let bench = bench();
        bench.filled().await;
        let good: Vec<(PathBuf, Vec<u8>)> =
            bench.files().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        let mut rebuilt = 0;
        for (path, bytes) in &good {
            let step = (bytes.len() / 24).max(1);
            for at in (0..bytes.len()).step_by(step) {
                drop(fs::remove_dir_all(bench.dir()));
                for (path, bytes) in &good {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, bytes).unwrap();
                }
                let mut bad = bytes.clone();
                if at % 2 == 0 {
                    bad[at] ^= 1
                } else {
                    bad.truncate(at)
                }
                fs::write(path, bad).unwrap();
                let index = bench.open();
                let found = value(&index, b"a");
                let true_value = matches!(&found, Ok(Some(value)) if value == b"value");
                let honest = matches!(&found, Ok(None) | Err(IndexError::Corrupt(_)));
                assert!(true_value || honest, "{found:?}");
                rebuilt += usize::from(matches!(index.origin(), Origin::Rebuilt(_)));
            }
        }
        assert!(rebuilt > 0, "no damage was noticed at open");
    }

    #[tokio::test]
    async fn another_ledgers_index_is_moved_aside() {
        let bench = bench();
        bench.filled().await;
        let other = Bench { directory: bench.directory, ledger: self::bench().ledger };
        let index = other.open();
        assert!(matches!(index.origin(), Origin::Rebuilt(_)));
        assert!(other.directory.path().join("index.broken").is_dir());
        assert_eq!(value(&index, b"a"), Ok(None));
    }

    #[tokio::test]
    async fn sto_08_a_value_moved_to_another_key_does_not_open() {
        let bench = bench();
        bench.filled().await;
        {
            let db = sled::open(bench.dir()).unwrap();
            let sealed = db.get(TREE.place(b"a")).unwrap().unwrap();
            db.insert(TREE.place(b"b"), sealed).unwrap();
        }
        let index = bench.open();
        assert!(matches!(value(&index, b"b"), Err(IndexError::Corrupt(_))));
    }

    #[tokio::test]
    async fn a_reset_index_starts_empty_and_goes_on() {
        let bench = bench();
        let index = bench.open();
        index.submit(put(5, b"a", b"old"));
        index.wait(5).await.unwrap();
        index.reset().unwrap();
        assert_eq!((index.applied(), value(&index, b"a")), (0, Ok(None)));
        index.submit(put(5, b"a", b"new"));
        index.wait(5).await.unwrap();
        assert_eq!(value(&index, b"a"), Ok(Some(b"new".to_vec())));
    }

    #[tokio::test]
    async fn a_closed_index_says_so_and_does_not_hang() {
        let bench = bench();
        let index = bench.open();
        index.close();
        index.submit(put(1, b"a", b"v"));
        assert_eq!(index.wait(1).await, Err(IndexError::Stopped));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_when_the_index_comes_that_far_or_closes() {
        let bench = bench();
        let index = bench.open();
        let far = index.wait(2);
        let beyond = index.wait(3);
        let work = async {
            index.submit(put(1, b"a", b"v"));
            index.wait(1).await.unwrap();
            index.submit(put(2, b"a", b"w"));
            index.wait(2).await.unwrap();
            index.close();
        };
        let (far, beyond, ()) = tokio::join!(far, beyond, work);
        assert_eq!((far, beyond), (Ok(()), Err(IndexError::Stopped)));
        assert_eq!(index.wait(2).await, Ok(()), "what it had, it had");
        assert_eq!(index.reset(), Err(IndexError::Stopped), "a sound index is not moved aside at the end");
        assert_eq!(bench.open().applied(), 2);
    }

    #[tokio::test]
    async fn after_a_failed_write_nothing_is_applied_over_the_gap() {
        let bench = bench();
        let index = bench.open();
        index.submit(put(1, b"a", b"v"));
        index.wait(1).await.unwrap();
        index.shared.stop();
        index.submit(put(3, b"c", b"v"));
        assert_eq!(index.wait(3).await, Err(IndexError::Stopped));
        index.close();
        let index = bench.open();
        assert_eq!((index.origin(), index.applied()), (&Origin::Existing, 1), "it goes on before the gap");
        assert_eq!(value(&index, b"c"), Ok(None));
    }

    #[tokio::test]
    async fn a_stopped_index_goes_on_after_a_reset() {
        let bench = bench();
        let index = bench.open();
        index.shared.stop();
        index.reset().unwrap();
        index.submit(put(4, b"a", b"v"));
        assert_eq!(index.wait(4).await, Ok(()));
    }

    #[tokio::test]
    async fn a_removed_value_is_gone_and_an_older_batch_does_not_turn_back_what_is_applied() {
        let bench = bench();
        let index = bench.open();
        index.submit(put(7, b"a", b"v"));
        index.submit(Batch { seq: 8, puts: vec![Put { tree: TREE, key: b"a".to_vec(), value: None }] });
        index.wait(8).await.unwrap();
        assert_eq!(value(&index, b"a"), Ok(None));
        index.submit(put(3, b"b", b"v"));
        index.close();
        let index = bench.open();
        assert_eq!((index.applied(), value(&index, b"b")), (8, Ok(Some(b"v".to_vec()))));
    }

    #[tokio::test]
    async fn a_database_under_another_key_or_of_anybody_else_is_moved_aside_and_one_is_kept() {
        let bench = bench();
        bench.filled().await;
        let other = AeadKey::new(KeyId { family: 3, generation: 1 }, &Sensitive::new([8; 32]));
        let index = Index::open(&bench.dir(), other, bench.ledger, Arc::new(SystemEntropy)).unwrap();
        assert!(matches!(index.origin(), Origin::Rebuilt(_)));
        index.close();
        fs::remove_dir_all(bench.dir()).unwrap();
        sled::open(bench.dir()).unwrap().insert(b"stray", b"x").unwrap();
        let index = bench.open();
        assert!(matches!(index.origin(), Origin::Rebuilt(_)));
        assert_eq!(index.applied(), 0);
        assert_eq!(fs::read_dir(bench.directory.path()).unwrap().count(), 2, "the index and one broken one");
    }
}
