//! Rich authorization requests (RFC 9396): `authorization_details` beside `scope` and instead of it.

use serde_json::{Value, json};

use crate::support::broker::{Agent, TestBroker};

const REPORTS: &str = "https://reports.example.com";

async fn ask(agent: &Agent, fields: &[(&str, &str)]) -> Value {
    let mut form = form_urlencoded::Serializer::new("grant_type=client_credentials".to_owned());
    form.extend_pairs(fields);
    agent.ask(&form.finish()).await.json()
}

fn detail(capability: &str) -> Value {
    json!({ "type": "keyward_capability", "capability": capability })
}

fn granted(capability: &str, access: &str) -> Value {
    json!({ "type": "keyward_capability", "capability": capability, "access": access })
}

#[tokio::test]
async fn a_token_has_the_capabilities_of_scope_and_details() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    // When one capability is named in `scope`, and the other one in a detail with its action and its audience
    let mut publish = detail("reports.publish");
    publish["actions"] = json!(["write"]);
    publish["locations"] = json!([REPORTS]);
    let details = json!([publish]).to_string();
    let both = ask(&agent, &[("scope", "reports.read"), ("authorization_details", &details)]).await;
    // Then the token has both, and so does the response
    assert_eq!(both["scope"], "reports.publish reports.read", "{both}");
    let expected = json!([granted("reports.publish", "write"), granted("reports.read", "read")]);
    assert_eq!(both["authorization_details"], expected);
    // And a request without the field gets a response without it
    let plain = ask(&agent, &[("scope", "reports.read")]).await;
    assert_eq!(plain.get("authorization_details"), None, "{plain}");
}

#[tokio::test]
async fn a_capability_with_another_action_is_left_out_or_denied() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let mut read = detail("reports.publish");
    read["actions"] = json!(["read"]);
    // Given another capability, then this one is left out
    let details = json!([read, detail("reports.read")]).to_string();
    let narrower = ask(&agent, &[("authorization_details", &details)]).await;
    assert_eq!(narrower["authorization_details"], json!([granted("reports.read", "read")]), "{narrower}");
    assert_eq!(narrower["left_out"][0]["code"], "capability_action_mismatch", "{narrower}");
    // Given no other one, then the request is denied, and the denial recorded
    let details = json!([read]).to_string();
    let refused = ask(&agent, &[("authorization_details", &details)]).await;
    let told = (&refused["error"], &refused["code"]);
    assert_eq!(told, (&json!("invalid_authorization_details"), &json!("capability_action_mismatch")));
    let denied = broker.entries("request.denied").await;
    assert_eq!(denied[0]["event"]["code"], "capability_action_mismatch");
    // And an agent that does not hold the capability is not told its access
    let other = broker.agent("b", &["repo-reader"]).await;
    let refused = ask(&other, &[("authorization_details", &details)]).await;
    assert_eq!(refused["code"], "capability_not_granted", "{refused}");
}

#[tokio::test]
async fn details_of_another_form_are_refused_and_change_nothing() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let with = |field: &str, value: Value| {
        let mut one = detail("reports.read");
        one[field] = value;
        json!([one]).to_string()
    };
    for wrong in [
        "no JSON".to_owned(),
        detail("reports.read").to_string(),
        json!([detail("Reports.read")]).to_string(),
        json!([detail("reports.read"), detail("reports.read")]).to_string(),
        json!([{ "type": "payment_initiation", "capability": "reports.read" }]).to_string(),
        json!([{ "capability": "reports.read" }]).to_string(),
        json!([{ "type": "keyward_capability" }]).to_string(),
        with("parameters", json!([])),
        with("parameters", json!(null)).replace("null", "{\"a\":1,\"a\":2}"),
        with("actions", json!([])),
        with("actions", json!(["read", "write"])),
        with("actions", json!(["Read"])),
        with("actions", json!("read")),
        with("locations", json!([])),
        with("locations", json!(["no audience"])),
        with("locations", json!([REPORTS, "https://other.example.com"])),
        r#"[{"type":"keyward_capability","capability":"reports.read","capability":"reports.publish"}]"#
            .to_owned(),
    ] {
        let refused = ask(&agent, &[("authorization_details", &wrong)]).await;
        let told = (&refused["error"], &refused["code"]);
        let expected = (&json!("invalid_authorization_details"), &json!("authorization_details_invalid"));
        assert_eq!(told, expected, "{wrong}");
    }
    // And the message names the element, the field, and what is allowed there
    let refused = ask(&agent, &[("authorization_details", &with("action", json!(["read"])))]).await;
    let said = refused["error_description"].as_str().unwrap();
    assert!(said.contains("`authorization_details[0]` has the unknown field `action`"), "{said}");
    assert!(said.contains("`actions`"), "{said}");
    let refused = ask(&agent, &[("authorization_details", "[]")]).await;
    assert_eq!(refused["code"], "scope_empty_or_too_long");
    assert!(broker.entries("token.minted").await.is_empty());
}

#[tokio::test]
async fn a_request_names_one_audience_in_all_its_details() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let at = |capability: &str, audience: &str| {
        let mut one = detail(capability);
        one["locations"] = json!([audience]);
        one
    };
    let several =
        json!([at("reports.read", REPORTS), at("reports.publish", "https://other.example.com")]).to_string();
    let refused = ask(&agent, &[("authorization_details", &several)]).await;
    assert_eq!(
        (&refused["error"], &refused["code"]),
        (&json!("invalid_target"), &json!("resource_repeated"))
    );
    let one = json!([at("reports.read", REPORTS)]).to_string();
    let refused =
        ask(&agent, &[("authorization_details", &one), ("resource", "https://other.example.com")]).await;
    assert_eq!(refused["code"], "resource_repeated", "{refused}");
    let other = json!([at("reports.read", "https://other.example.com")]).to_string();
    let refused = ask(&agent, &[("authorization_details", &other)]).await;
    assert_eq!(refused["code"], "audience_mismatch", "{refused}");
    let agreed = ask(&agent, &[("authorization_details", &one), ("resource", REPORTS)]).await;
    assert_eq!(agreed["scope"], "reports.read", "{agreed}");
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_details() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let details = json!([detail("reports.read")]).to_string();
    let mut form = form_urlencoded::Serializer::new("grant_type=client_credentials".to_owned());
    let form = form.append_pair("authorization_details", &details).finish();
    let headers = [("idempotency-key", "k"), ("content-type", "application/x-www-form-urlencoded")];
    let mint = async || {
        agent.caller.attempt("POST", "/oauth/token", &headers, form.as_bytes()).await.unwrap().json()
    };
    let (first, again) = (mint().await, mint().await);
    assert_eq!(first["token_id"], again["token_id"], "{again}");
    assert_eq!(first["authorization_details"], again["authorization_details"]);
    assert_eq!(again["authorization_details"], json!([granted("reports.read", "read")]));
}
