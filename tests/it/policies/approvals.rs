//! Policies that demand an approval, as they are listed, tested, explained, simulated and compared.

use serde_json::{Value, json};

use super::{applied, ask, policy};
use crate::refusals::refused;
use crate::support::broker::{Agent, TestBroker};

const APPROVED: &str = "@decision(\"require_approval\") @quorum(\"2\")
forbid (principal, action == Keyward::Action::\"token\", resource) when { resource.access == \"write\" };";

/// A broker with one policy, and an agent that acts for a person.
async fn broker_with(rule: &str) -> (TestBroker, Agent) {
    let (broker, agent) = super::broker_with(rule).await;
    let person = "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\nperson = \"dev@corp.example\"\n";
    applied(&broker, person).await;
    (broker, agent)
}

#[tokio::test]
async fn a_demand_is_listed_and_explained() {
    let (broker, agent) = broker_with(APPROVED).await;
    let operator = broker.operator();
    let listed = operator.get("/v1/policies/no-nights").await.json();
    assert_eq!(
        (&listed["effect"], &listed["approval"]),
        (&json!("need-approval"), &json!({ "kind": "approval", "quorum": 2 }))
    );
    // Given a request that needs an approval
    let refusal = ask(&agent, "reports.publish").await;
    refused(&refusal, 400, "approval_required");
    let requested = broker.entries("approval.requested").await;
    let decision = requested.last().unwrap()["event"]["decision"].as_str().unwrap().to_owned();
    // Then the explanation says which policy demands it and who could approve
    let explained = operator.get(&format!("/v1/decisions/{decision}")).await.json();
    assert_eq!(
        (&explained["outcome"], &explained["now"]["outcome"]),
        (&json!("approval"), &json!("approval"))
    );
    assert_eq!(explained["now"]["same_declarations"], true);
    let demanding = &explained["capabilities"][0]["policies"][0];
    assert_eq!(
        (&demanding["result"], &demanding["approval"]["quorum"]),
        (&json!("needs-approval"), &json!(2))
    );
}

#[tokio::test]
async fn a_new_demand_is_simulated_and_a_removed_one_is_a_widening() {
    let (broker, agent) = broker_with("@max_ttl(\"1h\") forbid (principal, action, resource);").await;
    assert_eq!(ask(&agent, "reports.publish").await.status, 200);
    let operator = broker.operator();
    let files = |rule: &str| json!([{ "name": "draft.toml", "text": policy("no-nights", rule) }]);
    let simulated = operator
        .post_json("/v1/simulations", &json!({ "files": files(APPROVED), "since": "1d" }))
        .await
        .json();
    assert_eq!(simulated["changes"][0]["change"], "newly-needing-approval", "{simulated}");
    applied(&broker, &policy("no-nights", APPROVED)).await;
    // And a denial in the place of a demand, and the other way round
    assert_eq!(ask(&agent, "reports.publish").await.status, 400);
    let denies = APPROVED.replace("@decision(\"require_approval\") @quorum(\"2\")", "");
    let body = json!({ "files": files(&denies), "since": "1d" });
    let simulated = operator.post_json("/v1/simulations", &body).await.json();
    assert_eq!(simulated["changes"][0]["change"], "newly-denied", "{simulated}");
    applied(&broker, &policy("no-nights", &denies)).await;
    let body = json!({ "files": files(APPROVED), "since": "1d" });
    let simulated = operator.post_json("/v1/simulations", &body).await.json();
    assert_eq!(simulated["changes"][0]["change"], "newly-needing-approval", "{simulated}");
    applied(&broker, &policy("no-nights", APPROVED)).await;
    // When fewer persons approve, or nobody has to, then the application needs a confirmation
    for (rule, widens) in [
        (APPROVED.replace("\"2\"", "\"3\""), false),
        (APPROVED.replace("\"2\"", "\"1\""), true),
        (APPROVED.replace("@decision(\"require_approval\") @quorum(\"2\")", "@max_ttl(\"1m\")"), true),
        (APPROVED.replace("@decision(\"require_approval\") @quorum(\"2\")", ""), false),
    ] {
        let planned = operator.post_json("/v1/plan", &json!({ "files": files(&rule) })).await.json();
        assert_eq!(planned["widening"] != Value::Null, widens, "{rule}: {planned}");
    }
}
