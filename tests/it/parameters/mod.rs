//! Typed parameters of capabilities: what requests give, what policies test, and what approvals are bound to.

mod commands;
mod declared;
mod replayed;
mod requested;
mod tested;

use serde_json::{Value, json};

use crate::support::broker::{Agent, Reply, TestBroker};

/// A capability with parameters of each type, one of them sensitive.
pub(crate) const REFUNDS: &str = r#"
[[capability]]
name = "payments.refund"
access = "write"
delivery = "mint"
audience = "https://payments.example.com"
max_life_s = 600
[capability.parameters]
amount = { type = "integer", required = true, min = 1, max = 100000 }
currency = { type = "text", values = ["EUR", "USD"] }
dry_run = { type = "boolean" }
account = { type = "text", required = true, sensitive = true, max_length = 64 }

[[capability]]
name = "payments.status"
access = "read"
delivery = "mint"
audience = "https://payments.example.com"
max_life_s = 600
[capability.parameters]
payment = { type = "text" }

[[role]]
name = "refunder"
capabilities = ["payments.refund", "payments.status"]

[[resource_server]]
name = "payments-api"
audience = "https://payments.example.com"
"#;

pub(crate) const ACCOUNT: &str = "CNRY-DE89370400440532013000";

async fn applied(broker: &TestBroker, text: &str) {
    let reply = broker.apply(text).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// A broker with the capabilities, and the agent `r` that holds them.
async fn scene() -> (TestBroker, Agent) {
    let broker = TestBroker::declared().await;
    applied(&broker, REFUNDS).await;
    let agent = broker.agent("r", &["refunder"]).await;
    (broker, agent)
}

fn policy(name: &str, rule: &str) -> String {
    format!("[[policy]]\nname = \"{name}\"\nrule = '''\n{rule}\n'''\n")
}

/// A policy against tokens whose requests meet `condition`.
fn forbid(name: &str, condition: &str) -> String {
    policy(name, &format!("forbid (principal, action, resource) when {{ {condition} }};"))
}

/// The parameters of a refund of this amount.
pub(crate) fn refund(amount: i64) -> Value {
    json!({ "amount": amount, "account": ACCOUNT })
}

pub(crate) fn detail(capability: &str, parameters: &Value) -> Value {
    json!({ "type": "keyward_capability", "capability": capability, "parameters": parameters })
}

/// The form of a token request with these details and further fields.
pub(crate) fn form(details: &Value, fields: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new("grant_type=client_credentials".to_owned());
    form.append_pair("authorization_details", &details.to_string()).extend_pairs(fields);
    form.finish()
}

async fn ask(agent: &Agent, details: &Value) -> Reply {
    agent.ask(&form(details, &[])).await
}

/// A token request for a refund with these parameters.
async fn ask_refund(agent: &Agent, parameters: &Value) -> Reply {
    ask(agent, &json!([detail("payments.refund", parameters)])).await
}

/// The last event of this kind.
async fn last(broker: &TestBroker, kind: &str) -> Value {
    broker.entries(kind).await.last().unwrap()["event"].clone()
}

/// What a resource server of the payments is told of `token`.
async fn introspected(broker: &TestBroker, token: &str) -> Value {
    let server = broker.agent("payments-api", &[]).await;
    let form = format!("token={token}");
    server.caller.post("/oauth/introspect", "application/x-www-form-urlencoded", form.as_bytes()).await.json()
}
