//! Certificates of operators in incidents: renewals, what was made with them, and the operators that are spared.

use keyward::base::encoding::base64url;
use keyward::pki::{EnrolmentCode, PeerCertificate, certificate_from_pem, new_key_and_request};
use serde_json::{Value, json};

use super::host::break_glass;
use super::{contain, contained, lift};
use crate::operators::{Operator, holder, invite, join, redeem, refused, renewed, standing};
use crate::support::broker::{Caller, TestBroker};

fn certificate(operator: &Operator) -> Value {
    let peer = PeerCertificate::parse(&certificate_from_pem(&operator.certificate).unwrap()).unwrap();
    json!({ "kind": "certificate", "id": peer.serial().to_string() })
}

async fn is_refused(operator: &Operator) -> bool {
    operator.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err()
}

#[tokio::test]
async fn a_contained_certificate_keeps_its_renewal_revoked() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    // Given a certificate, and its renewal six hours later, which is not used
    let first = join(&broker, "alice", &standing("admin", None)).await;
    broker.clock.advance_s(6 * 3600);
    let second = renewed(&broker, &first).await;
    let carol = join(&broker, "carol", &standing("admin", None)).await.caller;
    // When the first one is contained, has expired, and the operator enrols again
    let incident = contained(&admin, certificate(&first)).await;
    assert!(is_refused(&first).await && is_refused(&second).await);
    broker.clock.advance_s(7 * 3600);
    let code = invite(&carol, "alice", &json!({})).await.json();
    let code = EnrolmentCode::parse(code["code"].as_str().unwrap()).unwrap();
    let (key, request) = new_key_and_request().unwrap();
    let third = holder(&broker, &redeem(&broker, &code, &request).await, key.expose());
    // Then the renewal is still refused, also after the lift, and the new enrolment is accepted
    assert!(is_refused(&second).await);
    assert_eq!(lift(&carol, &incident).await.status, 200);
    assert!(is_refused(&second).await);
    assert_eq!(third.caller.get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn a_revoked_certificate_keeps_its_renewal_revoked() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    // Given a certificate, and its renewal six hours later, which is not used
    let first = join(&broker, "alice", &standing("admin", None)).await;
    broker.clock.advance_s(6 * 3600);
    let second = renewed(&broker, &first).await;
    let carol = join(&broker, "carol", &standing("admin", None)).await.caller;
    // When the first one is revoked, has expired, and the operator enrols again
    let path = format!("/v1/certificates/{}/revoke", certificate(&first)["id"].as_str().unwrap());
    assert_eq!(admin.post_json(&path, &json!({})).await.status, 200);
    assert!(is_refused(&first).await && is_refused(&second).await);
    broker.clock.advance_s(7 * 3600);
    let code = invite(&carol, "alice", &json!({})).await.json();
    let code = EnrolmentCode::parse(code["code"].as_str().unwrap()).unwrap();
    let (key, request) = new_key_and_request().unwrap();
    let third = holder(&broker, &redeem(&broker, &code, &request).await, key.expose());
    // Then the renewal is still refused, and the new enrolment is accepted
    assert!(is_refused(&second).await);
    assert_eq!(third.caller.get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn codes_made_before_a_renewal_go_with_the_renewed_certificate() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    // Given a code that was made with a certificate which was renewed since
    let first = join(&broker, "alice", &standing("admin", None)).await;
    let roles = json!({ "roles": ["publisher"] });
    let reply = first.caller.post_json("/v1/agents/orders-bot/invitations", &roles).await;
    let code = EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap();
    let second = renewed(&broker, &first).await;
    assert_eq!(second.caller.get("/v1/whoami").await.status, 200);
    // When the renewed certificate is contained, then the code is refused, also after the lift
    let incident = contained(&admin, certificate(&second)).await;
    let (_, request) = new_key_and_request().unwrap();
    refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
    assert_eq!(lift(&admin, &incident).await.status, 200);
    refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
}

#[tokio::test]
async fn a_repeated_containment_spares_nobody_else() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let bound = join(&broker, "bound", &standing("security", Some("payments"))).await;
    let owner = || json!({ "kind": "owner", "name": "payments" });
    // Given an operator that was spared, because it ordered the containment
    let first = contain(&bound.caller, owner()).await.json();
    assert_eq!(first["spares_caller"], true, "{first}");
    assert_eq!(contain(&bound.caller, owner()).await.json()["spares_caller"], true);
    assert_eq!(bound.caller.get("/v1/whoami").await.status, 200);
    // When another operator repeats it, then the answer and the entry say that nobody is spared, and so it is
    let again = contain(&admin, owner()).await.json();
    assert_eq!((&again["incident"], again.get("spares_caller")), (&first["incident"], None), "{again}");
    let told = broker.entries("incident.contained").await;
    let last = told.iter().find(|entry| entry["seq"] == again["seq"]).unwrap();
    assert_eq!(last["event"].get("spares_operator"), None, "{last}");
    assert!(is_refused(&bound).await);
    assert_eq!(lift(&admin, first["incident"].as_str().unwrap()).await.status, 200);
    assert_eq!(bound.caller.get("/v1/whoami").await.status, 200, "it was only refused");
}

#[tokio::test]
async fn a_repeated_containment_accepts_an_earlier_break_glass_certificate() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let network = || json!({ "kind": "network", "name": "127.0.0.0/8" });
    // Given a certificate of break-glass access that was made after the containment
    contained(&admin, network()).await;
    let glass = break_glass(&broker).await;
    assert_eq!(glass.caller.get("/v1/whoami").await.status, 200);
    // When the containment is repeated, then the certificate is still accepted
    contained(&admin, network()).await;
    assert_eq!(glass.caller.get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn operators_that_enrolled_from_a_contained_network_are_refused() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    // Given an operator, and a code, from the same address
    let alice = join(&broker, "alice", &standing("auditor", None)).await;
    let code = broker.invite("orders-bot", &["publisher"]).await;
    let elsewhere = async |caller: &Caller, path: &str, body: Option<Value>| {
        let mut connection = caller.connect_from([127, 0, 0, 2]).await.ok()?;
        let (method, body) = body.map_or(("GET", String::new()), |body| ("POST", body.to_string()));
        let json = [("content-type", "application/json")];
        Some(connection.send(method, path, &json, body.as_bytes()).await.ok()?.status)
    };
    assert_eq!(elsewhere(&alice.caller, "/v1/whoami", None).await, Some(200));
    // When the address is contained
    let incident = contained(&admin, json!({ "kind": "network", "name": "127.0.0.1/32" })).await;
    // Then they are refused from another address, too, and the code is revoked for good
    assert_ne!(elsewhere(&alice.caller, "/v1/whoami", None).await, Some(200));
    let redeemed = async || {
        let (_, request) = new_key_and_request().unwrap();
        let body = json!({
            "code_id": code.id.to_string(), "secret": base64url(code.secret.expose()), "csr": base64url(&request),
        });
        elsewhere(&broker.nobody(broker.agents()), "/v1/enrol", Some(body)).await
    };
    assert_eq!(redeemed().await, Some(401));
    assert_eq!(lift(&admin, &incident).await.status, 200);
    assert_eq!(elsewhere(&alice.caller, "/v1/whoami", None).await, Some(200));
    assert_eq!(redeemed().await, Some(401));
}
