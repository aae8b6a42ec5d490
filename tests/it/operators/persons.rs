//! The persons of operators and agents.

use keyward::base::limits::PERSON_CHARS_MAX;
use serde_json::{Value, json};

use super::owners::apply;
use super::{join, refused, standing};
use crate::support::broker::{Caller, Reply, TestBroker};

const ANN: &str = "Ann Li <ann@corp.example>";

fn bot(person: &str) -> String {
    format!("[[agent]]\nname = \"bot\"\nroles = []\n{person}")
}

async fn plan(by: &Caller, text: &str) -> Reply {
    by.post_json("/v1/plan", &json!({ "files": [{ "name": "a.toml", "text": text }] })).await
}

#[tokio::test]
async fn an_agents_person_is_declared_planned_shown_and_exported() {
    let mut broker = TestBroker::declared().await;
    let admin = broker.operator();
    assert_eq!(apply(&admin, &bot(&format!("person = \"{ANN}\"\n"))).await.status, 200);
    assert_eq!(admin.get("/v1/agents/bot").await.json()["person"], ANN);
    assert_eq!(plan(&admin, &bot(&format!("person = \"{ANN}\"\n"))).await.json()["changes"], json!([]));
    // A plan shows the change
    let planned = plan(&admin, &bot("person = \"bob@corp.example\"\n")).await.json();
    let value = &planned["changes"][0]["values"][0];
    assert_eq!((&value["field"], &value["from"]), (&json!("person"), &json!(ANN)));
    assert_eq!(value["to"], "bob@corp.example");
    // it survives a restart, and is exported
    broker.restart().await;
    let admin = broker.operator();
    assert_eq!(admin.get("/v1/agents/bot").await.json()["person"], ANN);
    let exported = admin.post_json("/v1/export", &json!({})).await.json();
    assert!(exported["text"].as_str().unwrap().contains(ANN), "{exported}");
    // and a declaration without a person removes it.
    assert_eq!(apply(&admin, &bot("")).await.status, 200);
    assert_eq!(admin.get("/v1/agents/bot").await.json()["person"], Value::Null);
    for wrong in [String::new(), "x".repeat(PERSON_CHARS_MAX + 1), "ann\u{202e}".to_owned()] {
        let refusal = plan(&admin, &bot(&format!("person = \"{wrong}\"\n"))).await;
        refused(&refusal, 422, "declarations_invalid");
    }
}

#[tokio::test]
async fn an_invitation_names_the_person_of_a_new_agent() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let invite = async |body: Value| admin.post_json("/v1/agents/bot/invitations", &body).await;
    let invited = json!({ "roles": ["repo-reader"], "person": ANN });
    assert_eq!(invite(invited).await.status, 201);
    assert_eq!(admin.get("/v1/agents/bot").await.json()["person"], ANN);
    assert_eq!(broker.entries("agent.invited").await[0]["event"]["person"], ANN);
    assert_eq!(invite(json!({ "roles": [], "person": ANN })).await.status, 201);
    refused(&invite(json!({ "roles": [], "person": "bob" })).await, 409, "agent_person_mismatch");
    refused(&invite(json!({ "roles": [], "person": "" })).await, 400, "person_invalid");
}

#[tokio::test]
async fn an_operators_person_is_changed_and_recorded() {
    let broker = TestBroker::declared().await;
    let mut body = standing("auditor", None);
    body["person"] = json!(ANN);
    join(&broker, "ann", &body).await;
    let admin = broker.operator();
    assert_eq!(admin.get("/v1/operators/ann").await.json()["person"], ANN);
    let profile = json!({ "networks": [], "life_s": null, "person": "ann.li@corp.example" }).to_string();
    let path = "/v1/operators/ann/profile";
    assert_eq!(admin.put(path, "application/json", profile.as_bytes()).await.status, 200);
    assert_eq!(admin.get("/v1/operators/ann").await.json()["person"], "ann.li@corp.example");
    let entries = broker.entries("operator.profile-changed").await;
    let event = &entries[0]["event"];
    assert_eq!((&event["from"]["person"], &event["person"]), (&json!(ANN), &json!("ann.li@corp.example")));
}

#[tokio::test]
async fn change_of_a_role_is_recorded_with_the_role_before() {
    let broker = TestBroker::declared().await;
    join(&broker, "ann", &standing("auditor", None)).await;
    // When an operator gets another role and another scope, and then the scope of before
    for (role, owner) in [("security", json!("payments")), ("approver", json!(null))] {
        let body = json!({ "role": role, "owner": owner }).to_string();
        let path = "/v1/operators/ann/role";
        let placed = broker.operator().put(path, "application/json", body.as_bytes()).await;
        assert_eq!(placed.status, 200, "{}", placed.text());
    }
    // Then each entry has the role and the scope before, and those from here on
    let entries = broker.entries("operator.placed").await;
    let of = |at: usize| {
        let event = &entries[at]["event"];
        (event["from"].clone(), event["role"].clone(), event["owner"].clone())
    };
    assert_eq!(of(0), (json!({ "role": "auditor" }), json!("security"), json!("payments")));
    let before = json!({ "role": "security", "owner": "payments" });
    assert_eq!(of(1), (before, json!("approver"), json!(null)));
}
