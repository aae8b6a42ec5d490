//! Each key that seals has a life and a limit of use, and is rotated before either is over.

use std::fs;

use keyward::app::{Order, init};
use keyward::base::SystemEntropy;
use keyward::base::limits::{OUTCOME_LIFE_S, SEALS_DUE, SEALS_MAX};
use keyward::keyring::{Keyring, SlotKey};
use serde_json::Value;

use crate::support::broker::{Reply, TestBroker};
use crate::support::process::{files, put_back};

const VALUE: u64 = 1;
const DELTA: u64 = 2;
const INDEX: u64 = 3;
const DIGEST: u64 = 4;
/// Half of the life of the keys in these tests, in seconds, and longer than outcomes are remembered.
const HALF_S: u32 = 100_000;

fn settings() -> String {
    format!("[ledger]\nkey_life_s = {}\n", 2 * HALF_S)
}

/// The generations of a family in the keyring's file.
fn generations(broker: &TestBroker, family: u64) -> Vec<u64> {
    let keyring = fs::read_to_string(broker.data().join("keyring")).unwrap();
    let keyring: Value = serde_json::from_str(keyring.lines().next().unwrap()).unwrap();
    let keys = keyring["keys"].as_array().unwrap().iter().filter(|key| key["family"] == family);
    keys.map(|key| key["generation"].as_u64().unwrap()).collect()
}

/// Has the value key sealed as many records.
fn count_seals(broker: &TestBroker, seals: u64) {
    broker.running.as_ref().unwrap().count_seals(seals);
}

async fn put(broker: &TestBroker, value: &[u8]) -> Reply {
    broker.operator().put("/v1/secrets/github/app", "application/octet-stream", value).await
}

async fn warnings(broker: &TestBroker) -> Vec<Value> {
    let ready = broker.nobody(broker.admins()).get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    ready.json()["warnings"].as_array().cloned().unwrap_or_default()
}

async fn metric(broker: &TestBroker, name: &str) -> u64 {
    let text = broker.operator().get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[tokio::test]
async fn the_first_start_after_their_life_rotates_delta_index_and_digest_keys() {
    // Given a broker whose keys are nearly as old as they may be.
    let mut broker = TestBroker::start_with(&settings()).await;
    broker.declare().await;
    broker.take_snapshot().await;
    broker.clock.advance_s(2 * HALF_S - 1);
    broker.restart().await;
    assert!([DELTA, INDEX, DIGEST].iter().all(|family| generations(&broker, *family) == [1]), "not yet");
    assert!(warnings(&broker).await.is_empty());
    // When they are as old, while it runs, it warns.
    broker.clock.advance_s(1);
    assert_eq!(warnings(&broker).await, ["keys_due"]);
    broker.look_after().await;
    assert_eq!(generations(&broker, DELTA), [1], "not while requests are under way");
    // The next start rotates them, and loses nothing.
    broker.restart().await;
    assert!([DELTA, INDEX, DIGEST].iter().all(|family| generations(&broker, *family) == [1, 2]));
    assert!(warnings(&broker).await.is_empty());
    broker.look_after().await;
    assert_eq!(generations(&broker, INDEX), [2], "the index has been built anew");
    broker.stop().await;
    let home = broker.path().join("home");
    let order = Order { operator: "admin", reissue: true, home: &home, root_key: None, passphrase: None };
    init(&broker.config, order, &broker.surroundings()).await.unwrap();
    broker.serve().await;
    let rotated = broker.entries("sealing-keys.rotated").await;
    assert_eq!(rotated.len(), 1, "once: {rotated:?}");
    assert_eq!(rotated[0]["event"], serde_json::json!({ "delta": 2, "index": 2, "digest": 2 }));
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.body, b"hunter2");
    // The digest key before goes when every outcome of then is forgotten; delta keys stay with the ledger.
    broker.clock.advance_s(OUTCOME_LIFE_S + 1);
    broker.look_after().await;
    assert_eq!((generations(&broker, DIGEST), generations(&broker, DELTA)), (vec![2], vec![1, 2]));
    broker.restart().await;
}

/// Whoever has an earlier delta key can seal entries of before its rotation.
#[tokio::test]
async fn a_history_rewritten_under_an_earlier_delta_key_is_refused() {
    // Given another history of the same length, in which the agent was not revoked.
    let mut broker = TestBroker::start_with(&settings()).await;
    broker.declare().await;
    drop(broker.agent("a", &["repo-reader"]).await);
    broker.stop().await;
    let (data, common, forged) = (broker.data(), broker.path().join("common"), broker.path().join("forged"));
    put_back(&data, &common);
    broker.serve().await;
    assert_eq!(put(&broker, b"another").await.status, 201);
    broker.stop().await;
    put_back(&data, &forged);
    put_back(&common, &data);
    broker.serve().await;
    assert_eq!(broker.operator().post("/v1/agents/a/revoke", "application/json", b"{}").await.status, 200);
    broker.clock.advance_s(2 * HALF_S);
    broker.restart().await;
    broker.stop().await;
    let newest = broker.path().join("newest");
    put_back(&data, &newest);
    // When it takes the place of the entries before the rotation, and nothing else says what was there.
    let segments = |of: &std::path::Path| {
        let all = files(&of.join("ledger")).into_iter();
        all.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect::<Vec<_>>()
    };
    let last = segments(&data).into_iter().max().unwrap();
    for path in segments(&data).into_iter().filter(|path| *path != last) {
        fs::remove_file(path).unwrap();
    }
    for path in segments(&forged) {
        fs::copy(&path, data.join("ledger").join(path.file_name().unwrap())).unwrap();
    }
    fs::remove_dir_all(data.join("index")).unwrap();
    fs::remove_file(data.join("anchor")).unwrap();
    // Then the broker does not start.
    assert_eq!(broker.try_serve().await.unwrap_err().code(), "ledger_damaged");
    put_back(&newest, &data);
    broker.serve().await;
}

#[tokio::test]
async fn the_value_key_is_rotated_when_it_has_sealed_much() {
    let broker = TestBroker::declared().await;
    count_seals(&broker, SEALS_DUE - 1);
    broker.look_after().await;
    assert_eq!(generations(&broker, VALUE), [1], "not yet");
    assert_eq!(put(&broker, b"one more").await.status, 201);
    assert_eq!(warnings(&broker).await, ["keys_due"]);
    broker.look_after().await;
    assert_eq!(generations(&broker, VALUE), [2], "and the one before has gone");
    assert!(warnings(&broker).await.is_empty());
    assert_eq!(metric(&broker, "keyward_value_key_seals").await, 2, "the two versions that live");
}

#[tokio::test]
async fn a_value_key_at_its_limit_seals_nothing_until_it_is_rotated() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    count_seals(&broker, SEALS_MAX - 1);
    assert_eq!(put(&broker, b"the last one").await.status, 201);
    let refused = put(&broker, b"one beyond").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "key_exhausted"));
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.body, b"the last one", "it opens");
    assert_eq!(broker.operator().post("/v1/value-key/turn", "", b"").await.status, 200);
    assert_eq!(put(&broker, b"after").await.status, 201);
}

#[tokio::test]
async fn a_start_counts_what_the_value_key_sealed_by_the_ledger() {
    let mut broker = TestBroker::declared().await;
    assert_eq!(broker.operator().post("/v1/value-key/turn", "", b"").await.status, 200);
    for _ in 0..5 {
        assert_eq!(put(&broker, b"value").await.status, 201);
    }
    let sealed = metric(&broker, "keyward_value_key_seals").await;
    assert_eq!(sealed, 6, "one that lived, and five");
    broker.restart().await;
    let counted = metric(&broker, "keyward_value_key_seals").await;
    assert!(counted >= sealed && counted < sealed + 20, "every entry since may have sealed one: {counted}");
}

/// The keyring as a start leaves it that is killed before its entry.
fn rotated_alone(broker: &TestBroker) {
    let key = SlotKey::from_file(&broker.path().join("root.key")).unwrap();
    let path = broker.data().join("keyring");
    Keyring::open(&path, &key).unwrap().rotate_sealing_keys(&path, &SystemEntropy).unwrap();
}

#[tokio::test]
async fn a_start_that_is_killed_while_it_rotates_keys_loses_nothing() {
    let mut broker = TestBroker::start_with(&settings()).await;
    broker.declare().await;
    broker.stop().await;
    rotated_alone(&broker);
    broker.serve().await;
    assert!([DELTA, INDEX, DIGEST].iter().all(|family| generations(&broker, *family) == [1, 2]));
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.body, b"hunter2");
    // Also when the rotation was due, which the next start carries out.
    broker.clock.advance_s(2 * HALF_S);
    broker.stop().await;
    rotated_alone(&broker);
    broker.serve().await;
    assert!([DELTA, INDEX, DIGEST].iter().all(|family| generations(&broker, *family) == [1, 2, 3, 4]));
    broker.restart().await;
    assert!(warnings(&broker).await.is_empty());
    assert_eq!(generations(&broker, DELTA), [1, 2, 3, 4], "once");
}

#[tokio::test]
async fn a_keyring_that_cannot_be_written_keeps_no_broker_from_starting() {
    let mut broker = TestBroker::start_with(&settings()).await;
    broker.clock.advance_s(2 * HALF_S);
    broker.stop().await;
    let in_the_way = broker.data().join("keyring.new");
    fs::create_dir(&in_the_way).unwrap();
    broker.serve().await;
    assert_eq!((generations(&broker, DELTA), warnings(&broker).await), (vec![1], vec!["keys_due".into()]));
    broker.stop().await;
    fs::remove_dir(&in_the_way).unwrap();
    broker.serve().await;
    assert_eq!((generations(&broker, DELTA), warnings(&broker).await), (vec![1, 2], Vec::new()));
}

#[tokio::test]
async fn a_copy_of_the_data_rotates_no_keys() {
    let mut broker = TestBroker::start_with(&settings()).await;
    broker.clock.advance_s(2 * HALF_S);
    broker.stop().await;
    // Another lock file means another copy.
    fs::remove_file(broker.data().join("lock")).unwrap();
    let keyring = fs::read(broker.data().join("keyring")).unwrap();
    broker.serve().await;
    let ready = broker.nobody(broker.admins()).get("/readyz").await;
    assert_eq!((ready.status, ready.code().as_str()), (503, "data_copied"));
    broker.stop().await;
    assert_eq!(fs::read(broker.data().join("keyring")).unwrap(), keyring);
}
