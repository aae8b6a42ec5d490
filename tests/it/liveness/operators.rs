//! What operators hold, and what they made for others.

use keyward::base::encoding::base64url;
use keyward::base::{OperatorEnrolment, OperatorId};
use keyward::pki::{PeerCertificate, certificate_from_pem, new_key_and_request};
use keyward::revocation::{Effect, Subject};
use serde_json::{Value, json};

use crate::operators::{Operator, holder, join, standing};
use crate::support::broker::{Caller, Connection, Reply, TestBroker};
use crate::support::host::ask;

const QUOTA: &str = "[quota]\nenrolments_per_s = 1000\nenrolments_burst = 1000\n";

/// What an operator holds, and what it made for others.
struct Made {
    operator: Operator,
    connection: Connection,
    agent_code: keyward::pki::EnrolmentCode,
    operator_code: keyward::pki::EnrolmentCode,
}

async fn made(broker: &TestBroker, name: &str) -> Made {
    made_by(join(broker, name, &standing("admin", None)).await, name).await
}

async fn made_by(operator: Operator, name: &str) -> Made {
    let mut connection = operator.caller.connect().await.unwrap();
    assert_eq!(connection.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let code = async |path: &str, body: Value| {
        let reply = operator.caller.post_json(path, &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        keyward::pki::EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap()
    };
    let invited = json!({ "roles": ["publisher"], "life_s": 86_400 });
    let agent_code = code(&format!("/v1/agents/of-{name}/invitations"), invited).await;
    let operator_code =
        code(&format!("/v1/operators/by-{name}/invitations"), standing("auditor", None)).await;
    Made { operator, connection, agent_code, operator_code }
}

/// The enrolment of the operator `name`, which has enrolled last.
async fn enrolment(broker: &TestBroker, name: &str) -> Subject {
    let shown = broker.operator().get(&format!("/v1/operators/{name}")).await.json();
    let operator: OperatorId = shown["id"].as_str().unwrap().parse().unwrap();
    let enrolled = broker.entries("operator.enrolled").await;
    let enrolled_seq = enrolled.iter().filter_map(|entry| entry["seq"].as_u64()).max().unwrap();
    Subject::OperatorEnrolment(OperatorEnrolment { operator, enrolled_seq })
}

impl Made {
    /// Whether each shows it: a route of admins, the renewal, an open connection, an agent's code, an operator's.
    async fn shown(&mut self, broker: &TestBroker) -> String {
        let refused = |reply: std::io::Result<Reply>| reply.map_or(true, |reply| reply.status >= 400);
        let caller: &Caller = &self.operator.caller;
        let json = [("content-type", "application/json")];
        let route = refused(caller.attempt("GET", "/v1/operators", &[], b"").await);
        let (_, request) = new_key_and_request().unwrap();
        let body = json!({ "csr": base64url(&request) }).to_string();
        let renew = refused(caller.attempt("POST", "/v1/renew", &json, body.as_bytes()).await);
        let open = refused(self.connection.send("GET", "/v1/operators", &[], b"").await);
        let (_, request) = new_key_and_request().unwrap();
        let agent = broker.redeem(&self.agent_code, &request).await.status >= 400;
        let operator = crate::operators::redeem(broker, &self.operator_code, &request).await.status >= 400;
        [route, renew, open, agent, operator].map(|shows| if shows { 'x' } else { '.' }).iter().collect()
    }
}

#[tokio::test]
async fn what_an_operator_lost_shows_in_every_place() {
    let broker = TestBroker::start_with(QUOTA).await;
    broker.declare().await;
    let admin = broker.operator();
    let role = async |name: &str, role: &str, owner: Option<&str>| {
        let (path, body) = (format!("/v1/operators/{name}/role"), standing(role, owner).to_string());
        assert_eq!(admin.put(&path, "application/json", body.as_bytes()).await.status, 200);
    };
    let mut nothing = made(&broker, "nothing").await;
    assert_eq!(nothing.shown(&broker).await, ".....");
    let mut demoted = made(&broker, "demoted").await;
    role("demoted", "approver", None).await;
    assert_eq!(demoted.shown(&broker).await, "x.xxx", "it may not invite any more");
    let mut bound = made(&broker, "bound").await;
    role("bound", "admin", Some("payments")).await;
    assert_eq!(bound.shown(&broker).await, "x.xxx", "nor beyond its reach");
    for (name, verb) in [("revoked", "revoke"), ("suspended", "suspend")] {
        let mut lost = made(&broker, name).await;
        let reply = admin.post_json(&format!("/v1/operators/{name}/{verb}"), &json!({})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(lost.shown(&broker).await, "xxxxx", "{name}");
    }
    for (name, effect) in [("killed", Effect::Kill as fn(Subject) -> Effect), ("blocked", Effect::Block)] {
        let mut marked = made(&broker, name).await;
        let certificate = certificate_from_pem(&marked.operator.certificate).unwrap();
        let serial = *PeerCertificate::parse(&certificate).unwrap().serial().as_bytes();
        broker.mark(effect(Subject::Certificate(serial))).await;
        assert_eq!(marked.shown(&broker).await, "xxxxx", "the certificate, {name}");
        let name = format!("{name}-since");
        let mut marked = made(&broker, &name).await;
        broker.mark(effect(enrolment(&broker, &name).await)).await;
        assert_eq!(marked.shown(&broker).await, "xxxxx", "the enrolment, {name}");
    }
    let listed = admin.get("/v1/operators").await.json();
    let id: OperatorId = listed["items"][0]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(Subject::Operator(id).kind(), "operator");
}

#[tokio::test]
async fn what_was_made_under_a_revoked_authority_counts_no_more() {
    let broker = TestBroker::start_with(QUOTA).await;
    broker.declare().await;
    // Given codes of an operator whose certificate is of the first authority, and of one of the second
    let first = made(&broker, "first").await;
    let post = async |known: &str, path: &str, body: Value| {
        let reply = broker.operator_knowing(known).post_json(path, &body).await;
        assert!(reply.status < 300, "{path}: {}", reply.text());
        broker.look_after().await;
        reply
    };
    let force = || json!({ "force": true });
    post(&broker.authority_pem(), "/v1/authorities", force()).await;
    let known = broker.nobody(broker.agents()).get("/v1/authority").await.text();
    post(&known, "/v1/authorities/2/activate", force()).await;
    let redeemed = async |listener, code: &keyward::pki::EnrolmentCode| {
        let (key, request) = new_key_and_request().unwrap();
        let body = json!({
            "code_id": code.id.to_string(), "secret": base64url(code.secret.expose()), "csr": base64url(&request),
        });
        (broker.caller_knowing(&known, listener, None).post_json("/v1/enrol", &body).await, key)
    };
    let invited = post(&known, "/v1/operators/second/invitations", standing("admin", None)).await;
    let code = keyward::pki::EnrolmentCode::parse(invited.json()["code"].as_str().unwrap()).unwrap();
    let (reply, key) = redeemed(broker.admins(), &code).await;
    let held = holder(&broker, &reply, key.expose());
    let identity = Some((held.certificate.as_str(), held.key.as_str()));
    let caller = broker.caller_knowing(&known, broker.admins(), identity);
    let second = made_by(Operator { caller, ..held }, "second").await;
    // When the first authority is revoked, then the codes of the first operator go with it, and no others
    post(&known, "/v1/authorities/1/revoke", force()).await;
    for (made, is_taken) in [(&first, false), (&second, true)] {
        let agent = redeemed(broker.agents(), &made.agent_code).await.0;
        let operator = redeemed(broker.admins(), &made.operator_code).await.0;
        assert_eq!((agent.status == 201, operator.status == 201), (is_taken, is_taken), "{}", agent.text());
        if !is_taken {
            assert_eq!(agent.code(), "enrolment_code_invalid");
        }
    }
}

#[tokio::test]
async fn what_break_glass_access_made_ends_with_its_hour() {
    let broker = TestBroker::start_with(QUOTA).await;
    broker.declare().await;
    // Given codes of a day, of the host's operator and of another one
    let (key, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) });
    let socket = broker.socket();
    let asking = tokio::task::spawn_blocking(move || ask(&socket, "POST", "/v1/break-glass", &body));
    let reply = asking.await.unwrap();
    let glass = holder(&broker, &reply, key.expose());
    let invite = async |by: &Caller, name: &str| {
        let invited = json!({ "roles": ["publisher"], "life_s": 86_400 });
        let reply = by.post_json(&format!("/v1/agents/{name}/invitations"), &invited).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        keyward::pki::EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap()
    };
    let within = invite(&glass.caller, "within").await;
    let beyond = invite(&glass.caller, "beyond").await;
    let ordinary = invite(&broker.operator(), "ordinary").await;
    let status = async |code| broker.redeem(code, &new_key_and_request().unwrap().1).await.status;
    // When the hour is nearly over, and over, then they are taken, and not
    broker.clock.advance_s(3500);
    assert_eq!(status(&within).await, 201);
    broker.clock.advance_s(200);
    assert_eq!(status(&beyond).await, 401);
    // And the other one's outlives its certificate
    broker.clock.advance_s(13 * 3600);
    broker.look_after().await;
    assert_eq!(status(&ordinary).await, 201);
}
