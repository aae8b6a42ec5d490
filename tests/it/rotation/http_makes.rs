//! Rotations of a service's key that the service makes: two at a time, and none forgotten.

use keyward::base::limits::{ORPHANS_MAX, SEALS_MAX, SEALS_RESERVED};
use serde_json::{Value, json};

use super::http_driver::{FIRST, Scene, declared};
use super::{BYTES, LOOPBACK};
use crate::support::webhook::{Mood, Webhook};

/// With a grace that a test can wait for.
async fn scene() -> Scene {
    Scene::start_with(LOOPBACK, "grace = \"2h\"", Webhook::creating).await
}

impl Scene {
    async fn orphans(&self) -> Vec<Value> {
        self.shown().await["orphans"].as_array().unwrap().clone()
    }

    /// A whole rotation, its grace included.
    async fn rotate_and_drain(&self) {
        self.rotate().await;
        self.act("revoke-previous").await;
        self.broker.rotate_due().await;
        assert!(self.shown().await["run"].is_null(), "{}", self.shown().await);
    }

    fn slots(&self) -> Vec<String> {
        self.service.keys().into_keys().collect()
    }
}

#[tokio::test]
async fn a_created_key_is_handed_out_and_the_old_one_is_revoked_after_the_grace() {
    let scene = scene().await;
    scene.rotate_and_drain().await;
    scene.act("clear-orphans").await;
    scene.rotate().await;
    scene.hands_out("3").await;
    assert_eq!(scene.slots(), ["key_0", "key_1", "key_2"], "in its grace");
    scene.broker.clock.advance_s(7200);
    scene.broker.rotate_due().await;
    scene.hands_out("3").await;
    assert_eq!(scene.slots(), ["key_0", "key_2"]);
    assert!(scene.orphans().await.is_empty());
    let made = &scene.service.heard("POST")[1];
    let begun = scene.broker.entries("rotation.begun").await;
    let label: Value = serde_json::from_str(&made.body).unwrap();
    assert_eq!(label["label"], begun[1]["event"]["rotation"], "the service knows whose the key is");
}

#[tokio::test]
async fn no_key_is_made_that_could_not_be_sealed() {
    let scene = scene().await;
    scene.broker.running.as_ref().unwrap().count_seals(SEALS_MAX - SEALS_RESERVED);
    scene.rotate().await;
    assert!(scene.service.heard("POST").is_empty(), "the service was not asked");
    assert!(scene.orphans().await.is_empty());
    assert_eq!(scene.broker.operator().post("/v1/value-key/rotate", "", b"").await.status, 200);
    scene.later().await;
    scene.hands_out("2").await;
}

#[tokio::test]
async fn a_key_that_was_put_by_hand_is_listed_when_nobody_knows_where_it_is() {
    let scene = scene().await;
    scene.rotate_and_drain().await;
    assert!(scene.service.lets_in(FIRST), "nobody could say which one to end");
    let [orphan] = &scene.orphans().await[..] else { panic!("one orphan") };
    assert_eq!((&orphan["version"], &orphan["slot"]), (&json!(1), &Value::Null));
    assert_eq!(scene.broker.entries("rotation.finished").await[0]["event"]["left"], 1);
    let metrics = scene.broker.operator().get("/metrics").await.text();
    assert!(metrics.contains("keyward_rotation_orphans 1\n"), "{metrics}");
    // They go by an operator's word alone, and the declaration not before them.
    let pruned = json!({ "files": [{ "name": "a.toml", "text": "" }], "prune": true });
    let pruned = scene.broker.operator().post_json("/v1/apply", &pruned).await;
    assert_eq!((pruned.status, pruned.code().as_str()), (409, "rotation_has_orphans"), "{}", pruned.text());
    assert_eq!(scene.act("clear-orphans").await.status, 200);
    assert!(scene.orphans().await.is_empty());
    assert_eq!(scene.act("clear-orphans").await.code(), "rotation_invalid_state");
}

/// Hazard ROT-04.
#[tokio::test]
async fn a_key_with_an_unknown_outcome_is_an_orphan_and_another_is_created() {
    for mood in [Mood::DoesAndResets, Mood::DoesAndEchoes, Mood::Endless, Mood::Redirects, Mood::HangsUp] {
        let scene = scene().await;
        scene.service.next("POST", &[mood]);
        scene.rotate().await;
        assert_eq!(scene.trouble().await.0, "begun", "{mood:?}");
        assert_eq!(scene.read().await.0, FIRST);
        let failed = &scene.broker.entries("rotation.failed").await[0]["event"];
        assert_eq!((&failed["unknown"], &failed["orphaned"]), (&json!(true), &json!(true)), "{mood:?}");
        scene.later().await;
        scene.hands_out("2").await;
        let [orphan] = &scene.orphans().await[..] else { panic!("one orphan: {mood:?}") };
        assert_eq!((&orphan["version"], &orphan["slot"]), (&Value::Null, &Value::Null));
        assert_eq!(orphan["rotation"], failed["rotation"], "the label that the service was told");
    }
}

#[tokio::test]
async fn a_service_that_says_no_has_made_nothing_and_leaves_no_orphan() {
    let scene = scene().await;
    scene.service.next("POST", &[Mood::Says(429)]);
    scene.rotate().await;
    assert_eq!(scene.trouble().await, ("begun".to_owned(), "upstream_refused".to_owned(), 1));
    assert!(scene.orphans().await.is_empty());
    scene.later().await;
    scene.hands_out("2").await;
    assert!(scene.orphans().await.is_empty());
}

#[tokio::test]
async fn an_answer_without_the_value_leaves_an_orphan() {
    let scene = scene().await;
    scene.service.next("POST", &[Mood::Says(201)]);
    scene.rotate().await;
    assert_eq!(scene.trouble().await, ("begun".to_owned(), "upstream_response_invalid".to_owned(), 1));
    assert_eq!(scene.orphans().await.len(), 1);
    scene.later().await;
    scene.hands_out("2").await;
}

#[tokio::test]
async fn a_key_that_never_works_is_listed_as_an_orphan_and_not_handed_out() {
    let scene = scene().await;
    scene.service.next("GET", &[Mood::Says(401)].repeat(64));
    scene.rotate().await;
    for _ in 0..10 {
        scene.broker.clock.advance_s(2400);
        scene.broker.rotate_due().await;
    }
    let run = scene.shown().await["run"].clone();
    assert!(
        run["trouble"]["retry_at"].is_null() && run["trouble"]["code"] == "upstream_not_changed",
        "{run}"
    );
    assert_eq!(scene.read().await, (FIRST.to_owned(), "1".to_owned()));
    assert_eq!(scene.service.heard("POST").len(), 1, "no second one is made");
    let put = scene.broker.operator().put("/v1/secrets/billing/key", BYTES, FIRST.as_bytes()).await;
    assert_eq!(put.status, 201, "{}", put.text());
    let [orphan] = &scene.orphans().await[..] else { panic!("one orphan") };
    assert_eq!((&orphan["version"], &orphan["slot"]), (&json!(2), &json!("key_1")));
}

#[tokio::test]
async fn an_old_key_is_ended_however_often_it_takes_and_seen_to_have_ended() {
    let scene = scene().await;
    scene.rotate_and_drain().await;
    scene.rotate().await;
    scene.act("revoke-previous").await;
    scene.service.next("DELETE", &[Mood::Says(500), Mood::Says(204), Mood::DoesAndResets]);
    scene.broker.rotate_due().await;
    assert_eq!(scene.trouble().await, ("grace".to_owned(), "upstream_unexpected_status".to_owned(), 1));
    scene.later().await;
    assert_eq!(scene.trouble().await, ("grace".to_owned(), "upstream_not_revoked".to_owned(), 2));
    scene.later().await;
    assert_eq!(scene.trouble().await, ("grace".to_owned(), "upstream_unreachable".to_owned(), 3));
    scene.later().await;
    scene.hands_out("3").await;
    assert!(scene.shown().await["run"].is_null());
    assert_eq!(scene.slots(), ["key_0", "key_2"]);
    let paths: Vec<String> = scene.service.heard("DELETE").into_iter().map(|heard| heard.path).collect();
    assert_eq!(paths, ["/keys/key_1"; 4]);
}

#[tokio::test]
async fn a_service_is_asked_for_no_more_keys_once_so_many_were_lost() {
    let scene = scene().await;
    scene.service.next("POST", &[Mood::HangsUp].repeat(ORPHANS_MAX + 1));
    scene.rotate().await;
    for _ in 1..ORPHANS_MAX {
        scene.act("retry").await;
        scene.broker.clock.advance_s(61);
        scene.broker.rotate_due().await;
    }
    assert_eq!((scene.orphans().await.len(), scene.service.heard("POST").len()), (ORPHANS_MAX, ORPHANS_MAX));
    scene.act("retry").await;
    scene.broker.clock.advance_s(61);
    scene.broker.rotate_due().await;
    assert_eq!(scene.trouble().await.1, "rotation_has_orphans");
    assert_eq!(scene.service.heard("POST").len(), ORPHANS_MAX, "not one more");
    scene.act("clear-orphans").await;
    scene.act("retry").await;
    scene.broker.rotate_due().await;
    assert_eq!(scene.service.heard("POST").len(), ORPHANS_MAX + 1);
}

#[tokio::test]
async fn a_service_with_one_slot_makes_no_keys_for_us() {
    let scene = scene().await;
    let one = scene.service.creating().replace("slots = 2", "slots = 1");
    let refused = scene.broker.apply(&declared("", &one)).await;
    assert_eq!(refused.status, 422);
    let fault = &refused.json()["errors"][0];
    assert!(fault["message"].as_str().unwrap().contains("a lost answer would leave none"), "{fault}");
}

#[tokio::test]
async fn a_created_key_is_listed_when_an_operator_stores_another_value() {
    let scene = scene().await;
    scene.rotate_and_drain().await;
    scene.act("clear-orphans").await;
    let put = scene.broker.operator().put("/v1/secrets/billing/key", BYTES, FIRST.as_bytes()).await;
    assert_eq!(put.status, 201, "{}", put.text());
    let [orphan] = &scene.orphans().await[..] else { panic!("one orphan") };
    let begun = &scene.broker.entries("rotation.begun").await[0]["event"];
    assert_eq!((&orphan["version"], &orphan["slot"]), (&json!(2), &json!("key_1")));
    assert_eq!(orphan["rotation"], begun["rotation"], "the label that the service was told");
}

#[tokio::test]
async fn what_one_service_made_is_not_ended_at_another() {
    let scene = scene().await;
    scene.rotate_and_drain().await;
    scene.act("clear-orphans").await;
    let other = Webhook::start(FIRST);
    let applied = scene.broker.apply(&declared("grace = \"2h\"", &other.creating())).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let [orphan] = &scene.orphans().await[..] else { panic!("one orphan") };
    assert_eq!((&orphan["version"], &orphan["slot"]), (&json!(2), &json!("key_1")));
    // The same place, told otherwise, is the same place.
    scene.act("clear-orphans").await;
    let applied = scene.broker.apply(&declared("grace = \"1h\"", &other.creating())).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    scene.rotate_and_drain().await;
    assert!(other.heard("DELETE").is_empty(), "an id of the one service is none at the other");
    let [orphan] = &scene.orphans().await[..] else { panic!("one orphan") };
    assert_eq!((&orphan["version"], &orphan["slot"]), (&json!(2), &Value::Null));
}
