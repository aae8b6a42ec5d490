//! The people who administer: their codes and certificates, their roles, and how they are taken away.

mod accused;
mod audit;
mod authorities;
mod certificates;
mod containment;
mod deletion;
mod elsewhere;
mod enrolment;
mod former;
mod kinds;
mod matrix;
mod own_access;
mod owners;
mod persons;
mod preconditions;
mod refusals;
mod renewal;

pub(crate) use owners::teams;

use keyward::base::encoding::base64url;
use keyward::base::limits::BACKDATE_S;
use keyward::pki::{EnrolmentCode, PeerCertificate, certificate_from_pem, new_key_and_request};
use serde_json::{Value, json};

use crate::support::broker::{Caller, Reply, TestBroker};

/// The network of the tests' own calls.
pub(crate) const HERE: &str = "127.0.0.0/8";
/// A network from which no test calls.
pub(crate) const ELSEWHERE: &str = "10.0.0.0/8";

/// An operator and what it holds.
pub(crate) struct Operator {
    pub(crate) caller: Caller,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What an operator is invited as.
pub(crate) fn standing(role: &str, owner: Option<&str>) -> Value {
    json!({ "role": role, "owner": owner })
}

pub(crate) async fn invite(by: &Caller, name: &str, body: &Value) -> Reply {
    by.post_json(&format!("/v1/operators/{name}/invitations"), body).await
}

pub(crate) async fn code_for(broker: &TestBroker, name: &str, body: &Value) -> EnrolmentCode {
    let reply = invite(&broker.operator(), name, body).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap()
}

/// Redeems `code` at the admin listener.
pub(crate) async fn redeem(broker: &TestBroker, code: &EnrolmentCode, request: &[u8]) -> Reply {
    let body = json!({
        "code_id": code.id.to_string(), "secret": base64url(code.secret.expose()), "csr": base64url(request),
    });
    broker.nobody(broker.admins()).post_json("/v1/enrol", &body).await
}

/// A caller with the certificate in `reply` for `key`.
pub(crate) fn holder(broker: &TestBroker, reply: &Reply, key: &str) -> Operator {
    assert_eq!(reply.status, 201, "{}", reply.text());
    let certificate = reply.json()["certificate"].as_str().unwrap().to_owned();
    let caller = broker.caller(broker.admins(), Some(&certificate), Some(key));
    Operator { caller, certificate, key: key.to_owned() }
}

/// An operator that was invited and has joined.
pub(crate) async fn join(broker: &TestBroker, name: &str, body: &Value) -> Operator {
    let code = code_for(broker, name, body).await;
    let (key, request) = new_key_and_request().unwrap();
    holder(broker, &redeem(broker, &code, &request).await, key.expose())
}

pub(crate) async fn post(by: &Caller, path: &str) -> Reply {
    by.post_json(path, &json!({})).await
}

/// Activates the second authority, although operators have not renewed.
pub(crate) async fn activate(by: &Caller) -> Reply {
    by.post_json("/v1/authorities/2/activate", &json!({ "force": true })).await
}

pub(crate) fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
    assert!(reply.json()["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{}", reply.text());
}

/// Sets the profile of the operator `name`.
pub(crate) async fn change(by: &Caller, name: &str, profile: &Value) -> Reply {
    let body = profile.to_string();
    by.put(&format!("/v1/operators/{name}/profile"), "application/json", body.as_bytes()).await
}

pub(crate) fn profile(networks: &[&str]) -> Value {
    json!({ "networks": networks, "life_s": null, "person": null })
}

/// The operator with its next certificate.
pub(crate) async fn renewed(broker: &TestBroker, operator: &Operator) -> Operator {
    let (key, request) = new_key_and_request().unwrap();
    let reply = operator.caller.post_json("/v1/renew", &json!({ "csr": base64url(&request) })).await;
    holder(broker, &reply, key.expose())
}

/// The life of the operator's certificate in seconds, without the time by which it is backdated.
pub(crate) fn life_s(operator: &Operator) -> i64 {
    let peer = PeerCertificate::parse(&certificate_from_pem(&operator.certificate).unwrap()).unwrap();
    peer.not_after().seconds_since(peer.not_before()) - BACKDATE_S
}
