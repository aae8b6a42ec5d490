//! Operators come by invitation, and renew by themselves.

use keyward::base::encoding::base64url;
use keyward::pki::new_key_and_request;
use serde_json::json;

use super::{Operator, code_for, holder, invite, join, redeem, refused, standing};
use crate::support::broker::{Caller, Reply, TestBroker};
use crate::support::process::Process;

async fn renew(caller: &Caller, request: &[u8]) -> Reply {
    caller.post_json("/v1/renew", &json!({ "csr": base64url(request) })).await
}

/// Hazard ENR-01.
#[tokio::test]
async fn a_code_redeems_for_one_key_and_another_key_raises_an_alarm() {
    let broker = TestBroker::declared().await;
    let code = code_for(&broker, "alice", &standing("auditor", None)).await;
    let (key, request) = new_key_and_request().unwrap();
    let first = redeem(&broker, &code, &request).await;
    let alice = holder(&broker, &first, key.expose());
    let me = alice.caller.get("/v1/whoami").await.json();
    assert_eq!((&me["name"], &me["role"], &me["owner"]), (&"alice".into(), &"auditor".into(), &json!(null)));
    assert_eq!(me["spiffe_id"], "spiffe://keyward.test/operator/alice");
    assert_eq!(redeem(&broker, &code, &request).await.body, first.body, "byte for byte");
    let (_, other) = new_key_and_request().unwrap();
    for _ in 0..2 {
        refused(&redeem(&broker, &code, &other).await, 409, "enrolment_code_used");
    }
    assert_eq!(broker.entries("alarm.operator-enrolment-code-reused").await.len(), 1);
    assert_eq!(broker.entries("operator.enrolled").await.len(), 1);
}

#[tokio::test]
async fn a_code_is_for_one_door_for_its_minutes_and_for_who_is_not_revoked() {
    let broker = TestBroker::declared().await;
    let (_, request) = new_key_and_request().unwrap();
    let operators = code_for(&broker, "alice", &standing("auditor", None)).await;
    refused(&broker.redeem(&operators, &request).await, 401, "enrolment_code_invalid");
    let agents = broker.invite("a", &["repo-reader"]).await;
    refused(&redeem(&broker, &agents, &request).await, 401, "enrolment_code_invalid");
    assert_eq!(super::post(&broker.operator(), "/v1/operators/alice/revoke").await.status, 200);
    refused(&redeem(&broker, &operators, &request).await, 401, "enrolment_code_invalid");
    let late = code_for(&broker, "alice", &json!({})).await;
    broker.clock.advance_s(900);
    refused(&redeem(&broker, &late, &request).await, 401, "enrolment_code_invalid");
    let good = code_for(&broker, "alice", &json!({})).await;
    assert_eq!(redeem(&broker, &good, &request).await.status, 201);
}

#[tokio::test]
async fn an_invitation_says_what_is_new_and_contradicts_nothing_that_is_there() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    refused(&invite(&admin, "bob", &json!({})).await, 404, "operator_unknown");
    refused(&invite(&admin, "bob", &standing("CNRY", None)).await, 400, "operator_role_unknown");
    refused(&invite(&admin, "Bob", &standing("admin", None)).await, 400, "path_not_canonical");
    assert_eq!(invite(&admin, "bob", &standing("security", None)).await.status, 201);
    refused(&invite(&admin, "bob", &standing("admin", None)).await, 409, "operator_role_mismatch");
    refused(&invite(&admin, "bob", &standing("security", Some("a"))).await, 409, "operator_role_mismatch");
    let bob = admin.get("/v1/operators/bob").await.json();
    assert_eq!((&bob["role"], &bob["state"]), (&"security".into(), &"invited".into()));
    refused(&admin.get("/v1/operators/carol").await, 404, "operator_unknown");
}

#[tokio::test]
async fn an_operators_old_certificate_counts_until_the_new_one_is_used() {
    let mut broker = TestBroker::declared().await;
    let alice = join(&broker, "alice", &standing("auditor", None)).await;
    let (key, request) = new_key_and_request().unwrap();
    let first = renew(&alice.caller, &request).await;
    let renewed = holder(&broker, &first, key.expose());
    assert_eq!(renew(&alice.caller, &request).await.body, first.body, "a lost answer is given again");
    broker.restart().await;
    let at = |held: &Operator| broker.caller(broker.admins(), Some(&held.certificate), Some(&held.key));
    assert_eq!(at(&alice).get("/v1/whoami").await.status, 200, "not used yet");
    assert_eq!(at(&renewed).get("/v1/whoami").await.status, 200);
    assert!(at(&alice).attempt("GET", "/v1/whoami", &[], b"").await.is_err(), "replaced");
    refused(&renew(&at(&renewed), &request).await, 409, "renewal_same_key");
    assert_eq!(broker.entries("operator.renewed").await.len(), 1);
    assert_eq!(broker.entries("operator.certificate-promoted").await.len(), 1);
    // A revocation reaches what was renewed, too.
    assert_eq!(super::post(&broker.operator(), "/v1/operators/alice/revoke").await.status, 200);
    assert!(at(&renewed).attempt("GET", "/v1/whoami", &[], b"").await.is_err());
}

#[test]
fn an_operator_joins_works_renews_and_is_revoked_by_command_line() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let code = process.good(&["operator", "invite", "alice", "--role", "security"], b"");
    let joined = String::from_utf8(process.good_as("alice", &["join"], &code)).unwrap();
    assert!(joined.contains("spiffe://keyward.test/operator/alice"), "{joined}");
    let listed = String::from_utf8(process.good(&["operator", "list"], b"")).unwrap();
    assert!(listed.contains("alice") && listed.contains("security") && listed.contains("active"), "{listed}");
    process.good_as("alice", &["agent", "suspend", "a"], b"");
    process.good_as("alice", &["agent", "resume", "a"], b"");
    let denied = process.run_as("alice", &["agent", "invite", "b", "--role", "repo-reader"], b"");
    assert_eq!(denied.status.code(), Some(5));
    process.good(&["operator", "role", "alice", "admin"], b"");
    process.good_as("alice", &["agent", "invite", "b", "--role", "repo-reader"], b"");
    process.good_as("alice", &["renew", "--operator"], b"");
    process.good_as("alice", &["whoami", "--operator"], b"");
    assert_eq!(process.json(&["operator", "show", "alice"])["certificates"].as_array().unwrap().len(), 1);
    process.good(&["operator", "suspend", "alice"], b"");
    assert_eq!(process.run_as("alice", &["agent", "list"], b"").status.code(), Some(4));
    process.good(&["operator", "resume", "alice"], b"");
    process.good_as("alice", &["agent", "list"], b"");
    process.good(&["operator", "revoke", "alice"], b"");
    assert_eq!(process.run_as("alice", &["agent", "list"], b"").status.code(), Some(4));
    let last = process.run_as("operator", &["operator", "revoke", "admin", "--yes"], b"");
    assert_eq!(last.status.code(), Some(8), "{}", String::from_utf8_lossy(&last.stderr));
}

#[tokio::test]
async fn an_authority_is_not_revoked_while_an_operator_has_to_renew() {
    let broker = TestBroker::declared().await;
    broker.clock.advance_s(60);
    assert_eq!(super::post(&broker.operator(), "/v1/authorities").await.status, 200);
    let known = broker.nobody(broker.agents()).get("/v1/authority").await.text();
    broker.clock.advance_s(60);
    assert_eq!(super::activate(&broker.operator()).await.status, 200);
    broker.look_after().await;
    let old = broker.operator_knowing(&known);
    assert_eq!(super::post(&old, "/v1/authorities/1/taint").await.status, 200);
    assert_eq!(old.get("/v1/whoami").await.json()["renew_now"], true);
    refused(&super::post(&old, "/v1/authorities/1/revoke").await, 409, "certificates_not_renewed");

    broker.clock.advance_s(60);
    let (key, request) = new_key_and_request().unwrap();
    let reply = renew(&old, &request).await;
    let certificate = reply.json()["certificate"].as_str().unwrap().to_owned();
    let new = broker.caller_knowing(&known, broker.admins(), Some((&certificate, key.expose())));
    assert_eq!(new.get("/v1/whoami").await.json()["renew_now"], false);
    assert_eq!(super::post(&new, "/v1/authorities/1/revoke").await.status, 200);
    assert_eq!(new.get("/v1/whoami").await.status, 200);
}
