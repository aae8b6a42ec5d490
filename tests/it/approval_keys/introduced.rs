//! Operators that an admin introduced: where the broker demands a second operator, they are no second person for this admin.

use keyward::base::encoding::base64url;
use keyward::crypto::EcdsaKey;
use keyward::wire::PlanBallot;
use serde_json::{Value, json};

use super::{ANN, BOB, NewKey, accept, accept_on_host, in_state, keys, person, propose};
use crate::operators::{Operator, change, holder, invite, post, redeem, refused, standing};
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

/// The approval of the plan of the agent `a` with a further role, by the operator `name` with `key`, and the application by `by`.
async fn apply_approved(by: &Caller, name: &str, approver: &Caller, key: &EcdsaKey) -> Reply {
    let wider = NARROW.replace("[\"repo-reader\"]", "[\"publisher\", \"repo-reader\"]");
    let mut body = json!({ "files": [{ "name": "a.toml", "text": wider }] });
    let planned: Value = approver.post_json("/v1/plan", &body).await.json();
    let asked = &planned["to_approve"];
    let operator = name.parse().unwrap();
    let ballot = PlanBallot::approve(&operator, asked["digest"].as_str().unwrap()).canonical().unwrap();
    body["widen"] = json!(true);
    body["approval"] = json!({
        "type": PlanBallot::KIND, "operator": name, "digest": asked["digest"], "seq": asked["seq"],
        "expires_at": asked["expires_at"], "signature": base64url(&key.sign(&ballot).unwrap()),
    });
    by.post_json("/v1/apply", &body).await
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
    let reply = apply_approved(&broker.operator(), "bob", &bob, &key.key).await;
    refused(&reply, 403, "approval_key_of_introducer");
    assert!(reply.text().contains("--replace") && reply.text().contains("--on-host"), "{}", reply.text());
    let (ann, anns) = (person(&broker, "ann", "approver", ANN).await, NewKey::new());
    propose(&ann.caller, &anns).await;
    refused(&accepts(&bob, &key, "ann", ANN, &anns).await, 403, "approval_key_of_introducer");
    // When bob makes another key, which the host accepts, then it approves
    let next = NewKey::new();
    propose(&bob, &next).await;
    assert_eq!(accept_on_host(&broker, "bob", &next.fingerprint).await.status, 200);
    let applied = apply_approved(&broker.operator(), "bob", &bob, &next.key).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
}

#[tokio::test]
async fn introducer_stays_one_after_its_operator_is_deleted() {
    // Given an admin that invited bob and accepted its key, before a second operator was demanded, and that has two operators
    let (mut broker, own) = start().await;
    let (bob, key) = (person(&broker, "bob", "admin", BOB).await, NewKey::new());
    propose(&bob.caller, &key).await;
    assert_eq!(accepts(&broker.operator(), &own, "bob", BOB, &key).await.status, 200);
    let second = person(&broker, "admin-2", "admin", "root@corp.example").await;
    let seconds = NewKey::new();
    propose(&second.caller, &seconds).await;
    assert_eq!(accept_on_host(&broker, "admin-2", &seconds.fingerprint).await.status, 200);
    demand(&mut broker).await;
    let bob = Caller { address: broker.admins(), ..bob.caller };
    let second = Caller { address: broker.admins(), ..second.caller };
    // When the second operator deletes the first one
    assert_eq!(post(&second, "/v1/operators/admin/delete").await.status, 200);
    // Then the key still shows no second person, and the second operator accepts no key of bob
    let reply = apply_approved(&second, "bob", &bob, &key.key).await;
    refused(&reply, 403, "approval_key_of_introducer");
    let next = NewKey::new();
    propose(&bob, &next).await;
    refused(&accepts(&second, &seconds, "bob", BOB, &next).await, 403, "accepter_introduced_operator");
    // The twin: a key that the host accepted shows one
    assert_eq!(accept_on_host(&broker, "bob", &next.fingerprint).await.status, 200);
    let applied = apply_approved(&second, "bob", &bob, &next.key).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
}

#[tokio::test]
async fn operator_that_the_approver_introduced_applies_only_with_an_own_key() {
    // Given a broker that demands a second operator, and an admin that invites bob and enrols as bob itself
    let (mut broker, own) = start().await;
    demand(&mut broker).await;
    let admin = broker.operator();
    let bob = person(&broker, "bob", "admin", BOB).await;
    // When bob applies a change that the admin approved, then it is refused: the admin can be both
    let reply = apply_approved(&bob.caller, "admin", &admin, &own.key).await;
    refused(&reply, 403, "approver_introduced_operator");
    assert!(reply.text().contains("--on-host"), "{}", reply.text());
    // When bob proposes a key, then it still is, until the host accepts the key
    let key = NewKey::new();
    propose(&bob.caller, &key).await;
    let reply = apply_approved(&bob.caller, "admin", &admin, &own.key).await;
    refused(&reply, 403, "approver_introduced_operator");
    assert_eq!(accept_on_host(&broker, "bob", &key.fingerprint).await.status, 200);
    // And the admin cannot apply with another enrolment as bob
    let again = person(&broker, "bob", "admin", BOB).await;
    let reply = apply_approved(&again.caller, "admin", &admin, &own.key).await;
    refused(&reply, 403, "approver_introduced_operator");
    // Then bob applies with the enrolment that has the key
    let applied = apply_approved(&bob.caller, "admin", &admin, &own.key).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let event = broker.entries("declarations.applied").await.last().unwrap()["event"].clone();
    assert_eq!((&event["operator"], &event["approved"]["operator"]), (&json!("bob"), &json!("admin")));
}

#[tokio::test]
async fn person_with_two_operators_is_one_under_another_name_too() {
    // Given a person with two operators, each with a key that the host accepted
    let (mut broker, _) = start().await;
    demand(&mut broker).await;
    let (first, second) =
        (person(&broker, "ann", "admin", ANN).await, person(&broker, "ann-2", "admin", ANN).await);
    let keys = [NewKey::new(), NewKey::new()];
    for (operator, name, key) in [(&first, "ann", &keys[0]), (&second, "ann-2", &keys[1])] {
        propose(&operator.caller, key).await;
        assert_eq!(accept_on_host(&broker, name, &key.fingerprint).await.status, 200);
    }
    // When one of them names itself another person
    let profile = json!({ "networks": [], "life_s": null, "person": "zoe@corp.example" });
    assert_eq!(change(&second.caller, "ann-2", &profile).await.status, 200);
    // Then it applies nothing that the other one approves, and the other one accepts no key of it
    let reply = apply_approved(&second.caller, "ann", &first.caller, &keys[0].key).await;
    refused(&reply, 403, "approver_introduced_operator");
    let next = NewKey::new();
    propose(&second.caller, &next).await;
    let accepted = accepts(&first.caller, &keys[0], "ann-2", "zoe@corp.example", &next).await;
    refused(&accepted, 403, "accepter_introduced_operator");
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
