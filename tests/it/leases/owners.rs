//! How far operators reach who are bound to an owner.

use serde_json::json;

use super::{BY_ADMIN, Scene, declared};
use crate::operators::join;

#[tokio::test]
async fn an_operator_sees_and_ends_leases_of_its_owner_and_of_nobody_else() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let bound = json!({ "role": "security", "owner": "payments" });
    let theirs = join(&scene.broker, "theirs", &bound).await.caller;
    let page = theirs.get("/v1/leases").await;
    assert_eq!((page.status, &page.json()["items"]), (200, &json!([])), "{}", page.text());
    for (body, code) in [
        (json!({ "lease": login.id() }), "lease_unknown"),
        (json!({ "agent": "orders-bot" }), "agent_unknown"),
        (json!({ "capability": "orders.query" }), "capability_unknown"),
    ] {
        assert_eq!(theirs.post_json("/v1/lease-endings", &body).await.code(), code);
    }
    let ended = theirs.post_json("/v1/lease-endings", &json!({ "all": true })).await;
    assert_eq!(ended.json()["leases"], 0, "{}", ended.text());
    let owned =
        declared(&scene.postgres, 10, BY_ADMIN).replace("max_life_s", "owner = \"payments\"\nmax_life_s");
    assert_eq!(scene.broker.apply(&owned).await.status, 200);
    assert_eq!(theirs.get("/v1/leases").await.json()["items"][0]["lease"], login.id());
    let ended = theirs.post_json("/v1/lease-endings", &json!({ "all": true })).await;
    assert_eq!(ended.json()["leases"], 1, "{}", ended.text());
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&login));
}
