//! Power cuts, failing disks and full disks: what was acknowledged stays, and nothing is in doubt.

use std::collections::{BTreeMap, BTreeSet};

use keyward::ledger::{AppendError, Ledger};

use crate::support::ledger_bed::{Recorder, UnsyncedBed, draft, fill, wait};
use crate::support::unsynced::{Dice, Disk, Fault, How, Lie};

const SEGMENT_BYTES: u64 = 4 * 1024;

/// What the outside world knows: what was acknowledged or shown, and what was ever asked for.
#[derive(Debug, Default)]
struct Witness {
    known: Vec<Vec<u8>>,
    asked: BTreeSet<Vec<u8>>,
    groups: Vec<Vec<Vec<u8>>>,
    counter: u64,
}

impl Witness {
    fn event(&mut self, dice: &mut Dice) -> String {
        self.counter += 1;
        let event = format!("{}:{}", self.counter, "x".repeat(dice.below(700) as usize));
        self.asked.insert(event.clone().into_bytes());
        event
    }

    /// Holds what a fresh open has shown against what is known.
    fn check(&mut self, recorder: &Recorder) -> Result<(), String> {
        let taken = recorder.taken();
        let events: Vec<Vec<u8>> = taken.iter().map(|taken| taken.event.clone()).collect();
        for (at, entry) in taken.iter().enumerate() {
            if entry.seq != at as u64 + 1 {
                return Err(format!("entry {} stands at place {at}", entry.seq));
            }
            if !self.asked.contains(&entry.event) || entry.delta != entry.event {
                return Err(format!("entry {} was never asked for", entry.seq));
            }
        }
        if events.iter().collect::<BTreeSet<_>>().len() != events.len() {
            return Err("an entry is there twice".to_owned());
        }
        if events.len() < self.known.len() || events[..self.known.len()] != self.known[..] {
            return Err(format!("{} entries were known, {} are there", self.known.len(), events.len()));
        }
        for group in &self.groups {
            let there = group.iter().filter(|event| events.contains(event)).count();
            if there != 0 && there != group.len() {
                return Err(format!("{there} of {} entries of a group commit are there", group.len()));
            }
        }
        self.known = events;
        Ok(())
    }

    /// Appends singly and in groups until something fails or it is enough.
    fn work(&mut self, ledger: &Ledger, recorder: &Recorder, dice: &mut Dice) {
        for _ in 0..4 {
            let first = self.event(dice);
            let rest: Vec<String> = (0..dice.below(6)).map(|_| self.event(dice)).collect();
            let of = |event: &String| draft(event, event.as_bytes());
            let (first_pending, pending) = recorder.group(ledger, of(&first), rest.iter().map(of).collect());
            if wait(first_pending).is_ok() {
                self.known.push(first.into_bytes());
                self.groups.push(rest.iter().map(|event| event.clone().into_bytes()).collect());
            }
            for (event, pending) in rest.into_iter().zip(pending) {
                match wait(pending) {
                    Ok(_) => self.known.push(event.into_bytes()),
                    Err(error) => assert_eq!(error, AppendError::Failed),
                }
            }
        }
    }
}

/// Opens, works and loses power, again and again. The steps at which power fails are rolled.
fn live_through_crashes(seed: u64, lie: Option<Lie>) -> Result<(), String> {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    if let Some(lie) = lie {
        bed.disk.set_lie(lie);
    }
    let (mut dice, mut witness) = (Dice(seed), Witness::default());
    for _ in 0..4 {
        if dice.chance(70) {
            bed.disk.set_fault(Some(Fault { step: 1 + dice.below(24), how: How::PowerCut }));
        }
        let recorder = Recorder::default();
        if let Ok((ledger, _)) = bed.open_file(&recorder) {
            witness.check(&recorder)?;
            witness.work(&ledger, &recorder, &mut dice);
            if dice.chance(70) {
                bed.disk.crash(dice.roll());
            }
        }
        bed.disk.crash(dice.roll());
    }
    let recorder = Recorder::default();
    let (_ledger, _) = bed.open_file(&recorder).map_err(|error| error.to_string())?;
    witness.check(&recorder)
}

#[test]
fn what_was_acknowledged_survives_any_power_cuts_in_a_row() {
    for seed in 0..250 {
        live_through_crashes(seed, None).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

/// The proof that the test above can fail: a build that acknowledges before the sync is caught.
#[test]
fn a_sync_that_is_left_out_is_caught() {
    for lie in [Lie::DataSync, Lie::DirSync] {
        let caught = (0..100).filter(|seed| live_through_crashes(*seed, Some(lie)).is_err()).count();
        assert!(caught > 10, "{lie:?} was caught {caught} times of 100");
    }
}

/// One fault at the n-th step of a life, for every n until the life is over before it strikes.
fn sweep(how: How, life: impl Fn(&UnsyncedBed, &mut Witness, u64)) {
    for step in 1..10_000 {
        let bed = UnsyncedBed::new(SEGMENT_BYTES);
        let mut witness = Witness::default();
        prepare(&bed, &mut witness);
        bed.disk.set_fault(Some(Fault { step, how }));
        life(&bed, &mut witness, step);
        if !bed.disk.has_tripped() {
            assert!(step > 10, "the fault never struck");
            return;
        }
        // The process starts again with its caches, then power fails, then it starts once more.
        bed.disk.kill();
        for seed in 0..2 {
            let recorder = Recorder::default();
            let (ledger, _) =
                bed.open_file(&recorder).unwrap_or_else(|error| panic!("step {step} {how:?}: {error}"));
            witness.check(&recorder).unwrap_or_else(|what| panic!("step {step} {how:?}: {what}"));
            bed.disk.crash(step * 2 + seed);
            drop(ledger);
        }
        let recorder = Recorder::default();
        let (ledger, _) = bed.open_file(&recorder).unwrap();
        witness.check(&recorder).unwrap_or_else(|what| panic!("step {step} {how:?}: {what}"));
        witness.work(&ledger, &recorder, &mut Dice(step));
    }
}

/// A ledger that was stopped at once, with a torn group commit at its end.
fn prepare(bed: &UnsyncedBed, witness: &mut Witness) {
    let recorder = Recorder::default();
    let (ledger, _) = bed.open_file(&recorder).unwrap();
    witness.work(&ledger, &recorder, &mut Dice(1));
    bed.disk.kill();
    drop(ledger);
    let (name, mut content) = bed.disk.files().into_iter().rfind(|(name, _)| name.ends_with(".seg")).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(8);
    content[end + 8..end + 16].fill(0xAB);
    bed.disk.put(&name, content);
}

fn a_life(bed: &UnsyncedBed, witness: &mut Witness, step: u64) {
    let recorder = Recorder::default();
    if let Ok((ledger, _)) = bed.open_file(&recorder) {
        witness.check(&recorder).unwrap();
        witness.work(&ledger, &recorder, &mut Dice(step));
        if bed.disk.has_tripped() {
            assert!(!ledger.is_writable(), "a failed step is not shrugged off");
            assert_eq!(wait(ledger.append(draft("late", b""))).unwrap_err(), AppendError::Failed);
        }
        ledger.close();
    }
}

#[test]
fn a_step_that_fails_before_it_happens_loses_nothing() {
    sweep(How::Before, a_life);
}

#[test]
fn a_step_that_fails_half_way_loses_nothing() {
    sweep(How::Half, a_life);
}

#[test]
fn a_step_that_fails_after_it_happened_loses_nothing() {
    sweep(How::After, a_life);
}

#[test]
fn a_power_cut_at_any_step_loses_nothing() {
    sweep(How::PowerCut, a_life);
}

#[test]
fn a_failed_sync_is_not_retried_and_the_unsynced_tail_is_rewritten() {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let recorder = Recorder::default();
    let (ledger, _) = bed.open_file(&recorder).unwrap();
    fill(&ledger, 3);
    // Step 1 is the write, step 2 its sync.
    bed.disk.set_fault(Some(Fault { step: 2, how: How::Before }));
    assert_eq!(wait(ledger.append(draft("in doubt", b""))).unwrap_err(), AppendError::Failed);
    assert_eq!(recorder.taken().len(), 3, "what is not durable is not taken in");
    bed.disk.kill();
    drop(ledger);
    let recorder = Recorder::default();
    let (ledger, report) = bed.open_file(&recorder).unwrap();
    assert_eq!((report.head.seq, report.written_again), (4, 1), "the cache still shows it");
    bed.disk.crash(2);
    drop(ledger);
    let recorder = Recorder::default();
    let (_ledger, report) = bed.open_file(&recorder).unwrap();
    assert_eq!(report.head.seq, 4, "what was shown once stays");
    assert_eq!(recorder.taken()[3].event, b"in doubt");
}

#[test]
fn what_is_written_again_keeps_its_leaf() {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    fill(&ledger, 4);
    let before: Vec<_> = ledger.read(1, 9).unwrap().iter().map(keyward::ledger::Entry::leaf).collect();
    for _ in 0..3 {
        bed.disk.kill();
        let (ledger, report) = bed.open_file(&Recorder::default()).unwrap();
        let after = ledger.read(1, 9).unwrap();
        assert_eq!(report.head.seq, 4);
        assert_eq!(after.iter().map(keyward::ledger::Entry::leaf).collect::<Vec<_>>(), before);
        assert_eq!(ledger.delta(&after[3]).unwrap().expose(), &[3; 100]);
    }
}

#[test]
fn a_clean_close_leaves_nothing_in_doubt() {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    fill(&ledger, 4);
    ledger.close();
    ledger.close();
    assert_eq!(wait(ledger.append(draft("late", b""))).unwrap_err(), AppendError::Failed);
    assert_eq!(ledger.read(1, 9).unwrap().len(), 4, "reading goes on");
    let files = bed.disk.files();
    let (_ledger, report) = bed.open_file(&Recorder::default()).unwrap();
    assert_eq!((report.head.seq, report.written_again, report.torn), (4, 0, None));
    assert_eq!(bed.disk.files(), files, "a start without appends writes nothing");
}

/// AES-GCM falls when a key seals two texts under one nonce.
#[test]
fn no_key_seals_two_texts_under_one_nonce() {
    let mut checked = 0;
    for seed in 0..40 {
        let bed = UnsyncedBed::new(SEGMENT_BYTES);
        let (mut dice, mut witness) = (Dice(seed), Witness::default());
        for _ in 0..5 {
            if dice.chance(60) {
                bed.disk.set_fault(Some(Fault { step: 1 + dice.below(30), how: How::PowerCut }));
            }
            let recorder = Recorder::default();
            if let Ok((ledger, _)) = bed.open_file(&recorder) {
                witness.work(&ledger, &recorder, &mut dice);
            }
            bed.disk.crash(dice.roll());
        }
        checked += sealed_once(&bed.disk);
    }
    assert!(checked > 1000, "{checked}");
}

/// Reads every frame that was ever written and counts the pairs of a session's salt and a nonce.
fn sealed_once(disk: &Disk) -> usize {
    let mut segments = BTreeSet::new();
    let mut seen: BTreeMap<([u8; 32], Vec<u8>), Vec<u8>> = BTreeMap::new();
    for (file, offset, bytes) in disk.written() {
        let mut rest = &bytes[..];
        if offset == 0 && rest.starts_with(b"keywrdsg") {
            segments.insert(file);
            note(&mut seen, rest[82..114].try_into().unwrap(), &rest[114..148]);
            rest = &rest[192..];
        } else if !segments.contains(&file) {
            continue;
        }
        while rest.len() >= 148 {
            let len = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
            let (event, sealed) = (len(8), len(12));
            let session = rest[116..148].try_into().unwrap();
            note(&mut seen, session, &rest[148 + event..148 + event + sealed]);
            rest = &rest[(148 + event + sealed).next_multiple_of(8)..];
        }
    }
    seen.len()
}

/// A sealed text begins with its format, the id of its key and the nonce.
fn note(seen: &mut BTreeMap<([u8; 32], Vec<u8>), Vec<u8>>, session: [u8; 32], sealed: &[u8]) {
    let nonce = sealed[6..18].to_vec();
    let before = seen.entry((session, nonce.clone())).or_insert_with(|| sealed.to_vec());
    assert_eq!(before, sealed, "two texts were sealed under the nonce {nonce:?} of one session");
}

#[test]
fn a_disk_that_hangs_holds_up_its_writer_alone_and_loses_nothing() {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let recorder = Recorder::default();
    let (ledger, _) = bed.open_file(&recorder).unwrap();
    fill(&ledger, 3);
    bed.disk.syncs.shut();
    let stuck = ledger.append(draft("stuck", b"s"));
    bed.disk.syncs.until_reached();
    let queued = ledger.append(draft("queued", b"q"));
    let shown = || (ledger.head().seq, ledger.read(1, 10).unwrap().len(), recorder.taken().len());
    assert_eq!(shown(), (3, 3, 3), "readers go on, and nothing is shown before it is durable");

    bed.disk.syncs.open();
    assert_eq!((wait(stuck).unwrap().seq(), wait(queued).unwrap().seq()), (4, 5));
    assert_eq!(shown(), (5, 5, 5));
}

#[test]
fn a_ledger_whose_keys_were_wiped_writes_nothing_when_its_disk_answers() {
    let bed = UnsyncedBed::new(SEGMENT_BYTES);
    let (ledger, _) = bed.open_file(&Recorder::default()).unwrap();
    fill(&ledger, 3);
    bed.disk.syncs.shut();
    let stuck = ledger.append(draft("stuck", b"s"));
    bed.disk.syncs.until_reached();
    let queued = ledger.append(draft("queued", b"q"));
    let entry = ledger.read(2, 1).unwrap().remove(0);
    assert!(ledger.delta(&entry).is_ok());
    ledger.forget_keys();
    assert!(ledger.delta(&entry).is_err(), "nothing opens any more");

    bed.disk.syncs.open();
    assert_eq!(wait(stuck).unwrap().seq(), 4, "it had been sealed before");
    assert_eq!(wait(queued).unwrap_err(), AppendError::Failed);
    drop(ledger);
    let recorder = Recorder::default();
    let (ledger, _) = bed.open_file(&recorder).unwrap();
    assert_eq!((ledger.head().seq, recorder.taken().len()), (4, 4), "the ledger is whole");
}
