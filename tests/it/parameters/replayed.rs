//! Recorded requests with parameters: explained, simulated and replayed.

use serde_json::json;

use super::*;
use crate::operators::teams;
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
async fn a_request_is_not_decided_again_if_a_policy_tests_a_sensitive_value() {
    let (broker, agent) = scene().await;
    // Without such a policy it is
    let granted = ask_refund(&agent, &refund(1)).await;
    assert_eq!(explained(&broker, &granted).await["now"]["outcome"], "allow");
    let all = simulated(&broker, &forbid("all", "true")).await;
    assert_eq!(
        (&all["changes"][0]["change"], &all["not_replayed"]),
        (&json!("newly-denied"), &json!(0)),
        "{all}"
    );
    // With one, neither the grant nor the denial is
    let known = "context.parameters has account && context.parameters.account == \"x\"";
    applied(&broker, &forbid("known", known)).await;
    let denied = ask_refund(&agent, &json!({ "amount": 1, "account": "x" })).await;
    refused(&denied, 403, "policy_denied");
    for (reply, outcome) in [(&granted, "allow"), (&denied, "deny")] {
        let answer = explained(&broker, reply).await;
        let told = (&answer["outcome"], &answer["now"]["outcome"]);
        assert_eq!(told, (&json!(outcome), &json!("unknown")), "{answer}");
        assert!(answer["now"]["reasons"].to_string().contains("sensitive parameter"), "{answer}");
        assert_eq!(answer["capabilities"][0]["policies"][0]["result"], "sensitive-parameter", "{answer}");
        assert!(!answer.to_string().contains("CNRY"), "{answer}");
    }
    let all = simulated(&broker, &forbid("all", "true")).await;
    assert_eq!((&all["changes"], &all["not_replayed"]), (&json!([]), &json!(2)), "{all}");
    assert_eq!(all["not_replayed_causes"]["sensitive_parameter"], 2, "{all}");
    // And a present denial by another policy stays one
    applied(&broker, &forbid("all", "true")).await;
    assert_eq!(explained(&broker, &granted).await["now"]["outcome"], "deny");
}

#[tokio::test]
async fn an_agent_learns_from_explanations_neither_declarations_nor_digests() {
    let (broker, agent) = scene().await;
    let own = async |by: &Agent, reply: &Reply| {
        let decision = reply.json()["decision_id"].as_str().unwrap().to_owned();
        let mut answer = by.caller.get(&format!("/v1/decisions/{decision}")).await.json();
        answer["decision"] = Value::Null;
        answer
    };
    // Given guesses about capabilities that the agent does not hold: declared with parameters, and not declared
    let other = broker.agent("o", &["publisher"]).await;
    let mut answers = Vec::new();
    for (name, parameters) in [
        ("payments.refund", refund(1)),
        ("payments.refund", json!({ "nothing": 1 })),
        ("payments.status", json!({ "payment": "p-1" })),
        ("payments.absent", refund(1)),
    ] {
        let denied = ask(&other, &json!([detail(name, &parameters)])).await;
        refused(&denied, 400, "capability_not_granted");
        answers.push(own(&other, &denied).await);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // And of its own sensitive parameter it sees no digest
    let answer = own(&agent, &ask_refund(&agent, &refund(1)).await).await;
    let seen = &answer["parameters"]["payments.refund"];
    assert_eq!((&seen["amount"], &seen["account"]), (&json!(1), &json!({ "sensitive": "" })), "{answer}");
}

#[tokio::test]
async fn the_same_sensitive_value_of_two_agents_has_two_digests() {
    let (broker, agent) = scene().await;
    let second = broker.agent("s", &["refunder"]).await;
    let mut digests = Vec::new();
    for by in [&agent, &agent, &second] {
        assert_eq!(ask_refund(by, &refund(1)).await.status, 200);
        let event = last(&broker, "token.minted").await;
        digests.push(event["facts"]["parameters"]["payments.refund"]["account"]["sensitive"].clone());
    }
    assert!(digests[0] == digests[1] && digests[0] != digests[2], "{digests:?}");
}

#[tokio::test]
async fn an_operator_with_an_owner_sees_no_parameter_of_other_owners() {
    let (broker, red, _) = teams().await;
    // A token has one audience
    let declared = REFUNDS.split("[[resource_server]]").next().unwrap();
    applied(&broker, &declared.replace("payments.example.com", "red.example.com")).await;
    let mixed = "[[role]]\nname = \"mixed\"\ncapabilities = [\"red.call\", \"payments.status\"]\n\
        [[agent]]\nname = \"red-bot\"\nowner = \"red\"\nroles = [\"mixed\"]\n";
    applied(&broker, mixed).await;
    let agent = broker.agent("red-bot", &[]).await;
    let both = json!([
        { "type": "keyward_capability", "capability": "red.call" },
        detail("payments.status", &json!({ "payment": "p-4711" })),
    ]);
    let reply = ask(&agent, &both).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let decision = reply.json()["decision_id"].as_str().unwrap().to_owned();
    let seen = red.get(&format!("/v1/decisions/{decision}")).await;
    assert!(!seen.text().contains("payments") && !seen.text().contains("p-4711"), "{}", seen.text());
    // The twin: an operator with the scope `all` sees it
    let whole = broker.operator().get(&format!("/v1/decisions/{decision}")).await;
    assert!(whole.text().contains("p-4711"), "{}", whole.text());
}

#[tokio::test]
async fn a_request_whose_parameters_did_not_fit_is_not_decided_again() {
    // Given refusals for parameters, and a policy that would match without any
    let (broker, agent) = replayable().await;
    applied(&broker, &forbid("absent", "!(context.parameters has amount)")).await;
    let mut refusals = Vec::new();
    for (parameters, code) in [
        (json!({ "amount": 0, "account": "x" }), "parameter_invalid"),
        (json!({ "amount": 1 }), "parameter_missing"),
        (json!({ "amount": 1, "account": "x", "colour": 1 }), "parameter_unknown"),
    ] {
        let reply = ask_refund(&agent, &parameters).await;
        refused(&reply, 400, code);
        // When an operator and the agent ask why, then the outcome is unknown, and the recorded reason is named
        let decision = reply.json()["decision_id"].as_str().unwrap().to_owned();
        let own = agent.caller.get(&format!("/v1/decisions/{decision}")).await.json();
        let answer = explained(&broker, &reply).await;
        for told in [&answer, &own] {
            assert_eq!((&told["code"], &told["now"]["outcome"]), (&json!(code), &json!("unknown")), "{told}");
            let reasons = told["now"]["reasons"].to_string();
            assert!(reasons.contains("are not recorded") && reasons.contains(code), "{reasons}");
            assert_eq!((told["now"].get("code"), told.get("change")), (None, None), "{told}");
        }
        // And the policy on parameters was not tested
        assert_eq!(answer["capabilities"][0]["policies"][0]["result"], "parameters-not-recorded", "{answer}");
        refusals.push(reply);
    }
    // And a simulation leaves them out, and says why
    let draft = simulated(&broker, &forbid("high", HIGH)).await;
    let causes = json!({ "sensitive_parameter": 0, "refused_parameters": 3, "target": 0 });
    assert_eq!(
        (&draft["requests"], &draft["not_replayed"], &draft["not_replayed_causes"]),
        (&json!(3), &json!(3), &causes),
        "{draft}"
    );
    // And a denial that holds for any parameters is one
    applied(&broker, &forbid("all", "true")).await;
    for reply in &refusals {
        assert_eq!(explained(&broker, reply).await["now"]["code"], "policy_denied");
    }
}

#[tokio::test]
async fn an_old_decision_with_parameters_is_explained_by_the_rules_of_then() {
    // Given a denial by a policy on parameters, which was changed since, as the parameters were
    let (mut broker, agent) = replayable().await;
    applied(&broker, &forbid("high", HIGH)).await;
    let denied = ask_refund(&agent, &json!({ "amount": 101, "account": "x" })).await;
    refused(&denied, 403, "policy_denied");
    applied(&broker, &forbid("high", &HIGH.replace("100", "500"))).await;
    applied(&broker, &REFUNDS.replace("min = 1,", "min = 2,").replace(", sensitive = true", "")).await;
    // When it is explained, also after a restart, then by the rules of then and by the present ones
    for _ in 0..2 {
        let answer = explained(&broker, &denied).await;
        let result = |by: &Value| by["capabilities"][0]["policies"][0]["result"].clone();
        assert_eq!(
            (result(&answer["then"]), result(&answer)),
            (json!("denies"), json!("condition")),
            "{answer}"
        );
        assert_eq!(answer.get("then_left_out"), None, "{answer}");
        broker.restart().await;
    }
}
