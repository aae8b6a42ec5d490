//! What requests give, and what tokens, responses and entries have.

use keyward::base::limits::{PARAMETERS_BYTES_MAX, TOKEN_BYTES_MAX};
use keyward::token::unverified_claims;
use serde_json::json;

use super::*;
use crate::leaks::sightings;
use crate::refusals::refused;

#[tokio::test]
async fn a_token_has_the_parameters_that_its_request_gives() {
    let (broker, agent) = scene().await;
    let parameters = json!({ "amount": 100, "currency": "EUR", "dry_run": true, "account": ACCOUNT });
    let reply = ask_refund(&agent, &parameters).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // Then the response, the token and its introspection have them
    let answer = reply.json();
    let expected = json!([{
        "type": "keyward_capability", "capability": "payments.refund", "access": "write", "parameters": parameters,
    }]);
    assert_eq!(answer["authorization_details"], expected);
    let token = answer["access_token"].as_str().unwrap();
    let claims = unverified_claims(token).unwrap();
    assert_eq!(serde_json::to_value(&claims.authorization_details).unwrap(), expected);
    let active = introspected(&broker, token).await;
    assert_eq!((&active["active"], &active["authorization_details"]), (&json!(true), &expected));
    // And the entry has a digest of the sensitive one
    let recorded = &last(&broker, "token.minted").await["facts"]["parameters"]["payments.refund"];
    assert_eq!(
        (&recorded["amount"], &recorded["currency"], &recorded["dry_run"]),
        (&json!(100), &json!("EUR"), &json!(true))
    );
    assert_eq!(recorded["account"]["sensitive"].as_str().unwrap().len(), 32, "{recorded}");
    // And a capability without required parameters needs none
    let plain = agent.ask("grant_type=client_credentials&scope=payments.status").await;
    assert_eq!(plain.status, 200, "{}", plain.text());
}

#[tokio::test]
async fn parameters_belong_to_the_capability_of_their_element() {
    let (_broker, agent) = scene().await;
    let both = json!([
        detail("payments.refund", &refund(7)),
        detail("payments.status", &json!({ "payment": "p-1" })),
    ]);
    let answer = ask(&agent, &both).await.json();
    let details = answer["authorization_details"].as_array().unwrap();
    assert_eq!(details[0]["parameters"], refund(7), "{answer}");
    assert_eq!(details[1]["parameters"], json!({ "payment": "p-1" }));
    // The twin: exchanged, neither fits
    let exchanged = json!([
        detail("payments.refund", &json!({ "payment": "p-1" })),
        detail("payments.status", &refund(7)),
    ]);
    refused(&ask(&agent, &exchanged).await, 400, "parameter_unknown");
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_refused_and_recorded() {
    let (broker, agent) = scene().await;
    for (parameters, code, says) in [
        (json!({}), "parameter_missing", "`account`"),
        (json!({ "account": ACCOUNT }), "parameter_missing", "`amount`"),
        (json!({ "amount": 1, "account": ACCOUNT, "amonut": 1 }), "parameter_unknown", "`amonut`"),
        (json!({ "amount": 0, "account": ACCOUNT }), "parameter_invalid", "`amount`"),
        (json!({ "amount": 100_001, "account": ACCOUNT }), "parameter_invalid", "`amount`"),
        (json!({ "amount": "1", "account": ACCOUNT }), "parameter_invalid", "`amount`"),
        (json!({ "amount": 1.5, "account": ACCOUNT }), "parameter_invalid", "`amount`"),
        (json!({ "amount": 1, "account": [ACCOUNT] }), "parameter_invalid", "`account`"),
        (json!({ "amount": 1, "account": ACCOUNT.repeat(3) }), "parameter_invalid", "`account`"),
        (json!({ "amount": 1, "account": ACCOUNT, "currency": "GBP" }), "parameter_invalid", "`currency`"),
        (json!({ "amount": 1, "account": ACCOUNT, "dry_run": 1 }), "parameter_invalid", "`dry_run`"),
    ] {
        let reply = ask_refund(&agent, &parameters).await;
        refused(&reply, 400, code);
        let answer = reply.json();
        assert_eq!(answer["error"], "invalid_authorization_details", "{parameters}");
        let said = answer.to_string();
        assert!(said.contains("payments.refund") && said.contains(says), "{parameters}: {said}");
    }
    assert_eq!(broker.entries("request.denied").await[0]["event"]["code"], "parameter_missing");
    assert!(broker.entries("token.minted").await.is_empty());
}

#[tokio::test]
async fn plain_scope_for_a_capability_with_a_required_parameter_is_refused() {
    let (_broker, agent) = scene().await;
    let reply = agent.ask("grant_type=client_credentials&scope=payments.refund").await;
    refused(&reply, 400, "parameter_missing");
    let fix = reply.json()["fix"].as_str().unwrap().to_owned();
    assert!(fix.contains("`account`") && fix.contains("`amount` (integer from 1 to 100000)"), "{fix}");
    assert!(fix.contains("keyward token payments.refund --parameter"), "{fix}");
}

#[tokio::test]
async fn an_agent_that_does_not_hold_a_capability_is_told_no_parameter() {
    let (broker, _) = scene().await;
    let other = broker.agent("o", &["publisher"]).await;
    for parameters in [json!({}), json!({ "amount": 0 }), json!({ "nothing": 1 })] {
        let reply = ask_refund(&other, &parameters).await;
        refused(&reply, 400, "capability_not_granted");
        assert!(!reply.text().contains("amount"), "{}", reply.text());
    }
}

#[tokio::test]
async fn parameters_end_at_their_limit_in_bytes() {
    let (_broker, agent) = scene().await;
    // {"payment":"…"}
    let payment = |bytes: usize| json!({ "payment": "x".repeat(bytes - 14) });
    let at_limit = ask(&agent, &json!([detail("payments.status", &payment(PARAMETERS_BYTES_MAX))])).await;
    refused(&at_limit, 400, "parameter_invalid");
    let beyond = ask(&agent, &json!([detail("payments.status", &payment(PARAMETERS_BYTES_MAX + 1))])).await;
    refused(&beyond, 400, "parameters_too_large");
}

#[tokio::test]
async fn a_token_is_not_issued_if_it_would_be_longer_than_is_accepted() {
    let broker = TestBroker::declared().await;
    let names: Vec<String> = (10..30).map(|number| format!("{}-{number}", "a".repeat(60))).collect();
    let capability = |name: &String| {
        format!(
            "[[capability]]\nname = \"{name}\"\naccess = \"read\"\ndelivery = \"mint\"\naudience = \"https://long.example.com\"\n\
             max_life_s = 60\n[capability.parameters]\nnote = {{ type = \"text\" }}\n"
        )
    };
    let all: String = names.iter().map(capability).collect();
    applied(&broker, &format!("{all}[[role]]\nname = \"long\"\ncapabilities = {names:?}\n")).await;
    let agent = broker.agent("l", &["long"]).await;
    let mut longest = 0;
    for count in 5..names.len() {
        let details: Vec<Value> =
            names[..count].iter().map(|name| detail(name, &json!({ "note": "x" }))).collect();
        let reply = ask(&agent, &json!(details)).await;
        if reply.status != 200 {
            refused(&reply, 400, "token_too_large");
            break;
        }
        longest = reply.json()["access_token"].as_str().unwrap().len();
    }
    // A capability adds fewer than 400 bytes
    assert!((TOKEN_BYTES_MAX - 400..=TOKEN_BYTES_MAX).contains(&longest), "{longest}");
    let minted = broker.entries("token.minted").await.len();
    // And nothing was recorded for the refused one
    assert!(minted > 0 && minted < names.len() - 5, "{minted}");
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_parameters() {
    let (broker, agent) = scene().await;
    let headers = [("idempotency-key", "k"), ("content-type", "application/x-www-form-urlencoded")];
    let mint = async |amount| {
        let form = form(&json!([detail("payments.refund", &refund(amount))]), &[]);
        agent.caller.attempt("POST", "/oauth/token", &headers, form.as_bytes()).await.unwrap()
    };
    let (first, again) = (mint(7).await.json(), mint(7).await.json());
    assert_eq!(first["token_id"], again["token_id"], "{again}");
    assert_eq!(again["authorization_details"][0]["parameters"], refund(7));
    refused(&mint(8).await, 422, "idempotency_key_reused");
    // And a request that does not fit any more is not repeated
    applied(&broker, &REFUNDS.replace("max = 100000", "max = 5")).await;
    refused(&mint(7).await, 400, "parameter_invalid");
}

#[tokio::test]
async fn a_sensitive_parameter_is_in_no_file_of_the_broker() {
    let (mut broker, agent) = scene().await;
    assert_eq!(ask_refund(&agent, &refund(1)).await.status, 200);
    refused(&ask_refund(&agent, &refund(0)).await, 400, "parameter_invalid");
    applied(&broker, &forbid("none", "context.parameters has account")).await;
    refused(&ask_refund(&agent, &refund(2)).await, 403, "policy_denied");
    let listed = broker.operator().get("/v1/ledger/entries?limit=500").await;
    let metrics = broker.operator().get("/metrics").await;
    for (reply, says) in [(&listed, "payments.refund"), (&metrics, "keyward_token_decisions")] {
        assert!(reply.text().contains(says) && !reply.text().contains("CNRY"), "{}", reply.text());
    }
    broker.stop().await;
    assert_eq!(sightings(broker.path(), ACCOUNT.as_bytes()), [""; 0]);
}
