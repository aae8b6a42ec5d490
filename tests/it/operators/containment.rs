//! Operators are taken away like agents: at the next request, on connections that are open too; and
//! one unrestricted admin can always act.

use keyward::pki::EnrolmentCode;
use keyward::pki::new_key_and_request;
use serde_json::json;

use super::{Operator, join, post, redeem, refused, renewed, standing};
use crate::support::broker::{Caller, Reply, TestBroker};
use crate::support::process::Process;
use crate::support::waiting::until;

async fn place(by: &Caller, name: &str, role: &str, owner: Option<&str>) -> Reply {
    let body = standing(role, owner).to_string();
    by.put(&format!("/v1/operators/{name}/role"), "application/json", body.as_bytes()).await
}

/// Hazard REV-03.
#[tokio::test]
async fn a_revoked_operator_is_refused_at_once_and_disconnected() {
    let broker = TestBroker::declared().await;
    let alice = join(&broker, "alice", &standing("security", None)).await;
    let (mut open, mut idle) = (alice.caller.connect().await.unwrap(), alice.caller.connect().await.unwrap());
    for connection in [&mut open, &mut idle] {
        assert_eq!(connection.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    }
    assert_eq!(post(&broker.operator(), "/v1/operators/alice/revoke").await.status, 200);
    let next = open.send("GET", "/v1/whoami", &[], b"").await;
    assert!(next.map_or(true, |reply| reply.code() == "certificate_revoked"));
    // It is cut.
    until(async || idle.send("GET", "/v1/whoami", &[], b"").await.is_err()).await;
    assert!(alice.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err(), "the handshake refuses it");
    let said = &broker.entries("subject.revoked").await[0]["event"];
    assert_eq!(
        (&said["by"], &said["subject"]["kind"], &said["subject"]["name"]),
        (&"admin".into(), &"operator".into(), &"alice".into())
    );
    let again = join(&broker, "alice", &json!({})).await;
    assert_eq!(again.caller.get("/v1/whoami").await.status, 200, "invited anew");
}

#[tokio::test]
async fn a_suspended_operator_is_refused_and_a_new_role_counts_at_once() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let alice = join(&broker, "alice", &standing("auditor", None)).await;
    let mut open = alice.caller.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/ledger/entries", &[], b"").await.unwrap().status, 200);
    assert_eq!(place(&admin, "alice", "approver", None).await.status, 200);
    let demoted = open.send("GET", "/v1/ledger/entries", &[], b"").await.unwrap();
    refused(&demoted, 403, "operator_role_insufficient");
    assert_eq!(post(&admin, "/v1/operators/alice/suspend").await.status, 200);
    assert_eq!(admin.get("/v1/operators/alice").await.json()["state"], "suspended");
    assert!(alice.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    assert_eq!(post(&admin, "/v1/operators/alice/resume").await.status, 200);
    assert_eq!(alice.caller.get("/v1/whoami").await.json()["role"], "approver");
    refused(&post(&admin, "/v1/operators/nobody/suspend").await, 404, "operator_unknown");
    refused(&place(&admin, "nobody", "admin", None).await, 404, "operator_unknown");
    let half = admin.put("/v1/operators/alice/role", "application/json", b"{\"role\":\"admin\"}").await;
    refused(&half, 400, "json_invalid");
}

/// Hazard POL-15.
#[tokio::test]
async fn the_last_admin_who_can_act_stays() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let security = join(&broker, "sec", &standing("security", None)).await.caller;
    for verb in ["revoke", "suspend"] {
        for by in [&admin, &security] {
            refused(&post(by, &format!("/v1/operators/admin/{verb}")).await, 409, "last_admin");
        }
    }
    refused(&place(&admin, "admin", "auditor", None).await, 409, "last_admin");
    refused(&place(&admin, "admin", "admin", Some("team")).await, 409, "last_admin");
    // An operator bound to an owner, one that never joined, and a suspended one do not count.
    join(&broker, "bound", &standing("admin", Some("team"))).await;
    super::code_for(&broker, "invited", &standing("admin", None)).await;
    let second = join(&broker, "second", &standing("admin", None)).await.caller;
    assert_eq!(post(&admin, "/v1/operators/second/suspend").await.status, 200);
    refused(&post(&admin, "/v1/operators/admin/revoke").await, 409, "last_admin");
    assert_eq!(post(&admin, "/v1/operators/second/resume").await.status, 200);
    assert_eq!(post(&admin, "/v1/operators/admin/revoke").await.status, 200);
    refused(&post(&security, "/v1/operators/second/revoke").await, 409, "last_admin");
    assert_eq!(second.get("/v1/operators").await.status, 200);
}

/// Advances by `count` lives of the operators' certificates, renewing that of `operator`.
async fn outlive(broker: &TestBroker, operator: Operator, count: u32) -> Operator {
    let mut operator = operator;
    for _ in 0..2 * count {
        broker.clock.advance_s(1800);
        operator = renewed(broker, &operator).await;
    }
    operator
}

#[tokio::test]
async fn an_admin_who_can_only_renew_remains_and_an_expired_one_does_not() {
    // Given an admin that renews its certificate, and one whose certificate expires
    let settings = "[certificates]\noperator_life_s = 3600\noperator_renewal_grace_s = 7200\n";
    let broker = TestBroker::start_with(settings).await;
    let busy = join(&broker, "busy", &standing("admin", None)).await;
    join(&broker, "absent", &standing("admin", None)).await;
    // When the certificate is past its grace period, then the admin does not count as one that remains
    let busy = outlive(&broker, busy, 4).await;
    refused(&post(&busy.caller, "/v1/operators/busy/revoke").await, 409, "last_admin");
    refused(&post(&busy.caller, "/v1/certificate/revoke").await, 409, "last_admin");
    // When it is within its grace period, then the admin can renew, and counts
    let code = super::invite(&busy.caller, "second", &standing("admin", None)).await.json();
    let code = EnrolmentCode::parse(code["code"].as_str().unwrap()).unwrap();
    let (_, request) = new_key_and_request().unwrap();
    assert_eq!(redeem(&broker, &code, &request).await.status, 201);
    let busy = outlive(&broker, busy, 2).await;
    assert_eq!(post(&busy.caller, "/v1/operators/busy/suspend").await.status, 200);
}

#[tokio::test]
async fn break_glass_access_neither_counts_as_an_admin_nor_has_to_stay() {
    let broker = TestBroker::declared().await;
    let security = join(&broker, "sec", &standing("security", None)).await.caller;
    crate::incidents::host::break_glass(&broker).await;
    for verb in ["revoke", "suspend"] {
        refused(&post(&security, &format!("/v1/operators/admin/{verb}")).await, 409, "last_admin");
    }
    let subject = json!({ "subject": { "kind": "operator", "name": "admin" }, "reason": "a drill" });
    refused(&security.post_json("/v1/incidents", &subject).await, 409, "last_admin");
    assert_eq!(post(&security, "/v1/operators/break-glass/revoke").await.status, 200);
}

#[tokio::test]
async fn operators_without_a_valid_certificate_are_told_apart() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    super::code_for(&broker, "new", &standing("auditor", None)).await;
    join(&broker, "gone", &standing("auditor", None)).await;
    assert_eq!(post(&admin, "/v1/operators/gone/revoke").await.status, 200);
    let resumed = post(&admin, "/v1/operators/gone/resume").await.json();
    assert_eq!(resumed["unchanged"], true, "{resumed}");
    for (name, state) in [("new", "invited"), ("gone", "revoked"), ("admin", "active")] {
        assert_eq!(admin.get(&format!("/v1/operators/{name}")).await.json()["state"], state, "{name}");
    }
}

#[tokio::test]
async fn the_host_is_the_way_back_for_whoever_was_locked_out() {
    let mut broker = TestBroker::declared().await;
    let second = join(&broker, "second", &standing("admin", None)).await.caller;
    assert_eq!(post(&second, "/v1/operators/admin/suspend").await.status, 200);
    assert!(broker.operator().attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    broker.reissue_admin().await;
    let me = broker.operator().get("/v1/whoami").await.json();
    assert_eq!((&me["name"], &me["role"]), (&"admin".into(), &"admin".into()));
    let second = broker.operator().get("/v1/operators/second").await.json();
    assert_eq!(second["state"], "active", "nobody else lost anything");
}

/// `keyward init --reissue-operator` on the host, for the operator `name`.
fn reissue(process: &Process, name: &str, further: &[&str]) -> std::process::Output {
    let config = process.config();
    let init = ["init", "--config", &config, "--reissue-operator", "--operator", name];
    process.run_as("host", &[&init, further].concat(), b"")
}

#[test]
fn the_host_makes_an_admin_only_after_a_confirmation() {
    // Given an auditor with an owner, and a suspended admin
    let mut process = Process::init("warn");
    process.serve();
    process.good(&["operator", "invite", "eve", "--role", "auditor", "--owner", "payments"], b"");
    process.good(&["operator", "invite", "second", "--role", "admin"], b"");
    process.good(&["operator", "suspend", "second"], b"");
    process.kill();
    // When the host issues a certificate without a confirmation, then nothing is changed, and the effect is named
    let effects = [
        ("eve", "the operator `eve` (role auditor, owner payments) becomes an admin with the scope `all`"),
        ("second", "the suspension of the operator `second` ends"),
        ("typo", "there is no operator `typo`: the command makes one, as an admin with the scope `all`"),
    ];
    for (name, effect) in effects {
        let refused = reissue(&process, name, &[]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(2) && said.contains(effect) && said.contains("`--yes`"),
            "{said}"
        );
    }
    assert!(!process.path("home-host/operator").exists());
    process.serve();
    assert_eq!(process.json(&["operator", "show", "eve"])["role"], "auditor");
    process.kill();
    // When it is confirmed, then the operator is an admin, and has no other certificate
    let made = reissue(&process, "eve", &["--yes"]);
    assert!(made.status.success() && !String::from_utf8_lossy(&made.stderr).contains("other certificates"));
    process.serve();
    let eve = process.json(&["operator", "show", "eve"]);
    assert_eq!((&eve["role"], &eve["owner"]), (&"admin".into(), &serde_json::Value::Null), "{eve}");
    // And the next certificate names the one that is still accepted, with the command that revokes it
    let serial = eve["certificates"][0]["serial"].as_str().unwrap();
    process.kill();
    let again = reissue(&process, "eve", &["--yes"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains(serial) && said.contains("keyward cert revoke SERIAL"), "{said}");
}

/// Otherwise the holder of the program's key would be an unrestricted admin.
#[test]
fn the_host_makes_no_admin_of_a_program() {
    // Given a service and an automation
    let mut process = Process::init("warn");
    process.serve();
    let service = ["operator", "invite", "scraper", "--service", "--network", "127.0.0.0/8"];
    let automation = ["operator", "invite", "ci", "--automation", "--owner", "payments"];
    for invite in [&service[..], &automation] {
        process.good(invite, b"");
    }
    let shown = |process: &Process, name: &str| process.json(&["operator", "show", name]);
    let before = ["scraper", "ci"].map(|name| shown(&process, name));
    process.kill();
    // When the host issues a certificate to one of them, then it is refused with the way out
    for (name, kind) in [("scraper", "service"), ("ci", "automation")] {
        let refused = reissue(&process, name, &[]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(8), "{said}");
        for part in ["operator_is_program", &format!("`{name}`"), kind, "`keyward init --reissue-operator"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert!(!process.path("home-host/operator").exists());
    // And the programs are as before, and a person gets a certificate.
    assert!(reissue(&process, "rescue", &["--yes"]).status.success());
    process.serve();
    assert_eq!(["scraper", "ci"].map(|name| shown(&process, name)), before);
    assert_eq!(shown(&process, "rescue")["role"], "admin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_admins_who_take_each_other_away_at_once_do_not_both_succeed() {
    let broker = TestBroker::declared().await;
    let first = join(&broker, "first", &standing("admin", None)).await.caller;
    let second = join(&broker, "second", &standing("admin", None)).await.caller;
    assert_eq!(place(&first, "admin", "auditor", None).await.status, 200);
    let kind = [("content-type", "application/json")];
    let (by_first, by_second) = tokio::join!(
        first.attempt("POST", "/v1/operators/second/revoke", &kind, b"{}"),
        second.attempt("POST", "/v1/operators/first/revoke", &kind, b"{}"),
    );
    let done = |reply: &std::io::Result<Reply>| reply.as_ref().is_ok_and(|reply| reply.status == 200);
    assert!(!(done(&by_first) && done(&by_second)));
    let left = if done(&by_first) { &first } else { &second };
    assert_eq!(place(left, "admin", "admin", None).await.status, 200);
}

/// Hazard ENR-07.
#[tokio::test]
async fn a_code_counts_while_the_operator_does_who_made_it() {
    let broker = TestBroker::declared().await;
    let mallory = join(&broker, "mallory", &standing("admin", None)).await.caller;
    let code = |reply: Reply| EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap();
    let friend = code(super::invite(&mallory, "friend", &standing("admin", None)).await);
    let roles = json!({ "roles": ["repo-reader"] });
    let bots =
        async |name: &str| code(mallory.post_json(&format!("/v1/agents/{name}/invitations"), &roles).await);
    let (first, second) = (bots("first").await, bots("second").await);
    let (_, request) = new_key_and_request().unwrap();
    let enrolled = broker.redeem(&first, &request).await;
    assert_eq!(enrolled.status, 201);

    assert_eq!(post(&broker.operator(), "/v1/operators/mallory/suspend").await.status, 200);
    let (_, another) = new_key_and_request().unwrap();
    refused(&broker.redeem(&second, &another).await, 401, "enrolment_code_invalid");
    refused(&redeem(&broker, &friend, &another).await, 401, "enrolment_code_invalid");
    assert_eq!(broker.redeem(&first, &request).await.body, enrolled.body, "what was enrolled stays");
    assert_eq!(post(&broker.operator(), "/v1/operators/mallory/resume").await.status, 200);
    assert_eq!(broker.redeem(&second, &another).await.status, 201, "a suspension ends");
    assert_eq!(post(&broker.operator(), "/v1/operators/mallory/revoke").await.status, 200);
    refused(&redeem(&broker, &friend, &another).await, 401, "enrolment_code_invalid");
}
