//! Earlier versions of policies: their rules, and how they are brought back.

use keyward::crypto::sha256;
use serde_json::{Value, json};

use super::{MORNING, applied, policy};
use crate::operators::{join, standing};
use crate::refusals::refused;
use crate::support::broker::{Caller, Reply, TestBroker};

const WRITES: &str = "forbid (principal, action, resource) when { resource.access == \"write\" };";
const READS: &str = "forbid (principal, action, resource) when { resource.access == \"read\" };";

/// The hash of the version with this rule, as the declaration of [`policy`] has it.
fn hash(rule: &str) -> String {
    sha256(format!("{rule}\n").as_bytes()).hex()
}

async fn version(by: &Caller, name: &str, wanted: &Value) -> Reply {
    by.post_json(&format!("/v1/policies/{name}/version"), wanted).await
}

/// A broker whose policy `p` was about writes at 08:00, about reads at 09:00, and removed at 10:00.
async fn changed() -> TestBroker {
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    let before = broker.operator().post_json("/v1/export", &json!({})).await.json()["text"].clone();
    applied(&broker, &policy("p", WRITES)).await;
    broker.clock.advance_s(3600);
    applied(&broker, &policy("p", READS)).await;
    broker.clock.advance_s(3600);
    let files = json!([{ "name": "a.toml", "text": before }]);
    let body = json!({ "files": files, "prune": true, "widen": true });
    let removed = broker.operator().post_json("/v1/apply", &body).await;
    assert_eq!(removed.status, 200, "{}", removed.text());
    broker
}

#[tokio::test]
async fn versions_of_a_policy_are_listed_with_their_times() {
    // Given a policy with two versions, which was removed
    let mut broker = changed().await;
    // When its versions are listed, also after a restart, then each has its hash, its times and its operator
    for _ in 0..2 {
        let reply = broker.operator().get("/v1/policies/p/versions").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer = reply.json();
        let hashes: Vec<&str> =
            answer["versions"].as_array().unwrap().iter().map(|one| one["hash"].as_str().unwrap()).collect();
        assert_eq!(hashes, [hash(READS), hash(WRITES)]);
        let newest = &answer["versions"][0];
        assert_eq!(newest["by"], "admin");
        assert!(newest["from"].as_str().unwrap().starts_with("2027-01-15T09:"), "{newest}");
        assert!(newest["until"].as_str().unwrap().starts_with("2027-01-15T10:"), "{newest}");
        assert_eq!(answer["versions"][1]["until"], newest["from"]);
        assert_eq!((&answer["further"], &answer["complete"]), (&json!(0), &json!(true)));
        broker.restart().await;
    }
    refused(&broker.operator().get("/v1/policies/absent/versions").await, 404, "policy_unknown");
}

#[tokio::test]
async fn rule_of_a_past_time_is_shown() {
    let broker = changed().await;
    broker.clock.advance_s(3600);
    let by = broker.operator();
    for (wanted, rule) in [
        (json!({ "at": "2027-01-15T08:30:00Z" }), WRITES),
        (json!({ "at": "90m" }), READS),
        (json!({ "hash": hash(WRITES) }), WRITES),
        (json!({ "hash": &hash(READS)[..8] }), READS),
    ] {
        let reply = version(&by, "p", &wanted).await;
        assert_eq!(reply.status, 200, "{wanted}: {}", reply.text());
        let answer = reply.json();
        assert_eq!(answer["policy"]["rule"].as_str().unwrap().trim(), rule, "{wanted}");
        assert_eq!(answer["version"]["hash"], hash(rule), "{wanted}");
    }
    // There is none before it was declared, after it was removed, and of another hash
    for wanted in [
        json!({ "at": "2027-01-15T07:00:00Z" }),
        json!({ "at": "30m" }),
        json!({ "hash": "00000000" }),
        json!({ "hash": "0000000" }),
        json!({ "hash": "CNRY" }),
    ] {
        refused(&version(&by, "p", &wanted).await, 404, "policy_version_unknown");
    }
    for wanted in [
        json!({}),
        json!({ "at": "30m", "hash": hash(READS) }),
        json!({ "at": "2027-01-16" }),
        json!({ "at": "soon" }),
    ] {
        refused(&version(&by, "p", &wanted).await, 400, "json_invalid");
    }
}

#[tokio::test]
async fn versions_are_for_operators_in_their_scope_and_not_for_approvers() {
    let broker = changed().await;
    let owned = format!("{}owner = \"payments\"\n", policy("of-payments", READS));
    applied(&broker, &owned).await;
    let auditor = join(&broker, "olga", &standing("auditor", Some("payments"))).await.caller;
    assert_eq!(auditor.get("/v1/policies/of-payments/versions").await.status, 200);
    refused(&auditor.get("/v1/policies/p/versions").await, 404, "policy_unknown");
    let wanted = json!({ "hash": hash(READS) });
    assert_eq!(version(&auditor, "of-payments", &wanted).await.status, 200);
    refused(&version(&auditor, "p", &wanted).await, 404, "policy_version_unknown");
    refused(&auditor.get("/v1/policy-sets").await, 403, "operator_scope_insufficient");
    let approver = join(&broker, "ann", &standing("approver", None)).await.caller;
    refused(&approver.get("/v1/policies/p/versions").await, 403, "operator_role_insufficient");
}

/// An application of the policy `p` with this rule, which says that it is a rollback to `to`.
fn rollback(rule: &str, to: &str) -> Value {
    let files = json!([{ "name": "a.toml", "text": policy("p", rule) }]);
    json!({ "files": files, "rollback": { "policy": "p", "to": to } })
}

#[tokio::test]
async fn rollback_of_a_policy_is_checked_and_recorded() {
    // Given a policy that was made less strict
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    let _agent = broker.agent("a", &["publisher"]).await;
    applied(&broker, &policy("p", WRITES)).await;
    let limit = format!("@max_ttl(\"1m\")\n{WRITES}");
    applied(&broker, &policy("p", &limit)).await;
    let by = broker.operator();
    // When the rollback names a version that the ledger does not have, or other files, then nothing changes
    refused(&by.post_json("/v1/apply", &rollback(WRITES, "00000000")).await, 404, "policy_version_unknown");
    refused(&by.post_json("/v1/apply", &rollback(READS, &hash(WRITES))).await, 409, "widening_not_confirmed");
    let mut other = rollback(READS, &hash(WRITES));
    other["widen"] = json!(true);
    refused(&by.post_json("/v1/apply", &other).await, 409, "rollback_differs");
    let mut further = rollback(WRITES, &hash(WRITES));
    let files = further["files"][0]["text"].as_str().unwrap().to_owned();
    further["files"][0]["text"] = json!(format!("{files}[[environment]]\nname = \"staging\"\n"));
    refused(&by.post_json("/v1/apply", &further).await, 409, "rollback_differs");
    // When it is one, then the entry says to what
    let done = by.post_json("/v1/apply", &rollback(WRITES, &hash(WRITES)[..8])).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let entries = broker.entries("declarations.applied").await;
    let event = &entries.last().unwrap()["event"];
    assert_eq!(event["rollback"], json!({ "policy": "p", "to": hash(WRITES) }));
    assert_eq!(entries[0]["event"]["rollback"], Value::Null, "the twin: an application says none");
    // And a rollback that gives more access is confirmed as any other change
    let wider = rollback(&limit, &hash(&limit));
    refused(&by.post_json("/v1/apply", &wider).await, 409, "widening_not_confirmed");
}

#[tokio::test]
async fn rollback_to_the_present_version_changes_nothing() {
    // Given a policy with two versions
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    applied(&broker, &policy("p", READS)).await;
    let files = json!([{ "name": "a.toml", "text": policy("p", WRITES) }]);
    let wider = broker.operator().post_json("/v1/apply", &json!({ "files": files, "widen": true })).await;
    assert_eq!(wider.status, 200, "{}", wider.text());
    // When the present one is brought back, then nothing changes
    let by = broker.operator();
    let done = by.post_json("/v1/apply", &rollback(WRITES, &hash(WRITES))).await;
    assert_eq!((done.status, &done.json()["changes"]), (200, &json!([])), "{}", done.text());
    assert_eq!(done.json()["applied"], false, "{}", done.text());
    // And no entry says that it was brought back
    for entry in broker.entries("declarations.applied").await {
        assert_eq!(entry["event"]["rollback"], Value::Null, "{entry}");
    }
    // The twin: files that change nothing are not another version
    refused(&by.post_json("/v1/apply", &rollback(WRITES, &hash(READS))).await, 409, "rollback_differs");
}

#[tokio::test]
async fn rollback_of_all_policies_brings_the_set_back() {
    // Given a set of a policy and an environment, which were removed
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    let by = broker.operator();
    let others = by.post_json("/v1/export", &json!({})).await.json()["text"].clone();
    let set = format!("{}[[environment]]\nname = \"staging\"\n", policy("p", WRITES));
    applied(&broker, &set).await;
    let text = others.as_str().unwrap();
    let body = |second: &str, more: Value| {
        let files = json!([{ "name": "a.toml", "text": text }, { "name": "b.toml", "text": second }]);
        let mut body = json!({ "files": files, "prune": true, "widen": true });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(by.post_json("/v1/apply", &body("", json!({}))).await.status, 200);
    let sets = by.get("/v1/policy-sets").await.json();
    let hashes: Vec<&str> =
        sets["sets"].as_array().unwrap().iter().map(|one| one["hash"].as_str().unwrap()).collect();
    assert_eq!(hashes.len(), 2, "{sets}");
    // When the set is asked for by its hash, then it is a declaration file
    let found = by.post_json("/v1/policy-set", &json!({ "hash": hashes[1] })).await;
    assert_eq!((found.status, &found.json()["objects"]), (200, &json!(2)), "{}", found.text());
    let declared = found.json()["text"].as_str().unwrap().to_owned();
    assert!(declared.contains("[[policy]]") && declared.contains("staging"), "{declared}");
    refused(
        &by.post_json("/v1/policy-set", &json!({ "hash": "00000000" })).await,
        404,
        "policy_version_unknown",
    );
    // And its application is recorded as a rollback, and makes the same set
    let to = json!({ "rollback": { "to": hashes[1] } });
    refused(&by.post_json("/v1/apply", &body("", to.clone())).await, 409, "rollback_differs");
    let done = by.post_json("/v1/apply", &body(&declared, to)).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let event = broker.entries("declarations.applied").await.last().unwrap()["event"].clone();
    assert_eq!((&event["rollback"], &event["snapshot"]), (&json!({ "to": hashes[1] }), &json!(hashes[1])));
}

#[tokio::test]
async fn set_of_an_application_without_policies_is_found_by_its_hash() {
    // Given a policy, and later applications of a role and a capability alone
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    applied(&broker, &policy("p", WRITES)).await;
    applied(&broker, "[[role]]\nname = \"idle\"\ncapabilities = []\n").await;
    let entries = broker.entries("declarations.applied").await;
    let snapshots: Vec<&str> =
        entries.iter().map(|entry| entry["event"]["snapshot"].as_str().unwrap()).collect();
    let [first, .., of_policy, of_role] = snapshots[..] else { panic!("{snapshots:?}") };
    assert_ne!(of_policy, of_role);
    // When the set is asked for by the hash of a decision, then it is found
    let by = broker.operator();
    let found = by.post_json("/v1/policy-set", &json!({ "hash": of_role })).await;
    assert_eq!((found.status, &found.json()["set"]["hash"]), (200, &json!(of_role)), "{}", found.text());
    assert!(found.json()["text"].as_str().unwrap().contains("[[policy]]"), "{}", found.text());
    let before = by.post_json("/v1/policy-set", &json!({ "hash": first })).await;
    assert_eq!((before.status, &before.json()["objects"]), (200, &json!(0)), "{}", before.text());
    // And the list has only the sets with other policies
    let listed = by.get("/v1/policy-sets").await.json();
    assert_eq!(listed["sets"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn rollback_of_a_set_takes_back_nothing_that_was_applied_meanwhile() {
    // Given the present declarations as a client exports them, and a set that was changed
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    let by = broker.operator();
    let others = by.post_json("/v1/export", &json!({})).await.json()["text"].as_str().unwrap().to_owned();
    applied(&broker, &policy("p", WRITES)).await;
    let sets = by.get("/v1/policy-sets").await.json();
    let to = sets["sets"][0]["hash"].as_str().unwrap().to_owned();
    applied(&broker, &policy("p", READS)).await;
    let rollback = |others: &str| {
        let files = [("present", others.to_owned()), ("set", policy("p", WRITES))];
        let files = files.map(|(name, text)| json!({ "name": name, "text": text }));
        json!({ "files": files, "prune": true, "widen": true, "rollback": { "to": to } })
    };
    // When another operator applies a role, a capability or an agent before the client sends the rollback
    let capability = "[[capability]]\nname = \"late.read\"\naccess = \"read\"\ndelivery = \"mint\"\n\
                      audience = \"https://late.example.com\"\nmax_life_s = 60\n";
    let mut present = others.clone();
    for (late, kind) in [
        ("[[role]]\nname = \"late\"\ncapabilities = []\n", "role `late`"),
        (capability, "capability `late.read`"),
        ("[[agent]]\nname = \"late\"\nroles = []\n", "agent `late`"),
    ] {
        applied(&broker, late).await;
        // Then the rollback is refused, names it, and says to repeat it
        let reply = by.post_json("/v1/apply", &rollback(&present)).await;
        refused(&reply, 409, "rollback_differs");
        assert!(reply.text().contains(kind) && reply.text().contains("repeat"), "{kind}: {}", reply.text());
        present.push_str(late);
    }
    // And with the present declarations it is made, and all of them are still there
    let done = by.post_json("/v1/apply", &rollback(&present)).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(by.get("/v1/agents/late").await.status, 200);
}
