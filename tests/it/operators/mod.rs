//! The people who administer: their codes and certificates, their roles, and how they are taken away.

mod audit;
mod containment;
mod deletion;
mod enrolment;
mod former;
mod kinds;
mod matrix;
mod owners;
mod persons;
mod renewal;

pub(crate) use owners::teams;

use keyward::base::encoding::base64url;
use keyward::pki::EnrolmentCode;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use crate::support::broker::{Caller, Reply, TestBroker};

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

pub(crate) fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
    assert!(reply.json()["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{}", reply.text());
}
