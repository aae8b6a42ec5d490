//! Steps of rotations that an operator overtakes while upstream is asked.

use std::time::Duration;

use keyward::base::Clock;
use keyward::base::encoding::base64url;
use keyward::base::limits::{BREAKER_FAILURES_MAX, DRIFT_CHECK_S, ROTATION_TRIES_MAX};
use keyward::pki::new_key_and_request;
use serde_json::json;

use super::http_driver::{Scene, declared};
use super::{BYTES, LOOPBACK};
use crate::operators::join;
use crate::support::waiting::{LONGEST, until};
use crate::support::webhook::{Mood, Webhook};

/// A stop that waits for nobody has ended by then.
const SHORTLY: Duration = Duration::from_secs(2);

pub(super) async fn heard(scene: &Scene, method: &str, count: usize) {
    until(async || scene.service.heard(method).len() >= count).await;
}

#[tokio::test]
async fn a_retry_that_was_accepted_during_the_last_attempt_counts() {
    let scene = Scene::start(Webhook::applying).await;
    let last = usize::try_from(ROTATION_TRIES_MAX - 1).unwrap();
    scene.service.next("PUT", &vec![Mood::Says(422); last]);
    scene.service.next("PUT", &[Mood::Waits(422)]);
    scene.rotate().await;
    for _ in 1..last {
        scene.broker.clock.advance_s(2400);
        scene.broker.rotate_due().await;
    }
    assert_eq!(scene.trouble().await.2, last as u64);
    scene.broker.clock.advance_s(2400);
    let retried = async {
        heard(&scene, "PUT", last + 1).await;
        let retried = scene.act("retry").await.status;
        scene.service.let_go();
        retried
    };
    let (status, ()) = tokio::join!(retried, scene.broker.rotate_due());
    assert_eq!(status, 200);
    let run = scene.shown().await["run"].clone();
    assert!(run.is_null() || run["trouble"].is_null() || run["trouble"]["retry_at"].is_string(), "{run}");
}

#[tokio::test]
async fn a_value_that_is_put_during_a_drift_check_raises_no_alarm() {
    let settings = format!("operator_life_s = 86400\n{LOOPBACK}");
    let scene = Scene::start_with(&settings, "", Webhook::applying).await;
    scene.broker.clock.advance_s(43_000);
    let (key, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) });
    let renewed = scene.broker.operator().post_json("/v1/renew", &body).await.json();
    let certificate = renewed["certificate"].as_str();
    let operator = scene.broker.caller(scene.broker.admins(), certificate, Some(key.expose()));
    scene.broker.clock.advance_s(u32::try_from(DRIFT_CHECK_S).unwrap() - 43_000);
    scene.service.next("GET", &[Mood::Waits(401)]);
    let value = "CNRY-by-hand-0123456789";
    let put = async {
        heard(&scene, "GET", 1).await;
        let put = operator.put("/v1/secrets/billing/key", BYTES, value.as_bytes()).await;
        scene.service.knows_only(value);
        scene.service.let_go();
        put.status
    };
    let (status, ()) = tokio::join!(put, scene.broker.rotate_due());
    assert_eq!(status, 201);
    let entries = operator.get("/v1/ledger/entries").await.text();
    assert!(entries.contains("rotation.attempted") && !entries.contains("rotation.drifted"), "{entries}");
    assert_eq!(scene.read().await, (value.to_owned(), "2".to_owned()), "no rotation has begun");
}

/// A second secret at the same service, whose value no request can carry.
fn with_another(service: &Webhook) -> String {
    let upstream = service.applying();
    upstream.clone() + "\n[[rotation]]\nsecret = \"billing/other\"\n[rotation.upstream]\n" + &upstream
}

#[tokio::test]
async fn a_failure_of_our_own_is_no_answer_of_the_upstream() {
    let scene = Scene::start(Webhook::applying).await;
    let operator = || scene.broker.operator();
    let put = operator().put("/v1/secrets/billing/other", BYTES, b"two\nlines").await;
    assert_eq!(put.status, 201, "{}", put.text());
    let applied = scene.broker.apply(&declared("", &with_another(&scene.service))).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let is_open =
        async || operator().get("/metrics").await.text().contains("\nkeyward_upstream_circuits_open 1\n");
    scene.service.next("PUT", &[Mood::HangsUp]);
    scene.service.next("GET", &[Mood::HangsUp; BREAKER_FAILURES_MAX as usize]);
    scene.rotate().await;
    for _ in 2..BREAKER_FAILURES_MAX {
        scene.broker.clock.advance_s(2400);
        scene.broker.rotate_due().await;
    }
    assert!(!is_open().await);
    let adopted =
        operator().post_json("/v1/rotation-adoptions/billing/other", &json!({ "version": 1 })).await;
    assert_eq!(adopted.code(), "upstream_value_invalid", "nothing was sent: {}", adopted.text());
    scene.broker.clock.advance_s(2400);
    scene.broker.rotate_due().await;
    assert_eq!(scene.trouble().await.1, "upstream_unreachable");
    assert!(is_open().await, "the failures before and after it are failures in a row");
}

#[tokio::test]
async fn a_rotation_shows_until_when_its_circuit_is_open() {
    let scene = Scene::start(Webhook::applying).await;
    let shown = async || scene.broker.operator().get("/v1/rotations/billing/key").await.json();
    scene.service.next("PUT", &[Mood::HangsUp; BREAKER_FAILURES_MAX as usize]);
    scene.service.next("GET", &[Mood::HangsUp; BREAKER_FAILURES_MAX as usize]);
    scene.rotate().await;
    for _ in 0..BREAKER_FAILURES_MAX {
        if shown().await["circuit_open_until"].is_string() {
            break;
        }
        scene.broker.clock.advance_s(2400);
        scene.broker.rotate_due().await;
    }
    // Given a retry that falls due while the circuit is open
    let open = shown().await;
    assert_eq!(open["state"], "retry-scheduled", "{open}");
    let until = open["circuit_open_until"].as_str().unwrap().to_owned();
    assert!(
        open["circuit_cause"].as_str().unwrap().starts_with("upstream_unreachable: the broker"),
        "{open}"
    );
    assert!(open["next_try"].as_str().unwrap() > until.as_str(), "{open}");
    assert_eq!(open["next_try"], open["run"]["trouble"]["retry_at"]);
    // When an operator has it retried, and the one call that is let through fails
    let retried =
        scene.broker.operator().post_json("/v1/rotations/billing/key", &json!({ "action": "retry" })).await;
    assert_eq!(retried.status, 200, "{}", retried.text());
    assert!(shown().await["circuit_open_until"].is_null(), "a call is let through");
    scene.service.next("GET", &[Mood::HangsUp]);
    scene.broker.rotate_due().await;
    // Then no time of it is in the past
    let failed = shown().await;
    let now = scene.broker.clock.now().to_string();
    assert!(failed["circuit_open_until"].as_str().unwrap() > now.as_str(), "{failed}");
    assert!(failed["next_try"].as_str().unwrap() > now.as_str(), "{failed}");
    scene.broker.clock.advance_s(30);
    let due = shown().await;
    assert!(due["next_try"].as_str().unwrap() >= scene.broker.clock.now().to_string().as_str(), "{due}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_a_request_whose_connection_was_cut() {
    let mut scene = Scene::start(Webhook::applying).await;
    let second = join(&scene.broker, "second", &json!({ "role": "admin" })).await.caller;
    scene.service.next("GET", &[Mood::Waits(200)]);
    let adopting = tokio::spawn(async move {
        let headers = [("content-type", "application/json")];
        second.attempt("POST", "/v1/rotation-adoptions/billing/key", &headers, b"{}").await.is_ok()
    });
    heard(&scene, "GET", 1).await;
    let admin = scene.broker.operator();
    assert_eq!(admin.post_json("/v1/operators/second/suspend", &json!({})).await.status, 200);
    assert!(!adopting.await.unwrap(), "its connection is cut");
    assert_eq!(admin.post_json("/v1/operators/second/resume", &json!({})).await.status, 200);
    let mut stopping = scene.broker.begin_to_stop();
    assert!(tokio::time::timeout(SHORTLY, &mut stopping).await.is_err(), "the request is under way");
    scene.service.let_go();
    tokio::time::timeout(LONGEST, stopping).await.expect("then it is over").unwrap();
    scene.broker.serve().await;
    assert_eq!(scene.broker.entries("rotation.adopted").await.len(), 1, "it was carried out");
}
