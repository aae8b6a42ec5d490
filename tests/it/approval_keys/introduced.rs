//! Operators that an admin introduced: where the broker demands a second operator, they are no second person for this admin.

use keyward::base::encoding::base64url;
use keyward::crypto::EcdsaKey;
use keyward::wire::PlanBallot;
use serde_json::{Value, json};

use super::{ANN, BOB, NewKey, accept, accept_on_host, in_state, keys, person, propose};
use crate::operators::{Operator, change, holder, invite, redeem, refused, standing};
use crate::support::broker::{Caller, Reply, TestBroker};

const NARROW: &str = "[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\n";

/// A broker whose operator `admin` is a person with a key that the host accepted.
async fn start() -> (TestBroker, NewKey) {
    let broker = TestBroker::declared().await;
    assert_eq!(broker.apply(NARROW).await.status, 200);
    let profile = json!({ "networks": [], "life_s": null, "person": "root@corp.example" });
    assert_eq!(change(&broker.operator(), "admin", &profile).await.status, 200);
    let key = NewKey::new();
    propose(&broker.operator(), &key).await;
    assert_eq!(accept_on_host(&broker, "admin", &key.fingerprint).await.status, 200);
    (broker, key)
}

/// From now on, the broker demands a second operator.
async fn demand(broker: &mut TestBroker) {
    broker.config.policies.widening_second_operator = true;
    broker.restart().await;
}

/// An admin that `by` invited as this person.
async fn invited(broker: &TestBroker, by: &Caller, name: &str, person: &str) -> Operator {
    let mut body = standing("admin", None);
    body["person"] = json!(person);
    let reply = invite(by, name, &body).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let code = keyward::pki::EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap();
    let (key, request) = keyward::pki::new_key_and_request().unwrap();
    holder(broker, &redeem(broker, &code, &request).await, key.expose())
}

/// The acceptance of `key` of the operator `name`, who is `person`, by `by` with its own key.
async fn accepts(by: &Caller, own: &NewKey, name: &str, person: &str, key: &NewKey) -> Reply {
    accept(by, name, &key.fingerprint, &own.accepts(name, person, &key.fingerprint)).await
}

#[tokio::test]
async fn admin_accepts_no_key_of_an_operator_that_it_introduced() {
    // Given a broker that demands a second operator, and operators that the admin invited
    let (mut broker, own) = start().await;
    demand(&mut broker).await;
    let admin = broker.operator();
    let (alice, bob) =
        (person(&broker, "alice", "admin", ANN).await, person(&broker, "bob", "admin", BOB).await);
    let (alices, bobs) = (NewKey::new(), NewKey::new());
    propose(&alice.caller, &alices).await;
    propose(&bob.caller, &bobs).await;
    // When the admin accepts the key of one, then it is refused, and told so before it signs
    let reply = accepts(&admin, &own, "alice", ANN, &alices).await;
    refused(&reply, 403, "accepter_introduced_operator");
    assert!(reply.text().contains("--on-host"), "{}", reply.text());
    let shown = admin.get("/v1/operators/alice").await.json();
    assert_eq!(
        (&shown["introduced_by"], &shown["refused_acceptance"]),
        (&json!(["admin"]), &json!("accepter_introduced_operator"))
    );
    // Then the host and an operator that did not introduce it accept it
    assert_eq!(accept_on_host(&broker, "bob", &bobs.fingerprint).await.status, 200);
    let accepted = accepts(&bob.caller, &bobs, "alice", ANN, &alices).await;
    assert_eq!(keys(&accepted), [in_state(&alices, "accepted")]);
    // And the admin introduced operators that alice invited, too, and those whose person it named
    let eve = invited(&broker, &alice.caller, "eve", "eve@corp.example").await;
    let eves = NewKey::new();
    propose(&eve.caller, &eves).await;
    refused(
        &accepts(&admin, &own, "eve", "eve@corp.example", &eves).await,
        403,
        "accepter_introduced_operator",
    );
    let named = json!({ "networks": [], "life_s": null, "person": "eve@home.example" });
    assert_eq!(change(&bob.caller, "eve", &named).await.status, 200);
    propose(&eve.caller, &eves).await;
    refused(
        &accepts(&bob.caller, &bobs, "eve", "eve@home.example", &eves).await,
        403,
        "accepter_introduced_operator",
    );
    let shown = admin.get("/v1/operators/eve").await.json()["introduced_by"].clone();
    assert_eq!(shown.as_array().unwrap().len(), 3, "{shown}");
    // And a restart forgets nothing of it
    broker.restart().await;
    assert_eq!(broker.operator().get("/v1/operators/eve").await.json()["introduced_by"], shown);
}

#[tokio::test]
async fn admin_accepts_the_keys_of_its_operators_without_the_demand() {
    let (broker, own) = start().await;
    let (alice, key) = (person(&broker, "alice", "approver", ANN).await, NewKey::new());
    propose(&alice.caller, &key).await;
    let accepted = accepts(&broker.operator(), &own, "alice", ANN, &key).await;
    assert_eq!(keys(&accepted), [in_state(&key, "accepted")]);
}

/// The approval of the plan of the agent `a` with a further role, by `bob` with `key`, and the application by the admin.
async fn apply_approved(broker: &TestBroker, bob: &Caller, key: &EcdsaKey) -> Reply {
    let wider = NARROW.replace("[\"repo-reader\"]", "[\"publisher\", \"repo-reader\"]");
    let mut body = json!({ "files": [{ "name": "a.toml", "text": wider }] });
    let planned: Value = bob.post_json("/v1/plan", &body).await.json();
    let asked = &planned["to_approve"];
    let operator = "bob".parse().unwrap();
    let ballot = PlanBallot::approve(&operator, asked["digest"].as_str().unwrap()).canonical().unwrap();
    body["widen"] = json!(true);
    body["approval"] = json!({
        "type": PlanBallot::KIND, "operator": "bob", "digest": asked["digest"], "seq": asked["seq"],
        "expires_at": asked["expires_at"], "signature": base64url(&key.sign(&ballot).unwrap()),
    });
    broker.operator().post_json("/v1/apply", &body).await
}

#[tokio::test]
async fn key_that_its_introducer_accepted_approves_no_plan() {
    // Given an admin that invited bob and accepted its key, before a second operator was demanded
    let (mut broker, own) = start().await;
    let (bob, key) = (person(&broker, "bob", "admin", BOB).await, NewKey::new());
    propose(&bob.caller, &key).await;
    assert_eq!(accepts(&broker.operator(), &own, "bob", BOB, &key).await.status, 200);
    demand(&mut broker).await;
    let bob = Caller { address: broker.admins(), ..bob.caller };
    // Then the key approves no plan, and accepts no key
    let reply = apply_approved(&broker, &bob, &key.key).await;
    refused(&reply, 403, "approval_key_of_introducer");
    assert!(reply.text().contains("--replace") && reply.text().contains("--on-host"), "{}", reply.text());
    let (ann, anns) = (person(&broker, "ann", "approver", ANN).await, NewKey::new());
    propose(&ann.caller, &anns).await;
    refused(&accepts(&bob, &key, "ann", ANN, &anns).await, 403, "approval_key_of_introducer");
    // When bob makes another key, which the host accepts, then it approves
    let next = NewKey::new();
    propose(&bob, &next).await;
    assert_eq!(accept_on_host(&broker, "bob", &next.fingerprint).await.status, 200);
    let applied = apply_approved(&broker, &bob, &next.key).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
}

#[tokio::test]
async fn revoked_certificate_names_the_approval_keys_that_end() {
    let broker = TestBroker::start().await;
    let (alice, key) = (person(&broker, "alice", "approver", ANN).await, NewKey::new());
    propose(&alice.caller, &key).await;
    let shown = broker.operator().get("/v1/operators/alice").await.json();
    let path = format!("/v1/certificates/{}/revoke", shown["certificates"][0]["serial"].as_str().unwrap());
    let revoked = broker.operator().post_json(&path, &json!({})).await;
    assert_eq!((revoked.status, &revoked.json()["ended_approval_keys"]), (200, &json!([key.fingerprint])));
    let again = broker.operator().post_json(&path, &json!({})).await;
    assert_eq!((again.status, &again.json()["ended_approval_keys"]), (200, &json!(null)));
}
