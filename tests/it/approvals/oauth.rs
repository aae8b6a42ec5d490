//! `Prefer` on token requests: 202 while an approval is pending, and the token after it.

use serde_json::json;

use super::*;
use crate::refusals::refused;

async fn preferring(agent: &Agent, preference: &str, form: &str) -> Reply {
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("prefer", preference)];
    agent.caller.send("POST", "/oauth/token", &headers, form.as_bytes()).await
}

const PUBLISH: &str = "grant_type=client_credentials&scope=reports.publish";

#[tokio::test]
async fn a_client_that_accepts_it_gets_202_for_a_pending_request() {
    let (_broker, agent, ann) = scene().await;
    let pending = preferring(&agent, "respond-async", PUBLISH).await;
    assert_eq!(pending.status, 202, "{}", pending.text());
    let id = pending.json()["approval"].as_str().unwrap().to_owned();
    assert_eq!(pending.header("location"), format!("/v1/approvals/{id}"));
    assert_eq!(pending.json()["state"], "pending");
    // The same after the approval gives the token at once
    ann.approves(&id).await;
    let token = preferring(&agent, "respond-async", PUBLISH).await;
    assert_eq!(token.status, 200, "{}", token.text());
    assert!(token.json()["access_token"].is_string());
}

#[tokio::test]
async fn a_request_waits_for_the_vote() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    let (token, ()) = tokio::join!(preferring(&agent, "wait=60", PUBLISH), ann.approves(&id));
    assert_eq!(token.status, 200, "{}", token.text());
    // A denial ends the wait too
    let id = needed(&agent, "reports.publish").await;
    let (refusal, denied) = tokio::join!(preferring(&agent, "wait=60", PUBLISH), ann.deny(&id));
    assert_eq!(denied.status, 200, "{}", denied.text());
    // Unless the denial came first: then the request opens another approval
    if refusal.status == 400 {
        let body = refusal.json();
        assert_eq!(
            (&body["error"], &body["code"]),
            (&json!("access_denied"), &json!("approval_denied")),
            "{body}"
        );
    }
    // So does a look at the approval itself
    let id = needed(&agent, "reports.publish").await;
    let path = format!("/v1/approvals/{id}");
    let looking = agent.caller.send("GET", &path, &[("prefer", "wait=60")], b"");
    let (seen, denied) = tokio::join!(looking, ann.deny(&id));
    assert_eq!((&seen.json()["state"], denied.status), (&json!("denied"), 200), "{}", seen.text());
    drop(broker);
}

#[tokio::test]
async fn the_errors_of_approvals_are_oauth_errors() {
    let (_broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    let error = async |form: &str| agent.ask(form).await.json()["error"].as_str().unwrap().to_owned();
    let form = format!("{PUBLISH}&approval={id}");
    assert_eq!(error(&form).await, "authorization_pending");
    assert_eq!(ann.deny(&id).await.status, 200);
    assert_eq!(error(&form).await, "access_denied");
    assert_eq!(error(&format!("{PUBLISH}&approval=appr_00000000000000000000000040")).await, "invalid_grant");
    refused(&agent.ask(&format!("{PUBLISH}&approval=x")).await, 400, "id_not_canonical");
}
