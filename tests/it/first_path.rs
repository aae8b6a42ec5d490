//! The path that everything is for: enrol, prove, mint, use, and read it back.

use keyward::base::encoding::from_base64url;
use serde_json::Value;

use crate::support::broker::TestBroker;

fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&from_base64url(body).unwrap()).unwrap()
}

#[tokio::test]
async fn the_ledger_shows_every_step_of_an_agent_without_the_secret() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("research-bot", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let secret = agent.secret("github/app", &token).await;
    assert_eq!((secret.status, secret.body.as_slice()), (200, &b"hunter2"[..]));
    assert_eq!(secret.header("cache-control"), "no-store");
    assert_eq!(secret.header("keyward-secret-version"), "1");

    let said = claims(&token);
    assert_eq!(said["sub"], "spiffe://keyward.test/agent/research-bot");
    assert_eq!(said["client_id"], said["sub"]);
    assert_eq!(said["iss"], "https://127.0.0.1:8443");
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 300);

    let minted = &broker.entries("token.minted").await[0];
    assert_eq!(minted["seq"], said["seq"], "the token names the entry of its issue");
    assert_eq!(minted["event"]["token"], said["jti"]);
    assert_eq!(minted["event"]["decision"], said["decision"]);
    let revealed = &broker.entries("secret.revealed").await[0];
    assert_eq!(revealed["event"]["token"], said["jti"]);
    assert_eq!(revealed["event"]["decision"].as_str(), Some(secret.header("keyward-decision-id")));
    for kind in ["instance.enrolled", "certificate.recorded", "secret.stored", "declarations.applied"] {
        assert_eq!(broker.entries(kind).await.len(), 1, "{kind}");
    }
    let ledger = broker.operator().get("/v1/ledger/entries").await.text();
    assert!(!ledger.contains("hunter2"));
}

#[tokio::test]
async fn a_new_version_is_what_agents_get_next() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let operator = broker.operator();
    let stored = operator.put("/v1/secrets/github/app", "application/octet-stream", b"hunter3").await;
    assert_eq!(stored.json()["version"], 2);
    let secret = agent.secret("github/app", &token).await;
    assert_eq!((secret.body.as_slice(), secret.header("keyward-secret-version")), (&b"hunter3"[..], "2"));
    let listed = operator.get("/v1/secrets").await;
    assert_eq!(listed.json()["items"][0]["version"], 2);
    assert!(!listed.text().contains("hunter"));
}

#[tokio::test]
async fn less_than_asked_is_given_and_said() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let ask = |form: &'static str| agent.ask(form);

    let shorter = ask("grant_type=client_credentials&scope=reports.publish&expires_in=600").await.json();
    assert_eq!(shorter["expires_in"], 120);
    assert!(shorter["constrained"][0].as_str().unwrap().contains("600 s to 120 s"), "{shorter}");

    let narrower = ask("grant_type=client_credentials&scope=reports.publish github.repo.read").await.json();
    assert_eq!(narrower["scope"], "reports.publish");
    assert!(narrower["constrained"][0].as_str().unwrap().contains("1 of 2 capabilities"), "{narrower}");
    let left_out = &narrower["left_out"];
    assert_eq!(left_out.as_array().unwrap().len(), 1, "{narrower}");
    assert_eq!(left_out[0]["code"], "capability_not_granted", "{narrower}");

    let whole =
        ask("grant_type=client_credentials&scope=reports.publish reports.read&expires_in=60").await.json();
    assert_eq!((&whole["expires_in"], &whole["constrained"]), (&Value::from(60), &Value::Null));
    let entries = broker.entries("token.minted").await;
    let outcomes: Vec<&str> = entries.iter().map(|one| one["event"]["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["constrain", "constrain", "allow"]);
}

/// Hazards JWT-22, POL-01.
#[tokio::test]
async fn nothing_is_never_everything_and_no_rule_means_no() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    for (form, error, code) in [
        ("grant_type=client_credentials", "invalid_scope", "scope_empty_or_too_long"),
        ("grant_type=client_credentials&scope=", "invalid_scope", "scope_empty_or_too_long"),
        ("grant_type=client_credentials&scope=+", "invalid_scope", "scope_malformed"),
        ("grant_type=client_credentials&scope=github.repo.read", "invalid_scope", "capability_not_granted"),
        ("grant_type=client_credentials&scope=not.declared", "invalid_scope", "capability_not_granted"),
        ("grant_type=client_credentials&scope=Reports.publish", "invalid_scope", "scope_malformed"),
        (
            "grant_type=client_credentials&scope=reports.read&resource=https://other.example.com",
            "invalid_target",
            "audience_mismatch",
        ),
        (
            "grant_type=client_credentials&scope=reports.read&expires_in=9",
            "invalid_request",
            "expires_in_invalid",
        ),
        (
            "grant_type=client_credentials&scope=reports.read&expires_in=x",
            "invalid_request",
            "expires_in_invalid",
        ),
        (
            "grant_type=client_credentials&scope=reports.read&scope=reports.read",
            "invalid_request",
            "form_field_repeated",
        ),
        (
            "grant_type=client_credentials&scope=reports.read&client_id=x",
            "invalid_client",
            "client_id_mismatch",
        ),
        (
            "grant_type=client_credentials&authorization_details={}",
            "invalid_authorization_details",
            "authorization_details_invalid",
        ),
        ("grant_type=password&scope=reports.read", "unsupported_grant_type", "grant_type_unsupported"),
        ("scope=reports.read", "invalid_request", "grant_type_missing"),
        (
            "grant_type=client_credentials&scope=reports.read&resource=reports",
            "invalid_target",
            "resource_malformed",
        ),
    ] {
        let reply = agent.ask(form).await;
        let body = reply.json();
        assert_eq!((body["error"].as_str(), body["code"].as_str()), (Some(error), Some(code)), "{form}");
        assert!(body["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{form}");
    }
    let denied = broker.entries("request.denied").await;
    let codes: Vec<&str> = denied.iter().map(|one| one["event"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["capability_not_granted", "capability_not_granted", "audience_mismatch"]);
    assert!(broker.entries("token.minted").await.is_empty());
    // And the response names the capabilities
    let refused = agent.ask("grant_type=client_credentials&scope=github.repo.read+not.declared").await.json();
    let said = refused["error_description"].as_str().unwrap();
    assert!(
        said.starts_with("capabilities `github.repo.read`, `not.declared`: no role of this agent"),
        "{said}"
    );
    // And which audiences differ
    let resource = "grant_type=client_credentials&scope=reports.read&resource=https://other.example.com";
    let refused = agent.ask(resource).await.json();
    let said = refused["error_description"].as_str().unwrap();
    let named = "and the request names the audience `https://other.example.com`";
    assert!(said.contains("the audience is `https://reports.example.com`") && said.contains(named), "{said}");
}

/// Hazard TLS-18.
#[tokio::test]
async fn a_token_ends_before_the_certificate_does() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let ask = "grant_type=client_credentials&scope=reports.read";
    broker.clock.advance_s(86_400 - 61);
    let shorter = agent.ask(ask).await.json();
    let life_s = shorter["expires_in"].as_i64().unwrap();
    assert!(life_s <= 61, "{shorter}");
    assert!(shorter["constrained"][0].as_str().unwrap().contains("certificate"), "{shorter}");
    broker.clock.advance_s(55);
    let denied = agent.ask(ask).await;
    assert_eq!((denied.status, denied.code().as_str()), (403, "certificate_expires_too_soon"));
}

#[tokio::test]
async fn one_token_has_one_audience() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher", "repo-reader"]).await;
    let mixed = agent.ask("grant_type=client_credentials&scope=reports.read github.repo.read").await;
    assert_eq!(mixed.json()["error"], "invalid_target");
    let named = "grant_type=client_credentials&scope=reports.read&resource=https://reports.example.com";
    let token = agent.ask(named).await.json();
    assert_eq!(claims(token["access_token"].as_str().unwrap())["aud"], "https://reports.example.com");
}

/// Hazard JWT-15.
#[tokio::test]
async fn a_stolen_token_is_refused_and_so_is_one_for_somebody_else() {
    let broker = TestBroker::declared().await;
    let holder = broker.agent("holder", &["repo-reader", "publisher"]).await;
    let thief = broker.agent("thief", &["repo-reader"]).await;
    let token = holder.token("github.repo.read").await;
    assert_eq!(holder.secret("github/app", &token).await.status, 200);
    let stolen = thief.secret("github/app", &token).await;
    assert_eq!((stolen.status, stolen.code().as_str()), (401, "token_binding_mismatch"));
    assert!(stolen.header("www-authenticate").contains("invalid_token"));

    let noted = &broker.entries("token.refused").await[0]["event"];
    assert_eq!((&noted["agent"], &noted["code"]), (&"thief".into(), &"token_binding_mismatch".into()));
    assert_eq!(noted["token"], claims(&token)["jti"], "the ledger says which token was stolen");

    let elsewhere = holder.token("reports.read").await;
    let refused = holder.secret("github/app", &elsewhere).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_invalid"));
}

#[tokio::test]
async fn a_token_ends_when_it_says_and_gives_only_what_it_names() {
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    operator.put("/v1/secrets/github/other", "application/octet-stream", b"x").await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let other = agent.secret("github/other", &token).await;
    assert_eq!((other.status, other.code().as_str()), (403, "secret_not_granted"));
    let absent = agent.secret("github/absent", &token).await;
    assert_eq!((absent.status, absent.code()), (other.status, other.code()), "nothing tells which exist");
    broker.clock.advance_s(304);
    assert_eq!(agent.secret("github/app", &token).await.status, 200, "within the leeway");
    broker.clock.advance_s(2);
    let expired = agent.secret("github/app", &token).await;
    assert_eq!((expired.status, expired.code().as_str()), (401, "token_expired"));
}

#[tokio::test]
async fn what_is_taken_away_is_gone_at_the_next_request_of_an_open_connection() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let bearer = format!("Bearer {token}");
    let mut open = agent.caller.connect().await.unwrap();
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(open.send("GET", "/v1/secrets/github/app", &headers, b"").await.unwrap().status, 200);

    broker.apply("[[agent]]\nname = \"a\"\nroles = []\n").await;
    let refused = open.send("GET", "/v1/secrets/github/app", &headers, b"").await.unwrap();
    assert_eq!(refused.code(), "secret_not_granted", "the token outlived its role");

    let body = serde_json::json!({ "files": [{ "name": "a", "text": DECLARED_ROLE }], "prune": true });
    assert_eq!(broker.operator().post_json("/v1/apply", &body).await.status, 200);
    // Refused, or the connection is cut already.
    let gone = open.send("GET", "/v1/whoami", &[], b"").await;
    assert!(gone.is_err() || gone.is_ok_and(|gone| gone.code() == "certificate_unknown"));
    assert!(
        agent.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err(),
        "the handshake refuses it too"
    );
}

const DECLARED_ROLE: &str = "[[role]]\nname = \"empty\"\ncapabilities = []\n";

/// Hazard REV-12.
#[tokio::test]
async fn a_name_given_again_is_somebody_else() {
    let broker = TestBroker::declared().await;
    let before = broker.agent("a", &["repo-reader"]).await;
    let keep = "[[role]]\nname = \"publisher\"\ncapabilities = []\n";
    let body = serde_json::json!({ "files": [{ "name": "a", "text": keep }], "prune": true });
    broker.operator().post_json("/v1/apply", &body).await;
    let after = broker.agent("a", &["publisher"]).await;
    assert!(before.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    assert_eq!(after.caller.get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() {
    let mut broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    // The time of the last connection is not recorded
    let agents = async |broker: &TestBroker| {
        let mut listed = broker.operator().get("/v1/agents").await.json();
        listed["items"][0]["last_seen"].take();
        listed
    };
    let before = agents(&broker).await;
    broker.restart().await;
    assert_eq!(agents(&broker).await, before);
    let caller = broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key));
    let bearer = format!("Bearer {token}");
    let secret = caller.send("GET", "/v1/secrets/github/app", &[("authorization", &bearer)], b"").await;
    assert_eq!(secret.body, b"hunter2");
}
