//! What resource servers may know of tokens, and what stock clients find before they ask.

use keyward::base::encoding::base64;
use serde_json::{Value, json};

use crate::renewal::renew;
use crate::support::broker::{Agent, DECLARATIONS, Reply, TestBroker};

const REPORTS: &str = "https://reports.example.com";

/// A broker with two resource servers, and an agent that holds tokens for the first.
struct Bed {
    broker: TestBroker,
    reports: Agent,
    other: Agent,
    agent: Agent,
}

impl Bed {
    async fn new() -> Self {
        let broker = TestBroker::declared().await;
        let servers = format!(
            "[[resource_server]]\nname = \"reports\"\naudience = \"{REPORTS}\"\nmax_instances = 2\n\
             [[resource_server]]\nname = \"other\"\naudience = \"https://other.example.com\"\n"
        );
        assert_eq!(broker.apply(&servers).await.status, 200);
        let (reports, other) = (broker.agent("reports", &[]).await, broker.agent("other", &[]).await);
        let agent = broker.agent("a", &["publisher", "repo-reader"]).await;
        Self { broker, reports, other, agent }
    }

    async fn post(&self, path: &str) {
        assert_eq!(self.broker.operator().post_json(path, &json!({})).await.status, 200);
    }
}

async fn ask(caller: &Agent, token: &str) -> Reply {
    let form = format!("token={token}&token_type_hint=access_token");
    caller.caller.post("/oauth/introspect", "application/x-www-form-urlencoded", form.as_bytes()).await
}

async fn is_inactive(caller: &Agent, token: &str) {
    let reply = ask(caller, token).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{\"active\":false}"));
}

#[tokio::test]
async fn only_the_audience_of_a_token_learns_its_claims_by_introspection() {
    let bed = Bed::new().await;
    let token = bed.agent.token("reports.read").await;
    let reply = ask(&bed.reports, &token).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"));
    let said = reply.json();
    assert_eq!(said["active"], true);
    assert_eq!((&said["aud"], &said["scope"]), (&json!(REPORTS), &json!("reports.read")));
    assert_eq!(said["sub"], "spiffe://keyward.test/agent/a");
    assert_eq!((&said["client_id"], &said["token_type"]), (&said["sub"], &json!("Bearer")));
    assert_eq!(said["cnf"]["x5t#S256"].as_str().unwrap().len(), 43);
    assert_eq!(said["authorization_details"][0]["capability"], "reports.read");
    assert!(said["exp"].as_i64() > said["iat"].as_i64() && said["jti"].as_str().unwrap().starts_with("tok_"));

    is_inactive(&bed.other, &token).await;
    is_inactive(&bed.reports, &bed.agent.token("github.repo.read").await).await;
    for nonsense in ["x", "a.b.c", &token[..token.len() - 2], &token.replace('.', "%00")] {
        is_inactive(&bed.reports, nonsense).await;
    }
    let agent = ask(&bed.agent, &token).await;
    assert_eq!((agent.status, agent.code().as_str()), (403, "introspection_not_allowed"), "{}", agent.text());
    let nobody = bed.broker.nobody(bed.broker.agents());
    let form = format!("token={token}");
    let refused =
        nobody.post("/oauth/introspect", "application/x-www-form-urlencoded", form.as_bytes()).await;
    assert_eq!((refused.status, &refused.json()["error"]), (401, &json!("invalid_client")));
    let absent = ask(&bed.reports, "").await;
    assert_eq!((absent.status, absent.code().as_str()), (400, "token_parameter_missing"));
}

#[tokio::test]
async fn introspection_needs_no_client_id_beside_the_certificate() {
    let bed = Bed::new().await;
    let token = bed.agent.token("reports.read").await;
    let form = format!("token={token}");
    // Stock clients send the credentials that they are configured with; the certificate alone authenticates.
    for credentials in ["reports:secret", "reports", "spiffe://keyward.test/resource/reports:"] {
        let basic = format!("Basic {}", base64(credentials.as_bytes()));
        let headers =
            [("content-type", "application/x-www-form-urlencoded"), ("authorization", basic.as_str())];
        let reply = bed.reports.caller.send("POST", "/oauth/introspect", &headers, form.as_bytes()).await;
        assert_eq!((reply.status, &reply.json()["active"]), (200, &json!(true)), "{credentials}");
    }
}

#[tokio::test]
async fn a_token_that_ended_or_was_ended_is_inactive_at_once() {
    let bed = Bed::new().await;
    let token = bed.agent.token("reports.read").await;
    let id = ask(&bed.reports, &token).await.json()["jti"].as_str().unwrap().to_owned();
    bed.post(&format!("/v1/tokens/{id}/revoke")).await;
    is_inactive(&bed.reports, &token).await;
    let token = bed.agent.token("reports.read").await;
    bed.post("/v1/agents/a/suspend").await;
    is_inactive(&bed.reports, &token).await;
    bed.post("/v1/agents/a/resume").await;
    assert_eq!(ask(&bed.reports, &token).await.json()["active"], true);
    bed.broker.clock.advance_s(700);
    is_inactive(&bed.reports, &token).await;
    let token = bed.agent.token("reports.read").await;
    bed.post("/v1/agents/a/revoke").await;
    is_inactive(&bed.reports, &token).await;
}

#[tokio::test]
async fn a_token_goes_with_the_certificate_that_it_is_bound_to() {
    let bed = Bed::new().await;
    let before = bed.agent.token("reports.read").await;
    let next = renew(&bed.broker, &bed.agent).await;
    assert_eq!(ask(&bed.reports, &before).await.json()["active"], true, "until the next one is used");
    let after = next.token("reports.read").await;
    is_inactive(&bed.reports, &before).await;
    assert_eq!(ask(&bed.reports, &after).await.json()["active"], true);
}

#[tokio::test]
async fn a_token_is_good_for_no_more_than_its_holder_still_may() {
    let bed = Bed::new().await;
    let token = bed.agent.token("reports.read%20reports.publish").await;
    let narrowed = "[[role]]\nname = \"publisher\"\ncapabilities = [\"reports.read\"]\n";
    assert_eq!(bed.broker.apply(narrowed).await.status, 200);
    let said = ask(&bed.reports, &token).await.json();
    assert_eq!(
        (&said["scope"], said["authorization_details"].as_array().unwrap().len()),
        (&json!("reports.read"), 1)
    );
    let gone = "[[agent]]\nname = \"a\"\nroles = []\n";
    assert_eq!(bed.broker.apply(gone).await.status, 200);
    is_inactive(&bed.reports, &token).await;
}

#[tokio::test]
async fn a_resource_server_gets_no_token_and_loses_its_eyes_with_its_standing() {
    let bed = Bed::new().await;
    let token = bed.agent.token("reports.read").await;
    let minted = bed.reports.ask("grant_type=client_credentials&scope=reports.read").await;
    assert_eq!((minted.status, minted.code().as_str()), (401, "certificate_wrong_kind"));
    assert!(minted.text().contains("a resource server gets no tokens"), "{}", minted.text());
    assert!(minted.text().contains("use the identity of an agent"), "{}", minted.text());
    bed.post("/v1/agents/reports/revoke").await;
    let form = format!("token={token}");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    assert!(
        bed.reports.caller.attempt("POST", "/oauth/introspect", &headers, form.as_bytes()).await.is_err()
    );
    let gone = json!({ "files": [{ "name": "a.toml", "text": DECLARATIONS }], "prune": true });
    assert_eq!(bed.broker.operator().post_json("/v1/apply", &gone).await.status, 200);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    assert!(bed.other.caller.attempt("POST", "/oauth/introspect", &headers, form.as_bytes()).await.is_err());
}

#[tokio::test]
async fn a_resource_server_is_one_by_its_certificate_and_stays_one() {
    let bed = Bed::new().await;
    let me = bed.reports.caller.get("/v1/whoami").await.json();
    let spiffe = "spiffe://keyward.test/resource/reports";
    assert_eq!((&me["kind"], &me["audience"]), (&json!("resource-server"), &json!(REPORTS)));
    assert_eq!((&me["spiffe_id"], &me["capabilities"]), (&json!(spiffe), &json!([])));
    let seen = bed.broker.operator().get("/v1/agents/reports").await.json();
    assert_eq!((&seen["audience"], &seen["roles"]), (&json!(REPORTS), &json!([])));

    let renewed = renew(&bed.broker, &bed.reports).await;
    assert_eq!(renewed.caller.get("/v1/whoami").await.json()["spiffe_id"], spiffe);
    is_inactive(&renewed, "x").await;
    let old = bed.reports.caller.attempt("GET", "/v1/whoami", &[], b"").await;
    assert!(old.is_err(), "the next certificate was used: the one before counts no more");

    let agent = "[[agent]]\nname = \"reports\"\nroles = []\n";
    let server = format!("[[resource_server]]\nname = \"a\"\naudience = \"{REPORTS}\"\n");
    for (turned, there) in [(agent, "a resource server"), (&server, "an agent")] {
        let refused = bed.broker.apply(turned).await;
        let fault = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(refused.status == 422 && fault.contains(&format!("{there} of this name exists")), "{fault}");
    }
    // A removed name can be declared again: as another kind, for another identity.
    let text = format!("{DECLARATIONS}{agent}");
    let turned = json!({ "files": [{ "name": "a.toml", "text": text }], "prune": true });
    assert_eq!(bed.broker.operator().post_json("/v1/apply", &turned).await.status, 422, "not in one step");
    let gone = json!({ "widen": true, "files": [{ "name": "a.toml", "text": DECLARATIONS }], "prune": true });
    assert_eq!(bed.broker.operator().post_json("/v1/apply", &gone).await.status, 200);
    assert_eq!(bed.broker.apply(agent).await.status, 200);
    let again = bed.broker.agent("reports", &[]).await;
    let me = again.caller.get("/v1/whoami").await.json();
    assert_eq!((&me["kind"], &me["audience"]), (&json!("agent"), &Value::Null));
    assert!(renewed.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
}

#[tokio::test]
async fn the_audience_of_a_resource_server_survives_a_restart_and_is_planned() {
    let mut bed = Bed::new().await;
    let token = bed.agent.token("reports.read").await;
    bed.broker.restart().await;
    let moved = Agent {
        caller: crate::support::broker::Caller { address: bed.broker.agents(), ..bed.reports.caller.clone() },
        ..bed.reports
    };
    assert_eq!(ask(&moved, &token).await.json()["active"], true);
    let file = |text: &str| json!({ "files": [{ "name": "a", "text": text }] });
    let plan = async |text: &str| bed.broker.operator().post_json("/v1/plan", &file(text)).await.json();
    let same =
        format!("[[resource_server]]\nname = \"reports\"\naudience = \"{REPORTS}\"\nmax_instances = 2\n");
    assert_eq!(plan(&same).await["changes"], json!([]));
    let changed = plan(&same.replace("reports.example", "elsewhere.example")).await;
    let values = json!([{ "field": "audience", "from": REPORTS, "to": "https://elsewhere.example.com" }]);
    let expected: Value = json!([{
        "action": "update", "kind": "resource-server", "name": "reports", "fields": ["audience"], "values": values
    }]);
    assert_eq!(changed["changes"], expected);
}

#[tokio::test]
async fn a_resource_server_asks_as_often_as_it_may_and_no_more() {
    let settings = "[quota]\nintrospections_per_s = 1\nintrospections_burst = 3\n";
    let broker = TestBroker::start_with(settings).await;
    broker.declare().await;
    let server = format!("[[resource_server]]\nname = \"reports\"\naudience = \"{REPORTS}\"\n");
    assert_eq!(broker.apply(&server).await.status, 200);
    let reports = broker.agent("reports", &[]).await;
    for _ in 0..3 {
        is_inactive(&reports, "x").await;
    }
    let reply = ask(&reports, "x").await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
    broker.clock.advance_s(1);
    is_inactive(&reports, "x").await;
}

#[tokio::test]
async fn what_stock_clients_look_for_is_there() {
    let broker = TestBroker::declared().await;
    let nobody = broker.nobody(broker.agents());
    let oauth = nobody.get("/.well-known/oauth-authorization-server").await.json();
    let openid = nobody.get("/.well-known/openid-configuration").await.json();
    for (field, value) in oauth.as_object().unwrap() {
        assert_eq!(&openid[field], value, "the two documents agree on {field}");
    }
    assert_eq!(openid["subject_types_supported"], json!(["public"]));
    assert_eq!(openid["id_token_signing_alg_values_supported"], json!(["ES256", "RS256"]));
    for endpoint in ["token_endpoint", "revocation_endpoint", "introspection_endpoint"] {
        assert_eq!(oauth["mtls_endpoint_aliases"][endpoint], oauth[endpoint]);
    }
    let resource = nobody.get("/.well-known/oauth-protected-resource").await.json();
    assert_eq!(
        (&resource["resource"], &resource["authorization_servers"][0]),
        (&oauth["issuer"], &oauth["issuer"])
    );
    assert_eq!(resource["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(oauth["authorization_details_types_supported"], json!(["keyward_capability"]));
}

#[tokio::test]
async fn whoever_comes_without_the_right_token_is_told_where_to_learn_of_it() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let metadata = "resource_metadata=\"https://127.0.0.1:8443/.well-known/oauth-protected-resource\"";
    let nobody = broker.nobody(broker.agents());
    let scope = "scope=\"github.repo.read\"";
    let challenges =
        [(&nobody, format!("Bearer {metadata}")), (&agent.caller, format!("Bearer {scope}, {metadata}"))];
    for (caller, challenge) in challenges {
        let refused = caller.get("/v1/secrets/github/app").await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, challenge.as_str()));
    }
    let wrong = agent.secret("github/app", "x").await;
    let challenge = format!("Bearer error=\"invalid_token\", {scope}, {metadata}");
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, challenge.as_str()));
    let narrow = agent.secret("github/absent", &agent.token("github.repo.read").await).await;
    let challenge = format!("Bearer error=\"insufficient_scope\", {metadata}");
    assert_eq!((narrow.status, narrow.header("www-authenticate")), (403, challenge.as_str()));
    for (method, path) in [("GET", "/v1/whoami"), ("POST", "/oauth/token")] {
        let refused = nobody.send(method, path, &[], b"").await;
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, "Mutual-TLS realm=\"keyward\""),
            "a certificate helps here, no token: {path}"
        );
    }
    assert_eq!(agent.caller.get("/v1/secrets/Github").await.header("www-authenticate"), "");
}
