//! Which keys open a ledger, what `verify` says of it, and whose files it has.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use keyward::base::{LedgerId, Sensitive};
use keyward::ledger::{
    DeltaKeys, End, HostLayer, OpenError, Options, Tree, VerifyError, VerifyQuery, verify,
};

use crate::ledger_damage::{ENTRIES, Left, SEGMENT_BYTES, left};
use crate::support::ledger_bed::{HostBed, LEDGER, Recorder, UnsyncedBed, draft, fill, keys, wait};
use crate::support::waiting::wait_until;

#[test]
fn a_missing_or_wrong_key_refuses_and_touches_nothing() {
    let disk = left(Left::Killed);
    let files = disk.files();
    let with = |keys: DeltaKeys| {
        let bed = UnsyncedBed::on(disk.clone(), SEGMENT_BYTES);
        bed.open_as(Options { keys: keys.into(), ..bed.options() }, &Recorder::default()).unwrap_err()
    };
    let missing = with(DeltaKeys::new(3, vec![(3, Sensitive::new([3; 32]))]));
    assert!(matches!(missing, OpenError::Files(VerifyError::KeyMissing { generation: 2 })), "{missing}");
    let wrong = with(DeltaKeys::new(2, vec![(2, Sensitive::new([9; 32]))]));
    assert!(matches!(wrong, OpenError::Files(VerifyError::Damaged { seq: 1, .. })), "{wrong}");
    assert_eq!(disk.files(), files);
}

#[test]
fn an_older_key_generation_still_opens_what_it_sealed() {
    let disk = left(Left::Killed);
    let newer = || DeltaKeys::new(3, vec![(2, Sensitive::new([2; 32])), (3, Sensitive::new([3; 32]))]);
    for round in 0..2 {
        let bed = UnsyncedBed::on(disk.clone(), SEGMENT_BYTES);
        let options = Options { keys: newer().into(), ..bed.options() };
        let (ledger, report) = bed.open_as(options, &Recorder::default()).unwrap();
        assert_eq!(report.head.seq, ENTRIES + round);
        fill(&ledger, 1);
        disk.kill();
    }
}

/// The holder of an old copy of the keyring has the delta key of then, and can seal entries by it.
#[test]
fn entries_under_an_earlier_key_after_a_newer_one_are_refused_key_13() {
    let disk = left(Left::Closed);
    let keys =
        |current| DeltaKeys::new(current, vec![(2, Sensitive::new([2; 32])), (3, Sensitive::new([3; 32]))]);
    let open = |current| {
        let bed = UnsyncedBed::on(disk.clone(), SEGMENT_BYTES);
        bed.open_as(Options { keys: keys(current).into(), ..bed.options() }, &Recorder::default())
    };
    for current in [3, 2] {
        let (ledger, _) = open(current).unwrap();
        fill(&ledger, 1);
        ledger.close();
    }
    let files = disk.files();
    let refused = open(3).unwrap_err();
    assert!(
        matches!(refused, OpenError::Files(VerifyError::Damaged { seq, .. }) if seq == ENTRIES + 2),
        "{refused}"
    );
    assert_eq!(disk.files(), files);
}

#[test]
fn verifying_agrees_with_the_ledger_and_writes_nothing() {
    for how in [Left::Closed, Left::Killed] {
        let disk = left(how);
        let before = disk.files();
        let sealed = verify(
            disk.layer().as_ref(),
            Some(LedgerId::from_bytes(LEDGER)),
            Some(&keys()),
            VerifyQuery::default(),
        )
        .unwrap();
        let bare = verify(disk.layer().as_ref(), None, None, VerifyQuery::default()).unwrap();
        assert_eq!(sealed, bare);
        assert_eq!(disk.files(), before);
        assert_eq!(sealed.end, if how == Left::Closed { End::Closed } else { End::Open });
        let (ledger, _) = UnsyncedBed::on(disk, SEGMENT_BYTES).open_file(&Recorder::default()).unwrap();
        let mut tree = Tree::new();
        for entry in ledger.read(1, 1000).unwrap() {
            tree.append(&entry.leaf());
        }
        assert_eq!((sealed.entries(), sealed.root), (ENTRIES, tree.root()));
        assert_eq!(sealed.head, ledger.head());
        let other =
            verify(UnsyncedBed::new(1).disk.layer().as_ref(), None, None, VerifyQuery::default()).unwrap();
        assert_eq!((other.entries(), other.ledger), (0, None));
    }
}

#[test]
fn verifying_while_the_ledger_is_written_finds_no_flaw() {
    let bed = HostBed::new();
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    fill(&ledger, 1);
    let (ledger, dir) = (Arc::new(ledger), bed.dir.path().join("ledger"));
    let writer = Arc::clone(&ledger);
    let writing = std::thread::spawn(move || {
        for _ in 0..40 {
            let pending: Vec<_> = (0..50).map(|_| writer.append(draft("{}", &[5; 200]))).collect();
            for pending in pending {
                wait(pending).unwrap();
            }
        }
    });
    let mut entries = 0;
    wait_until(|| {
        let verified =
            verify(&HostLayer::existing(&dir), None, Some(&keys()), VerifyQuery::default()).unwrap();
        assert!(verified.entries() >= entries);
        entries = verified.entries();
        let page = ledger.read(entries.saturating_sub(60).max(1), 100).unwrap();
        assert!(!page.is_empty());
        writing.is_finished()
    });
    writing.join().unwrap();
    assert_eq!(
        verify(&HostLayer::existing(&dir), None, None, VerifyQuery::default()).unwrap().entries(),
        2001
    );
}

#[test]
fn files_are_for_their_owner_alone_and_a_link_is_not_followed() {
    let bed = HostBed::new();
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    fill(&ledger, 1);
    ledger.close();
    let dir = bed.dir.path().join("ledger");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|found| found.unwrap().path()).collect();
    assert_eq!(names.len(), 4, "the lock, a segment, the reserve: {names:?}");
    assert!(names.iter().all(|path| mode(path) == 0o600));

    let segment = names.iter().find(|path| path.extension().is_some()).unwrap();
    let elsewhere = bed.dir.path().join("elsewhere");
    std::fs::rename(segment, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, segment).unwrap();
    let refused = bed.open_file(&Recorder::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Files(VerifyError::Io { .. })), "{refused}");
}
