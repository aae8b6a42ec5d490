//! Each key that seals has a life and a limit of use, and is rotated before either is over.

use std::fs;
use std::path::Path;
use std::process::Command;

use keyward::base::SystemEntropy;
use keyward::base::limits::{EARLIER_DIGEST_LIFE_S, SEALS_DUE, SEALS_MAX};
use keyward::keyring::{Keyring, SlotKey};
use serde_json::{Value, json};

use crate::panel::set_up;
use crate::sealing::entries;
use crate::support::broker::{Reply, TestBroker};
use crate::support::process::{Process, files, put_back};
use crate::support::waiting::wait_until;
use crate::worst_day::{pair, recorded};
use crate::worst_hour::SmallDisk;

const VALUE: u64 = 1;
const DELTA: u64 = 2;
const INDEX: u64 = 3;
const DIGEST: u64 = 4;
/// Half of the life of the keys in these tests, in seconds, and longer than outcomes are remembered.
const HALF_S: u32 = 400_000;

fn settings() -> String {
    format!("[ledger]\nkey_life_s = {}\n", 2 * HALF_S)
}

/// The generations of a family in the keyring's file.
fn generations(broker: &TestBroker, family: u64) -> Vec<u64> {
    generations_in(&broker.data().join("keyring"), family)
}

fn generations_in(keyring: &Path, family: u64) -> Vec<u64> {
    let keyring = fs::read_to_string(keyring).unwrap();
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
    broker.reissue_admin().await;
    let rotated = broker.entries("sealing-keys.rotated").await;
    assert_eq!(rotated.len(), 1, "once: {rotated:?}");
    assert_eq!(rotated[0]["event"], json!({ "delta": 2, "index": 2, "digest": 2 }));
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.body, b"hunter2");
    // The digest key before goes when every outcome of then is forgotten; delta keys stay with the ledger.
    broker.clock.advance_s(EARLIER_DIGEST_LIFE_S);
    broker.look_after().await;
    assert_eq!(generations(&broker, DIGEST), [1, 2], "an outcome may be known by it");
    broker.clock.advance_s(1);
    broker.look_after().await;
    assert_eq!((generations(&broker, DIGEST), generations(&broker, DELTA)), (vec![2], vec![1, 2]));
    broker.restart().await;
}

/// How a rotation comes about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rotation {
    /// A start begins it and records it.
    Whole,
    /// A start is killed before it records it; `is_due` still when the next one finds it.
    Cut { is_due: bool },
}

/// The keyring as a start leaves it that is killed before its entry.
fn rotated_alone(broker: &TestBroker) {
    let key = SlotKey::from_file(&broker.path().join("root.key")).unwrap();
    let path = broker.data().join("keyring");
    Keyring::open(&path, &key).unwrap().rotate_sealing_keys(&path, &SystemEntropy).unwrap();
}

/// Stops the broker and starts it with other sealing keys.
async fn rotate(broker: &mut TestBroker, rotation: Rotation) {
    broker.stop().await;
    if rotation != (Rotation::Cut { is_due: false }) {
        broker.clock.advance_s(2 * HALF_S);
    }
    if rotation != Rotation::Whole {
        rotated_alone(broker);
    }
    broker.serve().await;
}

const ROTATIONS: [Rotation; 3] =
    [Rotation::Whole, Rotation::Cut { is_due: true }, Rotation::Cut { is_due: false }];

#[tokio::test]
async fn a_rotation_that_is_killed_before_its_entry_is_only_recorded() {
    for rotation in ROTATIONS {
        let mut broker = TestBroker::start_with(&settings()).await;
        broker.declare().await;
        let slots = broker.entries("keyring.slots-changed").await.len();
        rotate(&mut broker, rotation).await;
        broker.look_after().await;
        broker.reissue_admin().await;
        let all = [DELTA, INDEX, DIGEST].map(|family| generations(&broker, family));
        assert_eq!(all, [vec![1, 2], vec![2], vec![1, 2]], "{rotation:?}");
        let rotated = broker.entries("sealing-keys.rotated").await;
        let events: Vec<_> = rotated.iter().map(|entry| &entry["event"]).collect();
        assert_eq!(events, [&json!({ "delta": 2, "index": 2, "digest": 2 })], "{rotation:?}");
        assert_eq!(broker.entries("keyring.slots-changed").await.len(), slots, "{rotation:?}");
        assert!(warnings(&broker).await.is_empty(), "{rotation:?}");
        let agent = broker.agent("a", &["repo-reader"]).await;
        let token = agent.token("github.repo.read").await;
        assert_eq!(agent.secret("github/app", &token).await.body, b"hunter2");
    }
}

/// A thief of an earlier delta key can seal entries from before its rotation.
#[tokio::test]
async fn a_history_rewritten_under_an_earlier_delta_key_is_refused() {
    for rotation in ROTATIONS {
        a_rewritten_history_is_refused_after(rotation).await;
    }
}

async fn a_rewritten_history_is_refused_after(rotation: Rotation) {
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
    rotate(&mut broker, rotation).await;
    broker.stop().await;
    let newest = broker.path().join("newest");
    put_back(&data, &newest);
    // When it takes the place of the entries before the rotation, and nothing else says what was there.
    let segments = |of: &Path| {
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
    // Then the broker does not start, because the segment of the rotation says which entry came before it, as does
    // the entry of the rotation of all before it.
    let refused = broker.try_serve().await.unwrap_err();
    let is_about_history = refused.why().contains("it was begun after another entry");
    assert!(refused.code() == "ledger_damaged" && is_about_history, "{rotation:?}: {}", refused.why());
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
    assert_eq!(broker.operator().post("/v1/value-key/rotate", "", b"").await.status, 200);
    assert_eq!(put(&broker, b"after").await.status, 201);
}

#[tokio::test]
async fn a_start_counts_what_the_value_key_sealed_by_the_ledger() {
    let mut broker = TestBroker::declared().await;
    assert_eq!(broker.operator().post("/v1/value-key/rotate", "", b"").await.status, 200);
    for _ in 0..5 {
        assert_eq!(put(&broker, b"value").await.status, 201);
    }
    // Entries that seal nothing by it.
    drop(broker.agent("a", &["repo-reader"]).await.token("github.repo.read").await);
    let sealed = metric(&broker, "keyward_value_key_seals").await;
    assert_eq!(sealed, 6, "one that lived, and five");
    for _ in 0..2 {
        broker.restart().await;
        assert_eq!(metric(&broker, "keyward_value_key_seals").await, sealed);
    }
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

#[test]
fn a_start_on_a_full_disk_rotates_keys_once_and_records_it_later() {
    // Given keys whose life is over, on a disk without room for a segment of the ledger.
    let mut process = set_up();
    process.stop();
    let (shim, clock) = (process.path("clock.so"), process.path("clock"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/clock.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).args([source, "-ldl"]).status();
    assert!(made.expect("a C compiler is needed").success());
    fs::write(&clock, (2 * HALF_S).to_string()).unwrap();
    let text = |path: &Path| path.display().to_string();
    process.environment =
        vec![("LD_PRELOAD".to_owned(), text(&shim)), ("KEYWARD_TEST_CLOCK".to_owned(), text(&clock))];
    let disk = SmallDisk::under(&mut process);
    process.configure(&settings());
    let keyring = disk.path(&process, "keyring");
    // When the broker starts, and again, then it serves, and its keyring does not grow.
    for _ in 0..3 {
        process.serve();
        assert_eq!(generations_in(&keyring, DELTA), [1, 2]);
        process.stop();
    }
    process.serve();
    let refused = process.run_as("operator", &["agent", "invite", "q"], b"");
    assert_eq!(refused.status.code(), Some(10), "{}", String::from_utf8_lossy(&refused.stderr));
    let rotated = |process: &Process| entries(process, &["sealing-keys.rotated"]).len();
    assert_eq!(rotated(&process), 0);
    // A revocation is durable.
    process.good(&["agent", "revoke", "p"], b"");
    process.kill();
    process.serve();
    assert_eq!(recorded(&process), [pair("revoke", "p")]);
    // When there is room, the rotation is recorded, and the digest key before stays as long as after any.
    fs::remove_file(disk.path(&process, "fill")).unwrap();
    process.good(&["authority", "prepare"], b"");
    wait_until(|| rotated(&process) == 1 && generations_in(&keyring, INDEX) == [2]);
    assert_eq!((generations_in(&keyring, DELTA), generations_in(&keyring, DIGEST)), (vec![1, 2], vec![1, 2]));
    process.stop();
    process.serve();
    assert_eq!((generations_in(&keyring, DELTA), rotated(&process)), (vec![1, 2], 1));
    process.stop();
}
