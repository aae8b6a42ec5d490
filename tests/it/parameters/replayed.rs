//! Recorded requests with parameters: explained, simulated and replayed.

use serde_json::json;

use super::*;
use crate::refusals::refused;

/// A broker with a capability without sensitive parameters.
async fn replayable() -> (TestBroker, Agent) {
    let broker = TestBroker::declared().await;
    let plain = REFUNDS.replace("required = true, sensitive = true", "required = true");
    applied(&broker, &plain).await;
    let agent = broker.agent("r", &["refunder"]).await;
    (broker, agent)
}

async fn explained(broker: &TestBroker, reply: &Reply) -> Value {
    let decision = reply.json()["decision_id"].as_str().unwrap().to_owned();
    broker.operator().get(&format!("/v1/decisions/{decision}")).await.json()
}

async fn simulated(broker: &TestBroker, text: &str) -> Value {
    let files = json!([{ "name": "draft.toml", "text": text }]);
    let body = json!({ "files": files, "prune": false, "since": "7d" });
    let reply = broker.operator().post_json("/v1/simulations", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

const HIGH: &str = "context.parameters has amount && context.parameters.amount > 100";

#[tokio::test]
async fn decide_explain_and_replay_agree_on_requests_with_parameters() {
    let (broker, agent) = replayable().await;
    applied(&broker, &forbid("high", HIGH)).await;
    for amount in [1, 99, 100, 101, 102, 5000, 100_000] {
        let reply = ask_refund(&agent, &json!({ "amount": amount, "account": "x" })).await;
        let is_denied = amount > 100;
        assert_eq!(reply.status == 403, is_denied, "{}", reply.text());
        let answer = explained(&broker, &reply).await;
        let outcome = if is_denied { "deny" } else { "allow" };
        assert_eq!(
            (&answer["outcome"], &answer["now"]["outcome"]),
            (&json!(outcome), &json!(outcome)),
            "{answer}"
        );
        assert_eq!(answer["parameters"]["payments.refund"], json!({ "amount": amount, "account": "x" }));
    }
    // A draft that changes nothing changes no decision, and one with another limit changes those between
    let same = simulated(&broker, &forbid("high", HIGH)).await;
    assert_eq!((&same["requests"], &same["changes"]), (&json!(7), &json!([])), "{same}");
    let higher = simulated(&broker, &forbid("high", &HIGH.replace("100", "101"))).await;
    assert_eq!(
        (&higher["changes"][0]["change"], &higher["changes"][0]["requests"]),
        (&json!("newly-allowed"), &json!(1)),
        "{higher}"
    );
}

#[tokio::test]
async fn a_request_with_a_sensitive_parameter_is_not_decided_again() {
    let (broker, agent) = scene().await;
    applied(
        &broker,
        &forbid("known", "context.parameters has account && context.parameters.account == \"x\""),
    )
    .await;
    let granted = ask_refund(&agent, &refund(1)).await;
    let denied = ask_refund(&agent, &json!({ "amount": 1, "account": "x" })).await;
    refused(&denied, 403, "policy_denied");
    for (reply, outcome) in [(&granted, "allow"), (&denied, "deny")] {
        let answer = explained(&broker, reply).await;
        assert_eq!(
            (&answer["outcome"], &answer["now"]["outcome"]),
            (&json!(outcome), &json!(outcome)),
            "{answer}"
        );
        assert!(answer["now"]["reasons"].to_string().contains("sensitive parameter"), "{answer}");
        assert_eq!(answer["capabilities"][0]["policies"][0]["result"], "sensitive-parameter", "{answer}");
        assert!(!answer.to_string().contains("CNRY"), "{answer}");
    }
    // And a simulation leaves both out
    let all = simulated(&broker, &forbid("all", "true")).await;
    assert_eq!(all["changes"], json!([]), "{all}");
}

#[tokio::test]
async fn a_request_whose_parameters_did_not_fit_is_explained_by_its_code() {
    let (broker, agent) = replayable().await;
    let reply = ask_refund(&agent, &json!({ "amount": 0, "account": "x" })).await;
    refused(&reply, 400, "parameter_invalid");
    let answer = explained(&broker, &reply).await;
    assert_eq!(
        (&answer["code"], &answer["now"]["outcome"]),
        (&json!("parameter_invalid"), &json!("deny")),
        "{answer}"
    );
}
