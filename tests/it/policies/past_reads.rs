//! Policies that test when the agent last read a sensitive secret.

use serde_json::{Value, json};

use super::{MORNING, applied, ask, policy};
use crate::refusals::refused;
use crate::support::broker::{Agent, TestBroker};

const AFTER_SENSITIVE: &str = "@reason(\"nothing is published within an hour of a sensitive read\")
forbid (principal, action == Keyward::Action::\"token\", resource)
when { resource.access == \"write\" && context has since_sensitive_read_s && context.since_sensitive_read_s < 3600 };";

/// A broker with the policy and a sensitive secret, and an agent that can read the secret and publish.
async fn set_up() -> (TestBroker, Agent) {
    let broker = TestBroker::start_at(MORNING, "[certificates]\nagent_life_s = 604800\n").await;
    broker.declare().await;
    applied(&broker, &policy("after-sensitive", AFTER_SENSITIVE)).await;
    let headers = [("content-type", "application/octet-stream"), ("keyward-sensitivity", "high")];
    let stored = broker.operator().send("PUT", "/v1/secrets/github/app", &headers, b"hunter2").await;
    assert!(stored.status < 300, "{}", stored.text());
    let agent = broker.agent("a", &["publisher", "repo-reader"]).await;
    (broker, agent)
}

async fn read(agent: &Agent) {
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.status, 200);
}

async fn last_denial(broker: &TestBroker) -> Value {
    broker.entries("request.denied").await.last().unwrap()["event"].clone()
}

#[tokio::test]
async fn a_rule_tests_the_time_since_the_last_sensitive_read() {
    // Given an agent that has read no sensitive secret
    let (mut broker, mut agent) = set_up().await;
    assert_eq!(ask(&agent, "reports.publish").await.status, 200);
    // When it reads one, then it cannot publish, and the entry has the fact
    read(&agent).await;
    broker.clock.advance_s(90);
    refused(&ask(&agent, "reports.publish").await, 403, "policy_denied");
    assert_eq!(last_denial(&broker).await["facts"]["since_sensitive_read_s"], 90);
    // And the broker knows it after a restart
    broker.restart().await;
    agent.caller.address = broker.agents();
    refused(&ask(&agent, "reports.publish").await, 403, "policy_denied");
    // And an hour later it can publish again
    broker.clock.advance_s(3600);
    assert_eq!(ask(&agent, "reports.publish").await.status, 200);
    let minted = broker.entries("token.minted").await.last().unwrap()["event"].clone();
    assert!(minted["facts"]["since_sensitive_read_s"].as_u64().unwrap() >= 3690, "{minted}");
}

#[tokio::test]
async fn an_explanation_uses_the_read_of_that_time() {
    let (broker, agent) = set_up().await;
    read(&agent).await;
    let denied = ask(&agent, "reports.publish").await;
    refused(&denied, 403, "policy_denied");
    // Given that the read is long ago by now
    broker.clock.advance_s(2 * 3600);
    // When the denial is explained, then the policy still denies it
    let decision = denied.json()["decision_id"].as_str().unwrap().to_owned();
    let answer = broker.operator().get(&format!("/v1/decisions/{decision}")).await.json();
    assert_eq!(answer["capabilities"][0]["policies"][0]["result"], json!("denies"), "{answer}");
}

#[tokio::test]
async fn without_such_a_rule_no_decision_waits_for_reads() {
    // Given other policies only
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    applied(&broker, &policy("short", "@max_ttl(\"1m\") forbid (principal, action, resource);")).await;
    let agent = broker.agent("a", &["publisher"]).await;
    // When a token is issued, then its entry has no such fact
    assert_eq!(ask(&agent, "reports.publish").await.status, 200);
    let minted = broker.entries("token.minted").await.last().unwrap()["event"].clone();
    assert_eq!(minted["facts"]["since_sensitive_read_s"], Value::Null);
}
