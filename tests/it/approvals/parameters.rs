//! Approvals of requests with parameters: they are bound to the values.

use serde_json::json;

use super::*;
use crate::leaks::sightings;
use crate::parameters::{ACCOUNT, REFUNDS, detail, form, refund};
use crate::refusals::refused;

/// A broker where each refund needs an approval, an agent with an approver.
async fn scene() -> (TestBroker, Agent, Approver) {
    let declared = format!("{REFUNDS}{}", policy("second", BY_SECOND, "payments.refund"));
    let broker = broker_with(&declared).await;
    let text = "[[agent]]\nname = \"r\"\nroles = [\"refunder\"]\nperson = \"dev@corp.example\"\n";
    applied(&broker, text).await;
    let agent = broker.agent("r", &[]).await;
    let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    (broker, agent, ann)
}

async fn ask(agent: &Agent, parameters: &Value, fields: &[(&str, &str)]) -> Reply {
    agent.ask(&form(&json!([detail("payments.refund", parameters)]), fields)).await
}

async fn needed(agent: &Agent, parameters: &Value) -> String {
    let reply = ask(agent, parameters, &[]).await;
    refused(&reply, 400, "approval_required");
    reply.json()["approval_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_approval_is_bound_to_the_parameters() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, &refund(100)).await;
    assert_eq!(needed(&agent, &refund(100)).await, id, "identical requests are grouped");
    assert_ne!(needed(&agent, &refund(101)).await, id);
    ann.approves(&id).await;
    // When a parameter differs, also a sensitive one, then the approval does not allow the request
    let mut other = refund(100);
    other["account"] = json!("DE00");
    let mut more = refund(100);
    more["currency"] = json!("EUR");
    for parameters in [refund(101), other, more] {
        let reply = ask(&agent, &parameters, &[("approval", &id)]).await;
        refused(&reply, 400, "approval_request_differs");
        assert!(reply.text().contains("the parameters"), "{}", reply.text());
    }
    // The twin: with the approved parameters it does, once
    let token = ask(&agent, &refund(100), &[("approval", &id)]).await;
    assert_eq!(token.status, 200, "{}", token.text());
    assert_eq!(token.json()["authorization_details"][0]["parameters"], refund(100));
    refused(&ask(&agent, &refund(100), &[("approval", &id)]).await, 400, "approval_used");
    drop(broker);
}

#[tokio::test]
async fn an_approver_sees_the_parameters_and_a_digest_of_a_sensitive_one() {
    let (mut broker, agent, ann) = scene().await;
    let id = needed(&agent, &refund(100)).await;
    let shown = ann.caller.get(&format!("/v1/approvals/{id}")).await;
    let parameters = &shown.json()["request"]["capabilities"][0]["parameters"];
    assert_eq!(parameters["amount"], 100, "{parameters}");
    assert!(parameters["account"]["sensitive"].is_string(), "{parameters}");
    let requested = broker.entries("approval.requested").await;
    let listed = ann.caller.get("/v1/approvals").await;
    for text in [shown.text(), listed.text(), format!("{requested:?}")] {
        assert!(!text.contains("CNRY"), "{text}");
    }
    // And no file of the broker has the value, also no snapshot
    broker.take_snapshot().await;
    broker.stop().await;
    assert_eq!(sightings(broker.path(), ACCOUNT.as_bytes()), [""; 0]);
}

#[tokio::test]
async fn an_approval_with_parameters_survives_a_restart() {
    for with_snapshot in [false, true] {
        let (mut broker, mut agent, ann) = scene().await;
        let id = needed(&agent, &refund(7)).await;
        ann.approves(&id).await;
        if with_snapshot {
            broker.take_snapshot().await;
        }
        broker.restart().await;
        agent.caller.address = broker.agents();
        refused(&ask(&agent, &refund(8), &[("approval", &id)]).await, 400, "approval_request_differs");
        assert_eq!(ask(&agent, &refund(7), &[("approval", &id)]).await.status, 200);
    }
}

#[tokio::test]
async fn an_agent_asks_for_an_approval_with_parameters() {
    let (_broker, agent, ann) = scene().await;
    let body = |parameters: Value| json!({ "capabilities": ["payments.refund"], "reason": "ticket 17", "parameters": parameters });
    let asked = agent.caller.post_json("/v1/approvals", &body(json!({ "payments.refund": refund(9) }))).await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    let id = asked.json()["approval"].as_str().unwrap().to_owned();
    ann.approves(&id).await;
    assert_eq!(ask(&agent, &refund(9), &[("approval", &id)]).await.status, 200);
    for (parameters, code) in [
        (json!({ "payments.status": {} }), "approval_request_invalid"),
        (json!({ "payments.refund": { "amount": 0 } }), "parameter_missing"),
        (json!({}), "parameter_missing"),
    ] {
        refused(&agent.caller.post_json("/v1/approvals", &body(parameters)).await, 400, code);
    }
}

#[tokio::test]
async fn parameters_are_compared_with_those_of_earlier_tokens() {
    // Given an agent with tokens for small refunds to one account, before a policy demands an approval
    let broker = broker_with(REFUNDS).await;
    let text = "[[agent]]\nname = \"r\"\nroles = [\"refunder\"]\nperson = \"dev@corp.example\"\n";
    applied(&broker, text).await;
    let agent = broker.agent("r", &[]).await;
    for amount in [20, 100] {
        assert_eq!(ask(&agent, &refund(amount), &[]).await.status, 200);
    }
    applied(&broker, &policy("second", BY_SECOND, "payments.refund")).await;
    let compared = async |parameters: &Value| {
        let id = needed(&agent, parameters).await;
        let reply = broker.operator().get(&format!("/v1/approvals/{id}/context")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let context = reply.json();
        assert!(!reply.text().contains("CNRY"), "{}", reply.text());
        assert!(context["compared"].as_array().unwrap().contains(&json!("parameter")), "{context}");
        context["differences"].clone()
    };
    // When it requests an amount between them, then nothing differs
    assert_eq!(compared(&refund(50)).await, json!([]));
    // And a larger amount to another account differs in both
    let mut other = refund(100_000);
    other["account"] = json!("DE00");
    let found = compared(&other).await;
    let field = |index: usize, name: &str| found[index][name].clone();
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
    assert_eq!((field(0, "parameter"), field(1, "parameter")), (json!("account"), json!("amount")));
    assert_eq!((field(1, "value"), field(1, "usual")), (json!("100000"), json!(["20 to 100"])));
    assert_eq!((field(1, "field"), field(1, "capability")), (json!("parameter"), json!("payments.refund")));
    assert_ne!(field(0, "value"), field(0, "usual")[0]);
}

#[tokio::test]
async fn refusal_after_a_denial_offers_no_sensitive_value() {
    // Given another capability that is offered in place of both, with the same parameter
    let (broker, agent, ann) = scene().await;
    let offered = "max_life_s = 600\ninstead = \"payments.credit\"\n";
    let declared = REFUNDS.replace("max_life_s = 600\n", offered);
    let declared = declared.replace("capabilities = [", "capabilities = [\"payments.credit\", ");
    let credit = "[[capability]]\nname = \"payments.credit\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                  audience = \"https://payments.example.com\"\nmax_life_s = 600\n[capability.parameters]\n\
                  amount = { type = \"integer\" }\naccount = { type = \"text\", sensitive = true }\n";
    let status = policy("status", BY_SECOND, "payments.status");
    applied(&broker, &format!("{credit}{declared}{status}")).await;
    // When a request with a sensitive value was denied, then the refusal of its token offers nothing
    let id = needed(&agent, &refund(100)).await;
    assert_eq!(ann.deny(&id).await.status, 200);
    let denied = ask(&agent, &refund(100), &[("approval", &id)]).await;
    refused(&denied, 400, "approval_denied");
    assert_eq!(denied.json()["instead"], Value::Null);
    assert!(!denied.text().contains("CNRY"), "{}", denied.text());
    // The twin: without a sensitive value it offers the other capability
    let details = json!([detail("payments.status", &json!({ "payment": "p-1" }))]);
    let asked = agent.ask(&form(&details, &[])).await.json();
    let id = asked["approval_id"].as_str().unwrap();
    assert_eq!(ann.deny(id).await.status, 200);
    let denied = agent.ask(&form(&details, &[("approval", id)])).await;
    refused(&denied, 400, "approval_denied");
    assert_eq!(denied.json()["instead"]["scope"], "payments.credit", "{}", denied.text());
}

#[tokio::test]
async fn a_device_code_keeps_parameters_unless_one_is_sensitive() {
    let (broker, agent, ann) = scene().await;
    applied(&broker, &policy("status", BY_SECOND, "payments.status")).await;
    let authorize = async |details: &Value| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let form = form.append_pair("authorization_details", &details.to_string()).finish();
        let kind = "application/x-www-form-urlencoded";
        agent.caller.post("/oauth/device_authorization", kind, form.as_bytes()).await
    };
    let poll = async |device: &str| {
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
        agent.ask(&format!("grant_type={grant}&device_code={device}")).await
    };
    let parameters = json!({ "payment": "p-1" });
    let asked = authorize(&json!([detail("payments.status", &parameters)])).await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    let device = asked.json()["device_code"].as_str().unwrap().to_owned();
    ann.approves(&device).await;
    let token = poll(&device).await;
    assert_eq!(token.json()["authorization_details"][0]["parameters"], parameters, "{}", token.text());
    // A sensitive value is not stored
    let refunding = json!([detail("payments.refund", &refund(5))]);
    refused(&authorize(&refunding).await, 400, "parameter_not_with_device_code");
    let id = needed(&agent, &refund(5)).await;
    ann.approves(&id).await;
    refused(&poll(&id).await, 400, "parameter_not_with_device_code");
}
