//! The grace period of operators: after a weekend an expired certificate is renewed, and does nothing else.

use keyward::base::Clock;
use keyward::base::encoding::base64url;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use super::{Operator, holder, join, post, refused, standing};
use crate::support::broker::{Caller, Reply, TestBroker};
use crate::support::host::ask;

const LIFE_S: u32 = 3600;
const GRACE_S: u32 = 7200;

async fn served() -> TestBroker {
    TestBroker::start_with("[certificates]\noperator_life_s = 3600\noperator_renewal_grace_s = 7200\n").await
}

async fn request_renewal(caller: &Caller, request: &[u8]) -> Reply {
    caller.post_json("/v1/renew", &json!({ "csr": base64url(request) })).await
}

/// The operator with its next certificate.
async fn renew(broker: &TestBroker, operator: &Operator) -> Operator {
    let (key, request) = new_key_and_request().unwrap();
    holder(broker, &request_renewal(&operator.caller, &request).await, key.expose())
}

async fn is_refused_by_tls(caller: &Caller) -> bool {
    let (_, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) }).to_string();
    let headers = [("content-type", "application/json")];
    caller.attempt("POST", "/v1/renew", &headers, body.as_bytes()).await.is_err()
}

async fn entries(by: &Caller, kind: &str) -> Vec<Value> {
    let page = by.get("/v1/ledger/entries?limit=500").await.json();
    page["items"].as_array().unwrap().iter().filter(|item| item["kind"] == kind).cloned().collect()
}

#[tokio::test]
async fn expired_operator_certificate_is_only_renewed_in_its_grace_period() {
    // Given an operator whose certificate has expired
    let broker = served().await;
    let alice = join(&broker, "alice", &standing("security", None)).await;
    broker.clock.advance_s(LIFE_S + GRACE_S - 1);
    // When it requests something else, then the refusal names the deadline and the command
    let reply = alice.caller.get("/v1/agents").await;
    refused(&reply, 401, "certificate_expired");
    let told = reply.json();
    let (why, fix) = (told["detail"].as_str().unwrap(), told["fix"].as_str().unwrap());
    assert!(why.starts_with("your operator certificate (alice, serial ") && why.ends_with(" UTC"), "{why}");
    for part in ["`keyward renew --operator`", "until 20", "`keyward operator invite alice`"] {
        assert!(fix.contains(part), "{part}: {fix}");
    }
    refused(&post(&alice.caller, "/v1/agents/a/suspend").await, 401, "certificate_expired");
    // When it renews, then it can act again, and an alarm is recorded
    let (key, request) = new_key_and_request().unwrap();
    let reply = request_renewal(&alice.caller, &request).await;
    assert_eq!(reply.json()["late"], true);
    let renewed = holder(&broker, &reply, key.expose());
    assert_eq!(renewed.caller.get("/v1/whoami").await.json()["role"], "security");
    let alarms = entries(&renewed.caller, "alarm.operator-late-renewal").await;
    assert_eq!((alarms.len(), &alarms[0]["event"]["operator"]), (1, &json!("alice")));
    assert!(entries(&renewed.caller, "operator.renewed").await.is_empty());
    assert!(is_refused_by_tls(&alice.caller).await, "the previous certificate was replaced");
    let metrics = renewed.caller.get("/metrics").await.text();
    assert!(metrics.contains("keyward_alarms_total{alarm=\"operator_late_renewal\"} 1"), "{metrics}");
    // When it renews in time, then no alarm is recorded
    let next = renew(&broker, &renewed).await;
    assert_eq!(entries(&next.caller, "alarm.operator-late-renewal").await.len(), 1);
    assert_eq!(entries(&next.caller, "operator.renewed").await.len(), 1);
}

#[tokio::test]
async fn operator_certificate_is_not_renewed_after_its_grace_period() {
    let broker = served().await;
    let alice = join(&broker, "alice", &standing("security", None)).await;
    broker.clock.advance_s(LIFE_S + GRACE_S);
    assert!(is_refused_by_tls(&alice.caller).await);
    // When the grace period is zero, then the certificate is renewed until it expires
    let strict =
        TestBroker::start_with("[certificates]\noperator_life_s = 3600\noperator_renewal_grace_s = 0\n")
            .await;
    let alice = join(&strict, "alice", &standing("security", None)).await;
    strict.clock.advance_s(LIFE_S - 1);
    let (_, request) = new_key_and_request().unwrap();
    assert_eq!(request_renewal(&alice.caller, &request).await.status, 201);
    strict.clock.advance_s(1);
    assert!(is_refused_by_tls(&alice.caller).await);
}

#[tokio::test]
async fn grace_period_of_operators_is_seven_days_by_default() {
    let broker = TestBroker::start().await;
    let alice = join(&broker, "alice", &standing("security", None)).await;
    broker.clock.advance_s(12 * 3600 + 7 * 86_400 - 1);
    renew(&broker, &alice).await;
}

#[tokio::test]
async fn grace_period_of_an_automation_is_at_most_the_life_of_its_certificate() {
    // Given an automation with a life of an hour, and a grace period of two hours for operators
    let broker = served().await;
    let job = json!({ "kind": "automation", "owner": "team", "life_s": LIFE_S });
    let (late, later) = (join(&broker, "ci", &job).await, join(&broker, "cd", &job).await);
    let alice = join(&broker, "alice", &standing("security", None)).await;
    broker.clock.advance_s(2 * LIFE_S - 1);
    // When it renews within the second hour, then it is told until when, and renewed
    let told = late.caller.get("/v1/whoami").await.json();
    let until = broker.clock.now().plus_s(1).to_minute();
    assert!(told["fix"].as_str().unwrap().contains(&until), "{until}: {told}");
    renew(&broker, &late).await;
    // When it renews later, then it is refused, and a human is renewed
    broker.clock.advance_s(1);
    assert!(is_refused_by_tls(&later.caller).await);
    renew(&broker, &alice).await;
}

#[tokio::test]
async fn revoked_and_suspended_operators_are_not_renewed_late() {
    let broker = served().await;
    let admin = broker.operator();
    let revoked = join(&broker, "alice", &standing("security", None)).await;
    let suspended = join(&broker, "bob", &standing("security", None)).await;
    let resumed = join(&broker, "carol", &standing("security", None)).await;
    for path in ["alice/revoke", "bob/suspend", "carol/suspend", "carol/resume"] {
        assert_eq!(post(&admin, &format!("/v1/operators/{path}")).await.status, 200);
    }
    broker.clock.advance_s(LIFE_S);
    for operator in [&revoked, &suspended] {
        assert!(is_refused_by_tls(&operator.caller).await);
    }
    let resumed = renew(&broker, &resumed).await;
    assert_eq!(resumed.caller.get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn certificate_of_a_tainted_authority_is_not_renewed_late() {
    // Given an operator of an authority that is tainted
    let broker = served().await;
    let alice = join(&broker, "alice", &standing("security", None)).await;
    let late = join(&broker, "late", &standing("security", None)).await;
    broker.clock.advance_s(60);
    assert_eq!(post(&broker.operator(), "/v1/authorities").await.status, 200);
    let known = broker.nobody(broker.agents()).get("/v1/authority").await.text();
    broker.clock.advance_s(60);
    assert_eq!(super::activate(&broker.operator()).await.status, 200);
    broker.look_after().await;
    let admin = broker.operator_knowing(&known);
    let at = |held: &Operator| {
        broker.caller_knowing(&known, broker.admins(), Some((&held.certificate, &held.key)))
    };
    assert_eq!(post(&admin, "/v1/authorities/1/taint").await.status, 200);
    // When it renews in time, then it is given a certificate of the new authority
    let (_, request) = new_key_and_request().unwrap();
    assert_eq!(request_renewal(&at(&alice), &request).await.status, 201);
    // When it renews late, then it is refused
    broker.clock.advance_s(LIFE_S);
    assert!(is_refused_by_tls(&at(&late)).await);
}

#[tokio::test]
async fn certificate_of_break_glass_access_has_no_grace_period() {
    let broker = served().await;
    let (key, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) });
    let socket = broker.socket();
    let reply = tokio::task::spawn_blocking(move || ask(&socket, "POST", "/v1/break-glass", &body)).await;
    let glass = holder(&broker, &reply.unwrap(), key.expose());
    let (_, request) = new_key_and_request().unwrap();
    refused(&request_renewal(&glass.caller, &request).await, 409, "operator_is_break_glass");
    broker.clock.advance_s(LIFE_S);
    assert!(is_refused_by_tls(&glass.caller).await);
}

#[tokio::test]
async fn enrolment_ends_the_grace_period_of_expired_certificates() {
    // Given an operator with an expired certificate on one machine
    let broker = served().await;
    let first = join(&broker, "alice", &standing("admin", None)).await;
    broker.clock.advance_s(LIFE_S);
    let first = renew(&broker, &first).await;
    assert_eq!(first.caller.get("/v1/whoami").await.status, 200);
    broker.clock.advance_s(LIFE_S / 2);
    let second = join_by(&broker, &first, "bob").await;
    broker.clock.advance_s(LIFE_S / 2 + 1);
    // When the operator enrols on another machine
    join_by(&broker, &second, "alice").await;
    // Then a thief of the expired key gets no second identity
    assert!(is_refused_by_tls(&first.caller).await);
}

#[tokio::test]
async fn open_connection_ends_after_its_certificate_expired() {
    // Given a connection of an operator whose certificate expires
    let broker = served().await;
    let alice = join(&broker, "alice", &standing("security", None)).await;
    let bob = join(&broker, "bob", &standing("security", None)).await;
    let mut open = alice.caller.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    broker.clock.advance_s(LIFE_S);
    // When the certificate of another operator is replaced
    let bob = renew(&broker, &bob).await;
    assert_eq!(bob.caller.get("/v1/whoami").await.status, 200);
    // Then the connection is closed, and a new one can renew
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while open.send("GET", "/v1/whoami", &[], b"").await.is_ok() {}
    });
    assert!(ended.await.is_ok());
    renew(&broker, &alice).await;
}

/// The admin `name`, invited by `by`.
async fn join_by(broker: &TestBroker, by: &Operator, name: &str) -> Operator {
    let reply = super::invite(&by.caller, name, &standing("admin", None)).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let code = keyward::pki::EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap();
    let (key, request) = new_key_and_request().unwrap();
    holder(broker, &super::redeem(broker, &code, &request).await, key.expose())
}

#[tokio::test]
async fn renewal_whose_response_was_lost_is_finished_late() {
    let broker = served().await;
    let alice = join(&broker, "alice", &standing("security", None)).await;
    let (key, request) = new_key_and_request().unwrap();
    let first = request_renewal(&alice.caller, &request).await;
    broker.clock.advance_s(LIFE_S + 60);
    // When the certificate of the lost response is used for the first time after it expired
    let unused = holder(&broker, &first, key.expose());
    let renewed = renew(&broker, &unused).await;
    assert_eq!(renewed.caller.get("/v1/whoami").await.status, 200);
    assert!(is_refused_by_tls(&alice.caller).await);
}
