//! A copy of a broker's data beside the original, and data that were moved or put back from a backup.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::sealing::{caller, entries, refused, verb};
use crate::support::broker::TestBroker;
use crate::support::process::{Process, files};

/// Copies every file below `from`, as a backup or a move to another disk does.
fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, &target).unwrap();
    }
}

/// Puts a copy of the data in the place of the original, which stays beside it.
pub(crate) fn replace_by_copy(data: &Path) {
    let original = data.with_extension("original");
    fs::rename(data, &original).unwrap();
    copy(&original, data);
}

fn kinds(process: &Process) -> Vec<Value> {
    entries(process, &["data.adopted", "alarm.machine-changed"])
}

async fn not_ready(process: &Process) -> (u16, String) {
    let ready = caller(process, "operator", "operator").get("/readyz").await;
    (ready.status, ready.code())
}

#[tokio::test]
async fn a_copy_of_the_data_serves_read_only_until_it_is_adopted() {
    // Given a copy of a broker's data, with an order to adopt the original
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.stop();
    assert_eq!(verb(&process, &["adopt"], b"").0, Some(0));
    replace_by_copy(&process.path("data"));
    // When the copy is started, then it changes nothing
    process.serve();
    let before = process.json(&["audit", "list", "--oldest-first", "--limit", "500"])["items"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(not_ready(&process).await, (503, "data_copied".to_owned()));
    let put = process.run_as("operator", &["secret", "put", "github/app", "-o", "json"], b"other");
    refused(&(put.status.code(), serde_json::from_slice(&put.stderr).unwrap()), 10, "read_only");
    assert!(process.log().contains("until `keyward adopt`"), "{}", process.log());
    assert_eq!(
        process.json(&["audit", "list", "--oldest-first", "--limit", "500"])["items"]
            .as_array()
            .unwrap()
            .len(),
        before
    );
    // When it is adopted, then the same process serves with all duties
    let adopted = verb(&process, &["adopt"], b"");
    let lock = keyward::store::lock_mark(&fs::metadata(process.path("data/lock")).unwrap());
    assert_eq!((adopted.0, &adopted.1["lock"]), (Some(0), &json!(lock)));
    let is_taken =
        |_| process.run_as("operator", &["secret", "put", "github/app"], b"other").status.success();
    assert!((0..200).any(is_taken), "{}", process.log());
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"other");
    let recorded = kinds(&process);
    let [found, adopted] = recorded.as_slice() else { panic!("{recorded:?}") };
    assert_eq!(found["event"]["by"], "found at start");
    assert_eq!(
        (&adopted["event"]["lock"], &adopted["event"]["was"]),
        (&json!(lock), &found["event"]["lock"])
    );
    assert!(adopted["event"]["by"].as_str().unwrap().starts_with("host uid "));
    // And later starts record nothing more
    process.stop();
    assert!(!process.path("data/adopt").exists());
    process.serve();
    assert_eq!((kinds(&process).len(), not_ready(&process).await.0), (2, 200));
}

#[test]
fn a_backup_put_back_is_adopted_before_verbs_record() {
    // Given a data directory with what the how-to keeps of it
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.stop();
    let (data, kept) = (process.path("data"), process.path("kept"));
    fs::rename(&data, &kept).unwrap();
    for name in ["ledger", "tls"] {
        copy(&kept.join(name), &data.join(name));
    }
    fs::copy(kept.join("keyring"), data.join("keyring")).unwrap();
    // When it is adopted before anything was started there, then nothing is adopted
    refused(&verb(&process, &["adopt"], b""), 10, "nothing_to_adopt");
    // When a verb records, then it is refused
    let reissued = ["init", "--reissue-operator", "--home", &process.path("new").display().to_string()];
    let config = process.config();
    let reissue = || {
        let output = process.command("x", &reissued[..2]).args(["--config", &config, "-o", "json"]).output();
        let output = output.unwrap();
        (output.status.code(), serde_json::from_slice(&output.stderr).unwrap_or(Value::Null))
    };
    refused(&reissue(), 10, "data_copied");
    // When it was adopted, then the verb and the broker work
    assert_eq!(verb(&process, &["adopt"], b"").0, Some(0));
    assert_eq!(reissue().0, Some(0));
    process.serve();
    process.good(&["secret", "put", "github/app"], b"other");
}

#[tokio::test]
async fn another_machine_with_the_same_lock_file_is_an_alarm_alone() {
    // Given a broker on a machine with an id
    const ALARM: &str = "keyward_alarms_total{alarm=\"machine_changed\"} 1\n";
    let mut broker = TestBroker::declared().await;
    let machine_id = broker.path().join("machine-id");
    fs::write(&machine_id, "0123456789abcdef0123456789abcdef\n").unwrap();
    broker.restart().await;
    assert!(!broker.metric(ALARM).await);
    // When the id is another one, then it serves, with one entry and one alarm
    fs::write(&machine_id, "fedcba9876543210fedcba9876543210\n").unwrap();
    for is_raised in [true, false] {
        broker.restart().await;
        assert_eq!(broker.metric(ALARM).await, is_raised);
        let raised = broker.entries("alarm.machine-changed").await;
        assert_eq!(raised.len(), 1);
        let event = &raised[0]["event"];
        assert!(
            event["machine"] != event["was"] && !event.to_string().contains("0123456789abcdef"),
            "{event}"
        );
        assert_eq!(broker.operator().get("/readyz").await.status, 200);
    }
    // And a machine without an id is no other one
    fs::remove_file(&machine_id).unwrap();
    broker.restart().await;
    assert_eq!(broker.entries("alarm.machine-changed").await.len(), 1);
}

#[test]
fn a_broker_with_all_its_duties_records_an_order_to_adopt_at_once() {
    // Given a broker that serves from the data that it began with
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    assert_eq!(kinds(&process).len(), 1);
    // When the data are adopted, then that counts from now on, and not at some later start
    assert_eq!(verb(&process, &["adopt"], b"").0, Some(0));
    let is_taken = |_| kinds(&process).len() == 2 && !process.path("data/adopt").exists();
    assert!((0..200).any(is_taken), "{}", process.log());
    let event = kinds(&process)[1]["event"].clone();
    assert!(event["by"].as_str().unwrap().starts_with("host uid "));
    assert!(event["ordered_at"].is_i64(), "{event}");
    process.good(&["secret", "put", "github/app"], b"other");
    process.stop();
    process.serve();
    assert_eq!(kinds(&process).len(), 2);
}

#[test]
fn a_directory_in_the_place_of_the_order_keeps_no_broker_from_serving() {
    let mut process = Process::init("warn");
    fs::create_dir(process.path("data/adopt")).unwrap();
    process.serve();
    process.set_up(b"value");
    assert!(process.log().contains("remove it by hand"), "{}", process.log());
    let (exit, told) = verb(&process, &["adopt"], b"");
    refused(&(exit, told.clone()), 1, "data_dir_unusable");
    assert!(told["detail"].as_str().unwrap().contains("data/adopt` cannot be used"), "{told}");
}
