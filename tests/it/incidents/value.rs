//! A leaked text is recognised by the digests of stored values, and is nowhere afterwards.

use keyward::base::limits::{VALUE_CHECK_PAGES_MAX, VALUE_CHECK_VALUES_MAX};
use serde_json::{Value, json};

use crate::operators::{join, standing};
use crate::refusals::refused;
use crate::support::broker::{Caller, TestBroker};

async fn check(by: &Caller, value: &str) -> Value {
    let reply = by.post_json("/v1/value-checks", &json!({ "value": value })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

const CANARY: &str = "CANARY-5f2b6c";

#[tokio::test]
async fn a_leaked_text_is_recognised_and_is_in_no_entry() {
    // Given a secret with two versions, of which an agent read the first, a token and an unused code
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    let put = |value: &'static str| {
        operator.put("/v1/secrets/github/app", "application/octet-stream", value.as_bytes())
    };
    assert_eq!(put(CANARY).await.status, 201);
    let token = bot.token("github.repo.read").await;
    bot.secret("github/app", &token).await;
    assert_eq!(put("another value").await.status, 201);
    let code = broker.invite("bot", &[]).await.to_text();
    // When each is checked
    let secret = check(&operator, CANARY).await;
    let found = &secret["found"][0];
    // Then the answer has what it is, whether it is accepted, and who received it
    assert_eq!(
        (&found["kind"], &found["which"], &found["version"]),
        (&json!("secret"), &json!("github/app"), &json!(2))
    );
    assert_eq!((&found["accepted"], &found["received_by"]["names"]), (&json!(false), &json!(["bot"])));
    assert_eq!(check(&operator, "another value").await["found"][0]["accepted"], true);
    let shown = check(&operator, &token).await;
    assert_eq!((&shown["found"][0]["kind"], &shown["found"][0]["accepted"]), (&json!("token"), &json!(true)));
    let shown = check(&operator, code.expose()).await;
    let found = &shown["found"][0];
    assert_eq!(
        (&found["kind"], &found["holder"], &found["accepted"]),
        (&json!("enrolment-code"), &json!("bot"), &json!(true))
    );
    // An expired token is recognised too
    broker.clock.advance_s(400);
    let shown = check(&operator, &token).await;
    assert_eq!(
        (&shown["found"][0]["kind"], &shown["found"][0]["accepted"]),
        (&json!("token"), &json!(false))
    );
    // And what the broker does not know is said to be unknown
    let shown = check(&operator, "CANARY-unknown").await;
    assert_eq!((&shown["found"], &shown["complete"]), (&json!([]), &json!(true)));
    // And each check is one entry without the text
    let entries = broker.entries("value.recognised").await;
    assert_eq!((entries.len(), &entries[0]["seq"]), (6, &secret["seq"]));
    let text = serde_json::to_string(&entries).unwrap();
    for hidden in ["CANARY", "another value", token.as_str(), code.expose()] {
        assert!(!text.contains(hidden), "{text}");
    }
    let page = operator.get("/v1/ledger/entries?secret=github%2Fapp&kind=value.recognised").await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2, "found by what was recognised: {page}");
    const { assert!(VALUE_CHECK_VALUES_MAX >= 10_000 && VALUE_CHECK_PAGES_MAX > 0) };
}

#[tokio::test]
async fn only_an_admin_of_everything_checks_a_value() {
    let broker = TestBroker::declared().await;
    for (name, role, owner) in
        [("ann", "auditor", None), ("sam", "security", None), ("rhea", "admin", Some("red"))]
    {
        let other = join(&broker, name, &standing(role, owner)).await.caller;
        let reply = other.post_json("/v1/value-checks", &json!({ "value": "x" })).await;
        assert_eq!(reply.status, 403, "{name}: {}", reply.text());
    }
    refused(&broker.operator().post_json("/v1/value-checks", &json!({})).await, 400, "json_invalid");
}
