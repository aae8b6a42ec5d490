//! What failures leave behind: a reason, and nothing that acts by itself later.

use super::LOOPBACK;
use super::http_driver::{FIRST, Scene};
use crate::support::webhook::{Mood, Webhook};

const OTHER: &str = "\n[[rotation]]\nsecret = \"other/key\"\nevery = \"6h\"\ngrace = \"0s\"\n\
                     [rotation.upstream]\ndriver = \"generate\"\n";

/// Hazard ROT-06.
#[tokio::test]
async fn a_value_that_never_works_becomes_a_dead_letter_with_a_reason() {
    let scene = Scene::start(|service| service.applying() + OTHER).await;
    scene.service.next("PUT", &[Mood::Says(422); 8]);
    scene.rotate().await;
    for _ in 0..10 {
        scene.broker.clock.advance_s(2400);
        scene.broker.rotate_due().await;
    }
    assert_eq!(scene.trouble().await, ("prepared".to_owned(), "upstream_refused".to_owned(), 8));
    assert!(scene.shown().await["run"]["trouble"]["retry_at"].is_null(), "it waits for an operator");
    assert_eq!(scene.service.heard("PUT").len(), 8);
    assert_eq!(scene.read().await.0, FIRST, "it is handed out, and works");
    assert!(scene.service.lets_in(FIRST));
    let other = scene.broker.operator().get("/v1/rotations/other/key").await.json();
    assert!(other["last_at"].is_string() && other["run"].is_null(), "{other}");
    assert_eq!(scene.act("retry").await.status, 200);
    scene.broker.rotate_due().await;
    scene.hands_out("2").await;
}

/// Hazard ROT-07.
#[tokio::test]
async fn what_failures_left_behind_brings_no_rotation_forward() {
    let settings = format!("operator_life_s = 86400\n{LOOPBACK}");
    let mut scene = Scene::start_with(&settings, "every = \"6h\"", Webhook::applying).await;
    scene.service.next("PUT", &[Mood::Says(422); 3]);
    scene.broker.clock.advance_s(8 * 3600);
    scene.broker.rotate_due().await;
    scene.later().await;
    scene.later().await;
    assert_eq!(scene.trouble().await, ("prepared".to_owned(), "upstream_refused".to_owned(), 3));
    // The same one goes on after a start, once.
    scene.broker.stop().await;
    scene.broker.serve().await;
    scene.later().await;
    let so_far = async |scene: &Scene| {
        (scene.broker.entries("rotation.begun").await.len(), scene.service.heard("PUT").len())
    };
    assert_eq!(so_far(&scene).await, (1, 4));
    assert!(scene.shown().await["run"].is_null() && !scene.service.lets_in(FIRST));
    for _ in 0..2 {
        scene.broker.clock.advance_s(9000);
        scene.broker.rotate_due().await;
        assert_eq!(so_far(&scene).await, (1, 4), "not before it is due");
    }
    scene.broker.clock.advance_s(6 * 3600);
    scene.broker.rotate_due().await;
    assert_eq!(so_far(&scene).await, (2, 5), "when it is due");
}
