//! What a containment concerns beside the credentials that bear the name of its subject: codes that an operator made, and
//! certificates that are used from a network.

use serde_json::{Value, json};

use super::{contained, operator};
use crate::operators::{invite, join, standing};
use crate::support::broker::{Caller, TestBroker};

async fn preview(by: &Caller, subject: &Value) -> Value {
    let reply = by.post_json("/v1/incident-previews", &json!({ "subject": subject })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn reach(by: &Caller, incident: &str) -> Value {
    by.get(&format!("/v1/incidents/{incident}")).await.json()["reach"].clone()
}

#[tokio::test]
async fn codes_that_an_operator_made_are_counted_with_it() {
    // Given an admin that made a code for an agent and one for another operator
    let broker = TestBroker::declared().await;
    let (admin, alice) = (broker.operator(), join(&broker, "alice", &standing("admin", None)).await.caller);
    let body = json!({ "roles": ["publisher"] });
    assert_eq!(alice.post_json("/v1/agents/bot/invitations", &body).await.status, 201);
    let eve = invite(&alice, "eve", &standing("auditor", None)).await;
    assert_eq!(eve.status, 201, "{}", eve.text());
    // When a containment of the admin is previewed, then both codes are counted
    let subject = operator("alice");
    let before = preview(&admin, &subject).await;
    assert_eq!((&before["reach"]["enrolment_codes"], &before["reach"]["accepted"]), (&json!(2), &json!(3)));
    assert_eq!(before.get("spares_caller"), None);
    // And the containment revokes them
    let incident = contained(&admin, subject).await;
    let after = reach(&admin, &incident).await;
    assert_eq!((&after["enrolment_codes"], &after["accepted"]), (&json!(2), &json!(0)), "{after}");
}

#[tokio::test]
async fn a_network_names_the_operators_that_connect_from_it() {
    // Given an operator that enrolled elsewhere, and connects from a network
    let broker = TestBroker::declared().await;
    let (admin, alice) = (broker.operator(), join(&broker, "alice", &standing("admin", None)).await.caller);
    let network = json!({ "kind": "network", "name": "127.0.0.7/32" });
    assert_eq!(preview(&admin, &network).await["reach"]["operators"]["count"], 0);
    let mut connection = alice.connect_from([127, 0, 0, 7]).await.unwrap();
    assert_eq!(connection.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    drop(connection);
    // When its containment is previewed, then the operator is named, and the caller is not concerned
    let before = preview(&admin, &network).await;
    assert_eq!(before["reach"]["operators"]["names"], json!(["alice"]), "{before}");
    assert_eq!((&before["reach"]["accepted"], before.get("spares_caller")), (&json!(1), None));
    let own = preview(&admin, &json!({ "kind": "network", "name": "127.0.0.0/8" })).await;
    assert_eq!(own["spares_caller"], true, "{own}");
    // And after the containment the certificate is not accepted from there
    let incident = contained(&admin, network).await;
    let after = reach(&admin, &incident).await;
    assert_eq!((&after["operators"]["names"], &after["accepted"]), (&json!(["alice"]), &json!(0)), "{after}");
}
