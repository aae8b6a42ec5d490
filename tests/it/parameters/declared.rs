//! Parameters in declaration files: faults, plans, widening, exports, and the policies that test them.

use keyward::base::limits::{
    PARAMETER_TEXT_CHARS_MAX, PARAMETER_VALUES_BYTES_MAX, PARAMETER_VALUES_MAX, PARAMETERS_MAX,
};
use serde_json::json;

use super::*;
use crate::operators::teams;
use crate::refusals::refused;
use crate::support::broker::Caller;

/// A capability with these parameters.
fn capability(name: &str, parameters: &str) -> String {
    format!(
        "[[capability]]\nname = \"{name}\"\naccess = \"write\"\ndelivery = \"mint\"\naudience = \"https://pay.example.com\"\n\
         max_life_s = 60\n[capability.parameters]\n{parameters}\n"
    )
}

async fn planned(by: &Caller, text: &str) -> Reply {
    by.post_json("/v1/plan", &json!({ "files": [{ "name": "a.toml", "text": text }] })).await
}

async fn fault(by: &Caller, text: &str) -> String {
    let reply = planned(by, text).await;
    refused(&reply, 422, "declarations_invalid");
    reply.json()["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn faults_of_parameters_name_the_parameter_and_the_fix() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let texts = |count: usize| {
        let texts: Vec<String> = (0..count).map(|number| format!("\"t{number}\"")).collect();
        format!("a = {{ type = \"text\", values = [{}] }}", texts.join(", "))
    };
    let many = |count: usize| -> String {
        (0..count).map(|number| format!("p{number} = {{ type = \"boolean\" }}\n")).collect()
    };
    let longest = usize::try_from(PARAMETER_TEXT_CHARS_MAX).unwrap();
    // Distinct texts of that many bytes together, each at most as long as a text may be
    let long = |bytes: usize| {
        let texts: Vec<String> = (0..bytes.div_ceil(longest))
            .map(|number| {
                let length = (bytes - number * longest).min(longest);
                let letter = char::from(b'a' + u8::try_from(number).unwrap());
                format!("\"{}\"", letter.to_string().repeat(length))
            })
            .collect();
        format!("a = {{ type = \"text\", values = [{}] }}", texts.join(", "))
    };
    let beyond = PARAMETER_TEXT_CHARS_MAX + 1;
    for (parameters, says) in [
        ("a = { type = \"number\" }".to_owned(), "unknown word"),
        ("a = { type = \"integer\", nothing = 1 }".to_owned(), "nothing"),
        ("Amount = { type = \"integer\" }".to_owned(), "not a canonical parameter name"),
        ("in = { type = \"integer\" }".to_owned(), "not a canonical parameter name"),
        ("a = { type = \"integer\", min = 2, max = 1 }".to_owned(), "`min` is greater than `max`"),
        ("a = { type = \"integer\", max = 9007199254740992 }".to_owned(), "9007199254740991"),
        ("a = { type = \"integer\", values = [\"x\"] }".to_owned(), "contradicts `values`"),
        ("a = { type = \"text\", max = 1 }".to_owned(), "contradicts `min` and `max`"),
        ("a = { type = \"text\", values = [\"x\"], max_length = 3 }".to_owned(), "contradict each other"),
        ("a = { type = \"text\", values = [\"x\", \"x\"] }".to_owned(), "a text twice"),
        ("a = { type = \"text\", values = [\"\"] }".to_owned(), "not one line"),
        (format!("a = {{ type = \"text\", max_length = {beyond} }}"), "1 to 256"),
        ("a = { type = \"boolean\", max = 1 }".to_owned(), "no limits"),
        (texts(PARAMETER_VALUES_MAX + 1), "1 to 64 texts"),
        (long(PARAMETER_VALUES_BYTES_MAX + 1), "more than 4096 bytes together"),
        (many(PARAMETERS_MAX + 1), "more than 16 parameters"),
    ] {
        let message = fault(&by, &capability("a.b", &parameters)).await;
        assert!(message.contains(says), "{parameters}: {message}");
    }
    for parameters in [
        texts(PARAMETER_VALUES_MAX),
        long(PARAMETER_VALUES_BYTES_MAX),
        many(PARAMETERS_MAX),
        format!("a = {{ type = \"text\", max_length = {PARAMETER_TEXT_CHARS_MAX} }}"),
    ] {
        assert_eq!(planned(&by, &capability("a.b", &parameters)).await.status, 200, "{parameters}");
    }
    let revealed = capability("a.b", "a = { type = \"boolean\" }")
        .replace("\"mint\"\naudience = \"https://pay.example.com\"", "\"reveal\"\nsecret = \"github/app\"");
    assert!(fault(&by, &revealed).await.contains("delivery `mint`"));
}

#[tokio::test]
async fn a_plan_shows_changed_parameters_and_what_they_loosen() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let amount = |limits: &str| capability("pay.out", &format!("amount = {{ type = \"integer\"{limits} }}"));
    applied(&broker, &amount(", max = 100")).await;
    for (limits, to, is_widening, remark) in [
        (", max = 50", "integer of at most 50", false, false),
        (", max = 500", "integer of at most 500", true, false),
        (", max = 100, required = true", "integer of at most 100, required", false, true),
        (", max = 100, sensitive = true", "integer of at most 100, sensitive", false, false),
    ] {
        let plan = planned(&by, &amount(limits)).await.json();
        let change = &plan["changes"][0];
        let value = &change["values"][0];
        assert_eq!(change["fields"], json!(["parameters"]), "{plan}");
        assert_eq!((&value["field"], &value["to"]), (&json!("parameters.amount"), &json!(to)), "{plan}");
        let causes = plan["widening"].to_string();
        assert_eq!(causes.contains("parameter-loosened"), is_widening, "{limits}: {plan}");
        assert_eq!(change["remark"].is_string(), remark, "{limits}: {plan}");
    }
    // And without a confirmation, a loosened limit is not applied
    let files = json!({ "files": [{ "name": "a.toml", "text": amount(", max = 500") }] });
    refused(&by.post_json("/v1/apply", &files).await, 409, "widening_not_confirmed");
    // And a parameter that ends is one, too
    let ended = planned(&by, &amount(", max = 100").replace("amount", "number")).await.json();
    assert!(ended["widening"].to_string().contains("parameter-loosened"), "{ended}");
}

#[tokio::test]
async fn exported_parameters_are_the_declared_ones() {
    let (broker, _) = scene().await;
    let by = broker.operator();
    let exported = by.post_json("/v1/export", &json!({})).await.json();
    let text = exported["text"].as_str().unwrap();
    assert!(text.contains("[capability.parameters.account]"), "{text}");
    let plan = planned(&by, text).await.json();
    assert_eq!(plan["changes"], json!([]), "{plan}");
    // And a capability shows them
    let page = by.get("/v1/capabilities").await.json();
    let refund =
        page["items"].as_array().unwrap().iter().find(|one| one["name"] == "payments.refund").unwrap();
    assert_eq!(
        refund["parameters"][1],
        json!({ "name": "amount", "type": "integer", "required": true, "sensitive": false, "min": 1, "max": 100_000 })
    );
    assert_eq!(refund["parameters"][0]["sensitive"], true, "{refund}");
}

#[tokio::test]
async fn parameters_survive_a_restart_and_a_snapshot() {
    let (mut broker, mut agent) = scene().await;
    broker.take_snapshot().await;
    broker.restart().await;
    agent.caller.address = broker.agents();
    refused(&ask_refund(&agent, &refund(0)).await, 400, "parameter_invalid");
    assert_eq!(ask_refund(&agent, &refund(1)).await.status, 200);
}

#[tokio::test]
async fn rules_are_checked_against_the_parameters_of_capabilities() {
    let (broker, _) = scene().await;
    let by = broker.operator();
    for (condition, says) in [
        ("context.parameters.amount > 1", "test it first"),
        ("context.parameters has amount && context.parameters.amount == \"1\"", "same type"),
        ("context.parameters has amonut", "did you mean `amount`?"),
        ("context.parameters has recipient", "no capability that the policy concerns has"),
    ] {
        let message = fault(&by, &forbid("p", condition)).await;
        assert!(message.contains(says), "{condition}: {message}");
    }
    // A head that names a capability sees only its parameters
    let rule = "forbid (principal, action, resource == Keyward::Capability::\"payments.status\")\n\
                when { context.parameters has amount };";
    assert!(fault(&by, &policy("p", rule)).await.contains("no capability that the policy concerns has"));
}

#[tokio::test]
async fn a_name_with_two_types_is_tested_by_capability_only() {
    let (broker, _) = scene().await;
    let by = broker.operator();
    applied(&broker, &capability("web.scale", "amount = { type = \"text\" }")).await;
    let condition = "context.parameters has amount && context.parameters.amount > 1";
    let message = fault(&by, &forbid("p", condition)).await;
    assert!(message.contains("`payments.refund`") && message.contains("`web.scale`"), "{message}");
    let rule = format!(
        "forbid (principal, action, resource == Keyward::Capability::\"payments.refund\")\nwhen {{ {condition} }};"
    );
    applied(&broker, &policy("p", &rule)).await;
}

#[tokio::test]
async fn a_change_that_makes_a_policy_invalid_is_refused_with_both_names() {
    let (broker, _) = scene().await;
    let by = broker.operator();
    applied(&broker, &forbid("high", "context.parameters has amount && context.parameters.amount > 1")).await;
    let renamed = REFUNDS.replace("amount = ", "total = ");
    for text in [
        renamed.clone(),
        REFUNDS.replace("type = \"integer\", required = true, min = 1, max = 100000", "type = \"text\""),
    ] {
        let message = fault(&by, &text).await;
        for name in ["policy `high`", "`amount`", "`payments.refund`", "change the policy first"] {
            assert!(message.contains(name), "{message}");
        }
    }
    // Together with the policy it is applied
    applied(&broker, &format!("{renamed}{}", forbid("high", "context.parameters has total"))).await;
    // And a new capability with another type of the same name is refused
    let message = fault(&by, &capability("web.scale", "total = { type = \"text\" }")).await;
    assert!(message.contains("policy `high`") && message.contains("`web.scale`"), "{message}");
}

#[tokio::test]
async fn policies_of_an_owner_see_the_parameters_of_the_owner() {
    let (broker, red, _) = teams().await;
    applied(&broker, REFUNDS).await;
    let own = capability("red.pay", "amount = { type = \"text\" }");
    let files = |text: &str| json!({ "files": [{ "name": "a.toml", "text": text }], "widen": true });
    let reply = red.post_json("/v1/apply", &files(&own)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let rule = "context.parameters has amount && context.parameters.amount == \"x\"";
    let reply = red.post_json("/v1/apply", &files(&forbid("red-pay", rule))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        fault(&red, &forbid("red-account", "context.parameters has account")).await.contains("no capability")
    );
    // And a policy of another owner is not named to an operator with an owner
    let all = forbid("all", "context.parameters has dry_run");
    applied(&broker, &all).await;
    let conflicting = own.replace("amount", "dry_run");
    let message =
        fault(&red, &format!("{conflicting}{}", forbid("red-pay", "context.parameters has dry_run"))).await;
    assert!(message.contains("a policy of another owner"), "{message}");
    for name in ["`all`", "payments.refund", "`red.pay`", "dry_run"] {
        assert!(!message.contains(name), "{message}");
    }
}
