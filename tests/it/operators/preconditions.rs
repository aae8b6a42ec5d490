//! What a change and an invitation of an operator require of the operator that exists.

use keyward::base::limits::{
    OPERATOR_LIFE_MIN_S, OPERATOR_NETWORK_V4_PREFIX_MIN, OPERATOR_NETWORK_V6_PREFIX_MIN, SERVICE_LIFE_MAX_S,
    SERVICE_LIFE_S,
};
use serde_json::{Value, json};

use super::{HERE, change, invite, join, post, profile, refused, renewed, standing};
use crate::support::broker::{Caller, Reply, TestBroker};

const WIDE: &str = "127.0.0.0/8";
const NARROW: &str = "127.0.0.0/16";

fn service(networks: &[&str]) -> Value {
    json!({ "kind": "service", "networks": networks, "life_s": SERVICE_LIFE_MAX_S })
}

async fn place(by: &Caller, name: &str, body: &Value) -> Reply {
    let (path, body) = (format!("/v1/operators/{name}/role"), body.to_string());
    by.put(&path, "application/json", body.as_bytes()).await
}

#[tokio::test]
async fn profile_that_changed_since_it_was_read_is_refused() {
    // Given two admins who read the profile of a service
    let broker = TestBroker::declared().await;
    join(&broker, "prometheus", &service(&[WIDE])).await;
    let admin = broker.operator();
    let read = json!({ "networks": [WIDE], "life_s": SERVICE_LIFE_MAX_S, "person": null });
    let changed = |networks: &[&str], person: Value| json!({ "networks": networks, "life_s": SERVICE_LIFE_MAX_S, "person": person, "expected": read });
    // When one narrows its networks
    assert_eq!(change(&admin, "prometheus", &changed(&[NARROW], json!(null))).await.status, 200);
    // Then the other one does not undo this with a change of the person.
    let late = change(&admin, "prometheus", &changed(&[WIDE], json!("ann@corp.example"))).await;
    refused(&late, 409, "operator_profile_mismatch");
    let text = late.text();
    assert!(text.contains("since the caller read it") && text.contains("keyward operator show"), "{text}");
    let now = broker.operator().get("/v1/operators/prometheus").await.json();
    assert_eq!((&now["networks"], &now["person"]), (&json!([NARROW]), &Value::Null));
    for (field, other) in [("life_s", json!(OPERATOR_LIFE_MIN_S)), ("person", json!("bob"))] {
        let mut expected = json!({ "networks": [NARROW], "life_s": SERVICE_LIFE_MAX_S, "person": null });
        expected[field] = other;
        let mut body = profile(&[NARROW]);
        body["expected"] = expected;
        refused(&change(&admin, "prometheus", &body).await, 409, "operator_profile_mismatch");
    }
}

#[tokio::test]
async fn role_that_changed_since_it_was_read_is_refused() {
    let broker = TestBroker::declared().await;
    join(&broker, "alice", &standing("admin", None)).await;
    let admin = broker.operator();
    let read = json!({ "role": "admin", "owner": null });
    let body = |role: &str, owner: Option<&str>| json!({ "role": role, "owner": owner, "expected": read });
    // When one admin limits the scope, then another one does not undo this with a change of the role.
    assert_eq!(place(&admin, "alice", &body("admin", Some("team"))).await.status, 200);
    refused(&place(&admin, "alice", &body("security", None)).await, 409, "operator_role_mismatch");
    let now = admin.get("/v1/operators/alice").await.json();
    assert_eq!((&now["role"], &now["owner"]), (&json!("admin"), &json!("team")));
}

#[tokio::test]
async fn operator_is_bound_to_no_network_of_all_addresses() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let (v4, v6) = (OPERATOR_NETWORK_V4_PREFIX_MIN, OPERATOR_NETWORK_V6_PREFIX_MIN);
    assert_eq!(invite(&admin, "a", &service(&[HERE, &format!("2001::/{v6}")])).await.status, 201);
    for wide in ["0.0.0.0/0", "::/0", &format!("10.0.0.0/{}", v4 - 1), &format!("2000::/{}", v6 - 1)] {
        for reply in
            [invite(&admin, "b", &service(&[HERE, wide])).await, change(&admin, "a", &profile(&[wide])).await]
        {
            refused(&reply, 400, "operator_profile_invalid");
            assert!(reply.text().contains(wide) && reply.text().contains("too wide"), "{}", reply.text());
        }
    }
}

#[tokio::test]
async fn service_can_be_narrowed_after_the_limit_of_lives_was_lowered() {
    // Given a service with a longer life than the setting allows now
    let mut broker = TestBroker::declared().await;
    let old = join(&broker, "prometheus", &service(&[WIDE])).await;
    broker.stop().await;
    broker.config.certificates.service_life_s = SERVICE_LIFE_S;
    broker.serve().await;
    let admin = broker.operator();
    // When its networks or its role are narrowed, then this is possible
    let body = json!({ "networks": [NARROW], "life_s": SERVICE_LIFE_MAX_S, "person": null });
    assert_eq!(change(&admin, "prometheus", &body).await.status, 200);
    assert_eq!(place(&admin, "prometheus", &standing("auditor", None)).await.status, 200);
    // and its next certificate has the life of the setting, which an invitation says
    let invited = invite(&admin, "prometheus", &json!({})).await;
    assert_eq!((invited.status, &invited.json()["certificate_life_s"]), (201, &json!(SERVICE_LIFE_S)));
    let held = Caller { address: broker.admins(), config: old.caller.config.clone() };
    let next = renewed(&broker, &super::Operator { caller: held, ..old }).await;
    assert_eq!(super::life_s(&next), SERVICE_LIFE_S);
    // and another life beyond the setting is refused.
    let body = json!({ "networks": [NARROW], "life_s": SERVICE_LIFE_MAX_S - 1, "person": null });
    refused(&change(&admin, "prometheus", &body).await, 400, "operator_profile_invalid");
}

#[tokio::test]
async fn suspended_agent_and_operator_are_not_invited() {
    // Given an agent and an operator that were suspended and then revoked
    let broker = TestBroker::declared().await;
    broker.agent("a", &["repo-reader"]).await;
    join(&broker, "alice", &standing("security", None)).await;
    let admin = broker.operator();
    for (noun, code) in [("agents/a", "agent_suspended"), ("operators/alice", "operator_suspended")] {
        for verb in ["suspend", "revoke"] {
            assert_eq!(post(&admin, &format!("/v1/{noun}/{verb}")).await.status, 200);
        }
        // When it is invited, then this is refused with the way out, which helps.
        let path = format!("/v1/{noun}/invitations");
        let body = if noun.starts_with("agents") { json!({ "roles": [] }) } else { json!({}) };
        let reply = admin.post_json(&path, &body).await;
        refused(&reply, 409, code);
        assert!(reply.text().contains(" resume "), "{}", reply.text());
        assert_eq!(post(&admin, &format!("/v1/{noun}/resume")).await.status, 200);
        assert_eq!(admin.post_json(&path, &body).await.status, 201);
    }
}
