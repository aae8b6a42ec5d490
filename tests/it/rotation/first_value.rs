//! A secret that has no value yet gets its first one by its rotation.

use keyward::base::{Clock, Timestamp};
use serde_json::{Value, json};

use super::{BYTES, LOOPBACK};
use crate::support::broker::{Reply, TestBroker};
use crate::support::process::Process;
use crate::support::webhook::{ADMIN_TOKEN, Mood, Webhook};

const READING: &str = r#"
[[capability]]
name = "session.read"
access = "read"
delivery = "reveal"
secret = "web/session-key"
max_life_s = 300

[[role]]
name = "web"
capabilities = ["session.read"]
"#;

fn rotation(schedule: &str) -> String {
    format!(
        "[[rotation]]\nsecret = \"web/session-key\"\n{schedule}\n[rotation.upstream]\ndriver = \"generate\"\n"
    )
}

async fn upload(broker: &TestBroker, path: &str, text: &str, prune: bool) -> Reply {
    let body = json!({ "files": [{ "name": "a.toml", "text": text }], "prune": prune });
    broker.operator().post_json(path, &body).await
}

async fn shown(broker: &TestBroker) -> Value {
    broker.operator().get("/v1/rotations/web/session-key").await.json()
}

async fn rotate(broker: &TestBroker) -> Reply {
    broker.operator().post_json("/v1/rotations/web/session-key", &json!({ "action": "rotate" })).await
}

#[tokio::test]
async fn rotation_and_capability_of_a_new_secret_are_applied_together() {
    let broker = TestBroker::start().await;
    let text = format!("{READING}{}", rotation("every = \"30d\""));
    // Given one file with a rotation and a capability of a secret that does not exist
    let planned = upload(&broker, "/v1/plan", &text, false).await;
    assert!(planned.text().contains("the broker makes the first one at once"), "{}", planned.text());
    let applied = broker.apply(&text).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let agent = broker.agent("web-bot", &["web"]).await;
    let token = agent.token("session.read").await;
    // Then the first look of the rotator makes it, long before the schedule
    broker.rotate_due().await;
    let read = agent.secret("web/session-key", &token).await;
    assert_eq!((read.status, read.body.len()), (200, 32), "{}", read.text());
    assert_eq!(read.header("keyward-secret-version"), "1");
    // And the reader is told when the value changes next
    let rotation = shown(&broker).await;
    assert_eq!(rotation["next"], read.header("keyward-next-rotation"), "{rotation}");
    let next = Timestamp::parse(read.header("keyward-next-rotation")).unwrap();
    assert!(next.seconds_since(broker.clock.now()) > 29 * 86_400, "{rotation}");
    // And there is no grace period of a previous version
    assert!(rotation["run"].is_null(), "{rotation}");
    assert_eq!(rotate(&broker).await.json()["begun"], true);
    broker.rotate_due().await;
    assert_eq!(shown(&broker).await["run"]["stage"], "grace");
    assert_eq!(agent.secret("web/session-key", &token).await.header("keyward-next-rotation"), "");
}

#[tokio::test]
async fn secret_without_a_value_is_told_to_its_readers() {
    // Given a service that does not take the first value yet
    let service = Webhook::start("CNRY-of-another-program");
    let broker = TestBroker::start_with(LOOPBACK).await;
    let operator = broker.operator();
    assert_eq!(operator.put("/v1/secrets/billing/admin", BYTES, ADMIN_TOKEN.as_bytes()).await.status, 201);
    service.next("PUT", &[Mood::Says(422)]);
    let upstream = service.applying();
    let text =
        format!("{READING}[[rotation]]\nsecret = \"web/session-key\"\n[rotation.upstream]\n{upstream}\n");
    assert_eq!(broker.apply(&text).await.status, 200);
    let agent = broker.agent("web-bot", &["web"]).await;
    let token = agent.token("session.read").await;
    // When an agent reads the secret
    let early = agent.secret("web/session-key", &token).await;
    assert_eq!((early.status, early.code().as_str()), (503, "secret_without_value"), "{}", early.text());
    // Then it gets the value after the service has taken it
    broker.rotate_due().await;
    assert_eq!(
        operator.post_json("/v1/rotations/web/session-key", &json!({ "action": "retry" })).await.status,
        200
    );
    broker.rotate_due().await;
    let token = agent.token("session.read").await;
    let read = agent.secret("web/session-key", &token).await;
    assert_eq!(read.status, 200, "{}", read.text());
    assert!(service.lets_in(&read.text()));
}

#[tokio::test]
async fn first_value_is_made_by_hand_and_does_not_wait_for_the_window() {
    // At noon, when the window is closed
    let noon = Timestamp::parse("2026-06-01T12:00:00Z").unwrap();
    let broker = TestBroker::start_at(noon, "").await;
    for (schedule, by_hand) in [("", false), ("every = \"30d\"\nwindow = \"01:00-02:00\"", false), ("", true)]
    {
        assert_eq!(broker.apply(&rotation(schedule)).await.status, 200);
        if by_hand {
            let begun = rotate(&broker).await;
            assert_eq!(begun.status, 200, "{}", begun.text());
        }
        broker.rotate_due().await;
        let secret = broker.operator().get("/v1/secrets/web/session-key").await;
        assert_eq!(secret.status, 200, "{schedule}: {}", secret.text());
        // The next round begins without a value again
        let mut pruned = upload(&broker, "/v1/apply", "", true).await;
        for _ in 0..100 {
            if pruned.status != 409 {
                break;
            }
            // The value is stored, and the rotation has its last entry to write. If the broker had made
            // the first value before the request, the request has made a second one with a grace period
            let shown = shown(&broker).await;
            if shown["run"]["stage"] == "grace" {
                let body = json!({ "action": "revoke-previous" });
                let ended = broker.operator().post_json("/v1/rotations/web/session-key", &body).await;
                assert_eq!(ended.status, 200, "{}", ended.text());
            }
            broker.rotate_due().await;
            pruned = upload(&broker, "/v1/apply", "", true).await;
        }
        assert_eq!(pruned.status, 200, "{}", pruned.text());
        let operator = broker.operator();
        let deleted = operator.post("/v1/secret-deletions/web/session-key", "application/json", b"{}").await;
        assert_eq!(deleted.status, 200, "{}", deleted.text());
    }
}

#[tokio::test]
async fn capability_needs_the_rotation_that_makes_its_secret() {
    let broker = TestBroker::start().await;
    let refused = broker.apply(READING).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("`keyward secret put web/session-key`"), "{}", refused.text());
    // A rotation that is declared already is enough, as long as it stays
    assert_eq!(broker.apply(&rotation("")).await.status, 200);
    let pruned = upload(&broker, "/v1/plan", READING, true).await;
    assert_eq!(pruned.status, 422, "{}", pruned.text());
    assert_eq!(broker.apply(READING).await.status, 200);
}

#[tokio::test]
async fn value_that_another_team_stores_is_not_the_first_value() {
    let (broker, red, _) = crate::operators::teams().await;
    // Given a rotation whose service the broker may not call, so that there is no first value yet
    let service = Webhook::start("CNRY-of-another-program");
    let operator = broker.operator();
    assert_eq!(operator.put("/v1/secrets/billing/admin", BYTES, ADMIN_TOKEN.as_bytes()).await.status, 201);
    let upstream = service.applying();
    let text = format!("[[rotation]]\nsecret = \"web/session-key\"\n[rotation.upstream]\n{upstream}\n");
    // Without the capability, which would refuse the value for a reason of its own
    assert_eq!(broker.apply(&text).await.status, 200);
    let put = red.put("/v1/secrets/web/session-key", BYTES, b"CNRY-of-red").await;
    assert_eq!((put.status, put.code().as_str()), (409, "name_reserved_by_owner"), "{}", put.text());
    assert_eq!(operator.get("/v1/secrets/web/session-key").await.status, 404, "there is no value");
}

#[test]
fn new_user_rotates_a_secret_that_has_no_value() {
    let mut process = Process::init("warn");
    process.serve();
    let file = process.path("web.toml").display().to_string();
    std::fs::write(&file, format!("{READING}{}", rotation("every = \"30d\""))).unwrap();
    let applied = String::from_utf8(process.good(&["apply", "-f", &file], b"")).unwrap();
    assert!(applied.contains("makes the first one at once"), "{applied}");
    // The broker may have made the first value by itself already: both succeed
    let rotated = String::from_utf8(process.good(&["secret", "rotate", "web/session-key"], b"")).unwrap();
    assert!(rotated.contains("web/session-key rotated: rot_"), "{rotated}");
    let code = process.good(&["agent", "invite", "web-bot", "--role", "web"], b"");
    process.good_as("web-bot", &["join"], &code);
    let read = process.good_as("web-bot", &["get", "web/session-key", "-o", "json"], b"");
    let read: Value = serde_json::from_slice(&read).unwrap();
    assert_eq!(read["value"].as_str().map(str::len), Some(32));
}
