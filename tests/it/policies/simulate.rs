//! Replays of recorded requests against declarations that are not applied.

use serde_json::{Value, json};

use super::{NO_NIGHTS, applied, ask, broker_with, policy};
use crate::operators::{join, standing, teams};
use crate::refusals::refused;
use crate::support::broker::{Caller, Reply};

async fn simulated(by: &Caller, text: &str, prune: bool) -> Reply {
    let files = json!([{ "name": "draft.toml", "text": text }]);
    by.post_json("/v1/simulations", &json!({ "files": files, "prune": prune, "since": "7d" })).await
}

/// The changes, as agent, capability, change and count.
fn changes(reply: &Reply) -> Vec<(String, String, String, u64)> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    let of = |one: &Value| {
        (text(one, "agent"), text(one, "capability"), text(one, "change"), one["requests"].as_u64().unwrap())
    };
    reply.json()["changes"].as_array().unwrap().iter().map(of).collect()
}

fn change(agent: &str, capability: &str, change: &str, requests: u64) -> (String, String, String, u64) {
    (agent.to_owned(), capability.to_owned(), change.to_owned(), requests)
}

#[tokio::test]
async fn recorded_requests_are_compared_with_those_of_a_draft() {
    // Given three grants by day, and a denial by night
    let (broker, agent) = broker_with(NO_NIGHTS).await;
    for scope in ["reports.read", "reports.read", "reports.publish"] {
        assert_eq!(ask(&agent, scope).await.status, 200);
    }
    broker.clock.advance_s(8 * 3600);
    refused(&ask(&agent, "reports.publish").await, 403, "policy_denied");
    let before = broker.operator().get("/v1/policies").await.json();
    // When a draft denies reads and allows writes at each time
    let draft = format!(
        "{}{}",
        policy("no-nights", "forbid (principal, action == Keyward::Action::\"lease\", resource);"),
        policy("no-reads", "forbid (principal, action, resource) when { resource.access == \"read\" };"),
    );
    let reply = simulated(&broker.operator(), &draft, false).await;
    // Then the changes are counted by agent and capability
    assert_eq!(
        changes(&reply),
        [change("a", "reports.publish", "newly-allowed", 1), change("a", "reports.read", "newly-denied", 2),]
    );
    let answer = reply.json();
    assert_eq!((&answer["requests"], &answer["next_before"]), (&json!(4), &Value::Null));
    // And nothing has changed
    assert_eq!(broker.operator().get("/v1/policies").await.json(), before);
}

#[tokio::test]
async fn lives_and_roles_of_a_draft_are_compared() {
    let limit = "@max_ttl(\"1m\") forbid (principal, action, resource);";
    let (broker, agent) = broker_with(limit).await;
    assert_eq!(ask(&agent, "reports.read").await.status, 200);
    let longer = policy("no-nights", "@max_ttl(\"2m\") forbid (principal, action, resource);");
    let shorter = policy("no-nights", "@max_ttl(\"30s\") forbid (principal, action, resource);");
    for (draft, expected) in [(longer, "longer-life"), (shorter, "shorter-life")] {
        let reply = simulated(&broker.operator(), &draft, false).await;
        assert_eq!(changes(&reply), [change("a", "reports.read", expected, 1)]);
    }
    let without = "[[agent]]\nname = \"a\"\nroles = []\n";
    let reply = simulated(&broker.operator(), without, false).await;
    assert_eq!(changes(&reply), [change("a", "reports.read", "newly-denied", 1)]);
}

#[tokio::test]
async fn the_present_declarations_change_no_decision() {
    let (broker, agent) = broker_with(NO_NIGHTS).await;
    assert_eq!(ask(&agent, "reports.read%20reports.publish").await.status, 200);
    broker.clock.advance_s(8 * 3600);
    assert_eq!(ask(&agent, "reports.read%20reports.publish").await.status, 200);
    refused(&ask(&agent, "absent.read").await, 400, "capability_not_granted");
    let reply = simulated(&broker.operator(), &policy("no-nights", NO_NIGHTS), false).await;
    assert!(changes(&reply).is_empty(), "{}", reply.text());
    // And earlier requests than `since` are left out
    broker.clock.advance_s(2 * 3600);
    let body =
        json!({ "files": [{ "name": "draft.toml", "text": policy("no-nights", NO_NIGHTS) }], "since": "1h" });
    let reply = broker.operator().post_json("/v1/simulations", &body).await;
    assert_eq!(reply.json()["requests"], 0, "{}", reply.text());
    for since in ["soon", "2099-01-01"] {
        let malformed = json!({ "files": [{ "name": "draft.toml", "text": "" }], "since": since });
        refused(&broker.operator().post_json("/v1/simulations", &malformed).await, 400, "query_invalid");
    }
}

#[tokio::test]
async fn faults_and_missing_rights_are_refused() {
    let (broker, red, _) = teams().await;
    let rule = policy("p", "forbid (principal, action, resource);");
    refused(&simulated(&red, &rule, false).await, 403, "operator_scope_insufficient");
    let auditor = join(&broker, "olga", &standing("auditor", None)).await.caller;
    refused(&simulated(&auditor, &rule, false).await, 403, "operator_role_insufficient");
    let security = join(&broker, "sam", &standing("security", None)).await.caller;
    assert_eq!(simulated(&security, &rule, false).await.status, 200);
    refused(&simulated(&security, "[[policy]]\n", false).await, 422, "declarations_invalid");
    applied(&broker, &rule).await;
}
