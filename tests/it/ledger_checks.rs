//! A ledger in PostgreSQL while a broker runs: rights and settings are checked again, standbys are missing, and
//! acknowledged entries are gone.

use std::pin::pin;
use std::task::{Context, Waker};

use keyward::config::Replication;
use keyward::database::DatabaseTarget;
use keyward::ledger::AppendError;

use crate::ledger_database::{open, sql};
use crate::ledger_move::Moving;
use crate::sealing::caller;
use crate::support::ledger_bed::{Recorder, draft, fill, wait};
use crate::support::ledger_database::{DatabaseBed, DatabaseSite, Pair};
use crate::support::waiting::{until, wait_until};

/// Ends the sessions of the broker.
const END: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Takes the newest entry away.
const LOSE: &str = "WITH gone AS (DELETE FROM keyward.entries WHERE seq = (SELECT seq FROM keyward.head)) \
                    UPDATE keyward.head SET seq = seq - 1";

#[test]
fn rights_are_checked_again_in_a_new_session() {
    for (change, back) in [
        (
            "GRANT DELETE ON keyward.entries TO ledger_broker",
            "REVOKE DELETE ON keyward.entries FROM ledger_broker",
        ),
        (
            "REVOKE INSERT ON keyward.entries FROM ledger_broker",
            "GRANT INSERT ON keyward.entries TO ledger_broker",
        ),
    ] {
        // Given a broker whose role has other rights than at the start
        let bed = DatabaseBed::new();
        let (ledger, recorder) = open(&bed);
        fill(&ledger, 1);
        sql(&bed, change);
        // When its session is replaced, then nothing is written
        sql(&bed, END);
        assert_eq!(
            wait(ledger.append(draft("refused", b""))).unwrap_err(),
            AppendError::Unwritten,
            "{change}"
        );
        assert_eq!((ledger.head().seq, recorder.taken().len()), (1, 1));
        // And the broker continues once the rights are as before
        sql(&bed, back);
        fill(&ledger, 1);
        assert_eq!(ledger.head().seq, 2);
    }
}

#[test]
fn rights_are_checked_again_in_a_session_that_lasts() {
    let bed = DatabaseBed::new();
    let (ledger, _) = open(&bed);
    fill(&ledger, 1);
    sql(&bed, "GRANT DELETE ON keyward.entries TO ledger_broker");
    wait_until(|| wait(ledger.append(draft("goes on", b""))).err() == Some(AppendError::Unwritten));
    sql(&bed, "REVOKE DELETE ON keyward.entries FROM ledger_broker");
    fill(&ledger, 1);
}

/// The names of the servers may lead elsewhere: the entries are not lost then.
#[test]
fn the_ledger_of_another_broker_is_no_loss_of_entries() {
    let bed = DatabaseBed::new();
    let (ledger, _) = open(&bed);
    fill(&ledger, 2);
    let lost = pin!(ledger.entries_lost());
    sql(&bed, "UPDATE keyward.head SET ledger = decode(repeat('09', 16), 'hex'), seq = 1");
    assert_eq!(wait(ledger.append(draft("refused", b""))).unwrap_err(), AppendError::Failed);
    assert!(!ledger.is_writable());
    assert!(lost.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// A promoted standby has no list of standbys at first.
#[test]
fn a_loss_is_found_at_a_server_that_is_not_replicated() {
    let pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    let ledger = DatabaseSite::new().open(pair.broker(&database), Box::new(Recorder::default())).unwrap();
    fill(&ledger, 2);
    let lost = pin!(ledger.entries_lost());
    // Given a broker that requires replication, and a server without it, and without the newest entry
    pair.primary.sql_of(&database, LOSE);
    pair.primary.waits_for("");
    pair.primary.sql_of(&database, END);
    // Then the broker does not wait for the replication before it says that entries are gone
    assert_eq!(wait(ledger.append(draft("refused", b""))).unwrap_err(), AppendError::Failed);
    assert!(lost.poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn a_missing_standby_is_counted_while_entries_wait_for_it() {
    let mut pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    let site = DatabaseSite::new();
    for replication in [Replication::Required, Replication::Optional] {
        let target = DatabaseTarget { replication, ..pair.broker(&database) };
        let ledger = site.open(target, Box::new(Recorder::default())).unwrap();
        fill(&ledger, 1);
        let entries = ledger.head().seq;
        assert_eq!(ledger.standbys_missing(), 0);
        // When the standby fails after the newest check, and before an entry
        pair.standby.kill();
        wait_until(|| pair.primary.sql("SELECT count(*) FROM pg_stat_replication") == "0");
        let waiting = ledger.append(draft("waits", b""));
        // Then it is counted while the entry waits
        wait_until(|| ledger.standbys_missing() == 1);
        assert_eq!(ledger.head().seq, entries);
        pair.standby.run();
        wait(waiting).unwrap();
        pair.primary.until_replicated();
        pair.primary.sql_of(&database, END);
        fill(&ledger, 1);
        assert_eq!(ledger.standbys_missing(), 0);
    }
}

#[test]
fn a_database_without_replication_is_counted_as_one_missing_standby() {
    let pair = Pair::start();
    let database = pair.new_database();
    pair.prepare(&database).unwrap();
    pair.primary.waits_for("");
    let target = DatabaseTarget { replication: Replication::Optional, ..pair.broker(&database) };
    let ledger = DatabaseSite::new().open(target, Box::new(Recorder::default())).unwrap();
    fill(&ledger, 1);
    assert_eq!(ledger.standbys_missing(), 1);
}

#[tokio::test]
async fn a_broker_raises_an_alarm_when_acknowledged_entries_are_gone() {
    // Given a broker that has acknowledged entries
    let mut moving = Moving::begin();
    moving.configure();
    moving.good(2);
    moving.good(3);
    moving.process.serve();
    moving.process.good(&["secret", "put", "before"], b"value");
    let operator = caller(&moving.process, "operator", "operator");
    let alarm = "keyward_alarms_total{alarm=\"entries_lost\"}";
    assert!(operator.get("/metrics").await.text().contains(&format!("{alarm} 0\n")));
    // When the database is one that lacks the newest
    moving.pair.primary.sql_of("keyward", LOSE);
    let refused = moving.process.run_as("operator", &["secret", "put", "after"], b"value");
    // Then it records nothing more, and says why
    assert!(!refused.status.success());
    until(async || operator.get("/metrics").await.text().contains(&format!("{alarm} 1\n"))).await;
    let ready = operator.get("/readyz").await;
    assert_eq!((ready.status, ready.code()), (503, "ledger_failed".to_owned()));
    let log = moving.process.log();
    assert!(log.contains("entries_lost") && log.contains("entries are lost"), "{log}");
}
