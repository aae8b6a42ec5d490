//! What operators do about rotations.

use keyward::base::limits::CALENDAR_LINES_MAX;
use serde_json::{Value, json};

use super::{BY_ADMIN, Scene};
use crate::support::broker::TestBroker;

/// Hazard ROT-10.
#[tokio::test]
async fn a_second_request_joins_the_rotation_that_is_under_way() {
    let scene = Scene::start("", BY_ADMIN).await;
    let (one, two, three) = tokio::join!(scene.act("rotate"), scene.act("rotate"), scene.act("rotate"));
    let answers = [one.json(), two.json(), three.json()];
    let begun = answers.iter().filter(|answer| answer["begun"] == true).count();
    assert_eq!(begun, 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer["rotation"] == answers[0]["rotation"]), "{answers:?}");
    scene.broker.rotate_due().await;
    assert_eq!(scene.read().await.1, "2");
    assert_eq!(scene.postgres.log().matches("ALTER ROLE \"app\"").count(), 1);
}

#[tokio::test]
async fn only_a_rotation_can_ask_for_no_grace_period() {
    let scene = Scene::start("", BY_ADMIN).await;
    let body = json!({ "action": "pause", "revoke_previous": true });
    let refused = scene.broker.operator().post_json("/v1/rotations/orders-db/app", &body).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "json_invalid"));
}

#[tokio::test]
async fn a_pause_keeps_its_reason() {
    let scene = Scene::start("", BY_ADMIN).await;
    let body = json!({ "action": "pause", "reason": "the database is moved" });
    let paused = scene.broker.operator().post_json("/v1/rotations/orders-db/app", &body).await;
    assert_eq!(paused.status, 200, "{}", paused.text());
    let entries = scene.broker.entries("rotation.updated").await;
    assert_eq!(entries[0]["reason"], "the database is moved", "{entries:?}");
}

#[tokio::test]
async fn a_calendar_is_cut_at_its_limit_and_shows_the_earliest_rotations() {
    let broker = TestBroker::start_with("").await;
    let often = |secret: &str, every: &str| {
        format!(
            "[[rotation]]\nsecret = \"{secret}\"\nevery = \"{every}\"\ngrace = \"30s\"\n[rotation.upstream]\ndriver = \"generate\"\n"
        )
    };
    for secret in ["a/often", "b/often", "c/seldom"] {
        let stored = broker.operator().put(&format!("/v1/secrets/{secret}"), super::BYTES, b"first").await;
        assert_eq!(stored.status, 201, "{}", stored.text());
    }
    let text = [often("a/often", "1m"), often("b/often", "2m"), often("c/seldom", "30d")].concat();
    let applied = broker.apply(&text).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let calendar = broker.operator().get("/v1/rotation-calendar").await.json();
    let lines: Vec<(&str, &str)> = calendar["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["at"].as_str().unwrap(), line["secret"].as_str().unwrap()))
        .collect();
    assert_eq!(lines.len(), CALENDAR_LINES_MAX);
    assert!(lines.is_sorted());
    assert_eq!(
        [lines[0].1, lines[1].1, lines[2].1, lines[3].1],
        ["a/often", "a/often", "b/often", "a/often"]
    );
    assert!(lines.iter().all(|(_, secret)| *secret != "c/seldom"), "it comes later than all of these");
}

#[tokio::test]
async fn end_of_a_grace_period_can_name_its_rotation() {
    // Given a rotation whose previous version is in its grace period
    let broker = TestBroker::declared().await;
    let rotation =
        "[[rotation]]\nsecret = \"github/app\"\ngrace = \"1h\"\nupstream = { driver = \"generate\" }\n";
    assert_eq!(broker.apply(rotation).await.status, 200);
    let by = broker.operator();
    let steer = async |body: Value| by.post_json("/v1/rotations/github/app", &body).await;
    let begun = steer(json!({ "action": "rotate" })).await.json();
    broker.rotate_due().await;
    let stage = async || by.get("/v1/rotations/github/app").await.json()["run"]["stage"].clone();
    assert_eq!(stage().await, "grace");
    // When a request means another rotation, then it is refused, and the version still works
    let other = "rot_00000000000000000000000010";
    let refused = steer(json!({ "action": "revoke-previous", "rotation": other })).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "rotation_invalid_state"));
    assert!(refused.text().contains(other), "{}", refused.text());
    assert_eq!(stage().await, "grace");
    let refused = steer(json!({ "action": "pause", "rotation": begun["rotation"] })).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "json_invalid"));
    // The twin: the one in progress
    let done = steer(json!({ "action": "revoke-previous", "rotation": begun["rotation"] })).await;
    assert_eq!(done.status, 200, "{}", done.text());
    // And after its end it is refused, too
    broker.rotate_due().await;
    let refused = steer(json!({ "action": "revoke-previous", "rotation": begun["rotation"] })).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "rotation_invalid_state"));
}
