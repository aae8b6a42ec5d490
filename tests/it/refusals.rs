//! Bad input: a stable code, a reason, a fix; nothing changed, nothing echoed. Limits at the limit
//! and one beyond.

use keyward::base::limits::{
    BODY_BYTES_MAX, DECLARATION_BYTES_MAX, DECLARATION_FILES_MAX, HEADERS_MAX, PAGE_ENTRIES_MAX, ROLES_MAX,
    SCOPES_MAX, SECRET_BYTES_MAX,
};
use serde_json::{Value, json};

use crate::support::broker::{DECLARATIONS, Reply, TestBroker};

pub(crate) fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
    let body = reply.json();
    assert!(body["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{body}");
    assert!(!reply.text().contains("CNRY"), "{body}");
}

#[tokio::test]
async fn secrets_are_taken_up_to_their_limit() {
    let broker = TestBroker::start().await;
    let operator = broker.operator();
    let kind = "application/octet-stream";
    let most = vec![b'x'; SECRET_BYTES_MAX];
    assert_eq!(operator.put("/v1/secrets/a", kind, &most).await.status, 201);
    let beyond = vec![b'x'; SECRET_BYTES_MAX + 1];
    refused(&operator.put("/v1/secrets/a", kind, &beyond).await, 413, "body_too_large");
    refused(&operator.put("/v1/secrets/a", kind, b"").await, 400, "secret_size_invalid");
    refused(&operator.put("/v1/secrets/a", "text/plain", b"CNRY").await, 415, "content_type_unsupported");
    refused(&operator.put("/v1/secrets/a.CNRY", kind, b"x").await, 400, "path_not_canonical");
    refused(&operator.put("/v1/secrets/a.b", kind, b"x").await, 400, "name_not_canonical");
    assert_eq!(operator.get("/v1/secrets").await.json()["items"][0]["version"], 1);
}

#[tokio::test]
async fn content_type_of_an_optional_body_counts_only_with_a_body() {
    let broker = TestBroker::declared().await;
    let _agent = broker.agent("a", &["repo-reader"]).await;
    let operator = broker.operator();
    // What `curl -d ''` sends.
    let form = "application/x-www-form-urlencoded";
    assert_eq!(operator.post("/v1/agents/a/suspend", form, b"").await.status, 200);
    for body in [&b"reason=CNRY"[..], b"{}"] {
        let reply = operator.post("/v1/agents/a/resume", form, body).await;
        refused(&reply, 415, "content_type_unsupported");
    }
    assert_eq!(operator.post_json("/v1/agents/a/resume", &json!({})).await.status, 200);
    refused(&operator.post("/v1/plan", form, b"").await, 415, "content_type_unsupported");
}

/// Hazards HTTP-02, HTTP-07.
#[tokio::test]
async fn what_means_two_things_is_refused() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let twice = [("authorization", "Bearer CNRY"), ("authorization", "Bearer CNRY2")];
    refused(&agent.caller.send("GET", "/v1/secrets/github/app", &twice, b"").await, 400, "header_repeated");
    let encoded = [("content-encoding", "gzip"), ("content-type", "application/x-www-form-urlencoded")];
    refused(
        &agent.caller.send("POST", "/oauth/token", &encoded, b"").await,
        415,
        "content_encoding_unsupported",
    );
    for value in ["CNRY", "Basic CNRY", "Bearer", "Bearer "] {
        let headers = [("authorization", value)];
        let reply = agent.caller.send("GET", "/v1/secrets/github/app", &headers, b"").await;
        refused(&reply, 401, "token_missing");
    }
    let junk = agent.secret("github/app", "CNRY.CNRY.CNRY").await;
    refused(&junk, 401, "token_invalid");
    let huge = agent.secret("github/app", &"x".repeat(5_000)).await;
    refused(&huge, 401, "token_invalid");
}

/// Hazard JWT-21.
#[tokio::test]
async fn a_token_counts_in_the_header_alone() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let query = agent.caller.get(&format!("/v1/secrets/github/app?access_token={token}")).await;
    refused(&query, 400, "query_not_allowed");
    assert!(!query.text().contains(&token));
    let cookie = format!("access_token={token}");
    let reply = agent.caller.send("GET", "/v1/secrets/github/app", &[("cookie", &cookie)], b"").await;
    refused(&reply, 401, "token_missing");
}

#[tokio::test]
async fn bodies_headers_and_lists_end_at_their_limits() {
    let broker = TestBroker::start_with("").await;
    broker.declare().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let form = |bytes: usize| {
        let start = "grant_type=client_credentials&scope=github.repo.read&x=";
        format!("{start}{}", "y".repeat(bytes - start.len()))
    };
    assert_eq!(agent.ask(&form(BODY_BYTES_MAX)).await.status, 200);
    refused(&agent.ask(&form(BODY_BYTES_MAX + 1)).await, 413, "body_too_large");
    let scopes = |count: usize| (0..count).map(|i| format!("c{i}")).collect::<Vec<_>>().join("+");
    let ask = |count: usize| format!("grant_type=client_credentials&scope={}", scopes(count));
    refused(&agent.ask(&ask(SCOPES_MAX)).await, 400, "capability_not_granted");
    refused(&agent.ask(&ask(SCOPES_MAX + 1)).await, 400, "scope_empty_or_too_long");

    let headers = |count: usize| (0..count).map(|i| format!("x-{i}")).collect::<Vec<_>>();
    let with = |names: &[String]| names.iter().map(|name| (name.clone(), "v".to_owned())).collect::<Vec<_>>();
    // `host` and `content-length` come with every request.
    for (count, good) in [(HEADERS_MAX - 2, true), (HEADERS_MAX + 1, false)] {
        let named = with(&headers(count));
        let named: Vec<(&str, &str)> =
            named.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let reply = agent.caller.attempt("GET", "/v1/whoami", &named, b"").await;
        assert_eq!(reply.is_ok_and(|reply| reply.status == 200), good, "{count} headers");
    }
    let long = "x".repeat(20 * 1024);
    let reply = agent.caller.attempt("GET", "/v1/whoami", &[("x", &long)], b"").await;
    assert!(reply.is_ok_and(|reply| reply.status == 431));

    let operator = broker.operator();
    let roles: Vec<String> = (0..=ROLES_MAX).map(|i| format!("r{i}")).collect();
    let invite = |count: usize| json!({ "roles": &roles[..count] });
    let unknown = operator.post_json("/v1/agents/b/invitations", &invite(ROLES_MAX)).await;
    refused(&unknown, 404, "role_unknown");
    assert!(unknown.text().contains("no role that you may see is called `r0`"), "{}", unknown.text());
    refused(
        &operator.post_json("/v1/agents/b/invitations", &invite(ROLES_MAX + 1)).await,
        400,
        "too_many_roles",
    );
    let files = |count: usize| {
        let files: Vec<Value> = (0..count).map(|i| json!({ "name": i.to_string(), "text": "" })).collect();
        json!({ "files": files })
    };
    assert_eq!(operator.post_json("/v1/plan", &files(DECLARATION_FILES_MAX)).await.status, 200);
    refused(
        &operator.post_json("/v1/plan", &files(DECLARATION_FILES_MAX + 1)).await,
        400,
        "file_count_invalid",
    );
    refused(&operator.post_json("/v1/plan", &files(0)).await, 400, "file_count_invalid");
    let beyond = format!("?limit={}", PAGE_ENTRIES_MAX + 1);
    for query in ["?limit=0", &beyond, "?after=x", "?other=1", "?after=-1"] {
        refused(&operator.get(&format!("/v1/ledger/entries{query}")).await, 400, "query_invalid");
    }
    for list in ["/v1/ledger/entries?after=1&", "/v1/leases?"] {
        assert_eq!(operator.get(&format!("{list}limit={PAGE_ENTRIES_MAX}")).await.status, 200, "{list}");
    }
    refused(&operator.get(&format!("/v1/leases{beyond}")).await, 400, "query_invalid");
    let padded = |bytes: usize| {
        let (start, end) = ("{\"files\":[{\"name\":\"a\",\"text\":\"# ", "\"}]}");
        format!("{start}{}{end}", "y".repeat(bytes - start.len() - end.len()))
    };
    let plan =
        async |bytes: usize| operator.post("/v1/plan", "application/json", padded(bytes).as_bytes()).await;
    assert_eq!(plan(DECLARATION_BYTES_MAX).await.status, 200);
    refused(&plan(DECLARATION_BYTES_MAX + 1).await, 413, "body_too_large");
    refused(&plan(2 * DECLARATION_BYTES_MAX).await, 413, "body_too_large");
}

/// Hazard AUD-09.
#[tokio::test]
async fn malformed_declarations_change_nothing_and_echo_nothing() {
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    let before = operator.get("/v1/capabilities").await.json();
    let bad = format!("{DECLARATIONS}\n[[agent]]\nname = \"CNRY\"\nroles = [\"nope\"]\n");
    let reply = broker.apply(&bad).await;
    refused(&reply, 422, "declarations_invalid");
    let places = reply.json()["errors"].as_array().unwrap().clone();
    let line = 1 + DECLARATIONS.lines().count() + 2;
    assert_eq!((&places[0]["file"], &places[0]["line"]), (&json!("a.toml"), &json!(line)));
    let dangling = broker.apply("[[agent]]\nname = \"x\"\nroles = [\"nope\"]\n").await;
    refused(&dangling, 422, "declarations_invalid");
    for body in [
        json!({ "files": [], "more": "CNRY" }),
        json!({ "files": [{ "name": "a" }] }),
        json!({ "files": "CNRY" }),
        json!({ "files": [{ "name": "a", "text": "", "prune": true }] }),
        json!([]),
    ] {
        refused(&operator.post_json("/v1/apply", &body).await, 400, "json_invalid");
    }
    assert_eq!(operator.get("/v1/capabilities").await.json(), before);
    assert_eq!(broker.entries("declarations.applied").await.len(), 1);
}

#[tokio::test]
async fn invitations_for_what_is_not_there_are_refused() {
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    let invite = async |name: &str, roles: &[&str]| {
        operator.post_json(&format!("/v1/agents/{name}/invitations"), &json!({ "roles": roles })).await
    };
    refused(&invite("absent", &[]).await, 404, "agent_unknown");
    refused(&invite("absent", &["nope"]).await, 404, "role_unknown");
    assert_eq!(invite("a", &["publisher"]).await.status, 201);
    refused(&invite("a", &["repo-reader"]).await, 409, "agent_roles_mismatch");
    refused(&operator.get("/v1/agents/absent").await, 404, "agent_unknown");
    assert_eq!(invite("a", &[]).await.status, 201);
}

/// Hazard HTTP-14.
#[tokio::test]
async fn the_rate_limit_of_one_agent_does_not_affect_others() {
    let broker = TestBroker::start_with("[quota]\nmints_per_s = 1\nmints_burst = 3\n").await;
    broker.declare().await;
    let (busy, calm) =
        (broker.agent("busy", &["publisher"]).await, broker.agent("calm", &["publisher"]).await);
    for _ in 0..3 {
        busy.token("reports.read").await;
    }
    let limited = busy.ask("grant_type=client_credentials&scope=reports.read").await;
    refused(&limited, 429, "rate_limited");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() >= 1);
    calm.token("reports.read").await;
    broker.clock.advance_s(1);
    busy.token("reports.read").await;
}

#[tokio::test]
async fn nobody_fills_the_ledger_by_being_refused() {
    let broker = TestBroker::start_with("[quota]\nmints_per_s = 1000\nmints_burst = 1000\n").await;
    broker.declare().await;
    let agent = broker.agent("a", &["publisher"]).await;
    for _ in 0..40 {
        agent.ask("grant_type=client_credentials&scope=github.repo.read").await;
    }
    assert_eq!(broker.entries("request.denied").await.len(), 30);
    broker.clock.advance_s(2);
    agent.ask("grant_type=client_credentials&scope=github.repo.read").await;
    let denied = broker.entries("request.denied").await;
    assert_eq!((denied.len(), &denied[30]["event"]["unrecorded"]), (31, &json!(10)));
}
