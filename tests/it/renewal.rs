//! Renewal: a new key, judged anew, safe to repeat, and the old certificate until the new one is used.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyward::base::encoding::base64url;
use keyward::base::limits::REFUSED_SUMMARY_S;
use keyward::pki::{PeerCertificate, certificate_from_pem, new_key_and_request, request_for_key};
use serde_json::json;

use crate::support::broker::{Agent, Caller, Reply, TestBroker};

/// Short enough for the operator's certificate to outlive it twice.
const LIFE_S: u32 = 3600;

async fn declared() -> TestBroker {
    let broker =
        TestBroker::start_with("[certificates]\nagent_life_s = 3600\nrenewal_grace_s = 3600\n").await;
    broker.declare().await;
    broker
}

fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
}

async fn ask(caller: &Caller, request: &[u8]) -> Reply {
    caller.post_json("/v1/renew", &json!({ "csr": base64url(request) })).await
}

/// Renews and gives the agent as it is with its next certificate.
pub(crate) async fn renew(broker: &TestBroker, agent: &Agent) -> Agent {
    let (key, request) = new_key_and_request().unwrap();
    let reply = ask(&agent.caller, &request).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let certificate = reply.json()["certificate"].as_str().unwrap().to_owned();
    let key = key.expose().clone();
    let caller = broker.caller(broker.agents(), Some(&certificate), Some(&key));
    Agent { caller, certificate, key }
}

fn read(agent: &Agent) -> PeerCertificate {
    PeerCertificate::parse(&certificate_from_pem(&agent.certificate).unwrap()).unwrap()
}

async fn is_turned_away(caller: &Caller) -> bool {
    caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err()
}

#[tokio::test]
async fn the_old_certificate_counts_until_the_new_one_is_used_and_not_after() {
    let broker = declared().await;
    let old = broker.agent("a", &["repo-reader"]).await;
    let mut open = old.caller.connect().await.unwrap();
    broker.clock.advance_s(LIFE_S / 2);
    let new = renew(&broker, &old).await;
    let (before, after) = (read(&old), read(&new));
    assert!(before.key() != after.key() && before.serial() != after.serial());
    assert_eq!(
        (before.spiffe(), after.not_after().seconds_since(before.not_after())),
        (after.spiffe(), i64::from(LIFE_S / 2))
    );

    assert_eq!(old.caller.get("/v1/whoami").await.status, 200);
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let instance = new.caller.get("/v1/whoami").await.json()["instance"].clone();
    assert_eq!(
        broker.entries("instance.enrolled").await[0]["event"]["instance"],
        instance,
        "the same instance"
    );
    let late = open.send("GET", "/v1/whoami", &[], b"").await.unwrap();
    refused(&late, 401, "certificate_unknown");
    assert!(is_turned_away(&old.caller).await);
    assert_eq!(new.caller.get("/v1/whoami").await.status, 200);
    assert_eq!(
        broker.entries("certificate.promoted").await.len(),
        1,
        "the first use and no other is recorded"
    );
}

/// Hazard JWT-15.
#[tokio::test]
async fn a_token_from_before_a_renewal_is_the_old_key_s_alone() {
    let broker = declared().await;
    let old = broker.agent("a", &["repo-reader"]).await;
    let token = old.token("github.repo.read").await;
    let new = renew(&broker, &old).await;
    assert_eq!(old.secret("github/app", &token).await.status, 200);
    refused(&new.secret("github/app", &token).await, 401, "token_binding_mismatch");
    let token = new.token("github.repo.read").await;
    assert_eq!(new.secret("github/app", &token).await.status, 200);
}

#[tokio::test]
async fn the_same_key_gets_the_same_certificate_until_another_key_asks() {
    let broker = declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let (_, request) = new_key_and_request().unwrap();
    let first = ask(&agent.caller, &request).await;
    assert_eq!(ask(&agent.caller, &request).await.json(), first.json(), "byte for byte the same");
    assert_eq!(broker.entries("instance.renewed").await.len(), 1);

    let other = renew(&broker, &agent).await;
    let again = ask(&agent.caller, &request).await;
    assert_ne!(again.json()["certificate"], first.json()["certificate"], "the first plan was given up");
    assert!(is_turned_away(&other.caller).await, "and so was the second");
    let own = request_for_key(&keyward::base::Sensitive::new(agent.key.clone())).unwrap();
    refused(&ask(&agent.caller, &own).await, 409, "renewal_same_key");
    refused(&ask(&agent.caller, b"no request").await, 400, "csr_malformed");
    let reply = agent.caller.post_json("/v1/renew", &json!({ "csr": "!" })).await;
    refused(&reply, 400, "renewal_malformed");
}

#[tokio::test]
async fn within_the_grace_a_certificate_that_ended_can_renew_and_nothing_else() {
    let broker = declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    broker.clock.advance_s(2 * LIFE_S - 1);
    refused(&agent.caller.get("/v1/whoami").await, 401, "certificate_expired");
    let minted = agent.ask("grant_type=client_credentials&scope=github.repo.read").await;
    assert_eq!((minted.status, minted.code().as_str()), (401, "certificate_expired"));
    let new = renew(&broker, &agent).await;
    assert_eq!(broker.entries("alarm.late-renewal").await.len(), 1);
    assert_eq!(broker.entries("instance.renewed").await.len(), 0);
    assert_eq!(new.caller.get("/v1/whoami").await.status, 200);
    new.token("github.repo.read").await;
}

#[tokio::test]
async fn beyond_the_grace_nobody_comes_in() {
    let broker = declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    broker.clock.advance_s(2 * LIFE_S);
    let (_, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) }).to_string();
    let headers = [("content-type", "application/json")];
    assert!(agent.caller.attempt("POST", "/v1/renew", &headers, body.as_bytes()).await.is_err());
    let strict = TestBroker::start_with("[certificates]\nagent_life_s = 3600\nrenewal_grace_s = 0\n").await;
    strict.declare().await;
    let agent = strict.agent("a", &["repo-reader"]).await;
    strict.clock.advance_s(LIFE_S - 1);
    assert_eq!(ask(&agent.caller, &request).await.status, 201);
    strict.clock.advance_s(1);
    assert!(agent.caller.attempt("POST", "/v1/renew", &headers, body.as_bytes()).await.is_err());
}

#[tokio::test]
async fn who_was_revoked_or_suspended_renews_nothing_in_time_or_late() {
    let broker = declared().await;
    let (killed, blocked) =
        (broker.agent("a", &["repo-reader"]).await, broker.agent("b", &["repo-reader"]).await);
    let pending = renew(&broker, &killed).await;
    for path in ["/v1/agents/a/revoke", "/v1/agents/b/suspend"] {
        assert_eq!(broker.operator().post_json(path, &json!({})).await.status, 200);
    }
    for _ in 0..2 {
        for one in [&killed, &pending, &blocked] {
            assert!(is_turned_away(&one.caller).await);
        }
        broker.clock.advance_s(LIFE_S + 1);
    }
}

#[tokio::test]
async fn a_suspended_agent_that_is_resumed_renews_as_before() {
    let broker = declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    for path in ["/v1/agents/a/suspend", "/v1/agents/a/resume"] {
        assert_eq!(broker.operator().post_json(path, &json!({})).await.status, 200);
    }
    let new = renew(&broker, &agent).await;
    assert_eq!(new.caller.get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn a_renewal_is_judged_as_a_first_issue_would_be_now() {
    let broker = declared().await;
    let declare =
        |max: u32| format!("[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\nmax_instances = {max}\n");
    assert_eq!(broker.apply(&declare(2)).await.status, 200);
    let (elder, younger) = (broker.agent("a", &[]).await, broker.agent("a", &[]).await);
    assert_eq!(broker.apply(&declare(1)).await.status, 200);
    let (_, request) = new_key_and_request().unwrap();
    refused(&ask(&younger.caller, &request).await, 409, "too_many_instances");
    assert_eq!(ask(&elder.caller, &request).await.status, 201);
}

#[tokio::test]
async fn a_late_instance_does_not_take_the_place_of_one_that_came_after_it() {
    let broker = declared().await;
    let late = broker.agent("a", &["repo-reader"]).await;
    broker.clock.advance_s(LIFE_S);
    broker.agent("a", &[]).await;
    let (_, request) = new_key_and_request().unwrap();
    refused(&ask(&late.caller, &request).await, 409, "too_many_instances");
}

#[tokio::test]
async fn the_ledger_names_the_agent_whose_replaced_certificate_is_refused() {
    let broker = declared().await;
    let original = broker.agent("a", &["repo-reader"]).await;
    // When another holder of the key renews the certificate, and the original holder goes on
    let copy = renew(&broker, &original).await;
    assert_eq!(copy.caller.get("/v1/whoami").await.status, 200);
    assert!(is_turned_away(&original.caller).await);
    broker.clock.advance_s(u32::try_from(REFUSED_SUMMARY_S).unwrap());
    broker.look_after().await;
    // Then an entry names the agent and the address of the refused holder, and the renewal has its own address
    let entries = broker.entries("certificate.refused").await;
    let caller = &entries[0]["event"]["callers"][0];
    assert_eq!((&caller["name"], &caller["reason"]), (&json!("a"), &json!("unknown")), "{caller}");
    assert_eq!(caller["sources"][0]["source"], "127.0.0.1", "{caller}");
    assert_eq!(broker.entries("instance.renewed").await[0]["event"]["peer"], "127.0.0.1");
}

#[tokio::test]
async fn the_enrolment_code_is_spent_once_its_certificate_was_renewed() {
    let broker = declared().await;
    let code = broker.invite("a", &["repo-reader"]).await;
    let (key, request) = new_key_and_request().unwrap();
    let certificate = broker.redeem(&code, &request).await.json()["certificate"].as_str().unwrap().to_owned();
    let caller = broker.caller(broker.agents(), Some(&certificate), Some(key.expose()));
    let agent = Agent { caller, certificate, key: key.expose().clone() };
    let new = renew(&broker, &agent).await;
    assert_eq!(broker.redeem(&code, &request).await.status, 201, "not used yet: the old one is due");
    new.caller.get("/v1/whoami").await;
    refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
}

#[tokio::test]
async fn a_renewal_survives_a_restart_at_either_side_of_the_first_use() {
    let mut broker = declared().await;
    let old = broker.agent("a", &["repo-reader"]).await;
    let (key, request) = new_key_and_request().unwrap();
    let first = ask(&old.caller, &request).await.json();
    broker.restart().await;
    let moved = |broker: &TestBroker, caller: &Caller| Caller { address: broker.agents(), ..caller.clone() };
    let old = moved(&broker, &old.caller);
    assert_eq!(ask(&old, &request).await.json(), first, "the same again");
    let new = broker.caller(broker.agents(), first["certificate"].as_str(), Some(key.expose()));
    assert_eq!(new.get("/v1/whoami").await.status, 200);
    broker.restart().await;
    assert!(is_turned_away(&moved(&broker, &old)).await);
    assert_eq!(moved(&broker, &new).get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn a_token_is_good_with_the_certificate_that_it_was_asked_for_with() {
    let broker = declared().await;
    let old = broker.agent("a", &["repo-reader"]).await;
    let token = old.token("github.repo.read").await;
    let new = renew(&broker, &old).await;
    refused(&new.secret("github/app", &token).await, 401, "token_binding_mismatch");
    let fresh = new.token("github.repo.read").await;
    assert_eq!(new.secret("github/app", &fresh).await.body, b"hunter2");
}

#[tokio::test]
async fn fifty_renewals_at_once_with_one_key_give_one_certificate() {
    let broker = Arc::new(declared().await);
    let agent = broker.agent("a", &["repo-reader"]).await;
    let (key, request) = new_key_and_request().unwrap();
    let request = Arc::new(request);
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (caller, request) = (agent.caller.clone(), Arc::clone(&request));
            tokio::spawn(async move { ask(&caller, &request).await })
        })
        .collect();
    let mut certificates = BTreeSet::new();
    for one in tries {
        let reply = one.await.unwrap();
        match reply.status {
            201 => drop(certificates.insert(reply.json()["certificate"].as_str().unwrap().to_owned())),
            status => assert_eq!((status, reply.code().as_str()), (503, "modified_concurrently")),
        }
    }
    assert_eq!(certificates.len(), 1);
    let certificate = certificates.pop_first().unwrap();
    let new = broker.caller(broker.agents(), Some(&certificate), Some(key.expose()));
    let uses: Vec<_> = (0..20)
        .map(|_| {
            let new = new.clone();
            tokio::spawn(async move { new.get("/v1/whoami").await.status })
        })
        .collect();
    for one in uses {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(broker.entries("certificate.promoted").await.len(), 1);
}

#[tokio::test]
async fn the_request_of_another_agent_renews_nothing() {
    let broker = declared().await;
    let a = broker.agent("a", &["repo-reader"]).await;
    let code = broker.invite("b", &["repo-reader"]).await;
    let (_, of_b) = new_key_and_request().unwrap();
    assert_eq!(broker.redeem(&code, &of_b).await.status, 201);
    refused(&ask(&a.caller, &of_b).await, 409, "renewal_key_in_use");
    let (_, own) = new_key_and_request().unwrap();
    assert_eq!(ask(&a.caller, &own).await.status, 201, "the twin");
    assert_eq!(ask(&a.caller, &own).await.status, 201, "and again");
    let gone = json!({ "files": [{ "name": "a.toml", "text": format!(
        "{}[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\n", crate::support::broker::DECLARATIONS) }], "prune": true });
    assert_eq!(broker.operator().post_json("/v1/apply", &gone).await.status, 200);
    assert_eq!(ask(&a.caller, &of_b).await.status, 201, "nobody holds it any more");
}
