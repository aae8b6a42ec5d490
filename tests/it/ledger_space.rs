//! A group commit goes to space that is there for all of it: on a full disk it is refused, and never cut off.

use keyward::base::IncidentId;
use keyward::ledger::{AppendError, Draft, EntryCause, FileLog, Ledger, Space};

use crate::support::ledger_bed::{Recorder, UnsyncedBed, draft, wait};

/// How many entries the group commit has.
const ENTRIES: u64 = 20;
/// Bytes of a frame of [`of_incident`]: 8, an entry of 201, and 7 zeros, which is as much as a frame ever adds.
const FRAME_BYTES: u64 = 216;
/// Bytes of the frame of the entry before.
const FIRST_BYTES: u64 = 192;
const HEADER_BYTES: u64 = 192;
const CLOSING_BYTES: u64 = 184;

fn of_incident(space: Space) -> Draft {
    let incident = Some(IncidentId::from_bytes([7; 16]));
    Draft { space, cause: EntryCause { incident, reason: None }, ..draft("revoked", b"") }
}

/// What becomes of a group commit of entries of an incident, on a disk that is full by then, and of the ledger.
fn outcome(segment_bytes: u64, reserve_bytes: u64, space: Space) -> (Vec<Option<AppendError>>, bool) {
    let (bed, recorder) = (UnsyncedBed::new(segment_bytes), Recorder::default());
    let log = FileLog::new(bed.disk.layer(), segment_bytes, reserve_bytes);
    let (ledger, _) = Ledger::open(bed.options(), Box::new(log), Box::new(recorder.clone())).unwrap();
    let (first, batch) = recorder.while_still(&ledger, draft("e", b""), || {
        bed.disk.set_full(true);
        (0..ENTRIES).map(|_| ledger.append(of_incident(space))).collect::<Vec<_>>()
    });
    wait(first).unwrap();
    let answers = batch.into_iter().map(|pending| wait(pending).err()).collect();
    (answers, ledger.is_writable())
}

fn all(answer: Option<AppendError>) -> Vec<Option<AppendError>> {
    vec![answer; ENTRIES as usize]
}

#[test]
fn a_group_commit_fills_space_of_exactly_its_size_on_a_full_disk() {
    let batch = ENTRIES * FRAME_BYTES + CLOSING_BYTES;
    let segment = HEADER_BYTES + FIRST_BYTES + batch;
    assert_eq!(outcome(segment, 0, Space::Usual), (all(None), true));
    assert_eq!(outcome(600, HEADER_BYTES + batch, Space::Reserve), (all(None), true));
}

#[test]
fn a_group_commit_is_refused_by_a_full_disk_and_the_ledger_continues() {
    let batch = ENTRIES * FRAME_BYTES + CLOSING_BYTES;
    let (segment, refused) = (HEADER_BYTES + FIRST_BYTES + batch, || (all(Some(AppendError::NoSpace)), true));
    // So much that the entries alone would fit, and their frames would not.
    for short in [1, CLOSING_BYTES + 16] {
        assert_eq!(outcome(segment - short, 0, Space::Usual), refused(), "{short}");
        assert_eq!(outcome(600, HEADER_BYTES + batch - short, Space::Reserve), refused(), "{short}");
    }
}
