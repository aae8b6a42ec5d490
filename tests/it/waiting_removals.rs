//! A removal whose entry the ledger does not take in time: what became of it when the ledger answers.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use keyward::keyring::Keyring;
use keyward::ledger::{FileLog, HostLayer, Kind, RESERVE_BYTES};
use keyward::store::{
    AnchorFile, AnchorKeys, Change, CommitError, ConflictDecision, Event, OnConflict, PendingRecord,
    RevocationOutcome, Settled, Store,
};

use crate::support::test_state::{TestEffect, TestState, key, new_store};
use crate::support::unsynced::Disk;
use crate::support::waiting::{LONGEST, until};

#[derive(serde::Serialize)]
struct Ended {
    by: &'static str,
}

impl Event for Ended {
    const KIND: Kind = Kind(9997);
    const NAME: &'static str = "thing.ended";
}

#[derive(serde::Serialize)]
struct NotEnded {
    code: &'static str,
}

impl Event for NotEnded {
    const KIND: Kind = Kind(9996);
    const NAME: &'static str = "thing.not-ended";
}

/// What a removal is submitted as after a conflict.
type Decided = Result<ConflictDecision<TestEffect>, CommitError>;

/// A store on a disk that can hang, and what its anchors are read with.
struct Bed {
    directory: tempfile::TempDir,
    disk: Disk,
    ring: Keyring,
    store: Store<TestState>,
}

impl Bed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (ring, options) = new_store(directory.path());
        let disk = Disk::default();
        let log = FileLog::new(disk.layer(), options.segment_bytes, RESERVE_BYTES);
        let (store, _) = Store::open_on(&options, &ring, Box::new(log)).unwrap();
        Self { directory, disk, ring, store }
    }

    /// A removal on a disk that hangs, which does what `then` does when it is judged again, and is not in force.
    async fn overtaken(&self, then: impl FnOnce()) -> Result<RevocationOutcome, CommitError> {
        self.disk.syncs.shut();
        let change = Change::new(&Ended { by: "the test" }).unwrap().effect(TestEffect::End).revoking(());
        let taken = self.store.commit_revocation(change, OnConflict::Repeat, |_| {
            then();
            false
        });
        tokio::time::timeout(LONGEST, taken).await.expect("it waits without an end")
    }

    /// A removal that is in force in memory, behind entry 1, which changes what it relies on; `decide` decides after the
    /// conflict. The disk answers again.
    async fn in_conflict(&self, decide: impl Fn() -> Decided + Send + Sync + 'static) -> PendingRecord {
        self.disk.syncs.shut();
        let change = Change::new(&Ended { by: "another" }).unwrap().effect(TestEffect::Advance);
        let mut earlier = std::pin::pin!(self.store.commit(change, ()));
        let submitted = poll_fn(|context| Poll::Ready(earlier.as_mut().poll(context).is_pending()));
        assert!(submitted.await);
        self.disk.syncs.until_reached();
        let change = Change::new(&Ended { by: "the test" }).unwrap().effect(TestEffect::End);
        let on_conflict = OnConflict::Decide(Box::new(move |_: &TestState, _| decide()));
        let taken = self.store.commit_revocation(change.rely(key(), 0).revoking(()), on_conflict, |_| true);
        let taken = tokio::time::timeout(LONGEST, taken).await.expect("it waits without an end").unwrap();
        let RevocationOutcome::InMemory(pending) = taken else { panic!("{taken:?}") };
        assert!(self.is_denied());
        self.disk.syncs.open();
        earlier.await.unwrap().redeem();
        pending
    }

    fn is_denied(&self) -> bool {
        self.store.read(|state, _| state.is_denied)
    }

    fn anchored(&self) -> u64 {
        let layer = Arc::new(HostLayer::existing(self.directory.path()));
        let (_, anchor) = AnchorFile::open(layer, &AnchorKeys::of(&self.ring).unwrap()).unwrap();
        anchor.map_or(0, |anchor| anchor.seq())
    }
}

async fn settled(pending: PendingRecord) -> Option<Settled> {
    tokio::time::timeout(LONGEST, pending.wait()).await.expect("it waits without an end")
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

#[tokio::test]
async fn a_void_denial_is_in_force_until_its_entry_is_durable() {
    // Given a removal in memory that may not be recorded, and a disk that hangs again before the entry that says why
    let bed = Bed::new();
    let (syncs, is_decided) = (bed.disk.syncs.clone(), Arc::new(AtomicBool::new(false)));
    let decided = Arc::clone(&is_decided);
    let pending = bed.in_conflict(move || {
        syncs.shut();
        decided.store(true, Ordering::Release);
        let change = Change::new(&NotEnded { code: "not_allowed" })?;
        Ok(ConflictDecision::Void(change.effect(TestEffect::Advance)))
    });
    let pending = pending.await;
    until(async || is_decided.load(Ordering::Acquire)).await;
    bed.disk.syncs.until_reached();
    // Then the removal stays in force
    assert!(bed.is_denied());
    // When the disk answers, then it is lifted after this entry
    bed.disk.syncs.open();
    assert_eq!(settled(pending).await, Some(Settled::Void(2)));
    let (is_denied, lifted_at) = bed.store.read(|state, _| (state.is_denied, state.lifted_at));
    assert_eq!(
        (is_denied, lifted_at, bed.store.entries(2, 1).unwrap()[0].kind),
        (false, Some(2), NotEnded::KIND)
    );
}

#[tokio::test]
async fn a_denial_that_an_earlier_entry_recorded_needs_no_entry() {
    let bed = Bed::new();
    let pending = bed.in_conflict(|| Ok(ConflictDecision::Done)).await;
    assert_eq!(settled(pending).await, Some(Settled::Done));
    assert_eq!((bed.is_denied(), bed.store.head().seq), (false, 1));
}

#[tokio::test]
async fn a_denial_whose_entry_cannot_be_written_stays_in_force() {
    let bed = Bed::new();
    let pending = bed.in_conflict(|| Err(CommitError::Unwritable)).await;
    assert_eq!(settled(pending).await, None);
    assert!(bed.is_denied());
}
