//! What is wrong with an upstream is named: before the first rotation, and when one fails.

use serde_json::{Value, json};

use super::{BY_ADMIN, BY_ITSELF, BYTES, Scene, declared};
use crate::support::broker::Reply;
use crate::support::postgres::Shown;
use crate::support::webhook::Webhook;

async fn checked(scene: &Scene) -> Value {
    let reply = scene.broker.operator().post_json("/v1/rotation-checks/orders-db/app", &json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// What was looked at, and whether it was good.
fn verdicts(check: &Value) -> Vec<(String, bool)> {
    let findings = check["findings"].as_array().unwrap();
    let verdict = |one: &Value| (one["what"].as_str().unwrap().to_owned(), one["ok"] == true);
    findings.iter().map(verdict).collect()
}

fn all(what: &[(&str, bool)]) -> Vec<(String, bool)> {
    what.iter().map(|(what, ok)| ((*what).to_owned(), *ok)).collect()
}

#[tokio::test]
async fn a_check_names_the_fault_of_each_certificate() {
    let mut scene = Scene::start("", BY_ADMIN).await;
    let good = checked(&scene).await;
    let whole = [("connection", true), ("role", true), ("privilege", true), ("value", true)];
    assert_eq!((good["ok"] == true, verdicts(&good)), (true, all(&whole)));
    for (shown, says) in [
        (Shown::UnknownAuthority, "not issued by any authority in the declared `ca`"),
        (Shown::CaOfItsOwn, "CA:TRUE"),
        (Shown::NoNames, "no subject alternative name"),
        (Shown::OtherName, "for other names"),
        (Shown::Expired, "has expired"),
        (Shown::NotYetValid, "is not valid yet"),
        (Shown::ForClients, "serverAuth"),
    ] {
        scene.postgres.show(shown);
        let applied = scene.broker.apply(&declared(&scene.postgres, "", BY_ADMIN)).await;
        assert_eq!(applied.status, 200, "{shown:?}: {}", applied.text());
        let check = checked(&scene).await;
        assert_eq!(verdicts(&check), all(&[("connection", false)]), "{shown:?}");
        let found = check["findings"][0]["says"].as_str().unwrap();
        assert!(found.contains(says), "{shown:?}: {found}");
        assert!(check["findings"][0]["fix"].is_string());
    }
    assert!(scene.shown().await["run"].is_null(), "nothing began");
    assert_eq!(scene.postgres.log().matches("ALTER ROLE").count(), 0, "nothing was changed");
    let entry = &scene.broker.entries("rotation.attempted").await[0]["event"];
    assert_eq!((&entry["step"], &entry["operator"]), (&json!("check"), &json!("admin")), "{entry}");
}

#[tokio::test]
async fn a_failed_rotation_shows_and_records_the_fault_of_the_certificate() {
    let mut scene = Scene::start("", BY_ADMIN).await;
    scene.postgres.show(Shown::CaOfItsOwn);
    scene.broker.apply(&declared(&scene.postgres, "", BY_ADMIN)).await;
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    let trouble = scene.shown().await["run"]["trouble"].clone();
    assert_eq!(
        (&trouble["code"], &trouble["detail"]),
        (&json!("upstream_handshake_failed"), &json!("ca_used_as_server_certificate"))
    );
    assert!(trouble["reason"].as_str().unwrap().contains("CA:TRUE"), "{trouble}");
    let failed = scene.broker.entries("rotation.failed").await;
    assert_eq!(failed[0]["event"]["upstream"], "ca_used_as_server_certificate");
    assert_eq!(failed[0]["event"]["logins"], "login `app`, set by `keyward_admin`");
    assert_eq!(scene.shown().await["logins"], "login `app`, set by `keyward_admin`");
}

#[tokio::test]
async fn a_check_finds_what_is_missing_at_the_server() {
    let scene = Scene::start("", BY_ADMIN).await;
    scene.postgres.sql("CREATE ROLE clerk LOGIN PASSWORD 'clerk-password'");
    let operator = scene.broker.operator();
    operator.put("/v1/secrets/orders-db/clerk", BYTES, b"clerk-password").await;
    let by_clerk = "role = \"app\"\nadmin_role = \"clerk\"\nadmin_secret = \"orders-db/clerk\"";
    for (upstream, found) in [
        (
            by_clerk.to_owned(),
            vec![("connection", true), ("role", true), ("privilege", false), ("value", true)],
        ),
        (by_clerk.replace("orders-db/clerk", "orders-db/app"), vec![("connection", false)]),
        (
            BY_ADMIN.replace("\"app\"", "\"nobody\""),
            vec![("connection", true), ("role", false), ("value", true)],
        ),
        (
            BY_ADMIN.replace("\"app\"", "\"pg_monitor\""),
            vec![("connection", true), ("role", false), ("privilege", true), ("value", true)],
        ),
        (
            BY_ITSELF.to_owned(),
            vec![("connection", true), ("role", true), ("privilege", true), ("value", true)],
        ),
    ] {
        // It is tried before it is applied.
        let text = declared(&scene.postgres, "", &upstream);
        let asked = json!({ "files": [{ "name": "a.toml", "text": text }] });
        let reply: Reply = operator.post_json("/v1/plan-checks/orders-db/app", &asked).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let check = reply.json();
        let found = all(&found);
        assert_eq!(verdicts(&check), found, "{upstream}: {check}");
        assert_eq!(check["ok"] == true, found.iter().all(|(_, ok)| *ok));
    }
    let asked = json!({ "files": [{ "name": "a.toml", "text": "" }] });
    let reply = operator.post_json("/v1/plan-checks/orders-db/app", &asked).await;
    assert_eq!(reply.code(), "rotation_unknown");
}

#[tokio::test]
async fn a_check_of_two_roles_names_a_missing_right_to_end_sessions() {
    let scene = Scene::start("every = \"30d\"\ngrace = \"2h\"", super::IN_TURN).await;
    scene.postgres.sql("CREATE ROLE app_b LOGIN");
    scene.postgres.has_administered("app_b");
    let sessions = async |is_good: bool| {
        let check = checked(&scene).await;
        let findings = check["findings"].as_array().unwrap().clone();
        let found: Vec<Value> = findings.into_iter().filter(|one| one["what"] == "sessions").collect();
        assert_eq!((found.len(), check["ok"] == true), (2, is_good), "{check}");
        found
    };
    sessions(true).await;
    // An administering role with the rights of both roles needs no other right
    scene.postgres.sql("REVOKE pg_signal_backend FROM keyward_admin");
    sessions(true).await;
    scene.postgres.sql("ALTER ROLE keyward_admin NOINHERIT");
    let found = sessions(false).await;
    assert!(found[1]["says"].as_str().unwrap().contains("cannot end the sessions of `app_b`"), "{found:?}");
    assert_eq!(found[1]["fix"], "ALTER ROLE keyward_admin INHERIT; GRANT pg_signal_backend TO keyward_admin");
}

#[tokio::test]
async fn a_value_without_the_form_for_two_roles_is_refused() {
    // Given a secret with the password of one role
    let scene = Scene::start("", BY_ADMIN).await;
    let operator = scene.broker.operator();
    let text = declared(&scene.postgres, "every = \"30d\"\ngrace = \"2h\"", super::IN_TURN);
    // When a rotation with two roles is applied, then the apply is refused, and a check says why
    let refused = scene.broker.apply(&text).await;
    crate::refusals::refused(&refused, 422, "declarations_invalid");
    let why = "the current value of secret `orders-db/app` has another form";
    assert!(refused.text().contains(why) && refused.text().contains("app_b"), "{}", refused.text());
    let asked = json!({ "files": [{ "name": "a.toml", "text": text }] });
    let check = operator.post_json("/v1/plan-checks/orders-db/app", &asked).await.json();
    let value = check["findings"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&value["what"], &value["ok"]), (&json!("value"), &json!(false)), "{check}");
    assert!(value["says"].as_str().unwrap().contains("has another form"), "{check}");
    assert!(!refused.text().contains("CNRY") && !check.to_string().contains("CNRY"));
    // When a value of the form is stored, then the rotation is applied
    let named = |user: &str| json!({ "username": user, "password": super::FIRST }).to_string();
    operator.put("/v1/secrets/orders-db/app", BYTES, named("app").as_bytes()).await;
    let applied = scene.broker.apply(&text).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    // And from then on no value of another form is stored
    for wrong in ["password", &named("nobody")] {
        let put = operator.put("/v1/secrets/orders-db/app", BYTES, wrong.as_bytes()).await;
        assert_eq!((put.status, put.code().as_str()), (400, "rotated_value_invalid"), "{}", put.text());
        assert!(put.text().contains("`app` or `app_b`"), "{}", put.text());
    }
    assert_eq!(operator.put("/v1/secrets/orders-db/app", BYTES, named("app_b").as_bytes()).await.status, 201);
}

#[tokio::test]
async fn a_check_of_a_service_names_the_fault_of_its_certificate() {
    let service = Webhook::start_as(super::http_driver::FIRST, &["billing.example"]);
    let broker = crate::support::broker::TestBroker::start_with(super::LOOPBACK).await;
    for name in ["billing/key", "billing/admin"] {
        broker.operator().put(&format!("/v1/secrets/{name}"), BYTES, b"CNRY-value").await;
    }
    let text = super::http_driver::declared("", &service.applying());
    assert_eq!(broker.apply(&text).await.status, 200);
    let check = broker.operator().post_json("/v1/rotation-checks/billing/key", &json!({})).await.json();
    assert!(check["findings"][0]["says"].as_str().unwrap().contains("for other names"), "{check}");
    assert!(service.heard("PUT").is_empty());
}

#[tokio::test]
async fn check_fails_if_a_rotated_value_does_not_work_any_more() {
    let scene = Scene::start("", BY_ADMIN).await;
    let value = |check: &Value| {
        let findings = check["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["what"] == "value").unwrap().clone()
    };
    // Given a value that no rotation has set: the first one replaces it
    scene.postgres.sql("ALTER ROLE app PASSWORD 'of-another-program'");
    let check = checked(&scene).await;
    assert_eq!(check["ok"], true, "{check}");
    assert_eq!(value(&check)["fix"], "rotate it now: `keyward secret rotate orders-db/app`", "{check}");
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    assert_eq!(checked(&scene).await["ok"], true);
    // When another program changes the rotated value
    scene.postgres.sql("ALTER ROLE app PASSWORD 'of-another-program'");
    // Then the check fails, also before a change of the declaration
    let check = checked(&scene).await;
    assert_eq!((&check["ok"], &value(&check)["ok"]), (&json!(false), &json!(false)), "{check}");
    assert!(
        value(&check)["fix"].as_str().unwrap().contains("keyward rotation adopt orders-db/app"),
        "{check}"
    );
    let text = declared(&scene.postgres, "every = \"30d\"", BY_ADMIN);
    let asked = json!({ "files": [{ "name": "a.toml", "text": text }] });
    let planned = scene.broker.operator().post_json("/v1/plan-checks/orders-db/app", &asked).await.json();
    assert_eq!(planned["ok"], false, "{planned}");
}

#[tokio::test]
async fn stored_value_of_a_rotated_secret_names_the_upstream() {
    let scene = Scene::start("", BY_ADMIN).await;
    let stored = scene.broker.operator().put("/v1/secrets/orders-db/app", BYTES, b"by-hand").await;
    assert!(stored.json()["upstream"].as_str().unwrap().starts_with("postgresql at "), "{}", stored.text());
    let other = scene.broker.operator().put("/v1/secrets/orders-db/other", BYTES, b"by-hand").await;
    assert!(other.json()["upstream"].is_null(), "{}", other.text());
}
