//! A removal whose entry the ledger does not take in time, while another removal has taken effect meanwhile.

use std::sync::Arc;

use keyward::base::{SystemClock, SystemEntropy, Timestamp};
use keyward::keyring::{Keyring, SlotKey};
use keyward::ledger::{Build, FileLog, HostLayer, Key, Kind, RESERVE_BYTES};
use keyward::store::{
    AnchorFile, AnchorKeys, At, Change, CommitError, Event, OnConflict, OnLostEntries, Projection,
    RevocationOutcome, Store, StoreOptions, StoredState,
};

use crate::support::unsynced::Disk;
use crate::support::waiting::LONGEST;

/// Something that can be ended.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
struct Thing;

#[derive(serde::Deserialize, serde::Serialize)]
struct End;

impl StoredState for Thing {
    type Denial = ();
    type Effect = End;

    fn apply(&mut self, _: At, _: &End) {}

    fn advances(_: &End, _: &mut Vec<Key>) {}

    fn takes_away(_: &End) -> bool {
        true
    }

    fn project(_: &End, _: &mut Projection) {}

    fn deny(&mut self, (): &()) {}

    fn deny_again(&mut self) {}

    fn recorded(&mut self, (): &()) {}

    fn lift(&mut self, (): &()) {}

    fn withheld_by((): &()) -> Vec<Key> {
        Vec::new()
    }
}

#[derive(serde::Serialize)]
struct Ended {
    by: &'static str,
}

impl Event for Ended {
    const KIND: Kind = Kind(9997);
    const NAME: &'static str = "thing.ended";
}

/// A store on a disk that can hang, and what its anchors are read with.
struct Bed {
    directory: tempfile::TempDir,
    disk: Disk,
    ring: Keyring,
    store: Store<Thing>,
}

impl Bed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let slot = SlotKey::create_file(&directory.path().join("k"), &SystemEntropy).unwrap();
        let (path, now) = (directory.path().join("keyring"), Timestamp::from_s(1));
        let ring = Keyring::create(&path, std::slice::from_ref(&slot), now, &SystemEntropy).unwrap();
        let options = StoreOptions {
            data_dir: directory.path().to_owned(),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
            segment_bytes: 1 << 20,
            build: Build::Executable,
            on_lost_entries: OnLostEntries::Refuse,
        };
        let disk = Disk::default();
        let log = FileLog::new(disk.layer(), options.segment_bytes, RESERVE_BYTES);
        let (store, _) = Store::open_on(&options, &ring, Box::new(log)).unwrap();
        Self { directory, disk, ring, store }
    }

    /// A removal on a disk that hangs, which does what `then` does when it is judged again, and is not in force.
    async fn overtaken(&self, then: impl FnOnce()) -> Result<RevocationOutcome, CommitError> {
        self.disk.syncs.shut();
        let change = Change::new(&Ended { by: "the test" }).unwrap().effect(End).revoking(());
        let taken = self.store.commit_revocation(change, OnConflict::Repeat, |_| {
            then();
            false
        });
        tokio::time::timeout(LONGEST, taken).await.expect("it waits without an end")
    }

    fn anchored(&self) -> u64 {
        let layer = Arc::new(HostLayer::existing(self.directory.path()));
        let (_, anchor) = AnchorFile::open(layer, &AnchorKeys::of(&self.ring).unwrap()).unwrap();
        anchor.map_or(0, |anchor| anchor.seq())
    }
}

#[tokio::test]
async fn a_removal_that_waits_for_the_ledger_is_told_when_it_takes_too_long() {
    let bed = Bed::new();
    let refused = bed.overtaken(|| ()).await.unwrap_err();
    assert_eq!(refused, CommitError::Unanswered);
    // And the ledger takes it once the disk answers.
    bed.disk.syncs.open();
    bed.store.close().await;
    assert_eq!(bed.store.head().seq, 1);
}

#[tokio::test]
async fn a_removal_that_waits_for_the_ledger_is_anchored_before_its_answer() {
    let bed = Bed::new();
    let taken = bed.overtaken(|| bed.disk.syncs.open()).await.unwrap();
    assert!(matches!(taken, RevocationOutcome::Recorded(1)), "{taken:?}");
    assert_eq!(bed.anchored(), 1);
}
