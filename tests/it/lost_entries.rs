//! After an operator has accepted that entries are gone, the index follows what is committed anew.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyward::base::{SystemClock, SystemEntropy, Timestamp};
use keyward::index::IndexTree;
use keyward::keyring::{Keyring, SlotKey};
use keyward::ledger::{Build, Key, Kind};
use keyward::store::{
    At, Change, Event, LedgerPlace, OnLostEntries, Projection, Store, StoreOptions, StoredState,
};

#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
struct Notes;
#[derive(serde::Serialize, serde::Deserialize)]
struct Note(String);
const TREE: IndexTree = IndexTree::new("note");
impl StoredState for Notes {
    type Denial = ();

    fn deny(&mut self, (): &()) {}

    fn deny_again(&mut self) {}

    fn recorded(&mut self, (): &()) {}

    fn lift(&mut self, (): &()) {}

    fn withheld_by((): &()) -> Vec<Key> {
        vec![Key::of("test", b"")]
    }

    type Effect = Note;
    fn apply(&mut self, _: At, _: &Note) {}
    fn advances(_: &Note, _: &mut Vec<Key>) {}

    fn takes_away(_: &Note) -> bool {
        false
    }
    fn project(note: &Note, out: &mut Projection) {
        out.put(TREE, note.0.clone().into_bytes(), b"v".to_vec());
    }
}
#[derive(serde::Serialize)]
struct Noted;
impl Event for Noted {
    const KIND: Kind = Kind(9999);
    const NAME: &'static str = "probe.noted";
}
async fn note(store: &Store<Notes>, name: &str) -> u64 {
    let change = Change::new(&Noted).unwrap().effect(Note(name.to_owned()));
    drop(store.commit(change, ()).await.unwrap());
    store.head().seq
}

#[tokio::test]
async fn a_record_committed_after_an_accepted_loss_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let slot = SlotKey::create_file(&directory.path().join("k"), &SystemEntropy).unwrap();
    let ring = Keyring::create(
        &directory.path().join("keyring"),
        std::slice::from_ref(&slot),
        Timestamp::from_s(1),
        &SystemEntropy,
    )
    .unwrap();
    let open = |on| {
        Store::<Notes>::open(
            &StoreOptions {
                data_dir: directory.path().to_owned(),
                clock: Arc::new(SystemClock::new()),
                entropy: Arc::new(SystemEntropy),
                segment_bytes: 1 << 20,
                build: Build::Executable,
                place: LedgerPlace::Files,
                on_lost_entries: on,
            },
            &ring,
        )
        .unwrap()
        .0
    };
    let store = open(OnLostEntries::Refuse);
    note(&store, "first").await;
    store.close().await;
    drop(store);
    let (ledger, copy) = (directory.path().join("ledger"), directory.path().join("copy"));
    let copy_dir = |from: &Path, to: &Path| {
        drop(fs::remove_dir_all(to));
        fs::create_dir_all(to).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    copy_dir(&ledger, &copy);
    let store = open(OnLostEntries::Refuse);
    for n in 0..50 {
        note(&store, &format!("late{n}")).await;
    }
    store.close().await;
    drop(store);
    copy_dir(&copy, &ledger);
    let store = open(OnLostEntries::Accept);
    let seq = note(&store, "new").await;
    let read = tokio::time::timeout(Duration::from_secs(5), store.record(TREE, b"new", seq)).await;
    assert!(matches!(read, Ok(Ok(_))), "the record of entry {seq} is waited for in vain");
}
