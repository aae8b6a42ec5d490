//! What every ledger engine promises, run against each place where one can be opened.

use std::sync::Arc;

use keyward::base::Sensitive;
use keyward::base::limits::{APPENDS_WAITING_MAX, DELTA_BYTES_MAX, ENTRY_KEYS_MAX, EVENT_BYTES_MAX};
use keyward::ledger::{AppendError, Draft, Expectation, Key, Kind, Ledger, OpenError};

use crate::support::ledger_bed::{Bed, HostBed, Recorder, RemoteBed, UnsyncedBed, draft, fill, using, wait};
use crate::support::ledger_database::{DatabaseBed, SharedBed};

/// Every promise below holds on every bed.
macro_rules! on_every_bed {
    ($($promise:ident),* $(,)?) => {
        mod on_a_disk_that_forgets {
            $(#[test] fn $promise() { super::$promise(&super::UnsyncedBed::new(16 * 1024)); })*
        }
        mod on_this_machine {
            $(#[test] fn $promise() { super::$promise(&super::HostBed::new()); })*
        }
        mod on_a_database {
            $(#[test] fn $promise() { super::$promise(&super::RemoteBed::new()); })*
        }
        mod on_postgresql {
            $(#[test] fn $promise() { super::$promise(&super::DatabaseBed::new()); })*
        }
        mod on_postgresql_that_is_shared {
            $(#[test] fn $promise() { super::$promise(&super::SharedBed(super::DatabaseBed::new())); })*
        }
    };
}

on_every_bed! {
    entries_are_numbered_without_a_gap_and_read_back,
    a_reopened_ledger_shows_all_its_entries_and_goes_on,
    a_receipt_comes_after_the_follower_has_taken_the_entry_in,
    an_entry_is_read_as_soon_as_the_follower_takes_it_in,
    what_has_changed_since_is_a_conflict_and_writes_nothing,
    expectations_see_the_entries_before_them_in_the_same_group_commit,
    of_a_hundred_concurrent_uses_exactly_one_wins,
    generations_are_there_again_after_a_reopen,
    a_draft_at_the_limits_is_taken_and_one_beyond_is_not,
    a_full_queue_answers_busy_and_recovers,
    time_goes_back_at_an_adjustment_and_nowhere_else,
    a_follower_that_cannot_follow_stops_the_ledger,
    an_append_goes_on_when_nobody_waits_for_it,
    pages_of_any_size_join_up,
}

fn open(bed: &dyn Bed) -> (Arc<Ledger>, Recorder) {
    let recorder = Recorder::default();
    (bed.open(Box::new(recorder.clone())).unwrap(), recorder)
}

fn entries_are_numbered_without_a_gap_and_read_back(bed: &dyn Bed) {
    let (ledger, _) = open(bed);
    assert_eq!((ledger.head().seq, ledger.read(1, 10).unwrap().len()), (0, 0));
    for n in 1..=300_u64 {
        let receipt = commit(ledger.as_ref(), draft(&format!("e{n}"), &[1; 300]));
        assert_eq!(receipt, n);
    }
    let entries = ledger.read(1, 1000).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (1..=300).collect::<Vec<_>>());
    assert!(entries.iter().all(|entry| entry.event == format!("e{}", entry.seq).into_bytes()));
    assert_eq!(entries[4].kind, Kind(7));
    assert_eq!(ledger.read(299, 1000).unwrap().len(), 2);
    assert_eq!(ledger.read(301, 1000).unwrap().len(), 0);
}

fn commit(ledger: &Ledger, draft: Draft) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(ledger.commit(draft, ())).unwrap().seq()
}

fn a_reopened_ledger_shows_all_its_entries_and_goes_on(bed: &dyn Bed) {
    for round in 0..4_u64 {
        let (ledger, recorder) = open(bed);
        assert_eq!(ledger.head().seq, round * 70);
        let seqs: Vec<u64> = recorder.taken().iter().map(|taken| taken.seq).collect();
        assert_eq!(seqs, (1..=round * 70).collect::<Vec<_>>());
        fill(ledger.as_ref(), 70);
        assert_eq!(ledger.read(1, 1000).unwrap().len() as u64, round * 70 + 70);
    }
    let (_ledger, recorder) = open(bed);
    assert_eq!(recorder.taken()[0].delta, vec![0; 100]);
    assert_eq!(recorder.taken()[139].delta, vec![69; 100]);
}

fn an_entry_is_read_as_soon_as_the_follower_takes_it_in(bed: &dyn Bed) {
    let (ledger, recorder) = open(bed);
    let (first, read) =
        recorder.while_still(ledger.as_ref(), draft("e", b""), || ledger.read(1, 10).unwrap());
    assert_eq!((read.len(), ledger.head().seq), (1, 1));
    assert_eq!(wait(first).unwrap().seq(), 1);
}

fn a_receipt_comes_after_the_follower_has_taken_the_entry_in(bed: &dyn Bed) {
    let (ledger, recorder) = open(bed);
    for n in 1..=20 {
        commit(ledger.as_ref(), draft("e", b"d"));
        assert_eq!(recorder.taken().len(), n);
        assert_eq!(recorder.settled().last(), Some(&(n as u64)));
    }
}

fn what_has_changed_since_is_a_conflict_and_writes_nothing(bed: &dyn Bed) {
    let (ledger, _) = open(bed);
    let (code, other) = (Key::of("code", b"1"), Key::of("code", b"2"));
    wait(ledger.append(using(code, 0))).unwrap();
    assert_eq!(wait(ledger.append(using(code, 0))).unwrap_err(), AppendError::Conflict(code));
    assert_eq!(ledger.head().seq, 1);
    wait(ledger.append(using(other, 0))).unwrap();
    wait(ledger.append(using(code, 1))).unwrap();
    assert_eq!(wait(ledger.append(using(code, 2))).unwrap_err(), AppendError::Conflict(code));
    let mut both = using(other, 3);
    both.expect.push(Expectation { key: code, as_of: 2 });
    assert_eq!(wait(ledger.append(both)).unwrap_err(), AppendError::Conflict(code), "one of two is enough");
    assert_eq!(ledger.head().seq, 3);
}

fn expectations_see_the_entries_before_them_in_the_same_group_commit(bed: &dyn Bed) {
    let (ledger, recorder) = open(bed);
    let key = Key::of("approval", b"1");
    let rest = vec![using(key, 0), using(key, 0), draft("free", b""), using(key, 1), using(key, 2)];
    let (first, rest) = recorder.group(ledger.as_ref(), draft("first", b""), rest);
    wait(first).unwrap();
    let answers: Vec<_> = rest.into_iter().map(|pending| wait(pending).map(|_| ())).collect();
    let conflict = Err(AppendError::Conflict(key));
    assert_eq!(answers, [Ok(()), conflict.clone(), Ok(()), conflict, Ok(())]);
    assert_eq!(recorder.settled(), [1, 4], "they were one group commit");
    assert_eq!(ledger.head().seq, 4);
}

fn of_a_hundred_concurrent_uses_exactly_one_wins(bed: &dyn Bed) {
    let (ledger, _) = open(bed);
    let key = Key::of("code", b"once");
    let threads: Vec<_> = (0..100)
        .map(|_| {
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || wait(ledger.append(using(key, 0))).is_ok())
        })
        .collect();
    let wins = threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|won| *won).count();
    assert_eq!((wins, ledger.head().seq), (1, 1));
}

fn generations_are_there_again_after_a_reopen(bed: &dyn Bed) {
    let key = Key::of("code", b"1");
    let (ledger, _) = open(bed);
    fill(ledger.as_ref(), 5);
    wait(ledger.append(using(key, 5))).unwrap();
    drop(ledger);
    let (ledger, _) = open(bed);
    assert_eq!(wait(ledger.append(using(key, 5))).unwrap_err(), AppendError::Conflict(key));
    wait(ledger.append(using(key, 6))).unwrap();
}

fn a_draft_at_the_limits_is_taken_and_one_beyond_is_not(bed: &dyn Bed) {
    let (ledger, recorder) = open(bed);
    let key = Key::of("k", b"k");
    let sized = |event: usize, delta: usize, keys: usize| Draft {
        kind: Kind(1),
        event: vec![b' '; event],
        delta: Sensitive::new(vec![1; delta]),
        expect: vec![Expectation { key, as_of: 9 }; keys],
        advance: vec![key; keys],
        ..draft("", b"")
    };
    for beyond in [(EVENT_BYTES_MAX + 1, 0, 0), (0, DELTA_BYTES_MAX + 1, 0), (0, 0, ENTRY_KEYS_MAX + 1)] {
        let answer = wait(ledger.append(sized(beyond.0, beyond.1, beyond.2)));
        assert_eq!(answer.unwrap_err(), AppendError::TooLarge);
    }
    wait(ledger.append(sized(EVENT_BYTES_MAX, DELTA_BYTES_MAX, ENTRY_KEYS_MAX))).unwrap();
    wait(ledger.append(sized(0, 0, 0))).unwrap();
    assert_eq!(recorder.taken()[0].delta.len(), DELTA_BYTES_MAX);
    drop(ledger);
    let (ledger, recorder) = open(bed);
    assert_eq!(recorder.taken()[0].delta, vec![1; DELTA_BYTES_MAX]);
    assert_eq!((recorder.taken()[0].event.len(), ledger.read(2, 9).unwrap().len()), (EVENT_BYTES_MAX, 1));
}

fn a_full_queue_answers_busy_and_recovers(bed: &dyn Bed) {
    let (ledger, recorder) = open(bed);
    let rest = (0..=APPENDS_WAITING_MAX).map(|_| draft("", b"")).collect();
    let (first, mut rest) = recorder.group(ledger.as_ref(), draft("first", b""), rest);
    let one_beyond = rest.pop().unwrap();
    assert_eq!(wait(one_beyond).unwrap_err(), AppendError::Busy);
    wait(first).unwrap();
    for pending in rest {
        wait(pending).unwrap();
    }
    assert_eq!(commit(ledger.as_ref(), draft("", b"")), APPENDS_WAITING_MAX as u64 + 2);
}

/// A log in files has one writer at a time; those in a database have several (`ledger_writers`).
#[test]
fn a_second_open_of_files_is_refused_while_the_first_lives() {
    let bed: &dyn Bed = &UnsyncedBed::new(16 * 1024);
    let (ledger, _) = open(bed);
    let second = bed.open(Box::new(Recorder::default()));
    assert!(matches!(second, Err(OpenError::InUse)));
    drop(ledger);
    open(bed);
}

fn time_goes_back_at_an_adjustment_and_nowhere_else(bed: &dyn Bed) {
    let (ledger, _) = open(bed);
    bed.clock().advance_s(100);
    fill(ledger.as_ref(), 1);
    let latest = ledger.head().time;
    drop(ledger);
    bed.clock().step_s(-50);
    let (ledger, _) = open(bed);
    fill(ledger.as_ref(), 2);
    let times: Vec<_> = ledger.read(1, 10).unwrap().iter().map(|entry| entry.time).collect();
    assert!(times.is_sorted() && times[0] == latest, "{times:?}");

    commit(ledger.as_ref(), Draft { kind: Kind::CLOCK_ADJUSTED, ..draft("adjusted", b"") });
    fill(ledger.as_ref(), 1);
    let adjusted = latest.plus_s(-50);
    let after: Vec<_> = ledger.read(4, 10).unwrap().iter().map(|entry| entry.time).collect();
    assert_eq!(after, [adjusted, adjusted]);
    drop(ledger);
    let (ledger, _) = open(bed);
    assert_eq!((ledger.head().seq, ledger.head().time), (5, adjusted));
    bed.clock().advance_s(1);
    fill(ledger.as_ref(), 1);
    assert_eq!(ledger.head().time, adjusted.plus_s(1));
}

fn a_follower_that_cannot_follow_stops_the_ledger(bed: &dyn Bed) {
    let (ledger, recorder) = open(bed);
    fill(ledger.as_ref(), 2);
    recorder.refuse();
    assert_eq!(wait(ledger.append(draft("e", b""))).unwrap_err(), AppendError::Failed);
    assert!(!ledger.is_writable());
    assert_eq!(wait(ledger.append(draft("e", b""))).unwrap_err(), AppendError::Failed);
    assert_eq!((ledger.head().seq, ledger.read(1, 10).unwrap().len()), (2, 2), "reading goes on");
    drop(ledger);
    let refusing = Recorder::default();
    refusing.refuse();
    let refused = bed.open(Box::new(refusing)).unwrap_err();
    assert!(matches!(refused, OpenError::NotTakenIn { seq: 1, .. }), "{refused}");
}

fn an_append_goes_on_when_nobody_waits_for_it(bed: &dyn Bed) {
    let (ledger, _) = open(bed);
    drop(ledger.append(draft("unattended", b"")));
    fill(ledger.as_ref(), 1);
    assert_eq!(ledger.read(1, 1).unwrap()[0].event, b"unattended");
}

fn pages_of_any_size_join_up(bed: &dyn Bed) {
    let (ledger, _) = open(bed);
    fill(ledger.as_ref(), 150);
    let all: Vec<_> = ledger.read(1, 1000).unwrap().iter().map(keyward::ledger::Entry::leaf).collect();
    for page in [1, 7, 63, 64, 65, 149] {
        let mut joined = Vec::new();
        while let Some(next) = ledger.read(joined.len() as u64 + 1, page).ok().filter(|next| !next.is_empty())
        {
            joined.extend(next.iter().map(keyward::ledger::Entry::leaf));
        }
        assert_eq!(joined, all, "page of {page}");
    }
}
