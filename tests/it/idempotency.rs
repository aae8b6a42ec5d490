//! I12: the same key with the same request has one outcome, however often it comes, at once, after a
//! restart, or after the answer was lost.

use std::collections::BTreeSet;

use keyward::base::encoding::from_base64url;
use keyward::base::limits::{HEAVY_PER_OPERATOR_MAX, IDEMPOTENCY_KEY_BYTES_MAX};
use keyward::http::{Repetition, admin_routes, agent_routes, host_routes};
use keyward::wire::Method;
use serde_json::{Value, json};

use crate::refusals::refused;
use crate::support::broker::{Agent, Caller, DECLARATIONS, Reply, TestBroker};

const FORM: &str = "application/x-www-form-urlencoded";
const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";
const MINT: &str = "grant_type=client_credentials&scope=reports.read+reports.publish";

async fn keyed(caller: &Caller, key: &str, route: (&str, &str), kind: &str, body: &str) -> Reply {
    let headers = [("idempotency-key", key), ("content-type", kind)];
    caller.send(route.0, route.1, &headers, body.as_bytes()).await
}

async fn mint(agent: &Agent, key: &str, form: &str) -> Reply {
    keyed(&agent.caller, key, ("POST", "/oauth/token"), FORM, form).await
}

fn claims(token: &Value) -> Value {
    let body = token.as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    serde_json::from_slice(&from_base64url(&body).unwrap()).unwrap()
}

/// Invariant I12.
#[tokio::test]
async fn a_secret_is_stored_once_and_the_ledger_has_no_digest_of_its_value() {
    let mut broker = TestBroker::start().await;
    let put = ("PUT", "/v1/secrets/a");
    let first = keyed(&broker.operator(), "k1", put, BYTES, "value").await;
    assert_eq!(first.status, 201);
    for _ in 0..2 {
        let again = keyed(&broker.operator(), "k1", put, BYTES, "value").await;
        assert_eq!((again.status, again.json()), (201, first.json()));
        let elsewhere = keyed(&broker.operator(), "k1", ("PUT", "/v1/secrets/b"), BYTES, "value").await;
        refused(&elsewhere, 422, "idempotency_key_reused");
        broker.restart().await;
    }
    // Another value is found by the process that stored the first one, and by nothing that outlives a destroyed one.
    let other = keyed(&broker.operator(), "k1", put, BYTES, "other").await;
    assert_eq!((other.status, other.json()), (201, first.json()));
    let second = ("PUT", "/v1/secrets/second");
    assert_eq!(keyed(&broker.operator(), "k3", second, BYTES, "value").await.status, 201);
    refused(&keyed(&broker.operator(), "k3", second, BYTES, "CNRY").await, 422, "idempotency_key_reused");
    // What stands in the header is part of the request, too.
    let others =
        [("if-match", "\"1\""), ("if-none-match", "*"), ("keyward-owner", "red"), ("keyward-widen", "true")];
    for other in others {
        let headers = [("idempotency-key", "k1"), ("content-type", BYTES), other];
        let reply = broker.operator().send(put.0, put.1, &headers, b"value").await;
        refused(&reply, 422, "idempotency_key_reused");
    }
    assert_eq!(broker.operator().get("/v1/secrets").await.json()["items"][0]["version"], 1);
    assert_eq!(keyed(&broker.operator(), "k2", put, BYTES, "value").await.json()["version"], 2);
    assert_eq!(broker.operator().put("/v1/secrets/a", BYTES, b"value").await.json()["version"], 3);
}

/// Sends one request `times` at once, with one key: all answers are the same.
pub(crate) async fn all_alike(
    broker: &TestBroker,
    times: usize,
    route: (&'static str, &'static str),
    kind: &'static str,
    body: &str,
) {
    let ask = |_| {
        let (operator, body) = (broker.operator(), body.to_owned());
        tokio::spawn(async move { keyed(&operator, "k", route, kind, &body).await })
    };
    let asked: Vec<_> = (0..times).map(ask).collect();
    let mut answers = Vec::new();
    for one in asked {
        let reply = one.await.unwrap();
        assert!([200, 201].contains(&reply.status), "{}", reply.text());
        answers.push(reply.json());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

/// Invariant I12.
#[tokio::test]
async fn of_many_at_once_one_is_carried_out_and_all_are_answered_alike() {
    let broker = TestBroker::start().await;
    all_alike(&broker, 8, ("PUT", "/v1/secrets/a"), BYTES, "v").await;
    assert_eq!(broker.entries("secret.stored").await.len(), 1);
}

/// Invariant I12.
#[tokio::test]
async fn of_many_applications_at_once_with_one_key_one_is_carried_out() {
    let broker = TestBroker::declared().await;
    let text = DECLARATIONS.replace("max_life_s = 120", "max_life_s = 60");
    let body = json!({ "files": [{ "name": "a.toml", "text": text }] }).to_string();
    all_alike(&broker, HEAVY_PER_OPERATOR_MAX, ("POST", "/v1/apply"), JSON, &body).await;
    assert_eq!(broker.entries("declarations.applied").await.len(), 2, "and the first declarations");
}

/// Invariant I12.
#[tokio::test]
async fn a_token_is_minted_once_and_signed_again() {
    let mut broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let first = mint(&agent, "k", MINT).await;
    assert_eq!(first.status, 200, "{}", first.text());
    broker.clock.advance_s(30);
    broker.restart().await;
    let caller = broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key));
    let agent = Agent { caller, ..agent };
    let again = mint(&agent, "k", MINT).await;
    let (first, again) = (first.json(), again.json());
    assert_eq!(claims(&again["access_token"]), claims(&first["access_token"]));
    for field in ["token_id", "decision_id", "scope", "token_type"] {
        assert_eq!(again[field], first[field], "{field}");
    }
    assert_eq!(again["expires_in"].as_u64().unwrap() + 30, first["expires_in"].as_u64().unwrap());
    assert_eq!(
        (broker.entries("token.minted").await.len(), broker.entries("token.repeated").await.len()),
        (1, 1)
    );

    refused(
        &mint(&agent, "k", "grant_type=client_credentials&scope=reports.read").await,
        422,
        "idempotency_key_reused",
    );
    assert_ne!(mint(&agent, "k2", MINT).await.json()["token_id"], first["token_id"]);
    let other = broker.agent("b", &["publisher"]).await;
    assert_ne!(mint(&other, "k", MINT).await.json()["token_id"], first["token_id"], "another caller's key");
    // What is over is forgotten: a token of no use would help nobody.
    broker.clock.advance_s(u32::try_from(first["expires_in"].as_u64().unwrap()).unwrap());
    assert_ne!(mint(&agent, "k", MINT).await.json()["token_id"], first["token_id"]);
}

/// Invariant I12.
#[tokio::test]
async fn a_repeated_mint_is_decided_again() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    assert_eq!(mint(&agent, "k", MINT).await.status, 200);
    let less = DECLARATIONS.replace("[\"reports.publish\", \"reports.read\"]", "[\"reports.read\"]");
    assert_eq!(broker.apply(&less).await.status, 200);
    refused(&mint(&agent, "k", MINT).await, 400, "capability_not_granted");
    assert_eq!(broker.apply(DECLARATIONS).await.status, 200);
    assert_eq!(mint(&agent, "k", MINT).await.status, 200);
    // What the token is for, and for how long, is part of what was granted.
    let audience = "delivery = \"mint\"\naudience = \"https://reports.example.com\"";
    for other in [
        DECLARATIONS.replace("reports.example.com", "elsewhere.example.com"),
        DECLARATIONS.replace(audience, "delivery = \"reveal\"\nsecret = \"github/app\""),
        DECLARATIONS.replace("max_life_s = 120", "max_life_s = 119"),
    ] {
        assert_ne!(other, DECLARATIONS);
        let applied = broker.apply(&other).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        refused(&mint(&agent, "k", MINT).await, 400, "capability_not_granted");
        assert_eq!(mint(&agent, &other.len().to_string(), MINT).await.status, 200, "the twin: a new request");
        assert_eq!(broker.apply(DECLARATIONS).await.status, 200);
        assert_eq!(mint(&agent, "k", MINT).await.status, 200);
    }
    assert_eq!(broker.operator().post("/v1/agents/a/revoke", "", b"").await.status, 200);
    let gone =
        agent.caller.attempt("POST", "/oauth/token", &[("idempotency-key", "k")], MINT.as_bytes()).await;
    assert!(gone.is_err() || gone.is_ok_and(|reply| reply.status == 401));
}

/// Invariant I12.
#[tokio::test]
async fn replayed_applications_and_revocations_act_once_and_show_no_code() {
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    let apply = async |text: &str| {
        let body = json!({ "files": [{ "name": "a.toml", "text": text }] }).to_string();
        keyed(&operator, "k", ("POST", "/v1/apply"), JSON, &body).await
    };
    let text = DECLARATIONS.replace("max_life_s = 120", "max_life_s = 60");
    let first = apply(&text).await;
    assert_eq!(first.json()["changes"].as_array().unwrap().len(), 1);
    assert_eq!(broker.apply(DECLARATIONS).await.status, 200);
    assert_eq!(apply(&text).await.json(), first.json(), "what came after is not undone");
    refused(&apply(DECLARATIONS).await, 422, "idempotency_key_reused");
    assert_eq!(broker.entries("declarations.applied").await.len(), 3);

    let invite = ("POST", "/v1/agents/a/invitations");
    let body = "{\"roles\":[\"publisher\"]}";
    let code = keyed(&operator, "k", invite, JSON, body).await;
    assert_eq!(code.status, 201);
    let again = keyed(&operator, "k", invite, JSON, body).await;
    refused(&again, 409, "replay_secret_not_stored");
    assert!(again.text().contains(code.json()["code_id"].as_str().unwrap()));
    assert_eq!(broker.entries("agent.invited").await.len(), 1);

    let revoke = ("POST", "/v1/agents/a/revoke");
    let first = keyed(&operator, "k", revoke, JSON, "").await;
    assert_eq!((first.status, keyed(&operator, "k", revoke, JSON, "").await.json()), (200, first.json()));
    assert_eq!(broker.entries("subject.revoked").await.len(), 1);
}

#[tokio::test]
async fn a_key_that_would_promise_what_is_not_kept_is_refused() {
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    let put = ("PUT", "/v1/secrets/a");
    assert_eq!(keyed(&operator, &"k".repeat(IDEMPOTENCY_KEY_BYTES_MAX), put, BYTES, "v").await.status, 201);
    for bad in ["", "two words", &"k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1)] {
        refused(&keyed(&operator, bad, put, BYTES, "v").await, 400, "idempotency_key_invalid");
    }
    for route in [("GET", "/v1/secrets"), ("POST", "/v1/plan"), ("GET", "/readyz")] {
        refused(&keyed(&operator, "two words", route, JSON, "").await, 400, "idempotency_key_invalid");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "a"), ("content-type", BYTES)];
    refused(&operator.send(put.0, put.1, &twice, b"v").await, 400, "header_repeated");
    let nobody = broker.nobody(broker.admins());
    refused(&keyed(&nobody, "k", put, BYTES, "v").await, 401, "certificate_required");
    assert_eq!(
        keyed(&operator, "k", ("GET", "/v1/secrets"), JSON, "").await.status,
        200,
        "it is safe anyway"
    );
}

/// The routes on which a repeated request does no harm. Reviewed: a key would add nothing to them.
const HARMLESS: [&str; 34] = [
    "POST /oauth/device_authorization",
    "POST /oauth/introspect",
    "POST /oauth/revoke",
    "POST /v1/approval-key",
    "POST /v1/approvals",
    "POST /v1/approvals/{id}/votes",
    "POST /v1/approvals/{id}/withdraw",
    "POST /v1/break-glass",
    "POST /v1/clock/accept",
    "POST /v1/enrol",
    "POST /v1/evidence",
    "POST /v1/export",
    "POST /v1/freeze",
    "POST /v1/incident-previews",
    "POST /v1/incidents",
    "POST /v1/incidents/{id}/lift",
    "POST /v1/lease-plan-checks/{name}",
    "POST /v1/leases/{id}/give-up",
    "POST /v1/leases/{id}/renew",
    "POST /v1/operators/{name}/approval-key/accept",
    "POST /v1/operators/{name}/approval-key/remove",
    "POST /v1/plan",
    "POST /v1/plan-checks/{*name}",
    "POST /v1/policies/{name}/version",
    "POST /v1/policy-set",
    "POST /v1/renew",
    "POST /v1/rotation-checks/{*name}",
    "POST /v1/seal",
    "POST /v1/secret-access/{*name}",
    "POST /v1/simulations",
    "POST /v1/subject-reports",
    "POST /v1/thaw",
    "POST /v1/unseal",
    "POST /v1/value-checks",
];

/// Invariant I12.
#[test]
fn every_route_that_changes_something_takes_a_key() {
    let routes = [agent_routes(), admin_routes(), host_routes()].concat();
    let without =
        routes.iter().filter(|route| route.method != Method::GET && route.repetition == Repetition::Harmless);
    let without: BTreeSet<String> = without.map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(without.iter().map(String::as_str).collect::<Vec<_>>(), HARMLESS);
    let reading = routes.iter().filter(|route| route.method == Method::GET);
    assert!(reading.map(|route| route.repetition).all(|repetition| repetition == Repetition::Harmless));
}

/// A request of an operator's, the entry that it makes, and another request that its key does not stand for.
struct Asked {
    route: (&'static str, &'static str),
    body: &'static str,
    entry: &'static str,
    other: Option<(&'static str, &'static str)>,
}

const fn asked(route: (&'static str, &'static str), body: &'static str, entry: &'static str) -> Asked {
    Asked { route, body, entry, other: None }
}

impl Asked {
    const fn unlike(self, path: &'static str, body: &'static str) -> Self {
        Self { other: Some((path, body)), ..self }
    }
}

/// How many entries of this kind there are.
async fn entries(operator: &Caller, kind: &str) -> usize {
    let page = operator.get("/v1/ledger/entries").await.json();
    page["items"].as_array().unwrap().iter().filter(|entry| entry["kind"] == kind).count()
}

/// Invariant I12.
#[tokio::test]
async fn operators_and_the_broker_s_keys_are_changed_once() {
    let mut broker = TestBroker::declared().await;
    let mut known = broker.authority_pem();
    let placed = "{\"role\":\"approver\",\"owner\":null}";
    let profile = "{\"networks\":[],\"life_s\":null,\"person\":\"bob\"}";
    for (nth, Asked { route, body, entry, other }) in [
        asked(("POST", "/v1/operators/bob/invitations"), "{\"role\":\"auditor\"}", "operator.invited")
            .unlike("/v1/operators/bob/invitations", "{}"),
        asked(("PUT", "/v1/operators/bob/role"), placed, "operator.placed")
            .unlike("/v1/operators/admin/role", placed),
        asked(("PUT", "/v1/operators/bob/profile"), profile, "operator.profile-changed")
            .unlike("/v1/operators/admin/profile", profile),
        asked(("POST", "/v1/authorities"), "", "authority.staged"),
        asked(("POST", "/v1/authorities/2/revoke"), "{}", "authority.staged")
            .unlike("/v1/authorities/2/revoke", "{\"force\":true}"),
        asked(("POST", "/v1/authorities"), "", "authority.staged"),
        asked(("POST", "/v1/authorities/3/activate"), "{\"force\":true}", "authority.staged")
            .unlike("/v1/authorities/3/activate", "{}"),
        asked(("POST", "/v1/authorities/1/taint"), "{}", "authority.staged")
            .unlike("/v1/authorities/3/taint", "{}"),
        asked(("POST", "/v1/token-keys"), "", "token-key.staged"),
        asked(("POST", "/v1/token-keys/2/activate"), "{\"force\":true}", "token-key.staged")
            .unlike("/v1/token-keys/2/activate", "{}"),
        asked(("POST", "/v1/token-keys/1/revoke"), "{}", "token-key.staged")
            .unlike("/v1/token-keys/2/revoke", "{}"),
        asked(("POST", "/v1/checkpoint-key/rotate"), "", "checkpoint-key.rotated"),
        asked(("POST", "/v1/value-key/rotate"), "", "value-key.rotated"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("k{nth}");
        // The broker tells of the next authority before it shows its certificate.
        known = broker.caller_knowing(&known, broker.agents(), None).get("/v1/authority").await.text();
        let before = entries(&broker.operator_knowing(&known), entry).await;
        let first = keyed(&broker.operator_knowing(&known), &key, route, JSON, body).await;
        assert!((200..300).contains(&first.status), "{route:?}: {}", first.text());
        for _ in 0..2 {
            let again = keyed(&broker.operator_knowing(&known), &key, route, JSON, body).await;
            if first.status == 201 {
                refused(&again, 409, "replay_secret_not_stored");
                assert!(again.text().contains(first.json()["code_id"].as_str().unwrap()));
            } else {
                let mut known = first.json();
                if known["carried_over"].is_number() {
                    known["carried_over"] = Value::Null;
                }
                assert_eq!((again.status, again.json()), (first.status, known), "{route:?}");
            }
            if let Some((path, body)) = other {
                let other = keyed(&broker.operator_knowing(&known), &key, (route.0, path), JSON, body).await;
                refused(&other, 422, "idempotency_key_reused");
            }
            broker.restart().await;
        }
        assert_eq!(entries(&broker.operator_knowing(&known), entry).await, before + 1, "{route:?}");
    }
}

/// Invariant I12.
#[tokio::test]
async fn of_many_turns_at_once_one_is_made() {
    let broker = TestBroker::start().await;
    for (path, entry) in [
        ("/v1/value-key/rotate", "value-key.rotated"),
        ("/v1/checkpoint-key/rotate", "checkpoint-key.rotated"),
    ] {
        let turns: Vec<_> = (0..4)
            .map(|_| {
                let operator = broker.operator();
                tokio::spawn(async move { keyed(&operator, "k", ("POST", path), JSON, "").await.json() })
            })
            .collect();
        for turn in turns {
            assert_eq!(turn.await.unwrap()["generation"], 2, "{path}");
        }
        assert_eq!(broker.entries(entry).await.len(), 1);
    }
}
