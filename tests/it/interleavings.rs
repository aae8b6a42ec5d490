//! What changes between what a request has read and what it commits is not passed over.

use keyward::base::encoding::base64url;
use keyward::base::limits::TOKEN_KEY_LEAD_S;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use crate::operators::{join, standing};
use crate::renewal::renew;
use crate::support::broker::{Agent, Caller, Reply, TestBroker};
use crate::support::pausing::{ID, KEY, SERIAL};

async fn post(broker: &TestBroker, path: &str) {
    let reply = broker.operator().post_json(path, &json!({})).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
}

async fn ask(caller: Caller) -> Reply {
    let (_, request) = new_key_and_request().unwrap();
    caller.post_json("/v1/renew", &json!({ "csr": base64url(&request) })).await
}

async fn read(agent: &Agent, token: &str) -> Reply {
    agent.secret("github/app", token).await
}

/// A broker whose agent may have two instances, which are lapsed.
async fn with_lapsed_instances(max: u32, count: usize) -> (TestBroker, Vec<Agent>) {
    let broker =
        TestBroker::start_with("[certificates]\nagent_life_s = 3600\nrenewal_grace_s = 3600\n").await;
    broker.declare().await;
    let declare =
        |max: u32| format!("[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\nmax_instances = {max}\n");
    assert_eq!(broker.apply(&declare(9)).await.status, 200);
    let mut agents = Vec::new();
    for _ in 0..count {
        agents.push(broker.agent("a", &[]).await);
    }
    assert_eq!(broker.apply(&declare(max)).await.status, 200);
    broker.clock.advance_s(3600);
    (broker, agents)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_lapsed_instances_that_renew_at_once_keep_to_the_limit() {
    let (broker, agents) = with_lapsed_instances(1, 2).await;
    let paused = broker.entropy.at(SERIAL, 1);
    let first = tokio::spawn(ask(agents[0].caller.clone()));
    paused.reached().await;
    assert_eq!(ask(agents[1].caller.clone()).await.status, 201);
    drop(paused);
    let first = first.await.unwrap();
    assert_eq!((first.status, first.code().as_str()), (409, "too_many_instances"), "{}", first.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lapsed_instance_and_an_enrolment_keep_to_the_limit() {
    let (broker, agents) = with_lapsed_instances(1, 1).await;
    let paused = broker.entropy.at(SERIAL, 1);
    let late = tokio::spawn(ask(agents[0].caller.clone()));
    paused.reached().await;
    broker.agent("a", &[]).await;
    drop(paused);
    let late = late.await.unwrap();
    assert_eq!((late.status, late.code().as_str()), (409, "too_many_instances"), "{}", late.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reveal_by_a_token_of_a_key_that_is_revoked_meanwhile_fails() {
    let broker = TestBroker::declared().await;
    post(&broker, "/v1/token-keys").await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    broker.clock.advance_s(u32::try_from(TOKEN_KEY_LEAD_S).unwrap().min(120));
    post(&broker, "/v1/token-keys/2/activate").await;
    assert_eq!(read(&agent, &token).await.status, 200);
    let paused = broker.entropy.at(ID, 3);
    let (reply, ()) = tokio::join!(read(&agent, &token), async {
        paused.reached().await;
        post(&broker, "/v1/token-keys/1/revoke").await;
        drop(paused);
    });
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(broker.entries("secret.revealed").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reveal_that_a_value_key_rotation_overtakes_opens() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let paused = broker.entropy.at(ID, 3);
    let (reply, ()) = tokio::join!(read(&agent, &token), async {
        paused.reached().await;
        post(&broker, "/v1/value-key/rotate").await;
        drop(paused);
    });
    assert_eq!((reply.status, reply.text().as_str()), (200, "hunter2"));
    assert_eq!(
        broker.entries("secret.revealed").await.len(),
        1,
        "and nothing is recorded that was not opened"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_act_under_a_certificate_that_is_superseded_meanwhile_fails() {
    let mut broker = TestBroker::declared().await;
    let operator = broker.operator();
    let (key, request) = new_key_and_request().unwrap();
    let renewed = operator.post_json("/v1/renew", &json!({ "csr": base64url(&request) })).await;
    assert_eq!(renewed.status, 201, "{}", renewed.text());
    let certificate = renewed.json()["certificate"].as_str().unwrap().to_owned();
    let next = broker.caller(broker.admins(), Some(&certificate), Some(key.expose()));
    let paused = broker.entropy.at(KEY, 1);
    let putting = tokio::spawn({
        let operator = operator.clone();
        let headers = [("content-type", "application/octet-stream")];
        async move {
            operator.attempt("PUT", "/v1/secrets/new", &headers, b"value").await.map(|reply| reply.status)
        }
    });
    paused.reached().await;
    assert_eq!(next.get("/v1/secrets").await.status, 200, "the first use of the next one");
    drop(paused);
    // Its connection may be cut before the answer.
    assert_ne!(putting.await.unwrap().ok(), Some(201));
    // The request goes on without its connection; a stop waits for it.
    broker.restart().await;
    let next = broker.caller(broker.admins(), Some(&certificate), Some(key.expose()));
    assert!(!next.get("/v1/secrets").await.text().contains("\"new\""));
}

/// The status of a renewal; none when its connection was cut before the answer.
async fn status_of_renewal(caller: Caller) -> Option<u16> {
    let (_, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) }).to_string();
    let headers = [("content-type", "application/json")];
    let reply = caller.attempt("POST", "/v1/renew", &headers, body.as_bytes()).await;
    reply.map(|reply| reply.status).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_renewal_is_judged_anew_after_its_body_has_come() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let paused = broker.entropy.at(ID, 3);
    let renewing = tokio::spawn(status_of_renewal(agent.caller.clone()));
    paused.reached().await;
    post(&broker, "/v1/agents/a/suspend").await;
    drop(paused);
    assert_ne!(renewing.await.unwrap(), Some(201), "suspended meanwhile");
    post(&broker, "/v1/agents/a/resume").await;

    let next = renew(&broker, &agent).await;
    let paused = broker.entropy.at(ID, 3);
    let renewing = tokio::spawn(status_of_renewal(agent.caller.clone()));
    paused.reached().await;
    assert_eq!(next.caller.get("/v1/whoami").await.status, 200, "the first use of the next one");
    drop(paused);
    assert_ne!(renewing.await.unwrap(), Some(201), "replaced meanwhile");
    assert_eq!(broker.entries("instance.renewed").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_agents_that_renew_for_one_key_at_once_one_gets_it() {
    let broker = TestBroker::declared().await;
    let agents = [broker.agent("a", &["repo-reader"]).await, broker.agent("b", &["repo-reader"]).await];
    let (_, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) });
    let paused = broker.entropy.at(SERIAL, 1);
    let first = tokio::spawn({
        let (caller, body) = (agents[0].caller.clone(), body.clone());
        async move { caller.post_json("/v1/renew", &body).await }
    });
    paused.reached().await;
    assert_eq!(agents[1].caller.post_json("/v1/renew", &body).await.status, 201);
    drop(paused);
    let first = first.await.unwrap();
    assert_eq!((first.status, first.code().as_str()), (409, "renewal_key_in_use"), "{}", first.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_renewal_fails_when_its_authority_is_revoked_meanwhile() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    broker.clock.advance_s(60);
    post(&broker, "/v1/authorities").await;
    let both = broker.nobody(broker.agents()).get("/v1/authority").await.text();
    let force = json!({ "force": true });
    let activated = broker.operator().post_json("/v1/authorities/2/activate", &force).await;
    assert_eq!(activated.status, 200, "{}", activated.text());
    broker.look_after().await;
    // The operator goes on by a certificate of the new authority.
    let (key, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) });
    let renewed = broker.operator_knowing(&both).post_json("/v1/renew", &body).await.json();
    let held = Some((renewed["certificate"].as_str().unwrap(), key.expose().as_str()));
    let operator = broker.caller_knowing(&both, broker.admins(), held);
    assert_eq!(operator.get("/v1/authorities").await.status, 200);
    let paused = broker.entropy.at(SERIAL, 1);
    let caller = broker.caller_knowing(&both, broker.agents(), Some((&agent.certificate, &agent.key)));
    let renewing = tokio::spawn(status_of_renewal(caller));
    paused.reached().await;
    let revoked = operator.post_json("/v1/authorities/1/revoke", &force).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    drop(paused);
    assert_ne!(renewing.await.unwrap(), Some(201));
    let entries = operator.get("/v1/ledger/entries").await.text();
    assert!(entries.contains("instance.enrolled") && !entries.contains("instance.renewed"), "{entries}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rotated_value_key_whose_operator_is_suspended_meanwhile_is_recorded() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let second = join(&broker, "second", &json!({ "role": "admin" })).await.caller;
    let paused = broker.entropy.at(KEY, 1);
    let turning = tokio::spawn({
        let operator = broker.operator();
        let headers = [("content-type", "application/json")];
        async move { operator.attempt("POST", "/v1/value-key/rotate", &headers, b"{}").await }
    });
    paused.reached().await;
    let suspended = second.post_json("/v1/operators/admin/suspend", &json!({})).await;
    assert_eq!(suspended.status, 200, "{}", suspended.text());
    drop(paused);
    // Its connection may be cut before the answer.
    assert_ne!(turning.await.unwrap().ok().map(|reply| reply.status), Some(200));
    broker.look_after().await;
    // The new key is in the keyring and seals: the ledger says so, and not in the name of the operator.
    let entries = second.get("/v1/ledger/entries").await.json();
    let turned = |entry: &&Value| entry["kind"] == "value-key.rotated";
    let turned: Vec<&Value> = entries["items"].as_array().unwrap().iter().filter(turned).collect();
    assert_eq!((turned.len(), &turned[0]["event"]["operator"]), (1, &Value::Null), "{entries}");
    assert_eq!(read(&agent, &agent.token("github.repo.read").await).await.text(), "hunter2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_act_that_a_stage_of_the_authority_overtakes_is_carried_out() {
    let broker = TestBroker::declared().await;
    let paused = broker.entropy.at(KEY, 1);
    let putting = tokio::spawn({
        let operator = broker.operator();
        async move { operator.put("/v1/secrets/new", "application/octet-stream", b"value").await }
    });
    paused.reached().await;
    post(&broker, "/v1/authorities").await;
    drop(paused);
    let stored = putting.await.unwrap();
    assert_eq!(stored.status, 201, "{}", stored.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_act_of_an_operator_whose_role_changes_meanwhile_is_judged_anew() {
    let broker = TestBroker::declared().await;
    let second = join(&broker, "second", &json!({ "role": "admin" })).await.caller;
    let paused = broker.entropy.at(KEY, 1);
    let putting = tokio::spawn({
        let second = second.clone();
        async move { second.put("/v1/secrets/new", "application/octet-stream", b"value").await }
    });
    paused.reached().await;
    let auditor = standing("auditor", None).to_string();
    let admin = broker.operator();
    let placed = admin.put("/v1/operators/second/role", "application/json", auditor.as_bytes()).await;
    assert_eq!(placed.status, 200, "{}", placed.text());
    drop(paused);
    let refused = putting.await.unwrap();
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "modified_concurrently"),
        "{}",
        refused.text()
    );
    let again = second.put("/v1/secrets/new", "application/octet-stream", b"value").await;
    assert_eq!(
        (again.status, again.code().as_str()),
        (403, "operator_role_insufficient"),
        "{}",
        again.text()
    );
}

/// Rounds of keys that are prepared, activated and revoked by requests that race.
const ROUNDS: u32 = 6;
/// More requests than a change ever has to wait for.
const TRIES: usize = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_staged_by_racing_requests_sign_and_verify_by_the_ledger() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let until_done = async |path: String, body: Value| {
        for _ in 0..TRIES {
            if broker.operator().post_json(&path, &body).await.status == 200 {
                return;
            }
        }
        panic!("{path} is never carried out");
    };
    for round in 1..=ROUNDS {
        let old = agent.token("github.repo.read").await;
        let next = round + 1;
        tokio::join!(
            until_done("/v1/token-keys".to_owned(), json!({})),
            until_done(format!("/v1/token-keys/{next}/activate"), json!({ "force": true })),
            until_done(format!("/v1/token-keys/{round}/revoke"), json!({})),
        );
        let new = agent.token("github.repo.read").await;
        assert_eq!(read(&agent, &new).await.status, 200, "round {round}");
        assert_eq!(read(&agent, &old).await.status, 401, "round {round}");
        let keys = broker.nobody(broker.agents()).get("/.well-known/jwks.json").await.json();
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "round {round}: {keys}");
    }
}
