//! What operators hold, and what they made for others.

use keyward::base::OperatorId;
use keyward::base::encoding::base64url;
use keyward::pki::{PeerCertificate, certificate_from_pem, new_key_and_request};
use keyward::revocation::{Effect, Subject};
use serde_json::{Value, json};

use crate::operators::{Operator, join, standing};
use crate::support::broker::{Caller, Connection, Reply, TestBroker};

/// What an operator holds, and what it made for others.
struct Made {
    operator: Operator,
    connection: Connection,
    agent_code: keyward::pki::EnrolmentCode,
    operator_code: keyward::pki::EnrolmentCode,
}

async fn made(broker: &TestBroker, name: &str) -> Made {
    let operator = join(broker, name, &standing("admin", None)).await;
    let mut connection = operator.caller.connect().await.unwrap();
    assert_eq!(connection.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let code = async |path: &str, body: Value| {
        let reply = operator.caller.post_json(path, &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        keyward::pki::EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap()
    };
    let agent_code =
        code(&format!("/v1/agents/of-{name}/invitations"), json!({ "roles": ["publisher"] })).await;
    let operator_code =
        code(&format!("/v1/operators/by-{name}/invitations"), standing("auditor", None)).await;
    Made { operator, connection, agent_code, operator_code }
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
    let broker = TestBroker::start_with("[quota]\nenrolments_per_s = 1000\nenrolments_burst = 1000\n").await;
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
    let mut marked = made(&broker, "marked").await;
    let certificate = certificate_from_pem(&marked.operator.certificate).unwrap();
    let serial = *PeerCertificate::parse(&certificate).unwrap().serial().as_bytes();
    broker.mark(Effect::Block(Subject::Certificate(serial))).await;
    assert_eq!(marked.shown(&broker).await, "xxx..", "the certificate alone");
    let listed = admin.get("/v1/operators").await.json();
    let id: OperatorId = listed["items"][0]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(Subject::Operator(id).kind(), "operator");
}
