//! A leaked text is recognised by the digests of stored values, and is nowhere afterwards.

use keyward::base::encoding::{base64url, from_base64url};
use keyward::base::limits::{
    TEXT_RUN_WORDS_MAX, TEXT_WORDS_MAX, VALUE_CHECK_PAGES_MAX, VALUE_CHECK_TEXTS_MAX, VALUE_CHECK_VALUES_MAX,
    VALUE_CHECKS_PER_MINUTE, WORD_BYTES_MIN,
};
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
    let note = found["note"].as_str().unwrap();
    assert!(note.contains("works upstream until it is ended there"), "no rotation ended it: {note}");
    let current = check(&operator, "another value").await["found"][0].clone();
    assert_eq!((&current["accepted"], &current["note"]), (&json!(true), &Value::Null));
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
async fn a_leaked_value_is_recognised_in_a_pasted_line() {
    // Given a secret, a token and an open code
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    let put = operator.put("/v1/secrets/github/app", "application/octet-stream", CANARY.as_bytes()).await;
    assert_eq!(put.status, 201);
    let (token, code) = (bot.token("github.repo.read").await, broker.invite("bot", &[]).await.to_text());
    // When a line with one of them is checked, then it is recognised
    for (line, kind) in [
        (format!("postgres://app:{CANARY}@db.example/orders"), "secret"),
        (format!("  \"password\": \"{CANARY}\","), "secret"),
        (format!("export GITHUB_KEY='{CANARY}'"), "secret"),
        (format!("Authorization: Bearer {token}"), "token"),
        (format!("KEYWARD_CODE={}", code.expose()), "enrolment-code"),
    ] {
        let shown = check(&operator, &line).await;
        assert_eq!((&shown["found"][0]["kind"], &shown["complete"]), (&json!(kind), &json!(true)), "{kind}");
        broker.clock.advance_s(60);
    }
    // And no entry has a part of it
    let text = serde_json::to_string(&broker.entries("value.recognised").await).unwrap();
    for hidden in [CANARY, token.as_str(), code.expose(), "db.example"] {
        assert!(!text.contains(hidden), "{text}");
    }
    // And a text with too many parts is said to be compared in part
    let many: Vec<String> = (0..VALUE_CHECK_TEXTS_MAX).map(|n| format!("KEY_{n}=value-{n}")).collect();
    assert_eq!(check(&operator, &many.join("\n")).await["complete"], false);
}

#[tokio::test]
async fn a_stored_value_with_the_form_of_a_token_is_recognised() {
    // Given a secret whose value is a JWT of another service
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    let jwt =
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmU";
    let put = operator.put("/v1/secrets/supa/key", "application/octet-stream", jwt.as_bytes()).await;
    assert_eq!(put.status, 201);
    // Then it is recognised alone and in a line
    for line in [jwt.to_owned(), format!("SUPABASE_KEY={jwt}"), format!("\"key\": \"{jwt}\",")] {
        let shown = check(&operator, &line).await;
        assert_eq!(shown["found"][0]["which"], "supa/key", "{shown}");
        broker.clock.advance_s(60);
    }
}

#[tokio::test]
async fn values_in_a_pasted_line_count_as_guesses() {
    // Given an operator that has as many checks left as a text has at most parts
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    let line: Vec<String> = (0..VALUE_CHECK_TEXTS_MAX).map(|n| format!("KEY_{n}=value-{n}")).collect();
    let body = json!({ "value": line.join(" ") });
    // When it checks one such text, then the next one is refused, and a short one is not
    assert_eq!(operator.post_json("/v1/value-checks", &body).await.status, 200);
    refused(&operator.post_json("/v1/value-checks", &body).await, 429, "rate_limited");
    for _ in 0..VALUE_CHECKS_PER_MINUTE as usize - VALUE_CHECK_TEXTS_MAX {
        check(&operator, "a-guess").await;
    }
    refused(
        &operator.post_json("/v1/value-checks", &json!({ "value": "a-guess" })).await,
        429,
        "rate_limited",
    );
}

#[tokio::test]
async fn a_token_of_a_removed_key_is_recognised_by_its_entry() {
    // Given a token, whose key was replaced and revoked
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    let token = bot.token("github.repo.read").await;
    for (path, body) in [
        ("/v1/token-keys", json!({})),
        ("/v1/token-keys/2/activate", json!({ "force": true })),
        ("/v1/token-keys/1/revoke", json!({ "force": true })),
    ] {
        let reply = operator.post_json(path, &body).await;
        assert!(reply.status < 300, "{path}: {}", reply.text());
    }
    // When it is checked, then the answer has the agent, and that it is not accepted
    let shown = check(&operator, &token).await;
    let found = &shown["found"][0];
    assert_eq!((&found["kind"], &found["accepted"]), (&json!("token"), &json!(false)), "{shown}");
    assert!(found["holder"].as_str().unwrap().ends_with("/agent/bot"), "{shown}");
    // And one whose claims no entry has is unknown
    let mut parts: Vec<&str> = token.split('.').collect();
    let claims = String::from_utf8(from_base64url(parts[1]).unwrap()).unwrap();
    let altered = base64url(claims.replace("tok_0", "tok_1").as_bytes());
    parts[1] = &altered;
    assert_eq!(check(&operator, &parts.join(".")).await["found"], json!([]));
}

#[tokio::test]
async fn an_operator_cannot_guess_values_without_a_limit() {
    let broker = TestBroker::declared().await;
    let (operator, body) = (broker.operator(), json!({ "value": "a guess" }));
    for _ in 0..VALUE_CHECKS_PER_MINUTE {
        assert_eq!(operator.post_json("/v1/value-checks", &body).await.status, 200);
    }
    let reply = operator.post_json("/v1/value-checks", &body).await;
    refused(&reply, 429, "rate_limited");
    assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(broker.entries("value.recognised").await.len(), VALUE_CHECKS_PER_MINUTE as usize);
    broker.clock.advance_s(60);
    assert_eq!(operator.post_json("/v1/value-checks", &body).await.status, 200);
}

#[tokio::test]
async fn texts_with_a_secret_are_not_recorded() {
    // Given a secret, a token and a code
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    let put = operator.put("/v1/secrets/github/app", "application/octet-stream", CANARY.as_bytes()).await;
    assert_eq!(put.status, 201);
    let code = broker.invite("bot", &[]).await.to_text();
    let open = async |reason: &str| {
        let subject = json!({ "kind": "agent", "name": "bot" });
        operator.post_json("/v1/incident-records", &json!({ "subjects": [subject], "reason": reason })).await
    };
    let opened = open("a key in a log").await;
    assert_eq!(opened.status, 200, "{}", opened.text());
    let path = format!("/v1/incidents/{}", opened.json()["incident"].as_str().unwrap());
    // When an operator writes one of them into the record, then the text is refused
    for text in [format!("the log has pw={CANARY}, see"), format!("\"{}\" leaked", code.expose())] {
        refused(&open(&text).await, 400, "text_contains_secret");
        let note = operator.post_json(&format!("{path}/notes"), &json!({ "text": text })).await;
        refused(&note, 400, "text_contains_secret");
        assert!(!note.text().contains(CANARY) && !note.text().contains(code.expose()));
        for close in [json!({ "cause": text }), json!({ "cause": "a leak", "follow_ups": ["scan", text] })] {
            let reply = operator.post_json(&format!("{path}/close"), &close).await;
            refused(&reply, 400, "text_contains_secret");
        }
    }
    // And a containment is carried out, without the word
    let reason = format!("code {} was published", code.expose());
    let contain = json!({ "subject": { "kind": "agent", "name": "bot" }, "reason": reason });
    assert_eq!(operator.post_json("/v1/incidents", &contain).await.status, 200);
    assert!(bot.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    let entries = broker.entries("incident.contained").await;
    assert_eq!(entries[0]["reason"], "code [removed: looks like a secret] was published");
    let noted = operator.post_json(&format!("{path}/notes"), &json!({ "text": "it was a build log" })).await;
    assert_eq!(noted.status, 200, "{}", noted.text());
    const { assert!(WORD_BYTES_MIN == 8) };
}

#[tokio::test]
async fn texts_with_a_value_that_has_spaces_are_not_recorded() {
    // Given secrets whose values have spaces, one of them with as many words as are found inside of a text
    let broker = TestBroker::declared().await;
    broker.agent("bot", &["repo-reader"]).await;
    let operator = broker.operator();
    let longest = (0..TEXT_RUN_WORDS_MAX).map(|number| format!("w{number}")).collect::<Vec<_>>().join(" ");
    for (name, value) in [("github/app", "the upstream password"), ("github/other", longest.as_str())] {
        let path = format!("/v1/secrets/{name}");
        assert_eq!(operator.put(&path, "application/octet-stream", value.as_bytes()).await.status, 201);
    }
    let incident = super::contained(&operator, json!({ "kind": "agent", "name": "bot" })).await;
    let note = async |text: &str| {
        operator.post_json(&format!("/v1/incidents/{incident}/notes"), &json!({ "text": text })).await
    };
    // When a note has one of them, then it is refused; other words of the value are accepted
    for text in [
        "the upstream password".to_owned(),
        "a log has the upstream password, see".to_owned(),
        "it says pw=\"the upstream password\" twice".to_owned(),
        format!("then {longest} was printed"),
    ] {
        refused(&note(&text).await, 400, "text_contains_secret");
    }
    let accepted = note("the password of the upstream is not in the log").await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
}

#[tokio::test]
async fn texts_have_no_more_words_than_are_compared() {
    // Given an incident that still contains its subject
    let broker = TestBroker::declared().await;
    broker.agent("bot", &["repo-reader"]).await;
    let operator = broker.operator();
    let incident = super::contained(&operator, json!({ "kind": "agent", "name": "bot" })).await;
    let close = async |words: usize| {
        let words: Vec<String> = (0..words).map(|number| format!("w{number:07}")).collect();
        let texts: Vec<String> = words.chunks(33).map(|words| words.join(" ")).collect();
        let body = json!({ "cause": texts[0], "follow_ups": texts[1..] });
        operator.post_json(&format!("/v1/incidents/{incident}/close"), &body).await
    };
    // When it is to be closed with many words, then one beyond the limit is refused
    refused(&close(TEXT_WORDS_MAX).await, 409, "incident_still_contains");
    refused(&close(TEXT_WORDS_MAX + 1).await, 400, "text_too_many_words");
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
