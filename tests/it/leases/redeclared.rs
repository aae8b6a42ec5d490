//! Logins whose server is declared otherwise than on the day they were made.

use keyward::base::limits::BREAKER_FAILURES_MAX;
use serde_json::json;

use super::{BY_ADMIN, Scene, declared, logins};
use crate::support::broker::Reply;
use crate::support::postgres::{Postgres, Shown};

/// What is declared, for a capability of another name as well.
fn beside(text: &str) -> String {
    let other =
        text.replace("orders.query", "orders.other").replace("name = \"orders\"", "name = \"others\"");
    format!("{text}\n{other}")
}

impl Scene {
    async fn redeclare(&self, upstream: &str) {
        let applied = self.broker.apply(&declared(&self.postgres, 10, upstream)).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
    }

    async fn lease_path(&self, id: &str, what: &str, body: &serde_json::Value) -> Reply {
        self.broker.operator().post_json(&format!("/v1/leases/{id}/{what}"), body).await
    }
}

#[tokio::test]
async fn a_login_is_revoked_by_the_current_declaration_after_a_ca_change() {
    let mut scene = Scene::start().await;
    let mut lent = Vec::new();
    for _ in 0..6 {
        lent.push(scene.lease(&json!({ "fresh": true })).await);
    }
    scene.postgres.show(Shown::AnotherAuthority);
    let refused = scene.ask(&json!({ "fresh": true })).await;
    assert_eq!(refused.code(), "upstream_handshake_failed");
    assert!(refused.text().contains("has the issuer's name and another key"), "{}", refused.text());
    // They fail by the declaration of the day they were made, and go on failing.
    scene.end(&json!({ "capability": "orders.query" })).await;
    scene.broker.end_due_leases().await;
    let ending = scene.listed().await[0]["ending"].clone();
    assert_eq!(
        (&ending["code"], &ending["upstream_code"]),
        (&json!("upstream_handshake_failed"), &json!("bad_signature"))
    );
    assert!(ending["reason"].as_str().unwrap().contains("an authority in `ca`"), "{ending}");
    // By the corrected one they end at once.
    scene.redeclare(BY_ADMIN).await;
    scene.broker.end_due_leases().await;
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
    assert!(lent.iter().all(|login| !scene.lets_in(login)));
    let attempted = scene.broker.entries("lease.revocation-attempted").await;
    assert_eq!(attempted.last().unwrap()["event"]["declaration"], "current");
}

#[tokio::test]
async fn an_open_circuit_names_its_cause_and_a_correction_closes_it() {
    // Given a server whose certificate does not fit the declaration
    let mut scene = Scene::start().await;
    scene.postgres.show(Shown::AnotherAuthority);
    let fresh = json!({ "fresh": true });
    for _ in 0..BREAKER_FAILURES_MAX {
        let refused = scene.ask(&fresh).await;
        assert_eq!(refused.code(), "upstream_handshake_failed");
        assert!(!refused.text().contains("not tried"), "{}", refused.text());
    }
    // When the circuit is open, then the refusal has its time and the last cause
    let refused = scene.ask(&fresh).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_handshake_failed"));
    let said = refused.text();
    for part in [
        "not tried: the circuit of the upstream is open until 2",
        "; last cause: `upstream_handshake_failed`, ",
        "has the issuer's name and another key",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // When the declaration is corrected, then the circuit is closed, and not only open to one probe
    scene.redeclare(BY_ADMIN).await;
    scene.postgres.stop();
    for _ in 1..BREAKER_FAILURES_MAX {
        let refused = scene.ask(&fresh).await;
        assert_eq!(refused.code(), "upstream_unreachable");
        assert!(!refused.text().contains("not tried"), "{}", refused.text());
    }
    scene.postgres.run();
    assert_eq!(scene.ask(&fresh).await.status, 200);
}

#[tokio::test]
async fn a_login_is_renewed_by_the_declaration_of_today() {
    let mut scene = Scene::start().await;
    let login = scene.lease(&json!({ "life_s": 3600 })).await;
    scene.postgres.show(Shown::AnotherAuthority);
    scene.redeclare(BY_ADMIN).await;
    let renewed = scene.act(&login, "renew", &json!({ "life_s": 7200 })).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
}

#[tokio::test]
async fn a_login_is_revoked_by_its_own_declaration_when_the_current_one_fails() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let right = declared(&scene.postgres, 10, BY_ADMIN);
    let wrong = right.replace(scene.postgres.ca_pem.trim(), Postgres::start().ca_pem.trim());
    assert_eq!(scene.broker.apply(&wrong).await.status, 200);
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&login));
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
    let attempted = scene.broker.entries("lease.revocation-attempted").await;
    let by: Vec<_> = attempted.iter().map(|entry| entry["event"]["declaration"].clone()).collect();
    assert_eq!(by, [json!("current"), json!("original")]);
}

#[tokio::test]
async fn a_login_is_revoked_at_its_own_server_after_the_address_changed() {
    let mut scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let other = Postgres::start();
    assert_eq!(scene.broker.apply(&declared(&other, 10, BY_ADMIN)).await.status, 200);
    scene.postgres.stop();
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert_eq!(scene.listed().await[0]["ending"]["code"], "upstream_unreachable", "it may be there");
    scene.postgres.run();
    assert!(scene.lets_in(&login));
    scene.broker.operator().post_json("/v1/lease-retries", &json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert_eq!((logins(&scene.postgres).as_str(), scene.listed().await.len()), ("", 0));
}

#[tokio::test]
async fn revocations_that_fail_open_no_circuit_for_new_logins() {
    let mut scene = Scene::start().await;
    for _ in 0..6 {
        scene.lease(&json!({ "fresh": true })).await;
    }
    scene.postgres.show(Shown::AnotherAuthority);
    // Nothing says today how the logins of this capability are revoked: its offer is gone.
    let text = beside(&declared(&scene.postgres, 10, BY_ADMIN));
    let others = text.split("\n\n[[capability]]\nname = \"orders.other\"").nth(1).unwrap();
    let others = format!(
        "[[capability]]\nname = \"orders.other\"{others}\n[[agent]]\nname = \"orders-bot\"\nroles = [\"others\"]\n"
    );
    let body = json!({ "files": [{ "name": "a.toml", "text": others }], "prune": true, "widen": true });
    let applied = scene.broker.operator().post_json("/v1/apply", &body).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    // The broker's own look is at some of them meanwhile.
    for _ in 0..20 {
        scene.broker.end_due_leases().await;
        if scene.broker.entries("lease.revocation-failed").await.len() >= 5 {
            break;
        }
        scene.broker.operator().post_json("/v1/lease-retries", &json!({ "all": true })).await;
    }
    assert!(scene.broker.entries("lease.revocation-failed").await.len() >= 5);
    let lent = scene.agent.caller.post_json("/v1/leases", &json!({ "capability": "orders.other" })).await;
    assert_eq!(lent.status, 200, "{}", lent.text());
}

#[tokio::test]
async fn a_failed_revocation_is_retried_or_forgotten_with_a_reason_and_alarm() {
    let mut scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let id = login.id().to_owned();
    let forget = json!({ "reason": "the server was scrapped" });
    assert_eq!(scene.lease_path(&id, "forget", &forget).await.code(), "lease_invalid_state");
    let retry = async |scene: &Scene| {
        scene.broker.operator().post_json("/v1/lease-retries", &json!({ "lease": id })).await
    };
    assert_eq!(retry(&scene).await.code(), "lease_invalid_state");
    let because = json!({ "lease": id, "reason": "a retry has none" });
    let refused = scene.broker.operator().post_json("/v1/lease-retries", &because).await;
    assert_eq!(refused.code(), "json_invalid");
    scene.postgres.stop();
    scene.end(&json!({ "all": true })).await;
    for _ in 0..6 {
        scene.broker.end_due_leases().await;
        let retried = retry(&scene).await;
        assert_eq!((retried.status, &retried.json()["leases"]), (200, &json!(1)), "{}", retried.text());
    }
    assert!(scene.broker.entries("lease.revocation-failed").await.len() >= 6, "each at once");
    assert_eq!(scene.broker.entries("leases.retried").await.len(), 6);
    for bad in ["", "two\nlines", &"x".repeat(301)] {
        let refused = scene.lease_path(&id, "forget", &json!({ "reason": bad })).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "reason_invalid"), "{bad:?}");
    }
    let forgotten = scene.lease_path(&id, "forget", &forget).await;
    assert_eq!(forgotten.status, 200, "{}", forgotten.text());
    assert!(scene.listed().await.is_empty());
    let entry = &scene.broker.entries("alarm.lease-forgotten").await[0];
    assert_eq!(entry["reason"], "the server was scrapped");
    let entry = &entry["event"];
    assert_eq!(
        (&entry["login"], &entry["reason"], &entry["operator"]),
        (&json!(login.name()), &json!("the server was scrapped"), &json!("admin"))
    );
    let metrics = scene.broker.operator().get("/metrics").await.text();
    assert!(metrics.contains("keyward_alarms_total{alarm=\"lease_forgotten\"} 1\n"), "{metrics}");
    assert_eq!(scene.lease_path(&id, "forget", &forget).await.code(), "lease_unknown");
}
