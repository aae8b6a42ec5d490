//! A data directory that was left by a whole broker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use keyward::base::Timestamp;
use keyward::console::CommandFailure;
use keyward::keyring::slots_of;
use keyward::ledger::Key;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::page::{ReadEntry, by_the_page, stored_entries};
use super::{golden, is_written_anew};
use crate::support::broker::{Agent, TestBroker};
use crate::support::process::{files, order_adoption, put_back};

/// In 2033: no certificate of the golden broker ends before its tests do.
const NOW_S: i64 = 2_000_000_000;

/// Whom a value names, by the rule of the page. `noun` is what a text that stands here names.
fn named(value: &Value, noun: Option<&str>, found: &mut BTreeSet<[u8; 16]>) {
    let mut note = |text: &str| {
        if let Some(noun) = noun.filter(|_| !text.contains(' ')) {
            found.insert(*Key::of(noun, text.as_bytes()).as_bytes());
        }
    };
    match value {
        Value::String(text) => note(text),
        Value::Array(items) => items.iter().for_each(|item| named(item, noun, found)),
        Value::Object(fields) => {
            fields.keys().for_each(|key| note(key));
            let kind = match fields.get("kind").and_then(Value::as_str) {
                Some("agent" | "resource-server") => Some("agent"),
                Some("operator") => Some("operator"),
                _ => None,
            };
            for (field, value) in fields.iter().filter(|_| noun.is_none()) {
                let of_field = match field.as_str() {
                    "agent" | "agents" | "removed_agents" => Some("agent"),
                    "operator" | "operators" | "by" => Some("operator"),
                    "name" => kind,
                    _ => None,
                };
                named(value, of_field, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[tokio::test]
async fn each_entry_of_the_golden_data_is_linked_to_those_whom_its_event_names() {
    let (mut count, mut last) = (0, BTreeMap::new());
    for segment in files(&left().await.join("data/ledger")) {
        for stored in stored_entries(&fs::read(segment).unwrap()) {
            let ReadEntry { event, links, .. } = by_the_page(stored);
            let mut expected = BTreeSet::new();
            named(&serde_json::from_slice(&event).unwrap(), None, &mut expected);
            count += 1;
            let linked: BTreeSet<_> = links.iter().map(|(subject, _)| *subject).collect();
            assert_eq!(linked, expected, "entry {count}: {}", String::from_utf8_lossy(&event));
            for (subject, before) in links {
                assert_eq!(last.insert(subject, count).unwrap_or(0), before, "entry {count}");
            }
        }
    }
    let has = |noun, name: &[u8]| last.contains_key(Key::of(noun, name).as_bytes());
    assert!(has("agent", b"research-bot") && has("agent", b"payments-bot") && has("operator", b"admin"));
}

/// Leaves the golden data directory: a broker whose agents, tokens and secrets have been through something.
async fn write_data() {
    let mut broker = TestBroker::start_at(Timestamp::from_s(NOW_S), "").await;
    broker.declare().await;
    let revoked = broker.agent("research-bot", &["repo-reader", "publisher"]).await;
    revoked.token("reports.read").await;
    let agent = broker.agent("payments-bot", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.text(), "hunter2");
    let operator = broker.operator();
    let stored = operator.put("/v1/secrets/github/app", "application/octet-stream", b"hunter3").await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let body = json!({ "role": "auditor", "owner": "payments" });
    assert_eq!(operator.post_json("/v1/operators/alice/invitations", &body).await.status, 201);
    let path = "/v1/agents/research-bot/revoke";
    assert_eq!(operator.post_json(path, &json!({ "reason": "laptop stolen" })).await.status, 200);
    broker.stop().await;
    drop(fs::remove_dir_all(golden("broker")));
    keep(&broker.path().join("home"), "home", |_| true);
    keep(&broker.data(), "data", |name| {
        matches!(name, "keyring" | "anchor") || Path::new(name).extension().is_some_and(|end| end == "seg")
    });
    fs::copy(broker.path().join("root.key"), golden("broker/root.key")).unwrap();
    fs::create_dir_all(golden("broker/agent")).unwrap();
    let held = [("certificate.pem", &agent.certificate), ("key.pem", &agent.key), ("token", &token)];
    for (name, text) in held {
        fs::write(golden("broker/agent").join(name), text).unwrap();
    }
}

/// Where the golden broker's files are.
async fn left() -> PathBuf {
    static WRITTEN: OnceCell<()> = OnceCell::const_new();
    let write = async || {
        if is_written_anew() {
            write_data().await;
        }
    };
    WRITTEN.get_or_init(write).await;
    golden("broker")
}

/// Copies the files of these names below `from` to the golden broker.
fn keep(from: &Path, to: &str, is_kept: impl Fn(&str) -> bool) {
    for file in files(from) {
        if is_kept(file.file_name().unwrap().to_str().unwrap()) {
            let kept = golden("broker").join(to).join(file.strip_prefix(from).unwrap());
            fs::create_dir_all(kept.parent().unwrap()).unwrap();
            fs::copy(&file, kept).unwrap();
        }
    }
}

/// A broker that serves from the golden data directory, which is a copy of another broker's: it is adopted first.
async fn golden_broker() -> TestBroker {
    let mut broker = TestBroker::laid_out(Timestamp::from_s(NOW_S + 60), "");
    put_back(&left().await, broker.path());
    fs::write(broker.data().join("lock"), "").unwrap();
    order_adoption(&broker.data());
    // A version control system keeps no permissions.
    for file in files(broker.path()) {
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(file.parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
    }
    broker.serve().await;
    broker
}

#[tokio::test]
async fn a_golden_data_directory_opens_to_the_state_that_was_left() {
    let broker = golden_broker().await;
    let operator = broker.operator();
    let agent = operator.get("/v1/agents/research-bot").await.json();
    assert_eq!(
        (&agent["reason"], &agent["instances"][0]["state"]),
        (&json!("laptop stolen"), &json!("revoked"))
    );
    let invited = operator.get("/v1/operators/alice").await.json();
    assert_eq!((&invited["role"], &invited["owner"]), (&json!("auditor"), &json!("payments")));
    let secret = operator.get("/v1/secrets/github/app").await.json();
    assert_eq!((&secret["current"], secret["versions"].as_array().unwrap().len()), (&json!(2), 2));
    // A token and a certificate of that time are good, and so is the value.
    let held = |name: &str| fs::read_to_string(golden("broker/agent").join(name)).unwrap();
    let (certificate, key) = (held("certificate.pem"), held("key.pem"));
    let caller = broker.caller(broker.agents(), Some(&certificate), Some(&key));
    let agent = Agent { caller, certificate, key };
    assert_eq!(agent.secret("github/app", &held("token")).await.text(), "hunter3");
    // The ledger continues.
    let agent = broker.agent("late-bot", &["publisher"]).await;
    agent.token("reports.read").await;
}

#[tokio::test]
async fn a_keyring_of_a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keyring");
    let text = fs::read_to_string(left().await.join("data/keyring")).unwrap();
    fs::write(&path, &text).unwrap();
    assert!(slots_of(&path).is_ok());
    let newer = text.replace("\"version\":2,", "\"version\":3,\"field\":1,");
    assert_ne!(newer, text);
    fs::write(&path, newer).unwrap();
    let refused = CommandFailure::from(slots_of(&path).err().unwrap());
    assert_eq!(refused.code(), "data_newer");
    assert_eq!(refused.why(), "the keyring has format 3, which this version of keyward does not read");
}
