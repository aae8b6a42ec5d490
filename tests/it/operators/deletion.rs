//! Deleted agents, operators and secrets: what ends at once, and what stays.

use serde_json::{Value, json};

use super::owners::{apply, teams};
use super::{invite, join, post, refused, standing};
use crate::support::broker::{DECLARATIONS, TestBroker};

#[tokio::test]
async fn a_deleted_agent_is_refused_at_once_and_its_name_stays_reserved() {
    // Given an agent with an instance and a token, and a code that nobody has redeemed
    let mut broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let code = broker.invite("a", &[]).await;
    // When it is deleted
    let operator = broker.operator();
    let body = json!({ "reason": "ticket 17" });
    let deleted = operator.post_json("/v1/agents/a/delete", &body).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert_eq!((&deleted.json()["instances"], &deleted.json()["leases"]), (&json!(1), &json!(0)));
    // Then its credentials and its code are refused
    assert!(crate::routes::is_refused(&agent.caller.attempt("GET", "/v1/whoami", &[], b"").await));
    assert!(crate::routes::is_refused(
        &agent
            .caller
            .attempt("GET", "/v1/secrets/github/app", &[("authorization", &format!("Bearer {token}"))], b"")
            .await
    ));
    let (_, request) = keyward::pki::new_key_and_request().unwrap();
    refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
    refused(&operator.get("/v1/agents/a").await, 404, "agent_unknown");
    refused(&operator.post_json("/v1/agents/a/delete", &body).await, 404, "agent_unknown");
    // And its name is given to no agent again, also after a start
    broker.take_snapshot().await;
    broker.restart().await;
    let operator = broker.operator();
    let again = operator.post_json("/v1/agents/a/invitations", &json!({ "roles": ["repo-reader"] })).await;
    refused(&again, 409, "name_deleted");
    assert!(again.text().contains("`a`"), "{}", again.text());
    let declared = broker.apply("[[agent]]\nname = \"a\"\nroles = []\n").await;
    refused(&declared, 422, "declarations_invalid");
    assert!(declared.text().contains("choose another name"), "{}", declared.text());
    let server = "[[resource_server]]\nname = \"a\"\naudience = \"https://a.example.com\"\n";
    refused(&broker.apply(server).await, 422, "declarations_invalid");
    // And the ledger keeps what happened, with the reason
    let entry = &broker.entries("agent.deleted").await[0];
    assert_eq!((&entry["event"]["agent"], &entry["event"]["operator"]), (&json!("a"), &json!("admin")));
    assert_eq!(entry["reason"], "ticket 17");
    assert_eq!(broker.entries("instance.enrolled").await.len(), 1);
    // The twin: a name that a declaration left is no deleted one
    broker.agent("b", &["repo-reader"]).await;
    let gone = json!({ "files": [{ "name": "a.toml", "text": DECLARATIONS }], "prune": true });
    assert_eq!(operator.post_json("/v1/apply", &gone).await.status, 200);
    broker.agent("b", &["repo-reader"]).await;
}

#[tokio::test]
async fn a_repeated_deletion_with_its_key_has_the_first_outcome() {
    let broker = TestBroker::declared().await;
    broker.agent("a", &["repo-reader"]).await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "\"k\"")];
    let operator = broker.operator();
    let first = operator.send("POST", "/v1/agents/a/delete", &headers, b"{}").await;
    let second = operator.send("POST", "/v1/agents/a/delete", &headers, b"{}").await;
    assert_eq!((first.status, first.json()), (200, second.json()), "{}", second.text());
    assert_eq!(first.json()["instances"], 1);
}

#[tokio::test]
async fn a_team_deletes_its_own_agents_and_secrets_and_no_others() {
    let (broker, red, _) = teams().await;
    refused(&post(&red, "/v1/agents/blue-bot/delete").await, 404, "agent_unknown");
    refused(&post(&red, "/v1/secret-deletions/blue/app").await, 404, "secret_unknown");
    refused(&post(&red, "/v1/operators/bob/delete").await, 403, "operator_scope_insufficient");
    assert_eq!(post(&red, "/v1/agents/red-service/delete").await.status, 200);
    assert_eq!(broker.operator().get("/v1/agents/blue-bot").await.status, 200);
}

#[tokio::test]
async fn a_deleted_operator_is_refused_at_once_and_its_name_stays_reserved() {
    // Given an operator with an open connection, an agent's code that it made, and a code of its own
    let broker = TestBroker::declared().await;
    let eve = join(&broker, "eve", &standing("admin", None)).await.caller;
    let mut open = eve.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let invited = eve.post_json("/v1/agents/a/invitations", &json!({ "roles": ["repo-reader"] })).await;
    let code = keyward::pki::EnrolmentCode::parse(invited.json()["code"].as_str().unwrap()).unwrap();
    let own = super::code_for(&broker, "eve", &json!({})).await;
    // When it is deleted
    let deleted = post(&broker.operator(), "/v1/operators/eve/delete").await;
    assert_eq!((deleted.status, &deleted.json()["certificates"]), (200, &json!(1)), "{}", deleted.text());
    // Then its certificate and both codes are refused
    assert!(crate::routes::is_refused(&eve.attempt("GET", "/v1/whoami", &[], b"").await));
    let (_, request) = keyward::pki::new_key_and_request().unwrap();
    refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
    refused(&super::redeem(&broker, &own, &request).await, 401, "enrolment_code_invalid");
    // And nobody gets its name again
    refused(&invite(&broker.operator(), "eve", &standing("auditor", None)).await, 409, "name_deleted");
    // And no fix advises to invite it
    let unknown = broker.operator().get("/v1/operators/eve").await;
    refused(&unknown, 404, "operator_unknown");
    let contained = json!({ "subject": { "kind": "operator", "name": "eve" }, "reason": "test" });
    let contained = broker.operator().post_json("/v1/incidents", &contained).await;
    refused(&contained, 404, "operator_unknown");
    let suspended = post(&broker.operator(), "/v1/operators/eve/suspend").await;
    for problem in [unknown.json(), contained.json(), suspended.json()] {
        let fix = problem["fix"].as_str().unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("was deleted"), "{problem}");
        assert!(!fix.contains("invite NAME") && fix.contains("keyward audit list --operator eve"), "{fix}");
    }
    refused(&invite(&broker.operator(), "eve", &json!({})).await, 409, "name_deleted");
    assert_eq!(broker.entries("operator.deleted").await[0]["event"]["operator"], "eve");
    // The twin: an agent may have the name, whose SPIFFE ID is another one
    broker.agent("eve", &["repo-reader"]).await;
}

#[tokio::test]
async fn the_last_admin_and_the_operator_of_the_host_are_not_deleted() {
    let broker = TestBroker::declared().await;
    refused(&post(&broker.operator(), "/v1/operators/admin/delete").await, 409, "last_admin");
    refused(
        &post(&broker.operator(), "/v1/operators/break-glass/delete").await,
        409,
        "operator_is_break_glass",
    );
    // Break-glass access ends within an hour, so it is no admin that remains
    let glass = crate::incidents::host::break_glass(&broker).await.caller;
    refused(&post(&glass, "/v1/operators/admin/delete").await, 409, "last_admin");
    assert_eq!(broker.operator().get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn an_unneeded_secret_is_deleted_and_its_name_stays_with_its_owner() {
    let (broker, red, blue) = teams().await;
    // Given a secret that a capability delivers and a rotation is declared for
    let rotation = "[[rotation]]\nsecret = \"red/app\"\nupstream = { driver = \"generate\" }\n";
    assert_eq!(apply(&red, rotation).await.status, 200);
    let needed = post(&red, "/v1/secret-deletions/red/app").await;
    refused(&needed, 409, "secret_in_use");
    for name in ["capability `red.read`", "rotation `red/app`"] {
        assert!(needed.text().contains(name), "{}", needed.text());
    }
    // When nothing needs it any more
    let gone = json!({ "files": [{ "name": "a.toml", "text": "" }], "prune": true });
    assert_eq!(red.post_json("/v1/apply", &gone).await.status, 200);
    let deleted = post(&red, "/v1/secret-deletions/red/app").await;
    assert_eq!((deleted.status, &deleted.json()["versions"]), (200, &json!([1])), "{}", deleted.text());
    // Then it is there no more
    refused(&red.get("/v1/secrets/red/app").await, 404, "secret_unknown");
    assert_eq!(red.get("/v1/secrets").await.json()["items"], json!([]));
    refused(&post(&red, "/v1/secret-deletions/red/app").await, 404, "secret_unknown");
    let delivered = super::owners::RED.split("[[role]]").next().unwrap();
    refused(&apply(&red, delivered).await, 422, "declarations_invalid");
    assert_eq!(broker.entries("secret.deleted").await[0]["event"]["secret"], "red/app");
    // And its name is not another team's, and goes on where it was
    let put = async |by: &crate::support::broker::Caller| {
        by.send("PUT", "/v1/secrets/red/app", &[("content-type", "application/octet-stream")], b"new").await
    };
    let refusal = put(&blue).await;
    refused(&refusal, 409, "name_reserved_by_owner");
    assert_eq!(put(&red).await.json()["version"], Value::from(2));
    assert_eq!(red.get("/v1/secrets/red/app").await.json()["current"], 2);
    // A team is not told whether the secret of another team was deleted
    assert_eq!(put(&blue).await.json()["detail"], refusal.json()["detail"]);
}
