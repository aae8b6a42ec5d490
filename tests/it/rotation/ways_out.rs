//! The ways out of each stage of a rotation: what an operator can do there, and that no value is lost.

use keyward::base::limits::VERSIONS_TRIED_MAX;
use serde_json::{Value, json};

use super::http_driver::{FIRST, Scene, declared};
use super::overtaken::heard;
use super::{BY_ADMIN, BYTES, IN_TURN};
use crate::idempotency::all_alike;
use crate::support::broker::Reply;
use crate::support::postgres::Shown;
use crate::support::webhook::{Mood, Webhook};

/// A declaration with another field, whose upstream takes and verifies as before.
fn corrected(service: &Webhook) -> String {
    declared("", &service.applying().replacen("driver = \"http\"", "driver = \"http\"\ntimeout_s = 7", 1))
}

/// What is declared without the rotation.
fn without(text: &str) -> String {
    text.split("[[rotation]]").next().unwrap().to_owned()
}

impl Scene {
    async fn adopt(&self, body: &Value) -> Reply {
        self.broker.operator().post_json("/v1/rotation-adoptions/billing/key", body).await
    }

    async fn put(&self, value: &str) -> Reply {
        self.broker.operator().put("/v1/secrets/billing/key", BYTES, value.as_bytes()).await
    }

    async fn prune(&self) -> Reply {
        let text = without(&declared("", &self.service.applying()));
        let agent = "[[agent]]\nname = \"billing-bot\"\nroles = [\"billing\"]\n";
        let body = json!({ "files": [{ "name": "a.toml", "text": text + agent }], "prune": true });
        self.broker.operator().post_json("/v1/apply", &body).await
    }

    /// A rotation that stays at this stage, after a failure.
    async fn stuck_at(stage: &str) -> Self {
        let wrong = |service: &Webhook| {
            let other = Webhook::start(FIRST);
            service.applying().replace(service.ca_pem.trim(), other.ca_pem.trim())
        };
        let scene = match stage {
            "begun" => Self::start(wrong).await,
            _ => Self::start(Webhook::applying).await,
        };
        match stage {
            // The service refuses the value.
            "prepared" => scene.service.next("PUT", &[Mood::Says(422)]),
            // Nobody knows whether it took the value.
            "prepared, touched" => scene.service.next("PUT", &[Mood::DoesAndResets]),
            // It says that it did, and did not.
            "applied" => scene.service.next("PUT", &[Mood::Says(204)]),
            _ => {}
        }
        scene.rotate().await;
        let is = scene.trouble().await;
        assert_eq!((is.0.as_str(), is.2), (stage.split(',').next().unwrap(), 1), "{is:?}");
        scene
    }

    /// Every version that there ever was is still one, and may be read again.
    async fn keeps_all(&self, count: usize) {
        let shown = self.broker.operator().get("/v1/secrets/billing/key").await.json();
        let versions = shown["versions"].as_array().unwrap();
        assert_eq!(versions.len(), count, "{shown}");
        assert!(versions.iter().all(|version| version["stage"] != "destroyed"), "{shown}");
    }
}

#[tokio::test]
async fn a_corrected_declaration_supersedes_a_rotation_that_changed_nothing() {
    for (stage, versions) in [("begun", 1), ("prepared", 2)] {
        let scene = Scene::stuck_at(stage).await;
        let applied = scene.broker.apply(&corrected(&scene.service)).await;
        assert_eq!(applied.status, 200, "{stage}: {}", applied.text());
        let remark = applied.json()["changes"][0]["remark"].as_str().unwrap().to_owned();
        assert!(remark.contains("has changed nothing at the upstream"), "{remark}");
        assert!(scene.shown().await["run"].is_null(), "{stage}");
        scene.keeps_all(versions).await;
        scene.hands_out("1").await;
        scene.rotate().await;
        scene.hands_out(&(versions + 1).to_string()).await;
    }
}

#[tokio::test]
async fn a_value_can_be_put_while_a_rotation_has_changed_nothing_or_waits() {
    for (stage, versions) in [("begun", 2), ("prepared", 3), ("prepared, touched", 3), ("applied", 3)] {
        let scene = Scene::stuck_at(stage).await;
        let value = format!("CNRY-by-hand-{versions}-0123456789");
        scene.service.knows_only(&value);
        let stored = scene.put(&value).await;
        assert_eq!(stored.status, 201, "{stage}: {}", stored.text());
        assert!(scene.shown().await["run"].is_null(), "{stage}");
        scene.keeps_all(versions).await;
        scene.hands_out(&versions.to_string()).await;
    }
}

#[tokio::test]
async fn a_rotation_that_changed_nothing_is_pruned_and_another_is_not() {
    for stage in ["begun", "prepared"] {
        let scene = Scene::stuck_at(stage).await;
        let pruned = scene.prune().await;
        assert_eq!(pruned.status, 200, "{stage}: {}", pruned.text());
        assert_eq!(scene.act("retry").await.code(), "rotation_unknown");
    }
    for stage in ["prepared, touched", "applied"] {
        let scene = Scene::stuck_at(stage).await;
        let refused = scene.prune().await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "rotation_in_progress"), "{stage}");
        assert!(refused.text().contains("keyward rotation adopt billing/key"), "{}", refused.text());
        assert_eq!(scene.adopt(&json!({})).await.status, 200, "{stage}");
        assert_eq!(scene.prune().await.status, 200, "{stage}");
    }
}

#[tokio::test]
async fn a_corrected_declaration_resumes_a_rotation_with_an_unknown_outcome() {
    for stage in ["prepared, touched", "applied"] {
        let scene = Scene::stuck_at(stage).await;
        let applied = scene.broker.apply(&corrected(&scene.service)).await;
        assert_eq!(applied.status, 200, "{stage}: {}", applied.text());
        let remark = applied.json()["changes"][0]["remark"].as_str().unwrap().to_owned();
        assert!(remark.contains("continues with the new declaration"), "{remark}");
        scene.broker.rotate_due().await;
        assert!(scene.shown().await["run"].is_null(), "{stage}: at once, and to its end");
        scene.hands_out("2").await;
        scene.keeps_all(2).await;
    }
}

#[tokio::test]
async fn an_adopted_version_works_upstream_ends_the_rotation_and_loses_none() {
    for (stage, works, versions) in
        [("begun", 1, 1), ("prepared", 1, 2), ("prepared, touched", 2, 2), ("applied", 1, 2)]
    {
        let scene = Scene::stuck_at(stage).await;
        if stage == "begun" {
            // By a declaration that the upstream cannot be asked by, nothing is known to work.
            assert_eq!(scene.adopt(&json!({})).await.code(), "upstream_handshake_failed");
            assert_eq!(scene.adopt(&json!({ "unverified": true })).await.status, 200);
        } else {
            let adopted = scene.adopt(&json!({})).await;
            assert_eq!(adopted.status, 200, "{stage}: {}", adopted.text());
            assert_eq!(adopted.json()["version"], works, "{stage}");
        }
        assert!(scene.shown().await["run"].is_null(), "{stage}");
        scene.hands_out(&works.to_string()).await;
        scene.keeps_all(versions).await;
        let entry = &scene.broker.entries("rotation.adopted").await[0]["event"];
        assert_eq!((&entry["version"], &entry["operator"]), (&json!(works), &json!("admin")), "{entry}");
        assert_eq!(entry["works"], stage != "begun", "{entry}");
    }
}

#[tokio::test]
async fn a_dead_letter_has_the_ways_out_of_its_stage() {
    for way in ["apply", "put", "prune", "adopt"] {
        let scene = Scene::start(Webhook::applying).await;
        scene.service.next("PUT", &[Mood::Says(422); 8]);
        scene.rotate().await;
        for _ in 0..8 {
            scene.broker.clock.advance_s(2400);
            scene.broker.rotate_due().await;
        }
        assert!(scene.shown().await["run"]["trouble"]["retry_at"].is_null(), "{way}: a dead letter");
        let reply = match way {
            "apply" => scene.broker.apply(&corrected(&scene.service)).await,
            "put" => scene.put(FIRST).await,
            "prune" => scene.prune().await,
            _ => scene.adopt(&json!({ "version": 1 })).await,
        };
        assert!([200, 201].contains(&reply.status), "{way}: {}", reply.text());
        assert!(scene.shown().await["run"].is_null(), "{way}");
        assert!(scene.service.lets_in(&scene.read().await.0), "{way}");
    }
}

#[tokio::test]
async fn a_former_version_is_adopted_after_the_server_is_restored_from_a_backup() {
    let scene = Scene::start(Webhook::applying).await;
    for _ in 0..VERSIONS_TRIED_MAX {
        scene.rotate().await;
    }
    scene.hands_out("5").await;
    scene.service.knows_only(FIRST);
    let none = scene.adopt(&json!({})).await;
    assert_eq!(none.code(), "rotation_no_version_accepted", "the newest four are tried: {}", none.text());
    assert_eq!(scene.adopt(&json!({ "version": 9 })).await.code(), "version_unknown");
    let adopted = scene.adopt(&json!({ "version": 1 })).await;
    assert_eq!(adopted.status, 200, "{}", adopted.text());
    scene.hands_out("1").await;
    scene.keeps_all(5).await;
}

#[tokio::test]
async fn a_version_that_upstream_refuses_is_not_adopted() {
    let scene = Scene::stuck_at("prepared").await;
    let refused = scene.adopt(&json!({ "version": 2 })).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "rotation_no_version_accepted"));
    assert_eq!(scene.trouble().await.0, "prepared", "it is as it was");
    scene.hands_out_first().await;
}

/// Invariant I12.
#[tokio::test]
async fn of_many_adoptions_at_once_with_one_key_one_is_carried_out() {
    let scene = Scene::start(Webhook::applying).await;
    let body = json!({ "version": 1, "unverified": true }).to_string();
    let adopt = ("POST", "/v1/rotation-adoptions/billing/key");
    all_alike(&scene.broker, 8, adopt, "application/json", &body).await;
    assert_eq!(scene.broker.entries("rotation.adopted").await.len(), 1);
}

impl Scene {
    async fn hands_out_first(&self) {
        assert_eq!(self.read().await.0, FIRST);
    }
}

#[tokio::test]
async fn the_replaced_version_is_adopted_again_while_its_grace_lasts() {
    let scene = super::Scene::start("every = \"30d\"\ngrace = \"2h\"", IN_TURN).await;
    scene.postgres.sql("CREATE ROLE app_b LOGIN");
    let first = json!({ "username": "app", "password": super::FIRST }).to_string();
    scene.broker.operator().put("/v1/secrets/orders-db/app", BYTES, first.as_bytes()).await;
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    assert_eq!(scene.shown().await["run"]["stage"], "grace");
    let adopt = json!({ "version": 2 });
    let adopted = scene.broker.operator().post_json("/v1/rotation-adoptions/orders-db/app", &adopt).await;
    assert_eq!(adopted.status, 200, "{}", adopted.text());
    assert_eq!(scene.read().await, (first, "2".to_owned()));
    let shown = scene.shown().await;
    assert_eq!((&shown["run"], &shown["last"]["ending"]), (&Value::Null, &json!("adopted")), "{shown}");
}

#[tokio::test]
async fn an_orphaned_upstream_value_stays_listed_after_an_adoption() {
    let scene = Scene::start(Webhook::creating).await;
    scene.rotate().await;
    let shown = scene.shown().await;
    assert_eq!(shown["run"]["stage"], "grace", "{shown}");
    assert_eq!(scene.adopt(&json!({ "version": 1 })).await.status, 200);
    let orphans = scene.shown().await["orphans"].clone();
    assert_eq!((orphans.as_array().unwrap().len(), &orphans[0]["version"]), (1, &json!(2)), "{orphans}");
    assert_eq!(scene.adopt(&json!({ "version": 2 })).await.status, 200);
    let orphans = scene.shown().await["orphans"].clone();
    assert!(orphans.as_array().unwrap().is_empty(), "it is used again: {orphans}");
}

#[tokio::test]
async fn a_corrected_server_certificate_is_tried_despite_an_open_circuit() {
    let mut scene = super::Scene::start("", BY_ADMIN).await;
    let declared = super::declared(&scene.postgres, "", BY_ADMIN);
    scene.postgres.show(Shown::AnotherAuthority);
    scene.act("rotate").await;
    for _ in 0..6 {
        scene.broker.rotate_due().await;
        scene.act("retry").await;
    }
    let applied = scene.broker.apply(&super::declared(&scene.postgres, "", BY_ADMIN)).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    assert_ne!(declared, super::declared(&scene.postgres, "", BY_ADMIN));
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    assert!(scene.shown().await["run"].is_null(), "{}", scene.shown().await);
    assert_eq!(scene.read().await.1, "2");
}

#[tokio::test]
async fn nothing_ends_a_rotation_while_a_step_runs() {
    let scene = Scene::start(Webhook::applying).await;
    scene.service.next("PUT", &[Mood::Silent]);
    assert_eq!(scene.act("rotate").await.status, 200);
    let refused = async {
        heard(&scene, "PUT", 1).await;
        [
            scene.adopt(&json!({})).await.code(),
            scene.put("CNRY-by-hand-0123456789").await.code(),
            scene.prune().await.code(),
            scene.broker.apply(&corrected(&scene.service)).await.code(),
        ]
    };
    let (codes, ()) = tokio::join!(refused, scene.broker.rotate_due());
    assert!(codes.iter().all(|code| code == "rotation_in_progress"), "{codes:?}");
    assert_eq!(scene.adopt(&json!({})).await.status, 200, "once it has failed");
}

#[tokio::test]
async fn a_rotation_that_ends_during_a_call_sends_nothing_more() {
    let scene = Scene::stuck_at("prepared").await;
    let by_hand = "CNRY-by-hand-0123456789";
    scene.service.next("GET", &[Mood::Waits(401)]);
    scene.broker.clock.advance_s(600);
    let ended = async {
        heard(&scene, "GET", 1).await;
        let stored = scene.put(by_hand).await;
        scene.service.knows_only(by_hand);
        scene.service.let_go();
        stored.status
    };
    let (status, ()) = tokio::join!(ended, scene.broker.rotate_due());
    assert_eq!(status, 201);
    assert_eq!(scene.service.heard("PUT").len(), 1, "the one that was refused before");
    scene.hands_out("3").await;
    assert!(scene.shown().await["run"].is_null());
}
