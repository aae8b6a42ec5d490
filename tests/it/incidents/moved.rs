//! Changes of declarations and operators after a containment: what was issued before them stays revoked.

use keyward::pki::{EnrolmentCode, new_key_and_request};
use serde_json::{Value, json};

use super::{agent, contained, lift};
use crate::operators::{code_for, invite, join, redeem, refused, standing};
use crate::support::broker::{Agent, Caller, TestBroker};

/// Declarations in which the agent has another role with the same capability.
const OTHER_ROLE: &str = "
[[role]]
name = \"other-reader\"
capabilities = [\"github.repo.read\"]

[[agent]]
name = \"reader\"
roles = [\"other-reader\"]
owner = \"blue\"
";

fn owned(owner: &str, roles: &str) -> String {
    format!("[[agent]]\nname = \"reader\"\nroles = [{roles}]\nowner = \"{owner}\"\n")
}

/// A broker with an agent of the owner `blue` that reads a secret.
async fn with_reader() -> (TestBroker, Agent) {
    let broker = TestBroker::declared().await;
    apply(&broker, &owned("blue", "\"repo-reader\"")).await;
    let reader = broker.agent("reader", &[]).await;
    (broker, reader)
}

async fn apply(broker: &TestBroker, text: &str) {
    let reply = broker.apply(text).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn reads(reader: &Agent, token: &str) -> bool {
    reader.secret("github/app", token).await.status == 200
}

#[tokio::test]
async fn a_token_stays_revoked_when_its_agent_gets_another_role() {
    let (broker, reader) = with_reader().await;
    let token = reader.token("github.repo.read").await;
    assert!(reads(&reader, &token).await);
    // Given the containment of the role that the token was issued under
    let incident = contained(&broker.operator(), json!({ "kind": "role", "name": "repo-reader" })).await;
    assert!(!reads(&reader, &token).await);
    // When the agent gets another role with the same capability, then the token stays revoked
    apply(&broker, OTHER_ROLE).await;
    assert!(!reads(&reader, &token).await);
    // And a new token is under the new role only
    let later = reader.token("github.repo.read").await;
    assert!(reads(&reader, &later).await);
    assert_eq!(lift(&broker.operator(), &incident).await.status, 200);
    assert!(!reads(&reader, &token).await, "also after the lift");
    assert!(reads(&reader, &later).await);
}

#[tokio::test]
async fn a_former_role_contained_later_revokes_its_tokens() {
    let (mut broker, reader) = with_reader().await;
    let token = reader.token("github.repo.read").await;
    // Given an agent that lost the role that its token was issued under
    apply(&broker, OTHER_ROLE).await;
    assert!(reads(&reader, &token).await);
    let later = reader.token("github.repo.read").await;
    // When the role is contained, then this token is revoked, and a later one is not
    contained(&broker.operator(), json!({ "kind": "role", "name": "repo-reader" })).await;
    assert!(!reads(&reader, &token).await && reads(&reader, &later).await);
    // And also after a restart, with a snapshot
    broker.take_snapshot().await;
    broker.restart().await;
    let caller = broker.caller(broker.agents(), Some(&reader.certificate), Some(&reader.key));
    let reader = Agent { caller, ..reader };
    assert!(!reads(&reader, &token).await && reads(&reader, &later).await);
}

#[tokio::test]
async fn tokens_and_codes_stay_revoked_when_the_owner_changes() {
    let (broker, reader) = with_reader().await;
    let (token, code) = (reader.token("github.repo.read").await, broker.invite("reader", &[]).await);
    // Given the containment of the owner
    let incident = contained(&broker.operator(), json!({ "kind": "owner", "name": "blue" })).await;
    assert!(reader.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    // When the agent gets another owner
    apply(&broker, &owned("red", "\"repo-reader\"")).await;
    // Then what was issued before stays revoked, and the agent is not contained any more
    let (_, request) = new_key_and_request().unwrap();
    refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
    assert!(!reads(&reader, &token).await);
    let later = reader.token("github.repo.read").await;
    assert!(reads(&reader, &later).await);
    assert_eq!(lift(&broker.operator(), &incident).await.status, 200);
    assert!(!reads(&reader, &token).await);
    refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
}

#[tokio::test]
async fn a_token_stays_revoked_when_its_capability_changes() {
    let (broker, reader) = with_reader().await;
    let admin = broker.operator();
    let stored = admin.put("/v1/secrets/github/other", "application/octet-stream", b"other").await;
    assert_eq!(stored.status, 201);
    let capability = |owner: &str, secret: &str| {
        format!(
            "[[capability]]\nname = \"github.repo.read\"\naccess = \"read\"\ndelivery = \"reveal\"\n\
             secret = \"{secret}\"\nmax_life_s = 300\n{owner}"
        )
    };
    for (subject, owner, secret) in [
        (json!({ "kind": "secret", "name": "github/app" }), "", "github/other"),
        (json!({ "kind": "owner", "name": "green" }), "owner = \"white\"\n", "github/other"),
    ] {
        let token = reader.token("github.repo.read").await;
        // Given the containment of the secret or owner of the capability
        let incident = contained(&admin, subject.clone()).await;
        // When the capability gets another one, then the token stays revoked
        apply(&broker, &capability(owner, secret)).await;
        let reply = reader.secret("github/other", &token).await;
        assert_ne!(reply.status, 200, "{subject}: {}", reply.text());
        assert_eq!(lift(&admin, &incident).await.status, 200);
        assert_ne!(reader.secret("github/other", &token).await.status, 200, "{subject}");
        let later = reader.token("github.repo.read").await;
        assert_eq!(reader.secret("github/other", &later).await.status, 200, "{subject}");
        // For the next round
        apply(&broker, &capability("owner = \"green\"\n", "github/other")).await;
    }
}

#[tokio::test]
async fn codes_stay_revoked_when_an_operator_gets_another_scope() {
    let broker = TestBroker::declared().await;
    apply(&broker, &owned("blue", "\"repo-reader\"")).await;
    let admin = broker.operator();
    let code = |reply: Value| EnrolmentCode::parse(reply["code"].as_str().unwrap()).unwrap();
    // Given codes for and of operators of an owner
    let bound = join(&broker, "bound", &standing("admin", Some("blue"))).await.caller;
    let made = bound.post_json("/v1/agents/reader/invitations", &json!({ "roles": [] })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let (made, held) = (code(made.json()), code_for(&broker, "bound", &json!({})).await);
    // When the owner is contained, and the operator and the agent are bound to it no more
    let incident = contained(&admin, json!({ "kind": "owner", "name": "blue" })).await;
    place(&admin, "bound", None).await;
    apply(&broker, &owned("red", "\"repo-reader\"")).await;
    // Then the codes stay revoked
    let (_, request) = new_key_and_request().unwrap();
    refused(&broker.redeem(&made, &request).await, 401, "enrolment_code_invalid");
    refused(&redeem(&broker, &held, &request).await, 401, "enrolment_code_invalid");
    assert_eq!(lift(&admin, &incident).await.status, 200);
    refused(&redeem(&broker, &held, &request).await, 401, "enrolment_code_invalid");
    // And later ones count
    let later = code(invite(&admin, "bound", &json!({})).await.json());
    assert_eq!(redeem(&broker, &later, &request).await.status, 201);
    contained(&admin, agent("reader")).await;
}

async fn place(by: &Caller, name: &str, owner: Option<&str>) {
    let body = standing("admin", owner).to_string();
    let reply = by.put(&format!("/v1/operators/{name}/role"), "application/json", body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}
