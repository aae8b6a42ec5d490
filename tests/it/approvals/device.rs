//! The device authorization grant (RFC 8628).

use keyward::base::limits::{APPROVAL_PENDING_S, DEVICE_POLL_S};
use serde_json::json;

use super::*;
use crate::refusals::refused;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn authorize(agent: &Agent, form: &str) -> Reply {
    let kind = "application/x-www-form-urlencoded";
    agent.caller.post("/oauth/device_authorization", kind, form.as_bytes()).await
}

async fn poll(agent: &Agent, device_code: &str) -> Reply {
    agent.ask(&format!("grant_type={}&device_code={device_code}", GRANT.replace(':', "%3A"))).await
}

#[tokio::test]
async fn a_device_code_gives_a_token_after_the_approval() {
    let (broker, agent, ann) = scene().await;
    let asked = authorize(&agent, "scope=reports.publish").await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    let asked = asked.json();
    let (device, code) = (asked["device_code"].as_str().unwrap(), asked["user_code"].as_str().unwrap());
    assert_eq!(asked["interval"], DEVICE_POLL_S);
    let page = asked["verification_uri"].as_str().unwrap();
    assert!(
        page.ends_with("/device") && asked["verification_uri_complete"].as_str().unwrap().ends_with(code)
    );
    // The code shows the request
    let shown = ann.caller.get(&format!("/v1/approvals/{}", code.to_lowercase())).await.json();
    assert_eq!(shown["approval"], device);
    // Polls are told to wait, and to wait longer
    refused(&poll(&agent, device).await, 400, "approval_pending");
    let fast = poll(&agent, device).await;
    assert_eq!((fast.status, &fast.json()["error"]), (400, &json!("slow_down")), "{}", fast.text());
    ann.approves(device).await;
    broker.clock.advance_s(DEVICE_POLL_S);
    let token = poll(&agent, device).await;
    assert_eq!((token.status, &token.json()["scope"]), (200, &json!("reports.publish")), "{}", token.text());
    broker.clock.advance_s(DEVICE_POLL_S);
    refused(&poll(&agent, device).await, 400, "approval_used");
}

#[tokio::test]
async fn polls_have_the_errors_of_the_rfc() {
    let (broker, agent, ann) = scene().await;
    let error = |reply: &Reply| reply.json()["error"].as_str().unwrap().to_owned();
    let device = |reply: &Reply| reply.json()["device_code"].as_str().unwrap().to_owned();
    let denied = device(&authorize(&agent, "scope=reports.publish").await);
    assert_eq!(ann.deny(&denied).await.status, 200);
    assert_eq!(error(&poll(&agent, &denied).await), "access_denied");
    let expired = device(&authorize(&agent, "scope=reports.publish").await);
    let other = super::agent(&broker, "b").await;
    assert_eq!(error(&poll(&other, &expired).await), "invalid_grant");
    advance(&broker, APPROVAL_PENDING_S);
    assert_eq!(error(&poll(&agent, &expired).await), "expired_token");
    assert_eq!(error(&poll(&agent, "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS").await), "invalid_grant");
    refused(&agent.ask(&format!("grant_type={GRANT}")).await, 400, "device_code_missing");
}

#[tokio::test]
async fn a_device_code_keeps_the_details_of_its_request() {
    let (_broker, agent, ann) = scene().await;
    let details =
        json!([{ "type": "keyward_capability", "capability": "reports.publish", "actions": ["write"] }]);
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("authorization_details", &details.to_string()).append_pair("expires_in", "30");
    let asked = authorize(&agent, &form.finish()).await.json();
    let device = asked["device_code"].as_str().unwrap();
    ann.approves(device).await;
    let token = poll(&agent, device).await.json();
    assert_eq!(token["expires_in"], 30, "{token}");
    assert_eq!(token["authorization_details"][0]["access"], "write", "{token}");
}

#[tokio::test]
async fn the_page_of_device_codes_names_the_commands() {
    let broker = TestBroker::declared().await;
    let nobody = broker.nobody(broker.agents());
    for path in ["/device", "/device?user_code=WDJB-MJHT"] {
        let page = nobody.get(path).await;
        assert_eq!(page.status, 200, "{}", page.text());
        assert!(
            page.text().contains("keyward approval show CODE") && !page.text().contains("<"),
            "{}",
            page.text()
        );
    }
    let metadata = nobody.get("/.well-known/oauth-authorization-server").await.json();
    let endpoint = metadata["device_authorization_endpoint"].as_str().unwrap();
    assert!(endpoint.ends_with("/oauth/device_authorization"), "{metadata}");
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(GRANT)));
}
