//! How a request differs from what its agent usually does.

use serde_json::{Value, json};

use super::webhook::POLICY;
use crate::operators::{join, refused, standing};
use crate::support::broker::{Agent, TestBroker};

async fn asking() -> (TestBroker, Agent) {
    let broker = TestBroker::declared().await;
    assert_eq!(broker.apply(POLICY).await.status, 200);
    let agent = crate::approvals::agent(&broker, "deploy-bot").await;
    (broker, agent)
}

async fn ask(agent: &Agent, life_s: u32) -> String {
    let body =
        json!({ "capabilities": ["reports.publish"], "reason": format!("life {life_s}"), "life_s": life_s });
    let reply = agent.caller.post_json("/v1/approvals", &body).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()["approval"].as_str().unwrap().to_owned()
}

async fn context(broker: &TestBroker, id: &str) -> Value {
    let reply = broker.operator().get(&format!("/v1/approvals/{id}/context")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The different fields: name, value, and usual values.
fn differences(context: &Value) -> Vec<String> {
    context["differences"].as_array().unwrap().iter().map(Value::to_string).collect()
}

#[tokio::test]
async fn request_is_compared_with_the_tokens_before_it() {
    let (broker, agent) = asking().await;
    // Given an agent without a token: there is nothing to compare with
    let first = ask(&agent, 60).await;
    let nothing = context(&broker, &first).await;
    assert_eq!(
        (&nothing["tokens"], &nothing["entries"]),
        (&json!(0), &json!({ "read": 0, "complete": true }))
    );
    assert!(differences(&nothing).is_empty() && nothing["previous"] == json!([]), "{nothing}");
    // When it has got tokens for another capability
    for _ in 0..3 {
        agent.token("reports.read").await;
    }
    let second = ask(&agent, 120).await;
    // Then capability differs, and the audience, the source and the life do not
    let compared = context(&broker, &second).await;
    assert_eq!(compared["tokens"], json!(3));
    let capability = json!({ "field": "capability", "usual": ["reports.read"], "value": "reports.publish" });
    assert_eq!(compared["differences"], json!([capability]));
    // And the earlier request is listed
    let previous = &compared["previous"];
    assert_eq!(previous.as_array().unwrap().len(), 1, "{previous}");
    assert_eq!((&previous[0]["approval"], &previous[0]["reason"]), (&json!(first), &json!("life 60")));
}

#[tokio::test]
async fn only_operators_that_see_a_request_see_its_comparison() {
    let (broker, agent) = asking().await;
    let id = ask(&agent, 60).await;
    let path = format!("/v1/approvals/{id}/context");
    let approver = join(&broker, "ann", &standing("approver", None)).await;
    assert_eq!(approver.caller.get(&path).await.status, 200);
    let other = join(&broker, "bob", &standing("approver", Some("payments"))).await;
    refused(&other.caller.get(&path).await, 404, "approval_unknown");
    let unknown = "/v1/approvals/appr_06h2htbrfhs6388gu9e2l31ivk/context";
    refused(&approver.caller.get(unknown).await, 404, "approval_unknown");
}
