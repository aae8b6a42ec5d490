//! Snapshots are a shortcut: with one, a start reads what came after it; without one, or with one that is
//! not what it should be, it reads everything; and none ever says what the entries do not.

use keyward::base::limits::SNAPSHOT_CHUNK_BYTES;
use keyward::base::{LedgerId, Sensitive};
use keyward::crypto::Digest;
use keyward::ledger::{
    Build, DeltaKeys, Ledger, OpenError, OpenReport, Options, SnapshotError, SnapshotStanding, VerifyError,
    VerifyQuery, verify,
};

use crate::ledger_damage::{FRAME_BYTES, frames, seal_checksum};
use crate::support::ledger_bed::{LEDGER, Recorder, UnsyncedBed, draft, fill, keys, wait};
use crate::support::unsynced::{Disk, Fault, How};

const SEGMENT_BYTES: u64 = 4 * 1024;

fn open(disk: &Disk) -> (Ledger, Recorder, OpenReport) {
    let recorder = Recorder::default();
    let bed = UnsyncedBed::on(disk.clone(), SEGMENT_BYTES);
    let (ledger, report) = bed.open_file(&recorder).unwrap();
    (ledger, recorder, report)
}

/// The state that stands in these tests for that of so many entries: more than one chunk of it.
fn state(through: u64) -> Vec<u8> {
    through.to_be_bytes().repeat(SNAPSHOT_CHUNK_BYTES / 8 + 10)
}

fn take(ledger: &Ledger) -> Result<u64, SnapshotError> {
    let mut made = Recorder::writing(&state(ledger.head().seq));
    Ok(ledger.take_snapshot(&mut made, &|| false)?.unwrap().point.through)
}

/// A ledger of 60 entries in several segments, with snapshots as of entries 20 and 40, closed.
fn with_snapshots() -> Disk {
    let disk = Disk::default();
    let (ledger, _, _) = open(&disk);
    for through in [20, 40] {
        fill(&ledger, 20);
        assert_eq!(take(&ledger).unwrap(), through);
    }
    fill(&ledger, 20);
    ledger.close();
    disk
}

fn snapshots(disk: &Disk) -> Vec<String> {
    disk.files().into_keys().filter(|name| name.ends_with(".snap")).collect()
}

fn name(through: u64) -> String {
    format!("{through:020}.snap")
}

#[test]
fn a_start_reads_the_newest_snapshot_and_what_came_after_it() {
    let disk = with_snapshots();
    let (ledger, recorder, report) = open(&disk);
    assert_eq!((report.resumed_after, report.head.seq, report.lost), (Some(40), 60, None));
    assert_eq!(recorder.restored(), Some((40, state(40))));
    let seqs: Vec<u64> = recorder.taken().iter().map(|taken| taken.seq).collect();
    assert_eq!(seqs, (41..=60).collect::<Vec<_>>());
    // A request reads entries that no start has read.
    let all: Vec<u64> = ledger.read(1, 100).unwrap().iter().map(|entry| entry.seq).collect();
    assert_eq!(all, (1..=60).collect::<Vec<_>>());
    assert_eq!(ledger.read(7, 1).unwrap()[0].seq, 7);
    fill(&ledger, 3);
    assert_eq!(ledger.head().seq, 63);
}

#[test]
fn after_a_kill_the_last_group_commit_is_written_again_and_taken_in_once() {
    let disk = Disk::default();
    let (ledger, _, _) = open(&disk);
    fill(&ledger, 20);
    take(&ledger).unwrap();
    disk.kill();
    drop(ledger);
    let (ledger, recorder, report) = open(&disk);
    assert_eq!((report.resumed_after, report.written_again), (Some(20), 1));
    assert!(recorder.taken().is_empty(), "the snapshot has it");
    wait(ledger.append(draft("one more", b""))).unwrap();
    assert_eq!(recorder.taken().iter().map(|taken| taken.seq).collect::<Vec<_>>(), [21]);
    assert_eq!(ledger.read(1, 100).unwrap().len(), 21);
}

/// The copy is sealed by this start: nobody else notices any more what a file writer without keys has altered.
#[test]
fn an_altered_entry_is_not_written_again_also_when_a_snapshot_has_it() {
    let disk = Disk::default();
    let (ledger, recorder, _) = open(&disk);
    fill(&ledger, 3);
    let rest = vec![draft("five", b""), draft("six", b"")];
    let (first, rest) = recorder.group(&ledger, draft("four", b""), rest);
    wait(first).unwrap();
    for pending in rest {
        wait(pending).unwrap();
    }
    assert_eq!(take(&ledger).unwrap(), 6);
    disk.kill();
    drop(ledger);
    let segment = format!("{:020}.seg", 1);
    let mut content = disk.files().remove(&segment).unwrap();
    let fifth = frames(&content)[4];
    content[fifth.at + FRAME_BYTES] ^= 1;
    seal_checksum(&mut content, fifth);
    disk.put(&segment, content);
    let before = disk.files();
    let bed = UnsyncedBed::on(disk.clone(), SEGMENT_BYTES);
    let refused = bed.open_file(&Recorder::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Files(VerifyError::Damaged { seq: 5, .. })), "{refused}");
    assert_eq!(disk.files(), before);
}

#[test]
fn two_are_kept() {
    let disk = with_snapshots();
    let (ledger, _, _) = open(&disk);
    take(&ledger).unwrap();
    assert_eq!(snapshots(&disk), [name(40), name(60)]);
}

#[test]
fn one_that_is_not_as_it_was_written_is_passed_over_for_the_one_before_it() {
    let disk = with_snapshots();
    let good = disk.files().remove(&name(40)).unwrap();
    let places = [0, 9, 20, 30, 40, 70, 100, 140, 142, 146, 200, good.len() / 2, good.len() - 1];
    let mut bad: Vec<Vec<u8>> = places
        .iter()
        .map(|at| {
            let mut bytes = good.clone();
            bytes[*at] ^= 1;
            bytes
        })
        .collect();
    bad.extend([0, 10, 142, good.len() / 2, good.len() - 1].map(|length| good[..length].to_vec()));
    bad.push([&good[..], b"more"].concat());
    for bytes in bad {
        let disk = disk.copy();
        disk.put(&name(40), bytes);
        let (_, recorder, report) = open(&disk);
        assert_eq!((report.resumed_after, report.head.seq, report.lost), (Some(20), 60, None));
        assert_eq!(recorder.restored(), Some((20, state(20))));
    }
    disk.remove_file(&name(40));
    disk.remove_file(&name(20));
    let (_, recorder, report) = open(&disk);
    assert_eq!((report.resumed_after, recorder.taken().len()), (None, 60));
}

#[test]
fn one_under_another_name_or_of_another_ledger_is_none() {
    let disk = with_snapshots();
    let newest = disk.files().remove(&name(40)).unwrap();
    disk.put(&name(50), newest.clone());
    assert_eq!(open(&disk.copy()).2.resumed_after, Some(40));
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let other = Options { ledger: LedgerId::from_bytes([9; 16]), ..bed.options() };
    let (ledger, _) = bed.open_as(other, &Recorder::default()).unwrap();
    fill(&ledger, 40);
    take(&ledger).unwrap();
}

#[test]
fn one_of_another_build_is_passed_over_and_stays() {
    let disk = with_snapshots();
    let bed = UnsyncedBed::on(disk.clone(), SEGMENT_BYTES);
    let next = Options { build: Build::Named(Digest::from_bytes([8; 32])), ..bed.options() };
    let recorder = Recorder::default();
    let (ledger, report) = bed.open_as(next, &recorder).unwrap();
    assert_eq!((report.resumed_after, recorder.taken().len(), report.lost), (None, 60, None));
    ledger.close();
    drop(ledger);
    assert_eq!(open(&disk).2.resumed_after, Some(40));
}

/// The holder of an old copy of the keyring could make up a state under the delta key of then.
#[test]
fn a_snapshot_under_an_earlier_key_is_passed_over_key_13() {
    let disk = with_snapshots();
    let bed = UnsyncedBed::on(disk, SEGMENT_BYTES);
    let newer = || {
        let keys = vec![(2, Sensitive::new([2; 32])), (3, Sensitive::new([3; 32]))];
        Options { keys: DeltaKeys::new(3, keys).into(), ..bed.options() }
    };
    let recorder = Recorder::default();
    let (ledger, report) = bed.open_as(newer(), &recorder).unwrap();
    assert_eq!((report.resumed_after, recorder.taken().len(), report.lost), (None, 60, None));
    fill(&ledger, 1);
    assert_eq!(take(&ledger).unwrap(), 61);
    ledger.close();
    drop(ledger);
    let (_, report) = bed.open_as(newer(), &Recorder::default()).unwrap();
    assert_eq!(report.resumed_after, Some(61));
}

#[test]
fn a_snapshot_reveals_lost_entries_and_a_replaced_history() {
    // Given a ledger that was put back from a copy of before its snapshot…
    let early = Disk::default();
    let (ledger, _, _) = open(&early);
    fill(&ledger, 10);
    ledger.close();
    drop(ledger);
    let late = early.copy();
    let (ledger, _, _) = open(&late);
    fill(&ledger, 20);
    take(&ledger).unwrap();
    ledger.close();
    early.put(&name(30), late.files().remove(&name(30)).unwrap());
    // …then an open says which entry is gone.
    let (ledger, recorder, report) = open(&early);
    assert_eq!((report.lost, report.resumed_after, recorder.taken().len()), (Some(30), None, 10));
    // And it still does when other entries have come in their place.
    for n in 0..40 {
        wait(ledger.append(draft(&format!("another {n}"), b""))).unwrap();
    }
    ledger.close();
    drop(ledger);
    let (ledger, _, report) = open(&early);
    assert_eq!((report.lost, report.head.seq), (Some(30), 50));
    // Until an operator accepts it.
    ledger.forget_snapshots_after(0).unwrap();
    ledger.close();
    drop(ledger);
    assert_eq!(open(&early).2.lost, None);
}

#[test]
fn a_disk_fault_during_a_snapshot_loses_no_entry_and_no_older_snapshot() {
    let before = with_snapshots();
    for how in [How::Before, How::Half, How::After] {
        for step in 1.. {
            let disk = before.copy();
            let (ledger, _, _) = open(&disk);
            // On a busy machine, the fault would hit the probe of an idle ledger.
            ledger.stop_probing();
            disk.set_fault(Some(Fault { step, how }));
            let taken = take(&ledger);
            let has_tripped = disk.has_tripped();
            disk.set_fault(None);
            wait(ledger.append(draft("goes on", b""))).unwrap();
            ledger.close();
            drop(ledger);
            let (_, recorder, report) = open(&disk);
            assert!(report.resumed_after >= Some(40), "{how:?} at step {step}: {report:?}");
            assert_eq!(report.head.seq, 61, "{how:?} at step {step}");
            assert_eq!(recorder.restored().unwrap().1, state(report.resumed_after.unwrap()));
            if !has_tripped {
                assert!(taken.is_ok() && step > 4, "every step was reached");
                break;
            }
        }
    }
}

#[test]
fn a_power_cut_while_one_is_taken_leaves_a_ledger_that_opens() {
    let before = with_snapshots();
    for seed in 0..12 {
        let disk = before.copy();
        let (ledger, _, _) = open(&disk);
        disk.set_fault(Some(Fault { step: 1 + seed, how: How::PowerCut }));
        drop(take(&ledger));
        drop(ledger);
        disk.crash(seed);
        let (_, recorder, report) = open(&disk);
        assert_eq!((report.head.seq, report.lost), (60, None), "seed {seed}");
        let (through, restored) = recorder.restored().unwrap();
        assert!(restored == state(through) && through >= 20, "seed {seed}");
    }
}

#[test]
fn verifying_looks_at_snapshots_too() {
    let disk = with_snapshots();
    let look = |disk: &Disk| {
        let seen =
            verify(disk.layer().as_ref(), None, Some(&keys()), VerifyQuery::default()).unwrap().snapshots;
        seen.iter().map(|seen| (seen.through, seen.standing)).collect::<Vec<_>>()
    };
    assert_eq!(look(&disk), [(40, SnapshotStanding::Whole), (20, SnapshotStanding::Whole)]);
    let bare =
        verify(disk.layer().as_ref(), Some(LedgerId::from_bytes(LEDGER)), None, VerifyQuery::default());
    assert!(bare.unwrap().snapshots.iter().all(|seen| seen.standing == SnapshotStanding::Closed));
    let mut bytes = disk.files().remove(&name(40)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    disk.put(&name(40), bytes);
    assert_eq!(look(&disk), [(40, SnapshotStanding::Altered), (20, SnapshotStanding::Whole)]);
}
