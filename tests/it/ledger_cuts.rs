//! A ledger in PostgreSQL behind a connection that is cut at a COMMIT, or hangs: what is acknowledged is what the
//! database has.

use std::io::Write;
use std::process::{Child, Stdio};

use keyward::config::DatabaseHost;
use keyward::database::DatabaseTarget;
use keyward::ledger::{AppendError, WriteState};

use crate::ledger_move::Moving;
use crate::sealing::{caller, entries};
use crate::support::ledger_bed::{Recorder, draft, fill, wait};
use crate::support::ledger_database::DatabaseBed;
use crate::support::process::Process;
use crate::support::proxy::{Cut, Proxy};
use crate::support::waiting::{until, wait_until};

/// Large enough that the proxy knows its batch.
static DELTA: [u8; 20_000] = [7; 20_000];
const CUTS: [Cut; 3] = [Cut::Request, Cut::Answer, Cut::AnswerInSilence];

fn through(bed: &DatabaseBed, proxy: &Proxy) -> DatabaseTarget {
    let host = DatabaseHost { host: "127.0.0.1".to_owned(), port: proxy.port };
    DatabaseTarget { hosts: vec![host], ..bed.pair.broker(&bed.database) }
}

fn rows(bed: &DatabaseBed) -> String {
    bed.pair.primary.sql_of(&bed.database, "SELECT count(*) FROM keyward.entries")
}

#[test]
fn an_entry_is_written_once_wherever_its_commit_is_cut() {
    for cut in CUTS {
        let bed = DatabaseBed::new();
        let (proxy, recorder) = (Proxy::of(bed.pair.primary.port), Recorder::default());
        let ledger = bed.site.open(through(&bed, &proxy), Box::new(recorder.clone())).unwrap();
        fill(&ledger, 1);
        proxy.cut(cut);
        let committed = wait(ledger.append(draft("cut", &DELTA))).unwrap();
        assert!(proxy.has_cut(), "{cut:?}");
        assert_eq!((committed.seq(), rows(&bed).as_str(), recorder.taken().len()), (2, "2", 2), "{cut:?}");
        fill(&ledger, 1);
        assert_eq!((ledger.head().seq, rows(&bed).as_str()), (3, "3"), "{cut:?}");
    }
}

/// The server never notices that the former session has ended, and would keep the lock of the ledger for it.
#[test]
fn a_session_whose_connection_hangs_is_replaced() {
    let bed = DatabaseBed::new();
    let proxy = Proxy::of(bed.pair.primary.port);
    let ledger = bed.site.open(through(&bed, &proxy), Box::new(Recorder::default())).unwrap();
    fill(&ledger, 1);
    proxy.mute();
    fill(&ledger, 1);
    assert_eq!((ledger.head().seq, rows(&bed).as_str()), (2, "2"));
}

#[test]
fn an_append_is_refused_in_time_while_the_database_is_out_of_reach() {
    let bed = DatabaseBed::new();
    let proxy = Proxy::of(bed.pair.primary.port);
    let ledger = bed.site.open(through(&bed, &proxy), Box::new(Recorder::default())).unwrap();
    fill(&ledger, 1);
    proxy.mute();
    proxy.shut(true);
    let append = ledger.append(draft("refused", b""));
    wait_until(|| matches!(ledger.write_state(), WriteState::Stalled(_)));
    assert_eq!(wait(append).unwrap_err(), AppendError::Unwritten);
    wait_until(|| ledger.write_state() == WriteState::Failing);
    assert_eq!(rows(&bed), "1");
    proxy.shut(false);
    fill(&ledger, 1);
    assert_eq!((ledger.write_state().is_writable(), rows(&bed).as_str()), (true, "2"));
}

/// A broker with its ledger in the database, through a proxy.
fn broker() -> (Moving, Proxy) {
    let mut moving = Moving::begin();
    let proxy = Proxy::of(moving.pair.primary.port);
    moving.configure_at(&[proxy.port]);
    moving.good(2);
    moving.good(3);
    moving.process.serve();
    (moving, proxy)
}

/// Begins to store a large secret.
fn put(process: &Process, name: &str) -> Child {
    let mut command = process.command("operator", &["secret", "put", name]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&DELTA).unwrap();
    child
}

/// The secrets in the ledger, with one name for each entry.
fn stored(process: &Process) -> Vec<String> {
    let stored = entries(process, &["secret.stored"]);
    stored.iter().map(|entry| entry["event"]["secret"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_broker_acknowledges_what_the_database_has_when_commits_are_cut() {
    let (mut moving, proxy) = broker();
    for (cut, name) in CUTS.into_iter().zip(["no-request", "no-answer", "silence"]) {
        proxy.cut(cut);
        let done = put(&moving.process, name).wait_with_output().unwrap();
        assert!(done.status.success(), "{cut:?}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(proxy.has_cut(), "{cut:?}");
    }
    assert_eq!(stored(&moving.process), ["no-request", "no-answer", "silence"]);
    // Given a broker that is killed before it can look up what became of a commit
    proxy.shut(true);
    proxy.cut(Cut::Answer);
    let in_doubt = put(&moving.process, "in-doubt");
    let has_it = "SELECT count(*) FROM keyward.entries WHERE position(convert_to('\"in-doubt\"', 'UTF8') IN entry) > 0";
    wait_until(|| proxy.has_cut() && moving.pair.primary.sql_of("keyward", has_it) == "1");
    moving.process.kill();
    // Then nothing was acknowledged, and the next start shows what the database has
    assert!(!in_doubt.wait_with_output().unwrap().status.success());
    proxy.shut(false);
    moving.process.serve();
    assert_eq!(stored(&moving.process), ["no-request", "no-answer", "silence", "in-doubt"]);
    // Given one that is killed before its commit comes to the server
    proxy.shut(true);
    proxy.cut(Cut::Request);
    let lost = put(&moving.process, "lost");
    wait_until(|| proxy.has_cut());
    moving.process.kill();
    assert!(!lost.wait_with_output().unwrap().status.success());
    proxy.shut(false);
    moving.process.serve();
    moving.process.good(&["secret", "put", "after"], b"value");
    assert_eq!(stored(&moving.process), ["no-request", "no-answer", "silence", "in-doubt", "after"]);
    moving.process.stop();
    assert_eq!(moving.verified()["end"], "closed");
    assert!(!moving.process.log().contains("the-broker-of-the-page"), "{}", moving.process.log());
}

#[tokio::test]
async fn a_broker_whose_database_hangs_is_not_ready_and_recovers() {
    let (moving, proxy) = broker();
    let ready = async || {
        let reply = caller(&moving.process, "operator", "operator").get("/readyz").await;
        (reply.status, reply.code())
    };
    proxy.hang(true);
    let mut waiting = put(&moving.process, "waits");
    until(async || ready().await == (503, "ledger_stalled".to_owned())).await;
    assert!(waiting.try_wait().unwrap().is_none(), "nothing is acknowledged");
    proxy.hang(false);
    let done = waiting.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    until(async || ready().await.0 == 200).await;
    // Readers are refused for a moment after the database did not answer one
    let operator = caller(&moving.process, "operator", "operator");
    until(async || operator.get("/v1/ledger/entries?limit=1").await.status == 200).await;
    assert_eq!(stored(&moving.process), ["waits"]);
    // And the log has a line of the stall, and one of its end
    until(async || moving.process.log().contains("the ledger can be written again")).await;
    assert!(moving.process.log().contains("has not answered a write for 3 s"), "{}", moving.process.log());
}
