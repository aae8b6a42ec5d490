//! Approvals: requests that need one, votes, and uses.

mod asking;
mod device;
mod evidence;
mod oauth;
mod parameters;
mod programs;
mod standing;
mod stock_clients;
mod using;
mod voting;

pub(crate) use evidence::by_python;
use keyward::base::Timestamp;
use keyward::base::encoding::base64url;
use keyward::crypto::{EcdsaKey, SignatureForm, sha256};
use keyward::pki::new_key_and_request;
use keyward::wire::{ApprovalBallot, ApprovalRequest};
use serde_json::{Value, json};

use crate::approval_keys::accept_on_host;
use crate::operators::{change, join};
use crate::support::broker::{Agent, Caller, Reply, TestBroker};

/// A Friday, 2027-01-15, 08:00 UTC.
const MORNING: Timestamp = Timestamp::from_s(1_800_000_000);

const BY_SECOND: &str = "@decision(\"require_approval\")\n@reason(\"production\")";

/// A policy with these annotations about tokens for `capability`.
fn policy(name: &str, annotations: &str, capability: &str) -> String {
    format!(
        "[[policy]]\nname = \"{name}\"\nrule = '''\n{annotations}\nforbid (principal, action == Keyward::Action::\"token\", \
         resource == Keyward::Capability::\"{capability}\");\n'''\n"
    )
}

async fn applied(broker: &TestBroker, text: &str) {
    let reply = broker.apply(text).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// A broker with the operator `admin` as the person `root@corp.example`, and what is declared in `text`.
async fn broker_with(text: &str) -> TestBroker {
    let broker = TestBroker::start_at(MORNING, "[certificates]\nagent_life_s = 604800\n").await;
    broker.declare().await;
    let profile = json!({ "networks": [], "life_s": null, "person": "root@corp.example" });
    assert_eq!(change(&broker.operator(), "admin", &profile).await.status, 200);
    applied(&broker, text).await;
    broker
}

/// A broker where tokens for `reports.publish` need an approval, an agent, and an approver.
async fn scene() -> (TestBroker, Agent, Approver) {
    let broker = broker_with(&policy("second", BY_SECOND, "reports.publish")).await;
    let agent = agent(&broker, "a").await;
    let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    (broker, agent, ann)
}

/// The agent `name`, which acts for `dev@corp.example`.
pub(crate) async fn agent(broker: &TestBroker, name: &str) -> Agent {
    let text =
        format!("[[agent]]\nname = \"{name}\"\nroles = [\"publisher\"]\nperson = \"dev@corp.example\"\n");
    applied(broker, &text).await;
    broker.agent(name, &[]).await
}

/// An operator with an accepted approval key.
struct Approver {
    caller: Caller,
    key: EcdsaKey,
}

impl Approver {
    async fn join(broker: &TestBroker, name: &str, role: &str, person: &str) -> Self {
        Self::join_as(broker, name, &json!({ "role": role, "owner": null, "person": person })).await
    }

    async fn join_as(broker: &TestBroker, name: &str, body: &Value) -> Self {
        let caller = join(broker, name, body).await.caller;
        let key = accepted_key(broker, name, &caller).await;
        Self { caller, key }
    }

    /// Votes with the digest that it computes from the fields that it is shown.
    async fn approve(&self, approval: &str) -> Reply {
        let shown = self.caller.get(&format!("/v1/approvals/{approval}")).await.json();
        let request: ApprovalRequest = serde_json::from_value(shown["request"].clone()).unwrap();
        let digest = sha256(&request.canonical().unwrap()).hex();
        assert_eq!(shown["digest"], json!(digest), "the digest is that of the fields");
        self.vote(approval, &digest, shown["rules"].as_str().unwrap()).await
    }

    async fn vote(&self, approval: &str, digest: &str, rules: &str) -> Reply {
        let ballot = ApprovalBallot::approve(approval.parse().unwrap(), digest, rules).canonical().unwrap();
        let signature = base64url(&self.key.sign(&ballot).unwrap());
        let body = json!({ "verdict": "approve", "digest": digest, "rules": rules, "signature": signature });
        self.caller.post_json(&format!("/v1/approvals/{approval}/votes"), &body).await
    }

    async fn deny(&self, approval: &str) -> Reply {
        let body = json!({ "verdict": "deny" });
        self.caller.post_json(&format!("/v1/approvals/{approval}/votes"), &body).await
    }

    async fn approves(&self, approval: &str) {
        let reply = self.approve(approval).await;
        assert_eq!((reply.status, &reply.json()["state"]), (200, &json!("approved")), "{}", reply.text());
    }
}

/// A new approval key of the operator, accepted on the host.
pub(crate) async fn accepted_key(broker: &TestBroker, name: &str, caller: &Caller) -> EcdsaKey {
    let (pem, request) = new_key_and_request().unwrap();
    let proposed = caller.post_json("/v1/approval-key", &json!({ "csr": base64url(&request) })).await;
    assert_eq!(proposed.status, 201, "{}", proposed.text());
    let keys = proposed.json()["keys"].as_array().unwrap().clone();
    let fingerprint = &keys.iter().find(|key| key["state"] == "proposed").unwrap()["fingerprint"];
    let accepted = accept_on_host(broker, name, fingerprint.as_str().unwrap()).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    let pkcs8 = pem::parse(pem.expose()).unwrap().into_contents();
    EcdsaKey::from_pkcs8(&keyward::base::Sensitive::new(pkcs8), SignatureForm::Asn1).unwrap()
}

/// Advances the clock of the broker by so many seconds.
fn advance(broker: &TestBroker, s: i64) {
    broker.clock.advance_s(u32::try_from(s).unwrap());
}

async fn ask(agent: &Agent, scope: &str) -> Reply {
    agent.ask(&format!("grant_type=client_credentials&scope={scope}")).await
}

/// The token request with an approval.
async fn ask_with(agent: &Agent, scope: &str, approval: &str) -> Reply {
    agent.ask(&format!("grant_type=client_credentials&scope={scope}&approval={approval}")).await
}

/// The id of the approval that a token request needs.
async fn needed(agent: &Agent, scope: &str) -> String {
    let reply = ask(agent, scope).await;
    let body = reply.json();
    assert_eq!((reply.status, &body["error"]), (400, &json!("approval_required")), "{body}");
    body["approval_id"].as_str().unwrap().to_owned()
}

async fn state(agent: &Agent, approval: &str) -> String {
    let reply = agent.caller.get(&format!("/v1/approvals/{approval}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["state"].as_str().unwrap().to_owned()
}
