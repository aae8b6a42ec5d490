//! Authorities take turns: certificates are renewed before the old authority ends.

use keyward::base::encoding::base64url;
use keyward::cli::{Identity, IdentityKind};
use keyward::pki::new_key_and_request;
use serde_json::json;

use crate::signing_keys::{good, knowing, post, refused, renew, stages};
use crate::support::broker::{Agent, TestBroker};
use crate::support::process::Process;

#[tokio::test]
async fn authorities_take_turns_and_nobody_who_renews_is_locked_out() {
    let broker = TestBroker::declared().await;
    let (agent, lazy) =
        (broker.agent("a", &["repo-reader"]).await, broker.agent("b", &["repo-reader"]).await);
    // A revoked instance renews no more, and does not count.
    broker.agent("gone", &["repo-reader"]).await;
    assert_eq!(post(&broker, "/v1/agents/gone/revoke").await.status, 200);
    let first = broker.authority_pem();
    broker.clock.advance_s(60);
    let listing = good(&broker, "/v1/authorities").await;
    assert_eq!((stages(&listing), &listing["items"][1]["behind"]), (vec!["active", "prepared"], &json!(3)));
    // A suspended instance may be resumed, and counts.
    let behind = async || broker.operator().get("/v1/authorities").await.json()["items"][1]["behind"].clone();
    post(&broker, "/v1/agents/b/suspend").await;
    assert_eq!(behind().await, 3, "two agents and the operator");
    post(&broker, "/v1/agents/b/resume").await;
    let both = broker.nobody(broker.agents()).get("/v1/authority").await.text();
    assert_eq!(both.matches("BEGIN").count(), 2);
    let behind = post(&broker, "/v1/authorities/2/activate").await;
    refused(&behind, 409, "certificates_not_renewed");
    assert!(behind.text().contains("lose access: a, admin, b\""), "{}", behind.text());

    broker.clock.advance_s(60);
    let (agent, known) = renew(&broker, &agent, &first).await;
    assert_eq!(known, both, "a renewal tells of it");
    let force = json!({ "force": true });
    let activated = broker.operator().post_json("/v1/authorities/2/activate", &force).await;
    assert_eq!(stages(&activated.json()), ["old", "active"]);
    broker.look_after().await;
    // The broker shows a certificate of the new authority: who knows both gets in with the old
    // certificate, who knows the first alone does not.
    assert_eq!(knowing(&broker, &agent, &known).get("/v1/whoami").await.status, 200);
    assert!(knowing(&broker, &lazy, &first).attempt("GET", "/livez", &[], b"").await.is_err());

    broker.clock.advance_s(60);
    let operator = |authorities: &str| broker.operator_knowing(authorities);
    let post = async |path: &str| operator(&known).post_json(path, &json!({})).await;
    assert_eq!(stages(&post("/v1/authorities/1/taint").await.json()), ["tainted", "active"]);
    let told = knowing(&broker, &agent, &known).get("/v1/whoami").await.json();
    assert_eq!(told["renew_now"], true);
    refused(&post("/v1/authorities/1/revoke").await, 409, "certificates_not_renewed");

    let (key, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) });
    let renewed = knowing(&broker, &agent, &known).post_json("/v1/renew", &body).await.json();
    let renewed = Agent {
        caller: agent.caller.clone(),
        certificate: renewed["certificate"].as_str().unwrap().to_owned(),
        key: key.expose().clone(),
    };
    let new = knowing(&broker, &renewed, &known);
    assert_eq!(new.get("/v1/whoami").await.json()["renew_now"], false);
    let mut open = knowing(&broker, &lazy, &known).connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let revoked = operator(&known).post_json("/v1/authorities/1/revoke", &force).await;
    assert_eq!(
        stages(&revoked.json()),
        ["revoked", "active"],
        "the last act of the operator's own certificate"
    );
    broker.look_after().await;
    assert!(open.send("GET", "/v1/whoami", &[], b"").await.map_or(true, |reply| reply.status == 401));
    assert!(knowing(&broker, &lazy, &known).attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    assert!(operator(&known).attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    assert_eq!(new.get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn what_authorities_there_are_survives_a_restart_at_every_stage() {
    let mut broker = TestBroker::declared().await;
    broker.clock.advance_s(60);
    let known = {
        good(&broker, "/v1/authorities").await;
        broker.nobody(broker.agents()).get("/v1/authority").await.text()
    };
    let force = json!({ "force": true });
    for (path, expected) in [
        ("", ["active", "prepared"]),
        ("/v1/authorities/2/activate", ["old", "active"]),
        ("/v1/authorities/1/taint", ["tainted", "active"]),
    ] {
        if !path.is_empty() {
            let body = if path.ends_with("taint") { json!({}) } else { force.clone() };
            let reply = broker.operator_knowing(&known).post_json(path, &body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        broker.restart().await;
        let listing = broker.operator_knowing(&known).get("/v1/authorities").await.json();
        assert_eq!(stages(&listing), expected);
    }
}

#[test]
fn operator_and_agent_verbs_work_through_a_rotation_of_the_authority() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.good(&["authority", "prepare"], b"");
    let known = |who: &str, kind: IdentityKind| {
        Identity::load(&process.path(&format!("home-{who}")), kind)
            .unwrap()
            .authority_pem
            .matches("BEGIN")
            .count()
    };
    process.good(&["authority", "list"], b"");
    assert_eq!(known("operator", IdentityKind::Operator), 2, "every client of the broker learns of it");
    let activate = || process.run_as("operator", &["authority", "activate", "2"], b"");
    let refused = activate();
    assert_eq!(refused.status.code(), Some(8), "neither the agent nor the operator has renewed");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a, admin"), "{refused:?}");
    // A renewal counts at once, also in the second of the preparation.
    process.good_as("a", &["renew"], b"");
    assert_eq!(activate().status.code(), Some(8), "the operator has not renewed");
    process.good(&["renew", "--operator"], b"");
    assert_eq!(activate().status.code(), Some(0));
    assert_eq!(known("a", IdentityKind::Agent), 2);
    process.good_as("a", &["get", "github/app"], b"");
    process.good_as("a", &["renew"], b"");
    let listed = process.json(&["authority", "list"]);
    assert_eq!(listed["items"][1]["stage"], "active");
    let code = process.good(&["agent", "invite", "b", "--role", "repo-reader"], b"");
    process.good_as("b", &["join"], &code);
    process.kill();
    process.serve();
    process.good_as("a", &["whoami"], b"");
    process.good_as("b", &["whoami"], b"");
    process.good(&["token-key", "prepare"], b"");
    process.good(&["token-key", "activate", "2", "--force"], b"");
    process.good_as("a", &["get", "github/app"], b"");
}

#[test]
fn admin_who_ends_the_own_certificate_is_asked_and_told_the_way_back() {
    // Given an admin whose certificate the old authority signed
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.good(&["authority", "prepare"], b"");
    process.good(&["authority", "activate", "2", "--force"], b"");
    let revoke = |more: &[&str]| {
        process.run_as("operator", &[&["authority", "revoke", "1", "--force"], more].concat(), b"")
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    // When nobody can be asked, then nothing is changed, and the own certificate is named first
    let unasked = revoke(&[]);
    assert_eq!(unasked.status.code(), Some(2), "{}", said(&unasked));
    for part in
        ["including the one you use now (operator `admin`, serial ", "certificate are: a\n", "`--yes`"]
    {
        assert!(said(&unasked).contains(part), "{part}: {}", said(&unasked));
    }
    assert_eq!(process.json(&["authority", "list"])["items"][0]["stage"], "old");
    // When it is confirmed, then the outcome is a success with the way back
    let done = revoke(&["--yes", "-o", "json"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let listed: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(stages(&listed), ["revoked", "active"]);
    for part in
        ["revoked in ledger entry ", "`keyward break-glass operator --out DIR`", "`keyward join --replace`"]
    {
        assert!(said(&done).contains(part), "{part}: {}", said(&done));
    }
    let refused = process.run_as("operator", &["operator", "list"], b"");
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    // And the way back leads back.
    let glass = process.path("home-glass").display().to_string();
    process.good(&["break-glass", "operator", "--out", &glass, "--config", &process.config()], b"");
    let code = process.run_as("glass", &["operator", "invite", "admin"], b"");
    process.good(&["join", "--replace"], &code.stdout);
    process.good(&["operator", "list"], b"");
}

#[test]
fn revoked_authority_without_holders_asks_nothing() {
    let mut process = Process::init("warn");
    process.serve();
    process.good(&["authority", "prepare"], b"");
    process.good(&["renew", "--operator"], b"");
    process.good(&["authority", "activate", "2"], b"");
    process.good(&["renew", "--operator"], b"");
    process.good(&["operator", "list"], b"");
    process.good(&["authority", "revoke", "1"], b"");
}
