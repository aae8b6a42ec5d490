//! Segments that a person without the keys has begun, closed or put together are named.

use keyward::ledger::{Draft, End, Entry, Key, Ledger, OpenError, VerifyError, VerifyQuery, verify};

use crate::ledger_damage::{
    ENTRIES, FRAME_BYTES, FramePlace, Left, SEGMENT_BYTES, check, frames, left, seal_checksum, segments,
};
use crate::support::ledger_bed::{Recorder, UnsyncedBed, draft, fill, keys, wait};
use crate::support::unsynced::Disk;

/// Makes the checksum of a header match again.
fn header_checksum(content: &mut [u8]) {
    let checksum = crc32fast::hash(&content[..188]);
    content[188..192].copy_from_slice(&checksum.to_be_bytes());
}

/// Begins a segment with the header of another one: it would supersede every entry from the fifth on.
fn begin_without_a_key(disk: &Disk) {
    let first = disk.files()[&segments(disk)[0]].clone();
    let (mut forged, fifth) = (first[..192].to_vec(), frames(&first)[4]);
    forged[26..34].copy_from_slice(&5_u64.to_be_bytes());
    forged[34..66].copy_from_slice(&first[fifth.at + 84..fifth.at + 116]);
    header_checksum(&mut forged);
    forged.resize(first.len(), 0);
    disk.put(&format!("{:020}.seg", 5), forged);
}

#[test]
fn a_segment_that_is_begun_without_a_key_is_named() {
    let disk = left(Left::Killed);
    begin_without_a_key(&disk);
    assert_eq!(check(&disk, Left::Killed, "begun"), Some(5));
}

/// No entry follows it, so that no chain of entries is broken: only the seal of its header shows it.
#[test]
fn a_segment_without_entries_that_is_begun_without_a_key_is_named() {
    let disk = left(Left::Killed);
    segments(&disk)[1..].iter().for_each(|later| disk.remove_file(later));
    begin_without_a_key(&disk);
    assert_eq!(check(&disk, Left::Killed, "begun"), Some(5));
}

#[test]
fn a_ledger_that_is_closed_without_a_key_is_named() {
    // Given the frame that closes a ledger, in the place of the last entry.
    let disk = left(Left::Closed);
    let name = segments(&disk).pop().unwrap();
    let mut content = disk.files()[&name].clone();
    let places = frames(&content);
    let [last, closing] = places[places.len() - 2..] else { panic!("an entry and the end") };
    let (mut closing, node) = (content[closing.at..].to_vec(), content[last.at + 84..last.at + 116].to_vec());
    closing[84..116].copy_from_slice(&node);
    content.truncate(last.at);
    content.extend(closing);
    for at in [last.at + 28, last.at + 36] {
        content[at..at + 8].copy_from_slice(&ENTRIES.to_be_bytes());
    }
    seal_checksum(&mut content, FramePlace { event: 0, sealed: 34, ..last });
    disk.put(&name, content);
    assert_eq!(check(&disk, Left::Closed, "closed"), Some(ENTRIES));
}

#[test]
fn an_entry_of_another_history_is_named() {
    let history = |fifth: &str| {
        let bed = UnsyncedBed::new(64 * 1024);
        let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
        for event in ["1", "2", "3", "4", fifth, "6"] {
            wait(ledger.append(draft(event, b""))).unwrap();
        }
        ledger.close();
        bed.disk.clone()
    };
    let (disk, other) = (history("5"), history("x"));
    let name = segments(&disk)[0].clone();
    let (mut content, taken) = (disk.files()[&name].clone(), other.files()[&name].clone());
    let place = frames(&content)[4];
    let end = frames(&content)[5].at;
    content[place.at..end].copy_from_slice(&taken[place.at..end]);
    seal_checksum(&mut content, place);
    disk.put(&name, content);
    let refused = UnsyncedBed::on(disk, 64 * 1024).open_file(&Recorder::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Files(VerifyError::Damaged { seq: 6, .. })), "{refused}");
}

#[test]
fn an_entry_that_is_left_out_of_the_links_of_a_subject_is_named() {
    let subject = Key::of("agent", b"a");
    let bed = UnsyncedBed::new(64 * 1024);
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    for concerned in [true, false, true, true] {
        let concerns = if concerned { vec![subject] } else { Vec::new() };
        wait(ledger.append(Draft { concerns, ..draft("e", b"") })).unwrap();
    }
    let links = |ledger: &Ledger| -> Vec<Vec<u64>> {
        let of = |entry: &Entry| entry.chain.links.iter().map(|link| link.previous).collect();
        ledger.read(1, 9).unwrap().iter().map(of).collect()
    };
    assert_eq!(links(&ledger), [vec![0], vec![], vec![1], vec![3]]);
    ledger.close();
    drop(ledger);
    let name = segments(&bed.disk)[0].clone();
    let mut content = bed.disk.files()[&name].clone();
    let place = frames(&content)[3];
    content[place.at + FRAME_BYTES + 16..place.at + FRAME_BYTES + 24].copy_from_slice(&1_u64.to_be_bytes());
    seal_checksum(&mut content, FramePlace { event: place.event + 24, ..place });
    bed.disk.put(&name, content);
    let named = verify(bed.disk.layer().as_ref(), None, None, VerifyQuery::default()).unwrap_err();
    assert!(matches!(named, VerifyError::Damaged { seq: 4, .. }), "{named}");
    let refused = bed.open_file(&Recorder::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Files(VerifyError::Damaged { seq: 4, .. })), "{refused}");
}

/// A ledger that was closed, and closed again after another start.
fn closed_twice() -> Disk {
    let bed = UnsyncedBed::new(64 * SEGMENT_BYTES);
    for _ in 0..2 {
        let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
        fill(&ledger, 3);
        ledger.close();
    }
    bed.disk.clone()
}

#[test]
fn each_byte_of_a_closing_mark_is_checked() {
    let disk = closed_twice();
    let checked = |disk: &Disk| verify(disk.layer().as_ref(), None, Some(&keys()), VerifyQuery::default());
    assert!(checked(&disk).is_ok());
    let names = segments(&disk);
    assert_eq!(names.len(), 2);
    for name in names {
        let content = disk.files()[&name].clone();
        let mark = frames(&content).last().unwrap().at;
        for at in mark..content.len() {
            let mut content = content.clone();
            content[at] ^= 1;
            let altered = disk.copy();
            altered.put(&name, content);
            // The last segment may end with a group commit that a stop has cut off.
            match checked(&altered) {
                Ok(verified) => assert!(matches!(verified.end, End::Unfinished(_)), "{name} byte {at}"),
                Err(VerifyError::Damaged { .. }) => {}
                Err(error) => panic!("{name} byte {at}: {error}"),
            }
        }
    }
}
