//! A full disk: appends are refused, and revocations are durable in the reserve.

use keyward::ledger::{AppendError, Draft, OpenError, Space};

use crate::support::ledger_bed::{Recorder, UnsyncedBed, draft, fill, wait};
use crate::support::waiting::wait_until;

const SEGMENT_BYTES: u64 = 4 * 1024;

#[test]
fn a_full_disk_refuses_appends_until_there_is_space() {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let recorder = Recorder::default();
    let (ledger, _) = bed.open_file(&recorder).unwrap();
    fill(&ledger, 1);
    bed.disk.set_full(true);
    let mut taken = 1;
    wait_until(|| match wait(ledger.append(draft("e", &[0; 800]))) {
        Ok(_) => {
            taken += 1;
            false
        }
        Err(refused) => refused == AppendError::NoSpace,
    });
    assert!(taken > 3, "the segment's own space was used up first");
    assert!(ledger.is_writable());
    assert_eq!(ledger.head().seq, taken);
    wait(ledger.append(draft("", b""))).expect("a small entry still fits into the rest of the segment");
    bed.disk.set_full(false);
    wait(ledger.append(draft("e", &[0; 800]))).unwrap();
    assert_eq!(ledger.head().seq, taken + 2, "no number was left out");
    assert!(!bed.disk.files().contains_key("new.tmp"));
}

#[test]
fn a_full_disk_does_not_keep_a_closed_ledger_from_opening() {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    fill(&ledger, 3);
    ledger.close();
    bed.disk.set_full(true);
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    assert_eq!(ledger.read(1, 9).unwrap().len(), 3);
    assert_eq!(wait(ledger.append(draft("e", b""))).unwrap_err(), AppendError::NoSpace);
    bed.disk.set_full(false);
    wait(ledger.append(draft("e", b""))).unwrap();
    // What is in doubt must be written again first: into room that was taken beforehand, while there is any.
    bed.disk.set_full(true);
    bed.disk.kill();
    for seq in [4, 5] {
        let (ledger, report) = bed.open_file(&Recorder::default()).unwrap();
        assert_eq!((report.head.seq, report.written_again), (seq, 1));
        assert_eq!(wait(ledger.append(draft("e", b""))).unwrap_err(), AppendError::NoSpace);
        wait(ledger.append(revocation())).unwrap();
        bed.disk.kill();
    }
    let files = bed.disk.files();
    let refused = bed.open_file(&Recorder::default()).unwrap_err();
    assert!(matches!(refused, OpenError::NoSpace), "{refused}");
    assert_eq!(bed.disk.files(), files);
    bed.disk.set_full(false);
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    assert!(ledger.has_reserve(), "and it is taken anew");
}

/// Takes something away.
fn revocation() -> Draft {
    Draft { space: Space::Reserve, ..draft("revoked", b"") }
}

/// Hazard STO-05.
#[test]
fn only_revocations_are_durable_on_a_full_disk() {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let recorder = Recorder::default();
    let (ledger, _) = bed.open_file(&recorder).unwrap();
    fill(&ledger, 1);
    bed.disk.set_full(true);
    wait_until(|| wait(ledger.append(draft("e", &[0; 100]))).is_err());
    let full_at = ledger.head().seq;
    // Given both in one group commit.
    let rest = vec![draft("e", &[0; 300]), revocation(), draft("e", &[0; 300])];
    let (first, rest) = recorder.group(&ledger, revocation(), rest);
    wait(first).unwrap();
    let answers: Vec<_> = rest.into_iter().map(|pending| wait(pending).map(|_| ())).collect();
    let refused = Err(AppendError::NoSpace);
    assert_eq!(answers, [refused.clone(), Ok(()), refused]);
    assert!(!ledger.has_reserve() && ledger.is_writable());
    // After a power cut, on a disk that is still full, every acknowledged entry is there, and so is the reserve.
    bed.disk.crash(3);
    drop(ledger);
    let (ledger, report) = bed.open_file(&Recorder::default()).unwrap();
    assert_eq!((report.head.seq, report.written_again), (full_at + 2, 1));
    let mut taken = full_at + 2;
    wait_until(|| {
        let is_taken = wait(ledger.append(revocation())).is_ok();
        taken += u64::from(is_taken);
        !is_taken
    });
    assert!(taken > full_at + 5, "{taken}");
    // And once there is space, all goes on.
    bed.disk.set_full(false);
    wait(ledger.append(draft("e", b""))).unwrap();
    assert!(ledger.has_reserve());
    assert_eq!(ledger.read(1, 1000).unwrap().len() as u64, taken + 1);
}
