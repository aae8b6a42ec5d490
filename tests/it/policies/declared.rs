//! Policies in declaration files: faults with their places, plans, exports, and owners.

use serde_json::{Value, json};

use super::{NO_NIGHTS, applied, ask, policy};
use crate::operators::teams;
use crate::refusals::refused;
use crate::support::broker::{Caller, DECLARATIONS, Reply, TestBroker};

async fn faults(by: &Caller, text: &str) -> Vec<Value> {
    let reply = by.post_json("/v1/plan", &json!({ "files": [{ "name": "a.toml", "text": text }] })).await;
    refused(&reply, 422, "declarations_invalid");
    reply.json()["errors"].as_array().unwrap().clone()
}

#[tokio::test]
async fn faults_of_policies_have_their_place() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    for (text, line, says) in [
        (policy("p", "permit (principal, action, resource);"), 3, "a policy restricts"),
        (policy("p", "forbid (principal, action, resource)\nwen { true };"), 5, "wen"),
        (policy("p", "forbid (principal, action, resource)\nwhen { principal.nme == \"a\" };"), 5, "nme"),
        (policy("P", "forbid (principal, action, resource);"), 2, "not a canonical policy name"),
        ("[[policy]]\nname = \"p\"\n".to_owned(), 1, "rule"),
        ("[[environment]]\nname = \"E\"\n".to_owned(), 2, "not a canonical environment name"),
        ("[[environment]]\nname = \"e\"\n[[environment]]\nname = \"e\"\n".to_owned(), 4, "declared twice"),
        (
            policy("p", "forbid (principal == Keyward::Agent::\"nobody\", action, resource);"),
            1,
            "policy `p`: the rule names agent `nobody`, which is not declared",
        ),
        (
            policy("p", "forbid (principal in Keyward::Role::\"publisherr\", action, resource);"),
            1,
            "did you mean `publisher`?",
        ),
        (
            policy("p", "forbid (principal, action, resource == Keyward::Capability::\"reports.raed\");"),
            1,
            "did you mean `reports.read`?",
        ),
        (
            policy("p", "forbid (principal, action, resource in Keyward::Environment::\"production\");"),
            1,
            "environment `production`, which is not declared",
        ),
        (
            policy(
                "p",
                "@decision(\"require_approval\") @approvers(\"g\") @quorum(\"5\") forbid (principal, action == Keyward::Action::\"token\", resource);",
            ) + "[[approver_group]]\nname = \"g\"\noperators = [\"a\", \"b\", \"c\"]\n",
            1,
            "policy `p`: the quorum is 5, and group `g` has 3 operators: lower the quorum or add operators",
        ),
        (
            "[[capability]]\nname = \"c\"\naccess = \"read\"\ndelivery = \"mint\"\naudience = \"https://a\"\nmax_life_s = 60\nenvironment = \"production\"\n".to_owned(),
            7,
            "environment `production` is not declared",
        ),
    ] {
        let found = faults(&by, &text).await;
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0]["line"], line, "{text}: {found:?}");
        assert!(found[0]["message"].as_str().unwrap().contains(says), "{text}: {found:?}");
    }
}

#[tokio::test]
async fn policies_are_planned_exported_and_pruned_like_the_rest() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let text = format!("[[environment]]\nname = \"production\"\n{}", policy("p", NO_NIGHTS));
    let lines = |reply: &Reply| -> Vec<String> {
        let changes = reply.json()["changes"].as_array().unwrap().clone();
        let line = |one: &Value| {
            format!(
                "{} {} {}",
                one["action"].as_str().unwrap(),
                one["kind"].as_str().unwrap(),
                one["name"].as_str().unwrap()
            )
        };
        changes.iter().map(line).collect()
    };
    assert_eq!(lines(&applied(&broker, &text).await), ["create environment production", "create policy p"]);
    assert!(lines(&applied(&broker, &text).await).is_empty(), "nothing changes");
    let exported = by.post_json("/v1/export", &json!({})).await.json()["text"].as_str().unwrap().to_owned();
    assert!(exported.contains("[[policy]]") && exported.contains("[[environment]]"), "{exported}");
    assert!(lines(&applied(&broker, &exported).await).is_empty(), "an export changes nothing: {exported}");
    let changed = applied(&broker, &policy("p", "forbid (principal, action, resource);")).await;
    assert_eq!(lines(&changed), ["update policy p"]);
    assert_eq!(changed.json()["changes"][0]["fields"], json!(["rule"]));
    // An environment in use stays
    let placed =
        DECLARATIONS.replacen("max_life_s = 120", "max_life_s = 120\nenvironment = \"production\"", 1);
    let moved = applied(&broker, &placed).await;
    assert_eq!(moved.json()["changes"][0]["values"][0]["field"], "environment");
    let prune = async |text: &str| {
        let body = json!({ "files": [{ "name": "a.toml", "text": text }], "prune": true, "widen": true });
        by.post_json("/v1/apply", &body).await
    };
    refused(&prune(&placed).await, 422, "declarations_invalid");
    let pruned = prune(DECLARATIONS).await;
    assert_eq!(pruned.status, 200, "{}", pruned.text());
    assert_eq!(
        lines(&pruned),
        ["update capability reports.publish", "remove environment production", "remove policy p"]
    );
}

#[tokio::test]
async fn the_policy_of_a_bound_operator_concerns_only_its_owner() {
    let (broker, red, blue) = teams().await;
    let everything = "forbid (principal, action, resource);";
    let apply = async |by: &Caller, text: &str| {
        by.post_json("/v1/apply", &json!({ "widen": true, "files": [{ "name": "a.toml", "text": text }] }))
            .await
    };
    // Given a policy of team `red` against every request
    assert_eq!(apply(&red, &policy("red-stop", everything)).await.status, 200);
    // Then only the capabilities of the team are denied
    let (reds, blues) = (broker.agent("red-bot", &[]).await, broker.agent("blue-bot", &[]).await);
    refused(&ask(&reds, "red.read").await, 403, "policy_denied");
    assert_eq!(ask(&blues, "blue.read").await.status, 200);
    // And another team neither sees nor replaces nor names it
    let exported = blue.post_json("/v1/export", &json!({})).await.text();
    assert!(!exported.contains("red-stop"), "{exported}");
    let taken = faults(&blue, &policy("red-stop", everything)).await;
    assert!(taken[0]["message"].as_str().unwrap().contains("another owner"), "{taken:?}");
    let foreign = "forbid (principal == Keyward::Agent::\"red-bot\", action, resource);";
    let named = faults(&blue, &policy("p", foreign)).await;
    assert!(
        named[0]["message"].as_str().unwrap().contains("not among the objects of owner `blue`"),
        "{named:?}"
    );
    let entries = blue.get("/v1/ledger/entries").await.text();
    assert!(!entries.contains("red-stop"), "{entries}");
    // And a policy without an owner holds for all
    applied(
        &broker,
        &policy("all-stop", "forbid (principal, action, resource in Keyward::Capability::\"blue.read\");"),
    )
    .await;
    refused(&ask(&blues, "blue.read").await, 403, "policy_denied");
}
