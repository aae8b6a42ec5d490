//! Every refused request of an operator is on the ledger, with its object if that exists.

use serde_json::{Value, json};

use super::owners::apply;
use super::{join, post, refused, standing, teams};
use crate::support::broker::{Caller, Reply, TestBroker};
use crate::support::process::Process;

async fn contain(by: &Caller, subject: Value) -> Reply {
    by.post_json("/v1/incidents", &json!({ "subject": subject, "reason": "a drill" })).await
}

/// Right, code and object of an entry.
fn told(entry: &Value) -> [String; 3] {
    ["right", "code", "subject"].map(|field| entry["event"][field].as_str().unwrap_or("-").to_owned())
}

/// Hazard POL-08.
#[tokio::test]
async fn every_refusal_of_an_operator_is_recorded_with_its_object() {
    // Given two teams, each with an admin
    let (broker, _red, blue) = teams().await;
    // When one asks for what it may not do, or for objects of the other, then each refusal has an entry
    refused(&contain(&blue, json!({ "kind": "everything" })).await, 403, "operator_scope_insufficient");
    refused(&contain(&blue, json!({ "kind": "agent", "name": "red-bot" })).await, 404, "subject_unknown");
    refused(&contain(&blue, json!({ "kind": "agent", "name": "none-bot" })).await, 404, "subject_unknown");
    let headers = [("content-type", "application/octet-stream"), ("keyward-owner", "red")];
    let put = blue.send("PUT", "/v1/secrets/red/app", &headers, b"value").await;
    refused(&put, 403, "operator_scope_insufficient");
    refused(&post(&blue, "/v1/secret-deletions/red/app").await, 404, "secret_unknown");
    refused(&post(&blue, "/v1/agents/red-bot/revoke").await, 404, "subject_unknown");
    refused(&post(&blue, "/v1/operators/admin/revoke").await, 403, "operator_scope_insufficient");
    refused(&post(&broker.operator(), "/v1/operators/admin/revoke").await, 409, "last_admin");
    let entries = broker.entries("operator.denied").await;
    let expected = [
        ["handle-incidents", "operator_scope_insufficient", "everything"],
        ["handle-incidents", "subject_unknown", "agent/red-bot"],
        ["handle-incidents", "subject_unknown", "-"],
        ["store-secrets", "operator_scope_insufficient", "secret/red/app"],
        ["store-secrets", "secret_unknown", "secret/red/app"],
        ["contain", "subject_unknown", "agent/red-bot"],
        ["contain-operators", "operator_scope_insufficient", "operator/admin"],
        ["contain-operators", "last_admin", "operator/admin"],
    ];
    let told: Vec<[String; 3]> = entries.iter().map(told).collect();
    assert_eq!(told, expected, "{entries:?}");
    // Then the entries do not tell the refused operator which objects exist
    let seen = blue.get("/v1/ledger/entries?kind=operator.denied").await.json();
    let items = seen["items"].as_array().unwrap();
    assert_eq!(items.len(), 7, "{seen}");
    assert!(items.iter().all(|item| item["event"].get("subject").is_none()), "{seen}");
    // And the order of the fields is that of an entry without an object
    let last = |item: &Value| item["event"].as_object().unwrap().keys().next_back().cloned();
    assert!(items.iter().all(|item| last(item).as_deref() == Some("connection")), "{seen}");
}

#[tokio::test]
async fn declarations_with_names_of_another_owner_leave_an_entry() {
    // Given two teams
    let (broker, red, _) = teams().await;
    let role = |name: &str| format!("[[role]]\nname = \"{name}\"\ncapabilities = []\n");
    // When one declares a name of the other, then the refusal has an entry, of the application and of the plan
    refused(&apply(&red, &role("blue-reader")).await, 422, "declarations_invalid");
    let files = json!({ "files": [{ "name": "a.toml", "text": role("blue-reader") }] });
    refused(&red.post_json("/v1/plan", &files).await, 422, "declarations_invalid");
    // And an error of another kind has none
    refused(&apply(&red, "[[role]]\nname = \"red-x\"\n").await, 422, "declarations_invalid");
    let told: Vec<[String; 3]> = broker.entries("operator.denied").await.iter().map(told).collect();
    assert_eq!(
        told,
        [["declare", "declarations_invalid", "-"], ["plan-declarations", "declarations_invalid", "-"]]
    );
}

#[tokio::test]
async fn codes_and_generations_of_keys_are_objects_of_refusals() {
    // Given an auditor, an enrolment code, and the first generations of the keys
    let broker = TestBroker::declared().await;
    let auditor = join(&broker, "eve", &standing("auditor", None)).await.caller;
    let code = broker.invite("orders-bot", &["publisher"]).await.id.to_string();
    let absent = format!("code_{}", "0".repeat(26));
    // When it asks for what it may not do to them
    for path in [
        format!("/v1/enrolment-codes/{code}/revoke"),
        format!("/v1/enrolment-codes/{absent}/revoke"),
        format!("/v1/leases/lease_{}/forget", "0".repeat(26)),
        "/v1/authorities/1/taint".to_owned(),
        "/v1/token-keys/1/revoke".to_owned(),
        "/v1/token-keys/9/revoke".to_owned(),
    ] {
        refused(&post(&auditor, &path).await, 403, "operator_role_insufficient");
    }
    // Then the entries name those that exist
    let entries = broker.entries("operator.denied").await;
    let subjects: Vec<String> = entries.iter().map(|entry| told(entry)[2].clone()).collect();
    assert_eq!(subjects, [&format!("code/{code}"), "-", "-", "authority/1", "token-key/1", "-"]);
}

#[test]
fn a_hint_of_a_command_asks_for_nothing_that_is_refused() {
    // Given an admin of the owner `payments`
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"value");
    let invite = ["operator", "invite", "bob", "--role", "admin", "--owner", "payments"];
    let code = process.good(&invite, b"");
    process.good_as("bob", &["join"], &code);
    // When it names another owner, then the one entry is about the request itself, and no note guesses
    let put = process.run_as("bob", &["secret", "put", "bad/x", "--owner", "other"], b"value");
    let said = String::from_utf8_lossy(&put.stderr).into_owned();
    assert!(!put.status.success() && said.contains("operator_scope_insufficient"), "{said}");
    assert!(!said.contains("note: no object"), "{said}");
    let denied = process.json(&["audit", "list", "--kind", "operator.denied"]);
    let rights: Vec<&Value> =
        denied["items"].as_array().unwrap().iter().map(|one| &one["event"]["right"]).collect();
    assert_eq!(rights, ["store-secrets"], "{denied}");
    // And the log line of the refusal names the operator
    let log = process.log();
    assert!(log.lines().any(|line| line.contains("refused") && line.contains("bob")), "{log}");
    // When the certificate is revoked, then a look-up that failed says nothing
    process.good(&["operator", "revoke", "bob"], b"");
    let put = process.run_as("bob", &["secret", "put", "bad/x", "--owner", "other"], b"value");
    let said = String::from_utf8_lossy(&put.stderr).into_owned();
    assert!(said.contains("certificate_revoked") && !said.contains("note: no object"), "{said}");
}
