//! Smaller requests that a denial names.

use serde_json::{Value, json};

use super::{MORNING, applied, ask, broker_with, policy};
use crate::refusals::refused;
use crate::support::broker::{Agent, Reply, TestBroker};

/// Sends the request that `denied` names.
async fn accept(agent: &Agent, denied: &Reply) -> Reply {
    let answer = denied.json();
    let form = answer["instead"]["form"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(form.contains(&format!("remediates={}", answer["decision_id"].as_str().unwrap())), "{form}");
    agent.ask(form).await
}

async fn recorded(broker: &TestBroker) -> Value {
    broker.entries("token.minted").await.last().unwrap()["event"]["remediates"].clone()
}

#[tokio::test]
async fn a_denial_names_a_shorter_life_and_the_ledger_records_that_it_is_accepted() {
    // Given a policy against long lives
    let rule = "forbid (principal, action, resource) when { context has requested_life_s && context.requested_life_s > 60 };";
    let (broker, agent) = broker_with(rule).await;
    let denied = agent.ask("grant_type=client_credentials&scope=reports.read&expires_in=600").await;
    refused(&denied, 403, "policy_denied");
    // Then the refusal has a request that the agent can send, and the command
    let answer = denied.json();
    assert_eq!(
        (&answer["instead"]["scope"], &answer["instead"]["expires_in"]),
        (&json!("reports.read"), &json!(60))
    );
    let fix = answer["fix"].as_str().unwrap();
    assert!(fix.contains("keyward token reports.read --expires-in 60s --remediates dec_"), "{fix}");
    let accepted = accept(&agent, &denied).await;
    assert_eq!((accepted.status, &accepted.json()["expires_in"]), (200, &json!(60)), "{}", accepted.text());
    assert_eq!(recorded(&broker).await, answer["decision_id"]);
    // The twin: a request without a denial records none
    assert_eq!(agent.ask("grant_type=client_credentials&scope=reports.read&expires_in=60").await.status, 200);
    assert_eq!(recorded(&broker).await, Value::Null);
    // And neither does one that names the denial of another agent, or another request than the denial names
    let other = broker.agent("b", &["publisher"]).await;
    let denied_id = answer["decision_id"].as_str().unwrap();
    for (by, scope) in [(&other, "reports.read"), (&agent, "reports.publish")] {
        let form =
            format!("grant_type=client_credentials&scope={scope}&expires_in=60&remediates={denied_id}");
        let reply = by.ask(&form).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(recorded(&broker).await, Value::Null);
    }
    let malformed = agent.ask("grant_type=client_credentials&scope=reports.read&remediates=x").await;
    refused(&malformed, 400, "id_not_canonical");
}

#[tokio::test]
async fn a_denial_names_the_capabilities_of_one_audience() {
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    let agent = broker.agent("a", &["publisher", "repo-reader"]).await;
    let denied = ask(&agent, "github.repo.read%20reports.publish%20reports.read").await;
    refused(&denied, 400, "audience_mismatch");
    assert!(denied.text().contains("the capabilities have several audiences"), "{}", denied.text());
    assert_eq!(denied.json()["instead"]["scope"], "reports.publish reports.read");
    let accepted = accept(&agent, &denied).await;
    assert_eq!((accepted.status, &accepted.json()["scope"]), (200, &json!("reports.publish reports.read")));
}

#[tokio::test]
async fn a_denial_names_the_declared_capability_if_it_is_allowed() {
    let (broker, agent) =
        broker_with("forbid (principal, action, resource == Keyward::Capability::\"reports.publish\");")
            .await;
    let publish = "[[capability]]\nname = \"reports.publish\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                   audience = \"https://reports.example.com\"\nmax_life_s = 120\ninstead = \"reports.read\"\n";
    // Nothing is named without a declaration
    assert_eq!(ask(&agent, "reports.publish").await.json()["instead"], Value::Null);
    applied(&broker, publish).await;
    let exported = broker.operator().post_json("/v1/export", &json!({})).await.text();
    assert!(exported.contains("instead = \\\"reports.read\\\""), "{exported}");
    let denied = ask(&agent, "reports.publish").await;
    refused(&denied, 403, "policy_denied");
    assert_eq!(denied.json()["instead"]["scope"], "reports.read");
    assert_eq!(accept(&agent, &denied).await.status, 200);
    // And not if it is denied, too
    applied(&broker, &policy("all", "forbid (principal, action, resource);")).await;
    assert_eq!(ask(&agent, "reports.publish").await.json()["instead"], Value::Null);
    // Faults of the declaration
    for (wrong, says) in
        [("reports.publish", "names the capability itself"), ("absent.read", "is not declared")]
    {
        let text = publish.replace("\"reports.read\"", &format!("\"{wrong}\""));
        let faults = broker.apply(&text).await;
        refused(&faults, 422, "declarations_invalid");
        assert!(faults.text().contains(says), "{}", faults.text());
    }
}
