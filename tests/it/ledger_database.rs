//! The ledger in PostgreSQL: a killed primary, a standby that is gone, a wait that is cancelled, another broker, and a
//! head that goes back.

use std::sync::Arc;

use keyward::base::Stopwatch;
use keyward::config::{DatabaseHost, Replication};
use keyward::database::DatabaseTarget;
use keyward::ledger::{AppendError, Ledger, OpenError, VerifyError};

use crate::support::ledger_bed::{Bed, Recorder, Taken, draft, fill, wait};
use crate::support::ledger_database::{DatabaseBed, DatabaseSite, Pair, Trio};
use crate::support::waiting::{LONGEST, wait_until};

pub(crate) fn open(bed: &DatabaseBed) -> (Arc<Ledger>, Recorder) {
    let recorder = Recorder::default();
    (bed.open(Box::new(recorder.clone())).unwrap(), recorder)
}

/// Why the ledger does not open.
pub(crate) fn refusal(opened: Result<Arc<Ledger>, OpenError>) -> String {
    let error = opened.unwrap_err();
    let OpenError::Files(VerifyError::Database(why)) = error else { panic!("{error}") };
    why
}

pub(crate) fn sql(bed: &DatabaseBed, statement: &str) {
    bed.pair.primary.sql_in(&bed.database, statement);
}

/// In place of the power cut: the primary is killed while entries are appended, and the standby takes over.
#[test]
fn a_killed_primary_loses_no_acknowledged_entry() {
    let mut pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    let mut target = pair.broker(&database);
    // The promoted standby has none of its own.
    target.replication = Replication::Optional;
    let recorder = Recorder::default();
    let bed = DatabaseSite::new();
    let ledger = bed.open(target.clone(), Box::new(recorder.clone())).unwrap();
    let acknowledged = std::thread::scope(|scope| {
        // Until well after the promotion.
        let appending = scope.spawn(|| append_through_failures(&ledger, "e", 400));
        wait_until(|| ledger.head().seq >= 100);
        pair.primary.kill();
        pair.standby.promote();
        appending.join().unwrap()
    });
    drop(ledger);
    let again = Recorder::default();
    let ledger = bed.open(target, Box::new(again.clone())).unwrap();
    let there = events(&again);
    assert_eq!((there, ledger.head().seq), (acknowledged, 400), "each once, in order, and nothing else");
}

/// The same with two standbys, of which the one that has more takes over: the broker requires replication all along. The
/// last server alone acknowledges nothing.
#[test]
fn a_failover_among_three_servers_loses_no_acknowledged_entry() {
    let mut servers = Trio::start();
    let database = servers.pair.new_database();
    servers.pair.prepare(&database).unwrap();
    let (site, target, recorder) = (DatabaseSite::new(), servers.broker(&database), Recorder::default());
    let ledger = site.open(target.clone(), Box::new(recorder.clone())).unwrap();
    let acknowledged = std::thread::scope(|scope| {
        let appending = scope.spawn(|| append_through_failures(&ledger, "e", 300));
        wait_until(|| ledger.head().seq >= 100);
        servers.fail_over();
        appending.join().unwrap()
    });
    assert_eq!((ledger.head().seq, recorder.taken().len()), (300, 300));
    servers.fail_over_to_the_last();
    let waiting = ledger.append(draft("in doubt", b""));
    servers.third.until_a_commit_waits();
    ledger.close();
    assert_eq!(wait(waiting).unwrap_err(), AppendError::Failed);
    servers.third.waits_for("");
    let single = DatabaseTarget { replication: Replication::Optional, ..target };
    let again = Recorder::default();
    let ledger = site.open(single, Box::new(again.clone())).unwrap();
    let there = events(&again);
    assert_eq!(there[..300], acknowledged, "each once, in order, and nothing else");
    assert!(ledger.head().seq <= 301 && there[300..].iter().all(|(_, event)| event == "in doubt"));
}

/// Appends so many entries, and repeats those that were refused: they were not written.
pub(crate) fn append_through_failures(ledger: &Ledger, name: &str, count: usize) -> Vec<(u64, String)> {
    let (mut acknowledged, mut newest) = (Vec::new(), Stopwatch::start());
    while acknowledged.len() < count {
        // A failover has several steps, each of which may take its time.
        assert!(newest.elapsed() < 4 * LONGEST, "no server accepts `{name}` again");
        let event = format!("{name}{}", acknowledged.len());
        match wait(ledger.append(draft(&event, &[7; 100]))) {
            Ok(committed) => {
                acknowledged.push((committed.seq(), event));
                newest = Stopwatch::start();
            }
            Err(AppendError::Unwritten) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

pub(crate) fn events(recorder: &Recorder) -> Vec<(u64, String)> {
    let event = |taken: &Taken| (taken.seq, String::from_utf8(taken.event.clone()).unwrap());
    recorder.taken().iter().map(event).collect()
}

/// The wait of a COMMIT for a standby has no end of its own, and nobody is told that the entry is durable.
#[test]
fn an_entry_is_acknowledged_once_a_standby_has_it() {
    let mut pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    let (bed, recorder) = (DatabaseSite::new(), Recorder::default());
    let ledger = bed.open(pair.broker(&database), Box::new(recorder.clone())).unwrap();
    fill(&ledger, 3);
    pair.standby.kill();
    let waiting = ledger.append(draft("waits", b""));
    pair.primary.until_a_commit_waits();
    assert_eq!((ledger.head().seq, recorder.taken().len()), (3, 3));
    pair.standby.run();
    assert_eq!(wait(waiting).unwrap().seq(), 4);
    assert!(ledger.is_writable());
}

/// PostgreSQL answers a COMMIT whose wait was cancelled like any other, with a warning.
#[test]
fn a_cancelled_wait_for_a_standby_acknowledges_nothing() {
    let mut pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    let (bed, recorder) = (DatabaseSite::new(), Recorder::default());
    // The warning alone tells, because the positions of the standbys are not asked for.
    let target = DatabaseTarget { replication: Replication::Optional, ..pair.broker(&database) };
    let ledger = bed.open(target, Box::new(recorder.clone())).unwrap();
    fill(&ledger, 1);
    pair.standby.kill();
    let waiting = ledger.append(draft("cancelled", b""));
    pair.primary.until_a_commit_waits();
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    pair.primary.sql(cancel);
    // The look-up writes, and waits too.
    let shows = |count: &str| pair.primary.sql_of(&database, "SELECT count(*) FROM keyward.entries") == count;
    wait_until(|| shows("2"));
    pair.primary.until_a_commit_waits();
    assert_eq!((ledger.head().seq, recorder.taken().len()), (1, 1), "the row is visible, and not durable");
    pair.standby.run();
    assert_eq!(wait(waiting).unwrap().seq(), 2);
    assert!(!ledger.has_reserve(), "the database keeps no space for revocations");
    fill(&ledger, 1);
    assert_eq!(ledger.read(1, 9).unwrap().len(), 3);
}

/// The server ends the waits when its list of standbys is emptied, and answers as if they were there.
#[test]
fn an_emptied_list_of_standbys_acknowledges_nothing() {
    let mut pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    let (bed, recorder) = (DatabaseSite::new(), Recorder::default());
    let ledger = bed.open(pair.broker(&database), Box::new(recorder.clone())).unwrap();
    fill(&ledger, 1);
    pair.standby.kill();
    let waiting = ledger.append(draft("released", b""));
    pair.primary.until_a_commit_waits();
    let standbys = |names: &str| {
        pair.primary.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        pair.primary.sql("SELECT pg_reload_conf()");
    };
    standbys("");
    wait_until(|| pair.primary.sql_of(&database, "SELECT count(*) FROM keyward.entries") == "2");
    // The session that had waited has asked for the standbys' positions, and was given up.
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'keyward ledger' AND query LIKE 'COMMIT%'";
    wait_until(|| pair.primary.sql(sessions) == "0");
    assert_eq!((ledger.head().seq, recorder.taken().len()), (1, 1), "the row is visible, and not durable");
    standbys("ANY 1 (standby)");
    pair.standby.run();
    assert_eq!(wait(waiting).unwrap().seq(), 2);
}

/// The answer to the COMMIT never comes: the look-up finds the entry, and waits for the standby.
#[test]
fn an_answer_that_is_cut_off_is_looked_up_and_acknowledged_once() {
    let mut pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    let (bed, recorder) = (DatabaseSite::new(), Recorder::default());
    let ledger = bed.open(pair.broker(&database), Box::new(recorder.clone())).unwrap();
    fill(&ledger, 1);
    pair.standby.kill();
    let waiting = ledger.append(draft("cut off", b""));
    pair.primary.until_a_commit_waits();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    pair.primary.sql(cut);
    wait_until(|| pair.primary.sql_of(&database, "SELECT count(*) FROM keyward.entries") == "2");
    pair.primary.until_a_commit_waits();
    assert_eq!((ledger.head().seq, recorder.taken().len()), (1, 1), "no standby has it");
    pair.standby.run();
    assert_eq!(wait(waiting).unwrap().seq(), 2);
    fill(&ledger, 1);
    assert_eq!((ledger.head().seq, recorder.taken().len()), (3, 3));
}

/// A stop does not wait for a standby, and the next start finds out what became of the entry.
#[test]
fn a_close_gives_up_waiting_and_the_next_start_shows_the_entry() {
    let mut pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    let (bed, recorder) = (DatabaseSite::new(), Recorder::default());
    let ledger = bed.open(pair.broker(&database), Box::new(recorder.clone())).unwrap();
    pair.standby.kill();
    let waiting = ledger.append(draft("in doubt", b""));
    pair.primary.until_a_commit_waits();
    ledger.close();
    assert_eq!(wait(waiting).unwrap_err(), AppendError::Failed);
    assert_eq!(recorder.taken().len(), 0);
    pair.standby.run();
    pair.primary.until_replicated();
    let ledger = bed.open(pair.broker(&database), Box::new(recorder.clone())).unwrap();
    assert_eq!((ledger.head().seq, recorder.taken()[0].event.as_slice()), (1, b"in doubt".as_slice()));
}

/// A role has settings of its own, of which none counts.
#[test]
fn settings_of_the_role_change_nothing() {
    let mut pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    for setting in ["synchronous_commit = off", "client_min_messages = error", "search_path = public"] {
        pair.primary.sql(&format!("ALTER ROLE ledger_broker SET {setting}"));
    }
    pair.primary.sql_of(
        &database,
        "CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'",
    );
    let (bed, recorder) = (DatabaseSite::new(), Recorder::default());
    let target = DatabaseTarget { replication: Replication::Optional, ..pair.broker(&database) };
    let ledger = bed.open(target, Box::new(recorder.clone())).unwrap();
    fill(&ledger, 1);
    pair.standby.kill();
    let waiting = ledger.append(draft("waits", b""));
    pair.primary.until_a_commit_waits();
    pair.primary.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    wait_until(|| pair.primary.sql_of(&database, "SELECT count(*) FROM keyward.entries") == "2");
    pair.primary.until_a_commit_waits();
    assert_eq!((ledger.head().seq, recorder.taken().len()), (1, 1), "the warning was heard");
    pair.standby.run();
    assert_eq!(wait(waiting).unwrap().seq(), 2);
}

#[test]
fn a_server_that_never_answers_keeps_no_other_from_being_used() {
    let bed = DatabaseBed::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut target = bed.pair.broker(&bed.database);
    let host = DatabaseHost { host: "127.0.0.1".to_owned(), port: silent.local_addr().unwrap().port() };
    target.hosts.insert(0, host);
    let ledger = bed.site.open(target.clone(), Box::new(Recorder::default())).unwrap();
    fill(&ledger, 1);
    assert_eq!(ledger.read(1, 1).unwrap().len(), 1);
    assert_eq!(target.last_good.load(std::sync::atomic::Ordering::Relaxed), 1, "asked first from now on");
}

/// A request that needs an entry waits for two seconds at most, and holds up no other task of its thread.
#[test]
fn a_database_that_hangs_holds_up_no_other_task() {
    let pair = Arc::new(Pair::start());
    let bed = DatabaseBed::on(Arc::clone(&pair));
    let (ledger, _) = open(&bed);
    fill(&ledger, 1);
    ledger.read(1, 1).unwrap();
    pair.primary.pause(true);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let reader = Arc::clone(&ledger);
    let read = runtime.spawn(async move { reader.read(1, 1).map(|found| found.len()) });
    let other = runtime.spawn(async {});
    runtime.block_on(other).unwrap();
    assert!(!read.is_finished(), "the database does not answer");
    assert!(runtime.block_on(read).unwrap().is_err());
    let begin = keyward::base::Stopwatch::start();
    assert!(ledger.read(1, 1).is_err());
    assert!(begin.elapsed() < std::time::Duration::from_secs(1), "refused at once");
    pair.primary.pause(false);
    wait_until(|| ledger.read(1, 1).is_ok());
    fill(&ledger, 1);
}

#[test]
fn a_ledger_that_is_in_files_or_on_its_way_is_not_served() {
    let bed = DatabaseBed::new();
    fill(&open(&bed).0, 1);
    for (state, named) in [(1, "moved from the database to files"), (2, "was interrupted")] {
        sql(&bed, &format!("UPDATE keyward.head SET state = {state}"));
        let why = refusal(bed.open(Box::new(Recorder::default())));
        assert!(why.contains(named), "{why}");
    }
    sql(&bed, "UPDATE keyward.head SET state = 0");
    open(&bed);
}

#[test]
fn an_ended_session_is_replaced_before_the_next_batch() {
    let bed = DatabaseBed::new();
    let (ledger, _) = open(&bed);
    fill(&ledger, 2);
    for _ in 0..2 {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sql(&bed, end);
        fill(&ledger, 1);
        assert!(ledger.is_writable());
    }
    assert_eq!(ledger.read(1, 9).unwrap().len(), 4);
}

#[test]
fn of_two_brokers_that_start_at_once_one_is_refused() {
    let bed = DatabaseBed::new();
    let target = bed.pair.broker(&bed.database);
    let opened = std::thread::scope(|scope| {
        let starts = [target.clone(), target]
            .map(|target| scope.spawn(|| DatabaseSite::new().open(target, Box::new(Recorder::default()))));
        starts.map(|start| start.join().unwrap())
    });
    let [one, other] = opened;
    let (runs, refused) = match one {
        Ok(one) => (one, other),
        Err(_) => (other.unwrap(), one),
    };
    fill(&runs, 1);
    let why = refusal(refused);
    assert!(why.contains("another broker uses the ledger"), "{why}");
    drop(runs);
    assert_eq!(open(&bed).0.head().seq, 1);
}

/// A broker that was paused or cut off while another one took over writes nothing any more.
#[test]
fn a_broker_that_was_replaced_stops_at_its_next_write() {
    let bed = DatabaseBed::new();
    let (ledger, _) = open(&bed);
    fill(&ledger, 1);
    sql(&bed, "UPDATE keyward.head SET writer = decode(repeat('07', 32), 'hex')");
    assert_eq!(wait(ledger.append(draft("late", b""))).unwrap_err(), AppendError::Failed);
    assert!(!ledger.is_writable());
    drop(ledger);
    assert_eq!(open(&bed).0.head().seq, 1);
}

#[test]
fn a_head_that_goes_back_stops_the_broker() {
    for change in [
        "UPDATE keyward.head SET seq = 1, node = decode(repeat('07', 32), 'hex')",
        "UPDATE keyward.head SET node = decode(repeat('07', 32), 'hex')",
    ] {
        let bed = DatabaseBed::new();
        let (ledger, _) = open(&bed);
        fill(&ledger, 2);
        sql(&bed, change);
        assert_eq!(wait(ledger.append(draft("next", b""))).unwrap_err(), AppendError::Failed, "{change}");
        assert!(!ledger.is_writable());
    }
}

#[test]
fn rows_that_were_changed_or_removed_are_found_at_the_start() {
    for (change, named) in [
        (
            "UPDATE keyward.entries SET entry = overlay(entry placing '\\x00'::bytea from length(entry)) WHERE seq = 2",
            2,
        ),
        ("DELETE FROM keyward.entries WHERE seq = 2", 2),
        ("DELETE FROM keyward.entries WHERE seq = 3", 3),
        ("UPDATE keyward.head SET node = decode(repeat('07', 32), 'hex')", 3),
        (
            "UPDATE keyward.entries SET entry = (SELECT entry FROM keyward.entries WHERE seq = 1) WHERE seq = 2",
            2,
        ),
    ] {
        let bed = DatabaseBed::new();
        let (ledger, _) = open(&bed);
        fill(&ledger, 3);
        drop(ledger);
        sql(&bed, change);
        let refused = bed.open(Box::new(Recorder::default())).unwrap_err();
        assert!(
            matches!(refused, OpenError::Files(VerifyError::Damaged { seq, .. }) if seq == named),
            "{change}: {refused}"
        );
    }
}

#[test]
fn replication_that_ends_refuses_appends_until_it_is_back() {
    let pair = Arc::new(Pair::start());
    let bed = DatabaseBed::on(Arc::clone(&pair));
    let (ledger, _) = open(&bed);
    fill(&ledger, 1);
    pair.primary.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
    pair.primary.sql("SELECT pg_reload_conf()");
    wait_until(|| wait(ledger.append(draft("e", b""))).err() == Some(AppendError::Unwritten));
    assert!(ledger.is_writable(), "it recovers by itself");
    let reopened = bed.open(Box::new(Recorder::default()));
    let why = refusal(reopened);
    assert!(why.contains("not replicated synchronously"), "{why}");
    pair.primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'");
    pair.primary.sql("SELECT pg_reload_conf()");
    wait_until(|| wait(ledger.append(draft("e", b""))).is_ok());
}
