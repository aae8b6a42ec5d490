//! Upstreams that fail.

use keyward::base::limits::{DRIFT_CHECK_S, ROTATION_TRIES_MAX};
use serde_json::json;

use super::{BY_ADMIN, BY_ITSELF, BYTES, FIRST, Scene};

#[tokio::test]
async fn an_upstream_that_is_away_delays_a_rotation_and_loses_nothing() {
    let mut scene = Scene::start("", BY_ADMIN).await;
    scene.postgres.stop();
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    let run = scene.shown().await["run"].clone();
    assert_eq!((run["stage"].as_str(), run["failures"].as_u64()), (Some("begun"), Some(1)), "{run}");
    assert_eq!(
        (&run["trouble"]["code"], &run["trouble"]["detail"]),
        (&"upstream_unreachable".into(), &"connection_refused".into())
    );
    assert_eq!(scene.read().await.0, FIRST);
    scene.postgres.run();
    scene.broker.rotate_due().await;
    assert_eq!(scene.shown().await["run"]["failures"], 1, "not before its time");
    scene.broker.clock.advance_s(60);
    scene.broker.rotate_due().await;
    let (value, version) = scene.read().await;
    assert_eq!(version, "2");
    assert!(scene.postgres.lets_in("app", &value));
}

#[tokio::test]
async fn a_dead_letter_waits_for_an_operator_and_is_tried_again_or_given_up() {
    let scene = Scene::start("", BY_ITSELF).await;
    // Another program changed the password: no version of the broker works.
    scene.postgres.sql("ALTER ROLE app PASSWORD 'changed-by-hand'");
    scene.act("rotate").await;
    for _ in 0..10 {
        scene.broker.rotate_due().await;
        scene.broker.clock.advance_s(2400);
    }
    let run = scene.shown().await["run"].clone();
    assert!(run["trouble"]["retry_at"].is_null(), "{run}");
    assert_eq!(run["trouble"]["code"], "upstream_login_refused", "{run}");
    assert_eq!(run["failures"], ROTATION_TRIES_MAX);
    let ready = scene.broker.operator().get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["warnings"]), (200, &json!(["rotations_dead_letter"])));
    let put = scene.broker.operator().put("/v1/secrets/orders-db/app", BYTES, b"changed-by-hand").await;
    assert_eq!(put.status, 201, "{}", put.text());
    assert!(scene.shown().await["run"].is_null());
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    let (value, _) = scene.read().await;
    assert!(scene.postgres.lets_in("app", &value));
}

/// Hazard ROT-03.
#[tokio::test]
async fn an_upstream_restored_from_a_backup_is_detected_within_a_day() {
    let scene = Scene::start("", BY_ADMIN).await;
    let backup = scene.postgres.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'");
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    let (before, _) = scene.read().await;
    // The server comes back as it was before the rotation.
    scene.postgres.sql(&format!("ALTER ROLE app PASSWORD '{backup}'"));
    assert!(!scene.postgres.lets_in("app", &before));
    scene.broker.clock.advance_s(u32::try_from(DRIFT_CHECK_S - 1).unwrap());
    scene.broker.rotate_due().await;
    assert_eq!(scene.read().await.1, "2", "not yet looked at");
    scene.broker.clock.advance_s(1);
    scene.broker.rotate_due().await;
    let (value, version) = scene.read().await;
    assert_eq!(version, "3");
    assert!(scene.postgres.lets_in("app", &value));
}
