//! Revoking, suspending, resuming: at the very next request, on connections that are open too.

use std::sync::Arc;

use keyward::base::limits::REASON_CHARS_MAX;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use crate::races::all_entries;
use crate::support::broker::{Connection, Reply, TestBroker};
use crate::support::waiting::{Patience, until};

async fn change(broker: &TestBroker, path: &str) -> Reply {
    broker.operator().post_json(path, &json!({})).await
}

/// Refused with this code, or cut off already.
fn is_out(reply: std::io::Result<Reply>, code: &str) -> bool {
    match reply {
        Err(_) => true,
        Ok(reply) => (reply.status, reply.code().as_str()) == (401, code),
    }
}

async fn whoami(open: &mut Connection) -> std::io::Result<Reply> {
    open.send("GET", "/v1/whoami", &[], b"").await
}

/// Hazard TLS-04.
#[tokio::test]
async fn a_revoked_agent_is_out_at_once_and_its_open_connections_are_cut() {
    let broker = TestBroker::declared().await;
    let (agent, other) =
        (broker.agent("a", &["repo-reader"]).await, broker.agent("b", &["repo-reader"]).await);
    let token = agent.token("github.repo.read").await;
    let (mut open, mut idle) = (agent.caller.connect().await.unwrap(), agent.caller.connect().await.unwrap());
    let mut bystander = other.caller.connect().await.unwrap();
    for connection in [&mut open, &mut idle, &mut bystander] {
        assert_eq!(whoami(connection).await.unwrap().status, 200);
    }
    let code = broker.invite("a", &[]).await;

    let revoked = change(&broker, "/v1/agents/a/revoke").await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert!(is_out(whoami(&mut open).await, "certificate_revoked"));
    assert!(agent.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err(), "the handshake refuses it");
    until(async || whoami(&mut idle).await.is_err()).await;
    assert_eq!(whoami(&mut bystander).await.unwrap().status, 200, "nobody else notices");
    assert!(other.secret("github/app", &token).await.status == 401);

    // ENR-07: an unused code from before is dead too; a new one is not.
    let (_, request) = new_key_and_request().unwrap();
    assert_eq!(broker.redeem(&code, &request).await.code(), "enrolment_code_invalid");
    let again = broker.agent("a", &[]).await;
    assert_eq!(again.caller.get("/v1/whoami").await.status, 200);
    let said = &broker.entries("subject.revoked").await[0]["event"];
    assert_eq!(
        (&said["by"], &said["subject"]["kind"], &said["subject"]["name"]),
        (&"admin".into(), &"agent".into(), &"a".into())
    );
}

#[tokio::test]
async fn the_reason_of_a_revocation_is_recorded_and_shown() {
    // Given an agent
    let broker = TestBroker::declared().await;
    let _agent = broker.agent("a", &["repo-reader"]).await;
    let operator = broker.operator();
    let say = async |verb: &str, reason: &str| {
        operator.post_json(&format!("/v1/agents/a/{verb}"), &json!({ "reason": reason })).await
    };
    // When it is suspended for a reason
    assert_eq!(say("suspend", "laptop stolen").await.status, 200);
    // Then the ledger and the agent's record say why
    assert_eq!(broker.entries("subject.suspended").await[0]["reason"], "laptop stolen");
    assert_eq!(operator.get("/v1/agents/a").await.json()["reason"], "laptop stolen");
    assert_eq!(say("resume", "found again").await.status, 200);
    assert_eq!(broker.entries("subject.resumed").await[0]["reason"], "found again");
    assert_eq!(change(&broker, "/v1/agents/a/revoke").await.status, 200, "a body may be left out");
    assert!(broker.entries("subject.revoked").await[0]["reason"].is_null());
    // And a reason is one line of limited length
    for wrong in ["", "two\nlines", &"x".repeat(REASON_CHARS_MAX + 1)] {
        let refused = say("suspend", wrong).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "reason_invalid"), "{wrong:?}");
    }
    assert_eq!(say("suspend", &"x".repeat(REASON_CHARS_MAX)).await.status, 200);
}

#[tokio::test]
async fn a_suspension_holds_until_it_is_ended_and_a_revocation_for_good() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let mut open = agent.caller.connect().await.unwrap();
    assert_eq!(whoami(&mut open).await.unwrap().status, 200);
    assert_eq!(change(&broker, "/v1/agents/a/suspend").await.status, 200);
    assert!(is_out(whoami(&mut open).await, "certificate_suspended"));
    assert!(agent.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    assert_eq!(change(&broker, "/v1/agents/a/resume").await.status, 200);
    assert_eq!(agent.secret("github/app", &token).await.status, 200, "what was issued before counts again");
    change(&broker, "/v1/agents/a/revoke").await;
    change(&broker, "/v1/agents/a/resume").await;
    assert!(agent.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
}

#[tokio::test]
async fn one_instance_is_revoked_alone_and_its_place_is_free_again() {
    let broker = TestBroker::declared().await;
    broker.apply("[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\nmax_instances = 2\n").await;
    let (one, other) = (broker.agent("a", &[]).await, broker.agent("a", &[]).await);
    let id = one.caller.get("/v1/whoami").await.json()["instance"].as_str().unwrap().to_owned();
    assert_eq!(change(&broker, &format!("/v1/instances/{id}/revoke")).await.status, 200);
    assert!(one.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    assert_eq!(other.caller.get("/v1/whoami").await.status, 200);
    let third = broker.agent("a", &[]).await;
    assert_eq!(third.caller.get("/v1/whoami").await.status, 200);
}

/// The state of agent `a`, and those of its instances, as operators are told.
async fn told(broker: &TestBroker) -> (String, Vec<String>) {
    let text = |value: &Value| value["state"].as_str().unwrap().to_owned();
    let (shown, listed) =
        (broker.operator().get("/v1/agents/a").await, broker.operator().get("/v1/agents").await);
    let shown = shown.json();
    assert_eq!(listed.json()["items"][0], shown, "the list says the same");
    (text(&shown), shown["instances"].as_array().unwrap().iter().map(text).collect())
}

#[tokio::test]
async fn operators_are_told_what_has_become_of_each_instance() {
    let broker = TestBroker::declared().await;
    broker.apply("[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\nmax_instances = 2\n").await;
    let one = broker.agent("a", &[]).await;
    broker.clock.advance_s(60);
    broker.agent("a", &[]).await;
    let id = one.caller.get("/v1/whoami").await.json()["instance"].as_str().unwrap().to_owned();
    let says = |agent: &str, instances: [&str; 2]| (agent.to_owned(), instances.map(str::to_owned).to_vec());
    assert_eq!(told(&broker).await, says("active", ["live", "live"]));
    change(&broker, &format!("/v1/instances/{id}/revoke")).await;
    assert_eq!(told(&broker).await, says("active", ["revoked", "live"]));
    change(&broker, "/v1/agents/a/suspend").await;
    assert_eq!(told(&broker).await, says("suspended", ["revoked", "suspended"]));
    change(&broker, "/v1/agents/a/resume").await;
    assert_eq!(told(&broker).await, says("active", ["revoked", "live"]));
    change(&broker, "/v1/agents/a/revoke").await;
    assert_eq!(told(&broker).await, says("active", ["revoked", "revoked"]));
}

/// Hazard JWT-16.
#[tokio::test]
async fn a_revoked_token_is_refused_and_its_sisters_are_not() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let (token, sister) = (agent.token("github.repo.read").await, agent.token("github.repo.read").await);
    let minted = broker.entries("token.minted").await;
    let id = minted[0]["event"]["token"].as_str().unwrap();
    assert_eq!(change(&broker, &format!("/v1/tokens/{id}/revoke")).await.status, 200);
    let refused = agent.secret("github/app", &token).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_revoked"));
    assert_eq!(agent.secret("github/app", &sister).await.status, 200);

    // RFC 7009: the holder gives up its own; anything else is answered alike and changes nothing.
    let kind = "application/x-www-form-urlencoded";
    let other = broker.agent("b", &["repo-reader"]).await;
    for (caller, token) in [(&other, sister.as_str()), (&other, "junk"), (&agent, sister.as_str())] {
        let form = format!("token={token}");
        let before = agent.secret("github/app", &sister).await.status;
        assert_eq!(before, 200);
        assert_eq!(caller.caller.post("/oauth/revoke", kind, form.as_bytes()).await.status, 200);
    }
    assert_eq!(agent.secret("github/app", &sister).await.code(), "token_revoked");
    let entries = broker.entries("subject.revoked").await.len();
    let form = format!("token={sister}");
    assert_eq!(agent.caller.post("/oauth/revoke", kind, form.as_bytes()).await.status, 200);
    assert_eq!(
        broker.entries("subject.revoked").await.len(),
        entries,
        "nobody fills the ledger by giving up"
    );
    assert_eq!(agent.caller.post("/oauth/revoke", kind, b"").await.code(), "token_parameter_missing");
}

/// Hazards REV-04, REV-05.
#[tokio::test]
async fn a_revocation_is_repeatable_and_survives_a_restart() {
    let mut broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    for _ in 0..2 {
        assert_eq!(change(&broker, "/v1/agents/a/revoke").await.status, 200);
    }
    assert_eq!(change(&broker, "/v1/agents/absent/revoke").await.code(), "subject_unknown");
    let absent = format!("/v1/instances/inst_{}/revoke", "0".repeat(26));
    assert_eq!(change(&broker, &absent).await.code(), "subject_unknown");
    assert_eq!(change(&broker, "/v1/instances/x/revoke").await.code(), "id_not_canonical");
    broker.restart().await;
    let caller = broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key));
    assert!(caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
}

/// Hazard REV-02.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_mint_is_recorded_after_the_revocation_that_it_did_not_see() {
    let broker =
        Arc::new(TestBroker::start_with("[quota]\nmints_per_s = 100000\nmints_burst = 100000\n").await);
    broker.declare().await;
    for round in 0..6 {
        let name = format!("agent-{round}");
        let agent = Arc::new(broker.agent(&name, &["publisher"]).await);
        let minters: Vec<_> = (0..8)
            .map(|_| {
                let agent = Arc::clone(&agent);
                tokio::spawn(async move {
                    let Ok(mut open) = agent.caller.connect().await else { return };
                    let headers = [("content-type", "application/x-www-form-urlencoded")];
                    let form = b"grant_type=client_credentials&scope=reports.read";
                    let patience = Patience::new();
                    while open
                        .send("POST", "/oauth/token", &headers, form)
                        .await
                        .is_ok_and(|one| one.status == 200)
                    {
                        patience.try_again();
                    }
                })
            })
            .collect();
        agent.token("reports.read").await;
        assert_eq!(change(&broker, &format!("/v1/agents/{name}/revoke")).await.status, 200);
        for minter in minters {
            minter.await.unwrap();
        }
    }
    let mut revoked: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    let mut minted = 0;
    for item in all_entries(&broker).await {
        let agent = item["event"]["agent"].as_str().unwrap_or_default().to_owned();
        if item["kind"] == "subject.revoked" {
            revoked.insert(item["event"]["subject"]["name"].as_str().unwrap().to_owned());
        } else if item["kind"] == "token.minted" {
            assert!(!revoked.contains(&agent), "entry {}", item["seq"]);
            minted += 1;
        }
    }
    assert!(minted > 6 && revoked.len() == 6);
}
