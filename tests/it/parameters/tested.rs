//! Policies that test parameters.

use serde_json::json;

use super::*;
use crate::refusals::refused;

#[tokio::test]
async fn a_policy_tests_parameters_of_each_type() {
    let (broker, agent) = scene().await;
    for (name, condition) in [
        ("high", "context.parameters has amount && context.parameters.amount > 100"),
        ("dollars", "context.parameters has currency && context.parameters.currency == \"USD\""),
        ("dry", "context.parameters has dry_run && context.parameters.dry_run"),
        ("known", "context.parameters has account && context.parameters.account like \"CNRY-X*\""),
    ] {
        applied(&broker, &forbid(name, condition)).await;
    }
    let with = |field: &str, value: Value| {
        let mut parameters = refund(100);
        parameters[field] = value;
        parameters
    };
    assert_eq!(ask_refund(&agent, &refund(100)).await.status, 200);
    for (parameters, policy) in [
        (refund(101), "high"),
        (with("currency", json!("USD")), "dollars"),
        (with("dry_run", json!(true)), "dry"),
        (with("account", json!("CNRY-X1")), "known"),
    ] {
        let denied = ask_refund(&agent, &parameters).await;
        refused(&denied, 403, "policy_denied");
        assert!(denied.text().contains(&format!("policy `{policy}`")), "{}", denied.text());
    }
    for parameters in [with("currency", json!("EUR")), with("dry_run", json!(false))] {
        assert_eq!(ask_refund(&agent, &parameters).await.status, 200);
    }
}

#[tokio::test]
async fn each_capability_is_judged_with_its_own_parameters() {
    let (broker, agent) = scene().await;
    let rule = "context.parameters has amount && context.parameters.amount > 100";
    applied(&broker, &forbid("high", rule)).await;
    let both = json!([detail("payments.refund", &refund(101)), detail("payments.status", &json!({}))]);
    let answer = ask(&agent, &both).await.json();
    assert_eq!(
        (&answer["scope"], &answer["left_out"][0]["code"]),
        (&json!("payments.status"), &json!("policy_denied"))
    );
    assert_eq!(answer["authorization_details"].as_array().unwrap().len(), 1, "{answer}");
    // And leases and readings have none
    applied(&broker, &forbid("none", "!(context.parameters has amount) && resource.access == \"write\""))
        .await;
    let publisher = broker.agent("p", &["publisher"]).await;
    refused(
        &publisher.ask("grant_type=client_credentials&scope=reports.publish").await,
        403,
        "policy_denied",
    );
}

#[tokio::test]
async fn a_denial_names_the_other_capability_with_the_parameters_that_it_has() {
    let (broker, agent) = scene().await;
    let smaller = "[[capability]]\nname = \"payments.credit\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                   audience = \"https://payments.example.com\"\nmax_life_s = 600\n\
                   [capability.parameters]\namount = { type = \"integer\", max = 500 }\n\
                   [[capability]]\nname = \"payments.status\"\naccess = \"read\"\ndelivery = \"mint\"\n\
                   audience = \"https://payments.example.com\"\nmax_life_s = 600\ninstead = \"payments.credit\"\n\
                   [capability.parameters]\namount = { type = \"integer\" }\npayment = { type = \"text\" }\n\
                   [[role]]\nname = \"refunder\"\n\
                   capabilities = [\"payments.credit\", \"payments.refund\", \"payments.status\"]\n";
    applied(&broker, smaller).await;
    applied(
        &broker,
        &policy("stop", "forbid (principal, action, resource == Keyward::Capability::\"payments.status\");"),
    )
    .await;
    let status =
        |amount: i64| json!([detail("payments.status", &json!({ "amount": amount, "payment": "p-1" }))]);
    let denied = ask(&agent, &status(7)).await;
    refused(&denied, 403, "policy_denied");
    let form = denied.json()["instead"]["form"].as_str().unwrap().to_owned();
    let token = agent.ask(&form).await;
    assert_eq!(token.status, 200, "{}", token.text());
    let granted = &token.json()["authorization_details"][0];
    assert_eq!(
        (&granted["capability"], &granted["parameters"]),
        (&json!("payments.credit"), &json!({ "amount": 7 }))
    );
    // The twin: with a value that the other capability does not allow, nothing is named
    assert_eq!(ask(&agent, &status(501)).await.json()["instead"], Value::Null);
    // And a smaller request never shows a sensitive value
    applied(&broker, &forbid("long", "context has requested_life_s && context.requested_life_s > 60")).await;
    let details = json!([detail("payments.refund", &refund(7))]);
    let denied = agent.ask(&form_with_life(&details)).await;
    refused(&denied, 403, "policy_denied");
    assert_eq!(denied.json()["instead"], Value::Null);
}

fn form_with_life(details: &Value) -> String {
    super::form(details, &[("expires_in", "300")])
}
