use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::database::written;
use super::super::place::Put;
use super::*;
use crate::base::limits::SEALS_MAX;
use crate::base::{SystemEntropy, Timestamp};
use crate::crypto::{AeadKey, CountedKey, KeyId};

const TREE: IndexTree = IndexTree::new("test");

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

#[test]
fn writes_and_flushes_take_turns_in_the_whole_process() {
    let (inside, begun) = (AtomicUsize::new(0), Barrier::new(2));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            begun.wait();
            written(|| Ok(inside.fetch_add(1, Ordering::SeqCst))).unwrap();
        });
        written(|| {
            begun.wait();
            // Time enough for the other one, if it did not wait for its turn.
            for _ in 0..10_000 {
                std::thread::yield_now();
                assert_eq!(inside.load(Ordering::SeqCst), 0);
            }
            Ok(())
        })
        .unwrap();
    });
    assert_eq!(inside.load(Ordering::SeqCst), 1);
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

/// Hazard STO-08.
#[tokio::test]
async fn a_value_moved_to_another_key_does_not_open() {
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
async fn an_older_batch_does_not_bring_back_a_removed_value() {
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
async fn an_index_of_another_key_or_ledger_is_moved_aside_and_one_is_kept() {
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

/// Hazard STO-05.
#[tokio::test]
async fn an_index_that_cannot_be_made_is_made_as_soon_as_it_can_be() {
    // Given a place where nothing can be made.
    let bench = bench();
    let place = bench.directory.path().join("place");
    fs::write(&place, b"").unwrap();
    let key = AeadKey::new(KeyId { family: 3, generation: 1 }, &Sensitive::new([9; 32]));
    let index = Index::open(&place.join("index"), key, bench.ledger, Arc::new(SystemEntropy)).unwrap();
    assert!(matches!(index.origin(), Origin::Absent(_)) && index.has_stopped());
    index.submit(put(1, b"a", b"v"));
    assert_eq!(index.wait(1).await, Err(IndexError::Stopped));
    assert_eq!(value(&index, b"a"), Err(IndexError::Stopped));
    assert!(index.reset().is_err());
    // When something can be.
    fs::remove_file(&place).unwrap();
    fs::create_dir_all(place.join("index")).unwrap();
    index.reset().unwrap();
    index.submit(put(1, b"a", b"v"));
    index.wait(1).await.unwrap();
    assert_eq!(value(&index, b"a"), Ok(Some(b"v".to_vec())));
}

/// The position counts, so that lost entries are noticed; nothing else that was sealed under the earlier key does.
#[tokio::test]
async fn an_index_under_an_earlier_key_says_how_far_it_came_and_is_built_anew() {
    let bench = bench();
    bench.filled().await;
    let key = |generation, byte| AeadKey::new(KeyId { family: 3, generation }, &Sensitive::new([byte; 32]));
    let keys = || IndexKeys { current: key(2, 8), earlier: vec![key(1, 9)] };
    let open = |keys| Index::open(&bench.dir(), keys, bench.ledger, Arc::new(SystemEntropy)).unwrap();
    let index = open(keys());
    assert_eq!((index.origin(), index.applied(), index.seen()), (&Origin::Resealed, 0, 1));
    assert_eq!(value(&index, b"a").unwrap(), None);
    index.submit(put(1, b"a", b"again"));
    index.wait(1).await.unwrap();
    index.close();
    drop(index);
    let index = open(keys());
    assert_eq!((index.origin(), index.applied(), index.seen()), (&Origin::Existing, 1, 1));
    assert_eq!(value(&index, b"a").unwrap().unwrap(), b"again");
    drop(index);
    assert!(!bench.directory.path().join("index.broken").exists(), "what the earlier key opens is not kept");
    // A forged one under the earlier generation is not believed.
    let forged = IndexKeys { current: key(3, 7), earlier: vec![key(2, 1)] };
    assert!(matches!(open(forged).origin(), Origin::Rebuilt(_)));
}

/// The key of the database that is open.
fn with_key<T>(index: &Index, look: impl FnOnce(&CountedKey) -> T) -> T {
    look(&index.shared.database.read().unwrap().as_ref().unwrap().key)
}

#[tokio::test]
async fn an_index_stops_at_its_key_limit_and_goes_on_under_another_key() {
    let bench = bench();
    let index = bench.open();
    index.submit(put(1, b"a", b"v"));
    index.wait(1).await.unwrap();
    // A put, and how far it has come.
    with_key(&index, |key| key.count_from(SEALS_MAX - 2));
    index.submit(put(2, b"a", b"w"));
    index.wait(2).await.unwrap();
    index.submit(put(3, b"b", b"v"));
    assert_eq!(index.wait(3).await, Err(IndexError::Stopped));
    assert_eq!(index.keep_anchor(b"anchor"), Err(IndexError::Stopped));
    assert_eq!(value(&index, b"a"), Ok(Some(b"w".to_vec())), "what it has, it tells");
    index.reset().unwrap();
    assert!(with_key(&index, CountedKey::seals) < 3);
    index.submit(put(3, b"b", b"v"));
    index.wait(3).await.unwrap();
    assert_eq!(value(&index, b"b"), Ok(Some(b"v".to_vec())));
}

#[tokio::test]
async fn what_the_key_of_an_index_has_sealed_is_counted_across_starts() {
    let bench = bench();
    bench.filled().await;
    let index = bench.open();
    let sealed = with_key(&index, CountedKey::seals);
    assert!(sealed >= 2, "a value and how far it has come: {sealed}");
    index.keep_anchor(b"anchor").unwrap();
    index.submit(put(2, b"b", b"v"));
    index.wait(2).await.unwrap();
    let more = with_key(&index, CountedKey::seals);
    assert_eq!(more, sealed + 3);
    index.close();
    assert_eq!(with_key(&bench.open(), CountedKey::seals), more);
}

/// Before databases had keys of their own the index key sealed their records.
#[tokio::test]
async fn an_index_without_its_key_reports_its_head_and_is_rebuilt() {
    let bench = bench();
    {
        let key = AeadKey::new(KeyId { family: 3, generation: 1 }, &Sensitive::new([9; 32]));
        let bound = crate::crypto::Aad::new("keyward/index").field(bench.ledger.as_bytes()).field(b"meta");
        let db = sled::open(bench.dir()).unwrap();
        db.insert(b"meta", key.seal(&bound, &7_u64.to_be_bytes(), &SystemEntropy)).unwrap();
    }
    let index = bench.open();
    assert_eq!((index.origin(), index.applied(), index.seen()), (&Origin::Resealed, 0, 7));
    index.close();
    assert_eq!(bench.open().origin(), &Origin::Existing);
}
