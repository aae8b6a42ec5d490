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
    assert_eq!(entries[0]["event"]["person"], "ann.li@corp.example");
}
