//! Leases that operators have end later.

use serde_json::{Value, json};

use super::{BY_ADMIN, Login, Scene, declared};
use crate::operators::{join, refused};
use crate::support::broker::{Caller, Reply};

async fn extend(by: &Caller, login: &Login, body: &Value) -> Reply {
    by.post_json(&format!("/v1/leases/{}/renew", login.id()), body).await
}

#[tokio::test]
async fn an_operator_extends_a_lease_upstream_and_on_the_ledger() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({ "life_s": 3600 })).await;
    let admin = scene.broker.operator();
    scene.broker.clock.advance_s(3000);
    let renewed = extend(&admin, &login, &json!({ "life_s": 7200 })).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let until = renewed.json()["expires_at"].as_str().unwrap().to_owned();
    let known = format!("SELECT rolvaliduntil = '{until}' FROM pg_roles WHERE rolname = '{}'", login.name());
    assert_eq!(scene.postgres.sql(&known), "t");
    for kind in ["lease.renewal-attempted", "lease.renewed"] {
        let event = &scene.broker.entries(kind).await[0]["event"];
        assert_eq!((&event["operator"], &event["agent"]), (&"admin".into(), &"orders-bot".into()), "{kind}");
        assert_eq!(event["expires_at"], *until);
    }
    scene.broker.clock.advance_s(7000);
    scene.broker.end_due_leases().await;
    assert!(scene.lets_in(&login), "beyond its first end");
    // Never beyond what its capability allows, and that is said.
    let last = extend(&admin, &login, &json!({ "life_s": 7200 })).await.json();
    assert_eq!(last["expires_at"], last["renewable_until"]);
    assert!(last["constrained"][0].as_str().unwrap().contains("the capability"), "{last}");
    refused(&extend(&admin, &login, &json!({})).await, 409, "lease_max_life_reached");
    // The agent's own wish says no operator.
    let other = scene.lease(&json!({ "fresh": true })).await;
    assert_eq!(scene.act(&other, "renew", &json!({ "life_s": 4000 })).await.status, 200);
    assert_eq!(scene.broker.entries("lease.renewed").await.last().unwrap()["event"]["operator"], Value::Null);
}

#[tokio::test]
async fn an_operator_gets_no_more_out_of_a_lease_than_its_holder_could() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let admin = scene.broker.operator();
    refused(&extend(&admin, &login, &json!({ "life_s": 59 })).await, 400, "lease_life_too_short");
    assert_eq!(extend(&admin, &login, &json!({ "life_s": 60 })).await.status, 200, "the twin");
    let nobodys = Login(json!({ "lease": format!("lease_{}", "0".repeat(26)) }));
    refused(&extend(&admin, &nobodys, &json!({})).await, 404, "lease_unknown");
    let suspended = admin.post_json("/v1/agents/orders-bot/suspend", &json!({})).await;
    assert_eq!(suspended.status, 200, "{}", suspended.text());
    refused(&extend(&admin, &login, &json!({ "life_s": 7200 })).await, 409, "lease_not_active");
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&login));
    assert!(scene.broker.entries("lease.renewed").await.len() == 1, "nothing was told upstream");
}

#[tokio::test]
async fn only_an_admin_whose_reach_a_lease_is_in_has_it_end_later() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let join = async |name: &str, role: &str, owner: Option<&str>| {
        join(&scene.broker, name, &json!({ "role": role, "owner": owner })).await.caller
    };
    refused(
        &extend(&join("sec", "security", None).await, &login, &json!({})).await,
        403,
        "operator_role_insufficient",
    );
    let theirs = join("theirs", "admin", Some("payments")).await;
    refused(&extend(&theirs, &login, &json!({})).await, 404, "lease_unknown");
    let owned =
        declared(&scene.postgres, 10, BY_ADMIN).replace("max_life_s", "owner = \"payments\"\nmax_life_s");
    assert_eq!(scene.broker.apply(&owned).await.status, 200);
    let renewed = extend(&theirs, &login, &json!({ "life_s": 4000 })).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
}
