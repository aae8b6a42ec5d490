//! The keys that sign approvals: proposed by their operators, accepted by other persons, and never by the operator's
//! certificate alone.

mod affected;
pub(crate) mod commands;
mod context;
mod introduced;
mod lying_broker;
mod second_operator;
mod webhook;

use keyward::base::encoding::base64url;
use keyward::crypto::EcdsaKey;
use keyward::pki::{new_key_and_request, read_request, signing_key};
use keyward::wire::ApprovalKeyAcceptance;
use serde_json::{Value, json};

use crate::operators::{Operator, change, join, post, refused, standing};
use crate::support::broker::{Caller, Reply, TestBroker};
use crate::support::host;

const ANN: &str = "ann@corp.example";
const BOB: &str = "bob@corp.example";

/// A key for a proposal: its certificate request, its fingerprint, and the key itself.
struct NewKey {
    csr: String,
    fingerprint: String,
    key: EcdsaKey,
}

impl NewKey {
    fn new() -> Self {
        let (pem, request) = new_key_and_request().unwrap();
        let fingerprint = read_request(&request).unwrap().digest().hex();
        Self { csr: base64url(&request), fingerprint, key: signing_key(&pem).unwrap() }
    }

    /// The signature of the acceptance of the key `fingerprint` of the operator `name`, who is `person`.
    fn accepts(&self, name: &str, person: &str, fingerprint: &str) -> String {
        let name = name.parse().unwrap();
        let signed = ApprovalKeyAcceptance::new(&name, person, fingerprint).canonical().unwrap();
        base64url(&self.key.sign(&signed).unwrap())
    }
}

/// An admin of the person `BOB` with a key that the host has accepted.
struct Accepter {
    caller: Caller,
    key: NewKey,
}

impl Accepter {
    async fn join(broker: &TestBroker) -> Self {
        let bob = person(broker, "bob", "admin", BOB).await;
        let key = NewKey::new();
        propose(&bob.caller, &key).await;
        assert_eq!(accept_on_host(broker, "bob", &key.fingerprint).await.status, 200);
        Self { caller: bob.caller, key }
    }

    /// Accepts the key `fingerprint` of `alice`, who is `ANN`.
    async fn accepts(&self, fingerprint: &str) -> Reply {
        let signature = self.key.accepts("alice", ANN, fingerprint);
        accept(&self.caller, "alice", fingerprint, &signature).await
    }
}

/// An operator of the person `person`.
async fn person(broker: &TestBroker, name: &str, role: &str, person: &str) -> Operator {
    let mut body = standing(role, None);
    body["person"] = json!(person);
    join(broker, name, &body).await
}

async fn propose(by: &Caller, key: &NewKey) -> Reply {
    by.post_json("/v1/approval-key", &json!({ "csr": key.csr })).await
}

async fn accept(by: &Caller, name: &str, fingerprint: &str, signature: &str) -> Reply {
    let body = json!({ "fingerprint": fingerprint, "signature": signature });
    by.post_json(&format!("/v1/operators/{name}/approval-key/accept"), &body).await
}

/// Accepts the key on the broker's host.
pub(crate) async fn accept_on_host(broker: &TestBroker, name: &str, fingerprint: &str) -> Reply {
    let (socket, body) = (broker.socket(), json!({ "fingerprint": fingerprint }));
    let path = format!("/v1/operators/{name}/approval-key/accept");
    // The broker answers in this runtime.
    tokio::task::spawn_blocking(move || host::ask(&socket, "POST", &path, &body)).await.unwrap()
}

/// The keys of a response: fingerprint and state of each.
fn keys(reply: &Reply) -> Vec<(String, String)> {
    assert!([200, 201].contains(&reply.status), "{}", reply.text());
    let body = reply.json();
    let keys = body.get("keys").unwrap_or(&body["approval_keys"]);
    let text = |key: &Value, field: &str| key[field].as_str().unwrap().to_owned();
    let keys = keys.as_array().map(Vec::as_slice).unwrap_or_default();
    keys.iter().map(|key| (text(key, "fingerprint"), text(key, "state"))).collect()
}

fn in_state(key: &NewKey, state: &str) -> (String, String) {
    (key.fingerprint.clone(), state.to_owned())
}

#[tokio::test]
async fn key_counts_once_another_admin_has_accepted_it() {
    let mut broker = TestBroker::start().await;
    let alice = person(&broker, "alice", "approver", ANN).await;
    let bob = Accepter::join(&broker).await;
    // Given a key that alice has proposed, twice
    let key = NewKey::new();
    for _ in 0..2 {
        assert_eq!(keys(&propose(&alice.caller, &key).await), [in_state(&key, "proposed")]);
    }
    assert_eq!(broker.entries("approval-key.proposed").await.len(), 2, "one of each person");
    // When bob accepts its fingerprint, twice, then it counts
    for _ in 0..2 {
        let accepted = bob.accepts(&key.fingerprint).await;
        assert_eq!(keys(&accepted), [in_state(&key, "accepted")]);
        assert_eq!(accepted.json()["keys"][0]["accepted_by"], "bob");
    }
    let entries = broker.entries("approval-key.accepted").await;
    assert_eq!(entries.len(), 2, "the host accepted the key of bob");
    let event = &entries[1]["event"];
    assert_eq!(
        (&event["by"], &event["operator"], &event["key"]),
        (&json!("bob"), &json!("alice"), &json!(key.fingerprint))
    );
    // And after a restart, alice and the admins see it
    broker.restart().await;
    let shown = keys(&broker.operator().get("/v1/operators/alice").await);
    assert_eq!(shown, [in_state(&key, "accepted")]);
}

#[tokio::test]
async fn no_operator_accepts_a_key_of_the_same_person() {
    let broker = TestBroker::start().await;
    // Given an admin with a second operator name, which differs in upper and lower case only
    let alice = person(&broker, "alice", "admin", ANN).await;
    let second = person(&broker, "alice-2", "admin", "Ann@corp.example").await;
    let key = NewKey::new();
    propose(&alice.caller, &key).await;
    // Then neither accepts the key
    for caller in [&alice.caller, &second.caller] {
        refused(&accept(caller, "alice", &key.fingerprint, "AAAA").await, 403, "approval_key_of_accepter");
    }
    // And an admin without a person does not either
    refused(
        &accept(&broker.operator(), "alice", &key.fingerprint, "AAAA").await,
        409,
        "operator_without_person",
    );
    // And another role has not the right
    let bob = person(&broker, "bob", "security", BOB).await;
    refused(&accept(&bob.caller, "alice", &key.fingerprint, "AAAA").await, 403, "operator_role_insufficient");
    assert_eq!(keys(&alice.caller.get("/v1/approval-key").await), [in_state(&key, "proposed")]);
}

#[tokio::test]
async fn the_host_accepts_a_key_for_a_broker_with_one_admin() {
    let broker = TestBroker::start().await;
    let alice = person(&broker, "alice", "admin", ANN).await;
    let key = NewKey::new();
    propose(&alice.caller, &key).await;
    let accepted = accept_on_host(&broker, "alice", &key.fingerprint).await;
    assert_eq!(keys(&accepted), [in_state(&key, "accepted")]);
    let by = broker.entries("approval-key.accepted").await[0]["event"]["by"].as_str().unwrap().to_owned();
    assert!(by.starts_with("host uid "), "{by}");
}

#[tokio::test]
async fn certificate_of_an_admin_alone_accepts_no_key() {
    let broker = TestBroker::start().await;
    let (bob, alice) = (Accepter::join(&broker).await, person(&broker, "alice", "approver", ANN).await);
    let key = NewKey::new();
    propose(&alice.caller, &key).await;
    // Given an admin without an approval key, and signatures of other keys and of other acceptances
    let eve = person(&broker, "eve", "admin", "eve@corp.example").await;
    refused(&accept(&eve.caller, "alice", &key.fingerprint, "AAAA").await, 403, "approval_key_missing");
    for signature in [
        NewKey::new().accepts("alice", ANN, &key.fingerprint),
        bob.key.accepts("alice-2", ANN, &key.fingerprint),
        bob.key.accepts("alice", "ghost@corp.example", &key.fingerprint),
        bob.key.accepts("alice", ANN, &NewKey::new().fingerprint),
        "AAAA".to_owned(),
        "!".to_owned(),
    ] {
        let reply = accept(&bob.caller, "alice", &key.fingerprint, &signature).await;
        refused(&reply, 403, "approval_signature_invalid");
    }
    assert_eq!(keys(&bob.accepts(&key.fingerprint).await), [in_state(&key, "accepted")]);
    // When the same person is written in another way, then the key stays
    let same = format!("Ann Li <{}>", ANN.to_uppercase());
    let profile = json!({ "networks": [], "life_s": null, "person": same });
    let changed = change(&bob.caller, "alice", &profile).await;
    assert_eq!((changed.status, &changed.json()["ended_approval_keys"]), (200, &json!(null)));
    assert_eq!(keys(&bob.caller.get("/v1/operators/alice").await), [in_state(&key, "accepted")]);
    // When the person of the operator changes, then the key ends: it was accepted for another person
    let profile = json!({ "networks": [], "life_s": null, "person": "ghost@corp.example" });
    let changed = change(&bob.caller, "alice", &profile).await;
    assert_eq!((changed.status, &changed.json()["ended_approval_keys"]), (200, &json!([key.fingerprint])));
    assert!(keys(&bob.caller.get("/v1/operators/alice").await).is_empty());
    let entries = broker.entries("operator.profile-changed").await;
    let ended = json!([key.fingerprint]);
    assert!(entries.iter().any(|entry| entry["event"]["ended_approval_keys"] == ended));
}

#[tokio::test]
async fn only_persons_have_approval_keys() {
    let broker = TestBroker::start().await;
    // The first admin has no person
    refused(&propose(&broker.operator(), &NewKey::new()).await, 409, "operator_without_person");
    let body = json!({
        "role": "auditor", "owner": null, "kind": "service", "networks": ["127.0.0.0/8"], "person": ANN,
    });
    let service = join(&broker, "scraper", &body).await;
    refused(&propose(&service.caller, &NewKey::new()).await, 409, "operator_without_person");
}

#[tokio::test]
async fn key_of_a_certificate_or_of_another_operator_is_no_approval_key() {
    let broker = TestBroker::declared().await;
    let alice = person(&broker, "alice", "approver", ANN).await;
    let bob = Accepter::join(&broker).await;
    // Given the keys of an operator's and of an agent's certificate
    let agent = broker.agent("bot", &["repo-reader"]).await;
    for pem in [&alice.key, &agent.key] {
        let request = keyward::pki::request_for_key(&keyward::base::Sensitive::new(pem.clone())).unwrap();
        let reply = alice.caller.post_json("/v1/approval-key", &json!({ "csr": base64url(&request) })).await;
        refused(&reply, 409, "approval_key_in_use");
    }
    // And a key that another operator has proposed
    let key = NewKey::new();
    propose(&bob.caller, &key).await;
    refused(&propose(&alice.caller, &key).await, 409, "approval_key_in_use");
    // And a request that its key has not signed
    let reply = alice.caller.post_json("/v1/approval-key", &json!({ "csr": "AAAA" })).await;
    refused(&reply, 400, "csr_malformed");
}

#[tokio::test]
async fn only_the_proposed_fingerprint_is_accepted() {
    let broker = TestBroker::start().await;
    let alice = person(&broker, "alice", "approver", ANN).await;
    let bob = Accepter::join(&broker).await;
    let (old, key) = (NewKey::new(), NewKey::new());
    refused(&bob.accepts(&key.fingerprint).await, 404, "approval_key_unknown");
    // A later proposal takes the place of an earlier one: a thief's key is not accepted in the place of the operator's
    propose(&alice.caller, &old).await;
    propose(&alice.caller, &key).await;
    refused(&bob.accepts(&old.fingerprint).await, 404, "approval_key_unknown");
    for text in ["", "ab", &key.fingerprint.to_uppercase(), &"xy".repeat(32)] {
        refused(&bob.accepts(text).await, 400, "fingerprint_malformed");
    }
    refused(&accept(&bob.caller, "nobody", &key.fingerprint, "AAAA").await, 404, "operator_unknown");
    assert_eq!(bob.accepts(&key.fingerprint).await.status, 200);
}

#[tokio::test]
async fn replaced_key_counts_until_the_new_one_is_accepted() {
    let broker = TestBroker::start().await;
    let alice = person(&broker, "alice", "approver", ANN).await;
    let bob = Accepter::join(&broker).await;
    let (old, new) = (NewKey::new(), NewKey::new());
    propose(&alice.caller, &old).await;
    bob.accepts(&old.fingerprint).await;
    let both = [in_state(&old, "accepted"), in_state(&new, "proposed")];
    assert_eq!(keys(&propose(&alice.caller, &new).await), both);
    assert_eq!(keys(&bob.accepts(&new.fingerprint).await), [in_state(&new, "accepted")]);
    let entries = broker.entries("approval-key.accepted").await;
    assert_eq!(entries[2]["event"]["previous"], json!(old.fingerprint));
}

#[tokio::test]
async fn keys_end_by_removal_by_revocation_and_by_deletion() {
    let broker = TestBroker::start().await;
    let bob = Accepter::join(&broker).await;
    let security = person(&broker, "sec", "security", "sec@corp.example").await;
    let mut alice = person(&broker, "alice", "approver", ANN).await;
    let key = NewKey::new();
    let count = async |alice: &Operator| {
        assert!(propose(&alice.caller, &key).await.status == 201);
        assert_eq!(bob.accepts(&key.fingerprint).await.status, 200);
    };
    let left = async || keys(&bob.caller.get("/v1/operators/alice").await);
    // Removed, twice
    count(&alice).await;
    for _ in 0..2 {
        let removed = post(&security.caller, "/v1/operators/alice/approval-key/remove").await;
        assert!(keys(&removed).is_empty(), "{}", removed.text());
    }
    let entries = broker.entries("approval-key.removed").await;
    assert_eq!((entries.len(), &entries[0]["event"]["keys"]), (1, &json!([key.fingerprint])));
    // Revoked: an operator that joins again has no key
    count(&alice).await;
    assert_eq!(post(&bob.caller, "/v1/operators/alice/revoke").await.status, 200);
    assert!(left().await.is_empty());
    alice = person(&broker, "alice", "approver", ANN).await;
    // Suspended: the key stays
    count(&alice).await;
    assert_eq!(post(&bob.caller, "/v1/operators/alice/suspend").await.status, 200);
    assert_eq!(left().await, [in_state(&key, "accepted")]);
    assert_eq!(post(&bob.caller, "/v1/operators/alice/resume").await.status, 200);
    // The certificate of the machine that proposed the key is revoked
    let serial = keyward::pki::PeerCertificate::parse(
        &keyward::pki::certificate_from_pem(&alice.certificate).unwrap(),
    )
    .unwrap()
    .serial();
    assert_eq!(post(&bob.caller, &format!("/v1/certificates/{serial}/revoke")).await.status, 200);
    assert!(left().await.is_empty());
    // Deleted
    let alice = person(&broker, "alice", "approver", ANN).await;
    count(&alice).await;
    assert_eq!(post(&bob.caller, "/v1/operators/alice/delete").await.status, 200);
    refused(&bob.accepts(&key.fingerprint).await, 404, "operator_unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn break_glass_access_has_and_accepts_no_approval_key() {
    let broker = TestBroker::start().await;
    let alice = person(&broker, "alice", "approver", ANN).await;
    let key = NewKey::new();
    propose(&alice.caller, &key).await;
    let (pem, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) });
    let reply = tokio::task::block_in_place(|| host::ask(&broker.socket(), "POST", "/v1/break-glass", &body));
    let certificate = reply.json()["certificate"].as_str().unwrap().to_owned();
    let glass = broker.caller(broker.admins(), Some(&certificate), Some(pem.expose()));
    refused(&propose(&glass, &NewKey::new()).await, 403, "not_by_break_glass");
    refused(&accept(&glass, "alice", &key.fingerprint, "AAAA").await, 403, "not_by_break_glass");
}
