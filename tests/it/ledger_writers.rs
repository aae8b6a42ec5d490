//! Several writers on one log: entries of others come in between, answers get lost, and nothing is committed twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyward::base::limits::{CATCH_UP_READS_MAX, LOG_RETRIES_MAX};
use keyward::base::{Clock, ClockTrust};
use keyward::ledger::{AppendError, Draft, Entry, Key, Kind, Ledger, Space, WriteState};

use crate::support::ledger_bed::{Bed, Recorder, RemoteBed, draft, fill, using, wait};
use crate::support::remote_log::Trouble;
use crate::support::waiting::wait_until;

/// Two writers on one database.
struct Pair {
    bed: RemoteBed,
    one: Arc<Ledger>,
    other: Arc<Ledger>,
    /// What each of them has taken in.
    seen_by_one: Recorder,
    seen: Recorder,
}

fn pair() -> Pair {
    let (bed, seen_by_one, seen) = (RemoteBed::new(), Recorder::default(), Recorder::default());
    let one = bed.open(Box::new(seen_by_one.clone())).unwrap();
    let other = bed.open(Box::new(seen.clone())).unwrap();
    Pair { bed, one, other, seen_by_one, seen }
}

fn entries(rows: &[Vec<u8>]) -> Vec<Entry> {
    rows.iter().map(|row| Entry::from_bytes(row).unwrap()).collect()
}

/// The salt of the writer session, and format, key and nonce of the seal.
fn nonce(entry: &Entry) -> ([u8; 32], Vec<u8>) {
    (entry.state.session, entry.state.sealed[..18].to_vec())
}

#[test]
fn a_writer_takes_in_the_entries_of_others_before_it_numbers() {
    let Pair { one, other, seen, bed, .. } = pair();
    fill(&one, 3);
    assert_eq!(other.head().seq, 0, "nothing has told it yet");
    assert_eq!(wait(other.append(draft("mine", b""))).unwrap().seq(), 4);
    assert_eq!(seen.taken().iter().map(|taken| taken.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((seen.taken()[0].delta.len(), seen.settled()), (100, vec![3, 4]));
    assert_eq!(other.read(1, 10).unwrap().len(), 4);
    fill(&one, 1);
    let third = bed.open(Box::new(Recorder::default())).unwrap();
    assert_eq!((third.head(), third.tree().root()), (one.head(), one.tree().root()));
}

#[test]
fn a_writer_that_is_far_behind_reads_so_often_before_a_batch() {
    let Pair { one, other, seen, bed, .. } = pair();
    bed.database.read_in_pages(1);
    let most = u64::from(CATCH_UP_READS_MAX);
    fill(&one, most);
    assert_eq!(wait(other.append(draft("at the limit", b""))).unwrap().seq(), most + 1);
    fill(&one, most + 1);
    // One entry more: what was read stays, the head is free, and the next attempt has the rest.
    assert_eq!(wait(other.append(draft("beyond", b""))).unwrap_err(), AppendError::Unwritten);
    assert_eq!((other.is_writable(), other.head().seq), (true, 2 * most + 1));
    assert_eq!(wait(other.append(draft("again", b""))).unwrap().seq(), 2 * most + 3);
    assert_eq!(
        seen.taken().iter().map(|taken| taken.seq).collect::<Vec<_>>(),
        (1..=2 * most + 3).collect::<Vec<_>>()
    );
    fill(&one, 1);
}

#[test]
fn what_another_writer_has_advanced_is_a_conflict() {
    let Pair { one, other, seen, .. } = pair();
    let key = Key::of("code", b"1");
    wait(one.append(using(key, 0))).unwrap();
    let refused = wait(other.append(using(key, 0))).unwrap_err();
    assert_eq!((refused, other.head().seq), (AppendError::Conflict(key), 1), "told once the state has it");
    assert_eq!(seen.taken().len(), 1);
    assert_eq!(wait(other.append(using(key, 1))).unwrap().seq(), 2);
    wait(one.append(draft("the head is free", b""))).unwrap();
}

#[test]
fn a_lost_answer_is_looked_up_and_acknowledged_once() {
    let Pair { one, other, bed, .. } = pair();
    bed.database.trouble_next_commit(Trouble::LostAnswer);
    assert_eq!(wait(one.append(draft("once", b""))).unwrap().seq(), 1);
    fill(&other, 1);
    assert_eq!((bed.database.rows().len(), one.read(1, 9).unwrap()[0].event.clone()), (2, b"once".to_vec()));
}

#[test]
fn a_lost_request_is_sequenced_anew_and_under_another_nonce() {
    let Pair { one, bed, .. } = pair();
    let key = Key::of("code", b"1");
    fill(&one, 1);
    bed.database.trouble_next_commit(Trouble::LostRequest);
    assert_eq!(wait(one.append(using(key, 1))).unwrap().seq(), 2);
    let (lost, there) = (entries(&bed.database.lost()), entries(&bed.database.rows()));
    assert_eq!((lost.len(), lost[0].seq, there.len()), (1, 2, 2));
    assert_ne!(nonce(&lost[0]), nonce(&there[1]));
    assert_eq!(wait(one.append(using(key, 1))).unwrap_err(), AppendError::Conflict(key));
}

#[test]
fn a_batch_is_tried_so_often_and_then_the_writer_stops() {
    let Pair { one, other, bed, .. } = pair();
    bed.database.lose_commits(LOG_RETRIES_MAX + 1);
    assert_eq!(wait(one.append(draft("never", b""))).unwrap_err(), AppendError::Failed);
    assert_eq!((one.is_writable(), bed.database.lost().len() as u32), (false, LOG_RETRIES_MAX + 1));
    bed.database.lose_commits(LOG_RETRIES_MAX);
    assert_eq!(wait(other.append(draft("in the end", b""))).unwrap().seq(), 1);
}

#[test]
fn an_outcome_that_cannot_be_looked_up_stops_the_writer() {
    let Pair { one, other, bed, .. } = pair();
    bed.database.trouble_next_commit(Trouble::Unreachable);
    assert_eq!(wait(one.append(draft("in doubt", b""))).unwrap_err(), AppendError::Failed);
    assert!(!one.is_writable());
    assert_eq!((one.head().seq, wait(other.append(draft("next", b""))).unwrap().seq()), (0, 2));
    let again = bed.open(Box::new(Recorder::default())).unwrap();
    assert_eq!(again.read(1, 9).unwrap()[0].event, b"in doubt");
}

#[test]
fn a_failure_that_wrote_nothing_refuses_drafts_and_the_writer_continues() {
    for (trouble, answer, state) in [
        (Trouble::FailsToBegin, AppendError::Unwritten, WriteState::Failing),
        (Trouble::FailsToCommit, AppendError::Unwritten, WriteState::Failing),
        (Trouble::FullAtCommit, AppendError::NoSpace, WriteState::NoSpace),
    ] {
        let Pair { one, other, bed, .. } = pair();
        let key = Key::of("code", b"1");
        bed.database.trouble_next_commit(trouble);
        assert_eq!(wait(one.append(using(key, 0))).unwrap_err(), answer, "{trouble:?}");
        wait_until(|| one.write_state() == state);
        assert_eq!((one.is_writable(), bed.database.rows().len()), (true, 0), "{trouble:?}");
        // The head is free, what was refused has advanced nothing, and its nonce never comes again.
        fill(&other, 1);
        assert_eq!(wait(one.append(using(key, 0))).unwrap().seq(), 2, "{trouble:?}");
        let (lost, there) = (entries(&bed.database.lost()), entries(&bed.database.rows()));
        assert_eq!((there.len(), there[1].event.as_slice()), (2, b"use".as_slice()), "{trouble:?}");
        assert!(lost.iter().all(|lost| nonce(lost) != nonce(&there[1])), "{trouble:?}");
        wait_until(|| one.write_state() == WriteState::Writable);
    }
}

#[test]
fn urgent_drafts_get_the_reserve_when_the_log_is_full_at_commit() {
    let Pair { one, seen_by_one, bed, .. } = pair();
    let urgent = |event: &str| Draft { space: Space::Reserve, ..draft(event, b"") };
    let (first, (usual, revocation)) = seen_by_one.while_still(&one, draft("first", b""), || {
        bed.database.trouble_next_commit(Trouble::FullAtCommit);
        (one.append(draft("usual", b"")), one.append(urgent("revocation")))
    });
    assert_eq!(wait(first).unwrap().seq(), 1);
    assert_eq!(wait(usual).unwrap_err(), AppendError::NoSpace);
    assert_eq!(wait(revocation).unwrap().seq(), 2);
    wait_until(|| one.write_state() == WriteState::NoSpace);
    bed.database.trouble_next_commit(Trouble::FullAtCommit);
    assert_eq!(wait(one.append(urgent("alone"))).unwrap().seq(), 3);
    let events: Vec<_> = entries(&bed.database.rows()).into_iter().map(|entry| entry.event).collect();
    assert_eq!(events, [&b"first"[..], b"revocation", b"alone"]);
    assert_eq!(
        bed.database.spaces(),
        [Space::Usual, Space::Usual, Space::Reserve, Space::Usual, Space::Reserve]
    );
}

#[test]
fn the_wall_clock_is_adopted_once_its_entry_is_durable() {
    let Pair { one, bed, .. } = pair();
    let clock = bed.clock();
    fill(&one, 1);
    let before = clock.now();
    clock.step_s(-3600);
    let adjusted = || Draft { kind: Kind::CLOCK_ADJUSTED, ..draft("adjusted", b"") };
    for (trouble, answer) in
        [(Trouble::FailsToCommit, AppendError::Unwritten), (Trouble::FullAtCommit, AppendError::NoSpace)]
    {
        bed.database.trouble_next_commit(trouble);
        assert_eq!(wait(one.append(adjusted())).unwrap_err(), answer);
        let reading = clock.reading();
        assert_eq!((reading.now(), reading.trust()), (before, ClockTrust::Disputed), "{trouble:?}");
    }
    wait(one.append(adjusted())).unwrap();
    let reading = clock.reading();
    assert_eq!((reading.now(), reading.trust()), (before.plus_s(-3600), ClockTrust::Agreed));
    assert_eq!(one.head().time, before.plus_s(-3600));
}

#[test]
fn an_altered_entry_of_another_writer_stops_the_log() {
    let Pair { one, other, seen, bed, .. } = pair();
    fill(&one, 2);
    let mut row = bed.database.rows()[1].clone();
    *row.last_mut().unwrap() ^= 1;
    bed.database.put(2, row);
    assert_eq!(wait(other.append(draft("next", b""))).unwrap_err(), AppendError::Failed);
    assert_eq!((other.is_writable(), bed.database.rows().len(), seen.settled().len()), (false, 2, 0));
}

/// Uses the thing of this round, if nobody has: decides on the state as it is, and again after a conflict.
fn use_once(ledger: &Ledger, seen: &Recorder, round: u64) -> bool {
    let (key, event) = (Key::of("once", &round.to_be_bytes()), round.to_string());
    loop {
        let as_of = ledger.head().seq;
        if seen.taken().iter().any(|taken| taken.event == event.as_bytes()) {
            return false;
        }
        match wait(ledger.append(Draft { event: event.clone().into_bytes(), ..using(key, as_of) })) {
            Ok(_) => return true,
            Err(AppendError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_thing_is_used_once_by_whichever_writer_and_whatever_gets_lost() {
    const ROUNDS: u64 = 40;
    let Pair { one, other, bed, seen_by_one, seen } = pair();
    let wins: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = [(&one, &seen_by_one), (&other, &seen), (&one, &seen_by_one), (&other, &seen)]
            .into_iter()
            .zip(0..)
            .map(|((ledger, seen), number)| {
                let database = &bed.database;
                scope.spawn(move || {
                    let wins = (0..ROUNDS).filter(|round| {
                        match (round + number) % 4 {
                            0 => database.trouble_next_commit(Trouble::LostRequest),
                            1 => database.trouble_next_commit(Trouble::LostAnswer),
                            _ => {}
                        }
                        use_once(ledger, seen, *round)
                    });
                    wins.count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let there = entries(&bed.database.rows());
    assert_eq!((wins as u64, there.len() as u64), (ROUNDS, ROUNDS), "acknowledged is what is there");
    let lost = entries(&bed.database.lost());
    let nonces: BTreeSet<_> = there.iter().chain(&lost).map(nonce).collect();
    assert_eq!(nonces.len(), there.len() + lost.len(), "no nonce comes twice");
    assert_eq!(bed.open(Box::new(Recorder::default())).unwrap().head().seq, ROUNDS);
}
