//! Flipped bits, cut files, swapped records: named, and never served.

use keyward::base::LedgerId;
use keyward::ledger::{OpenError, Options, ReadError, VerifyError, VerifyQuery, verify};

use crate::support::ledger_bed::{Recorder, UnsyncedBed, fill, keys};
use crate::support::unsynced::{Dice, Disk};

pub(crate) const SEGMENT_BYTES: u64 = 2 * 1024;
pub(crate) const ENTRIES: u64 = 24;
/// Bytes of a frame before the event, in an entry that concerns nobody.
pub(crate) const FRAME_BYTES: usize = 148;
/// Where the seal of a segment's header stands.
const HEADER_SEAL: std::ops::Range<usize> = 114..148;

/// How a ledger was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Left {
    Closed,
    Killed,
}

/// A ledger of several segments.
pub(crate) fn left(how: Left) -> Disk {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    fill(&ledger, ENTRIES);
    match how {
        Left::Closed => ledger.close(),
        Left::Killed => bed.disk.kill(),
    }
    bed.disk.clone()
}

pub(crate) fn segments(disk: &Disk) -> Vec<String> {
    disk.files().into_keys().filter(|name| name.ends_with(".seg")).collect()
}

/// Opens a copy of the altered disk. Either the damage is named and nothing was touched, or all that
/// is shown is as it was written; what is missing at the end is reported, and allowed only where
/// the last group commit was still in doubt.
pub(crate) fn check(disk: &Disk, how: Left, what: &str) -> Option<u64> {
    let before = disk.files();
    let recorder = Recorder::default();
    match UnsyncedBed::on(disk.clone(), SEGMENT_BYTES).open_file(&recorder) {
        Err(OpenError::Files(VerifyError::Damaged { seq, .. })) => {
            assert!((1..=ENTRIES + 1).contains(&seq), "{what}: named entry {seq}");
            assert_eq!(disk.files(), before, "{what}: damage must leave everything as it is");
            let named =
                verify(disk.layer().as_ref(), None, Some(&keys()), VerifyQuery::default()).unwrap_err();
            assert!(
                matches!(named, VerifyError::Damaged { seq: by_verify, .. } if by_verify == seq),
                "{what}: {named}"
            );
            Some(seq)
        }
        Err(other) => panic!("{what}: {other}"),
        Ok((_, report)) => {
            let taken = recorder.taken();
            for (at, entry) in taken.iter().enumerate() {
                let event = format!("{{\"entry\":{0},\"n\":{1}}}", at + 1, at);
                assert_eq!((entry.seq, &entry.event), (at as u64 + 1, &event.into_bytes()), "{what}");
                assert_eq!(entry.delta, vec![at as u8; 100], "{what}");
            }
            let may_miss = u64::from(how == Left::Killed && report.torn.is_some());
            assert!(taken.len() as u64 >= ENTRIES - may_miss, "{what}: {} entries", taken.len());
            None
        }
    }
}

#[test]
fn an_untouched_ledger_opens() {
    for how in [Left::Closed, Left::Killed] {
        assert_eq!(check(&left(how), how, "untouched"), None);
    }
}

#[test]
fn a_flipped_bit_is_named_or_in_what_was_in_doubt() {
    for how in [Left::Closed, Left::Killed] {
        let disk = left(how);
        let (files, mut dice, mut named) = (disk.files(), Dice(5), 0);
        for name in segments(&disk) {
            for _ in 0..150 {
                let mut content = files[&name].clone();
                let bit = dice.below(content.len() as u64 * 8) as usize;
                content[bit / 8] ^= 1 << (bit % 8);
                let altered = disk.copy();
                altered.put(&name, content);
                named += usize::from(check(&altered, how, &format!("{how:?} {name} bit {bit}")).is_some());
            }
        }
        assert!(named > 300, "{how:?}: {named} were named");
    }
}

#[test]
fn a_file_cut_or_zeroed_anywhere_near_its_end_loses_nothing_unseen() {
    for how in [Left::Closed, Left::Killed] {
        let disk = left(how);
        let files = disk.files();
        let name = segments(&disk).pop().unwrap();
        let content = &files[&name];
        let stride = if how == Left::Closed { 1 } else { 5 };
        for cut in (0..content.len()).step_by(stride) {
            let altered = disk.copy();
            altered.put(&name, content[..cut].to_vec());
            let named = check(&altered, how, &format!("{how:?} cut at {cut}"));
            let data = content.iter().rposition(|byte| *byte != 0).unwrap();
            assert!(named.is_some() || (how == Left::Closed && cut > data), "{how:?} cut at {cut} passed");
        }
    }
}

/// Zeros at the end look like an end that was never written: the ledger's files alone cannot tell,
/// but what they show is always a true beginning, and group commits are whole.
#[test]
fn a_zeroed_end_shows_a_true_beginning() {
    let disk = left(Left::Closed);
    let files = disk.files();
    let name = segments(&disk).pop().unwrap();
    for from in (192..files[&name].len()).step_by(3) {
        let mut content = files[&name].clone();
        content[from..].fill(0);
        let altered = disk.copy();
        altered.put(&name, content);
        let recorder = Recorder::default();
        let (_ledger, report) = UnsyncedBed::on(altered, SEGMENT_BYTES).open_file(&recorder).unwrap();
        let taken = recorder.taken();
        assert!(taken.iter().enumerate().all(|(at, entry)| entry.delta == vec![at as u8; 100]));
        assert_eq!(report.head.seq, taken.len() as u64);
    }
}

#[test]
fn a_missing_segment_is_named() {
    let disk = left(Left::Closed);
    let names = segments(&disk);
    assert!(names.len() > 2);
    for name in &names[..names.len() - 1] {
        let altered = disk.copy();
        altered.remove_file(name);
        let first_missing: u64 = name.trim_end_matches(".seg").parse().unwrap();
        assert_eq!(check(&altered, Left::Closed, name), Some(first_missing));
    }
}

#[test]
fn a_segment_under_another_name_or_of_another_ledger_is_refused() {
    let disk = left(Left::Closed);
    let (names, files) = (segments(&disk), disk.files());
    let altered = disk.copy();
    altered.put(&names[1], files[&names[0]].clone());
    assert!(check(&altered, Left::Closed, "copied over").is_some());

    let bed = UnsyncedBed::on(disk.copy(), SEGMENT_BYTES);
    let other = Options { ledger: LedgerId::from_bytes([1; 16]), ..bed.options() };
    let refused = bed.open_as(other, &Recorder::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Files(VerifyError::Damaged { seq: 1, .. })), "{refused}");
}

/// A frame in a segment: where it stands and how long event and sealed change are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramePlace {
    pub(crate) at: usize,
    pub(crate) event: usize,
    pub(crate) sealed: usize,
}

pub(crate) fn frames(content: &[u8]) -> Vec<FramePlace> {
    let mut places = Vec::new();
    let mut at = 192;
    let word = |at: usize| u32::from_be_bytes(content[at..at + 4].try_into().unwrap()) as usize;
    while content.get(at).is_some_and(|first| *first == 0xE5) {
        let place = FramePlace { at, event: word(at + 8), sealed: word(at + 12) };
        let links = 24 * word(at + 16);
        at = (at + FRAME_BYTES + links + place.event + place.sealed).next_multiple_of(8);
        places.push(place);
    }
    places
}

/// Makes the checksum of a frame match again, as an attacker would.
pub(crate) fn seal_checksum(content: &mut [u8], place: FramePlace) {
    let seed = crc32fast::hash(&content[HEADER_SEAL]);
    let end = (place.at + FRAME_BYTES + place.event + place.sealed).next_multiple_of(8);
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&content[place.at + 8..end]);
    content[place.at + 4..place.at + 8].copy_from_slice(&hasher.finalize().to_be_bytes());
}

#[test]
fn two_swapped_state_changes_are_named() {
    let disk = left(Left::Closed);
    let name = segments(&disk)[0].clone();
    let mut content = disk.files()[&name].clone();
    let places = frames(&content);
    let [one, two] = [places[1], places[2]];
    assert_eq!(one.sealed, two.sealed);
    for at in 0..one.sealed {
        content.swap(one.at + FRAME_BYTES + one.event + at, two.at + FRAME_BYTES + two.event + at);
    }
    seal_checksum(&mut content, one);
    seal_checksum(&mut content, two);
    disk.put(&name, content);
    assert_eq!(check(&disk, Left::Closed, "swapped"), Some(2));
}

#[test]
fn each_altered_field_is_named_even_under_a_matching_checksum() {
    // Kind, mark, seq, batch, time, salt, previous, session, event, sealed: offsets inside the frame.
    for at in [25, 27, 35, 43, 51, 52, 84, 116, FRAME_BYTES, FRAME_BYTES + 30] {
        let disk = left(Left::Closed);
        let name = segments(&disk)[0].clone();
        let mut content = disk.files()[&name].clone();
        let place = frames(&content)[3];
        content[place.at + at] ^= 1;
        seal_checksum(&mut content, place);
        disk.put(&name, content);
        let named = check(&disk, Left::Closed, &format!("field at {at}"));
        assert!(matches!(named, Some(4 | 5)), "field at {at}: {named:?}");
    }
}

/// Without keys, only the root shows what a file writer has changed in the last entry: no other entry follows it.
#[test]
fn altered_fields_of_the_last_entry_change_the_root_without_keys() {
    let root = |disk: &Disk| {
        let verified = verify(disk.layer().as_ref(), None, None, VerifyQuery::default()).unwrap();
        assert_eq!(verified.entries(), ENTRIES);
        verified.root
    };
    let disk = left(Left::Killed);
    let (written, name) = (root(&disk), segments(&disk).pop().unwrap());
    let content = disk.files()[&name].clone();
    let place = *frames(&content).last().unwrap();
    // Kind, time, salt, event, sealed: offsets inside the frame.
    for at in [25, 51, 52, FRAME_BYTES, FRAME_BYTES + place.event + 30] {
        let mut altered = content.clone();
        altered[place.at + at] ^= 1;
        seal_checksum(&mut altered, place);
        let copy = disk.copy();
        copy.put(&name, altered);
        assert_ne!(root(&copy), written, "field at {at}");
    }
}

#[test]
fn a_closing_mark_with_another_time_is_named_without_keys() {
    let disk = left(Left::Closed);
    let name = segments(&disk).pop().unwrap();
    let mut content = disk.files()[&name].clone();
    let closing = *frames(&content).last().unwrap();
    content[closing.at + 51] ^= 1;
    seal_checksum(&mut content, closing);
    disk.put(&name, content);
    let named = verify(disk.layer().as_ref(), None, None, VerifyQuery::default()).unwrap_err();
    assert!(matches!(named, VerifyError::Damaged { seq, .. } if seq == ENTRIES + 1), "{named}");
}

#[test]
fn a_torn_last_group_commit_is_set_aside_and_its_bytes_are_kept() {
    let disk = left(Left::Killed);
    let name = segments(&disk).pop().unwrap();
    let mut content = disk.files()[&name].clone();
    let last = *frames(&content).last().unwrap();
    content[last.at + FRAME_BYTES + 10] ^= 1;
    disk.put(&name, content.clone());
    let bed = UnsyncedBed::on(disk, SEGMENT_BYTES);
    let (ledger, report) = bed.open_file(&Recorder::default()).unwrap();
    let torn = report.torn.unwrap();
    assert_eq!((report.head.seq, torn.first_seq), (ENTRIES - 1, ENTRIES));
    let kept = &bed.disk.files()[&torn.kept_as];
    assert_eq!(kept.len() as u64, torn.bytes);
    assert_eq!(kept[..], content[last.at..last.at + kept.len()]);
    fill(&ledger, 2);
    assert_eq!(ledger.head().seq, ENTRIES + 1);
    drop(ledger);
    let (_ledger, report) = bed.open_file(&Recorder::default()).unwrap();
    assert_eq!((report.head.seq, report.torn), (ENTRIES + 1, None));
}

#[test]
fn an_entry_that_is_damaged_while_the_ledger_runs_is_not_served() {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    fill(&ledger, ENTRIES);
    let name = segments(&bed.disk)[0].clone();
    let good = bed.disk.files()[&name].clone();
    let place = frames(&good)[4];
    for forged in [false, true] {
        let mut content = good.clone();
        content[place.at + FRAME_BYTES] ^= 1;
        if forged {
            seal_checksum(&mut content, place);
        }
        bed.disk.put(&name, content);
        assert_eq!(ledger.read(1, 4).unwrap().len(), 4);
        let error = ledger.read(1, 10).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { seq: 5, .. }), "{error}");
    }
    bed.disk.put(&name, good);
    let mut entry = ledger.read(5, 1).unwrap().remove(0);
    assert_eq!(ledger.delta(&entry).unwrap().expose(), &[4; 100]);
    entry.event.push(b' ');
    assert!(matches!(ledger.delta(&entry), Err(ReadError::Damaged { seq: 5, .. })));
}
