//! Incidents: containment with one request, and its lift; the freeze of the broker.

mod broken_off;
mod certificates;
mod disk;
mod effects;
mod freeze;
pub(crate) mod host;
mod listed;
mod moved;
mod pressure;
mod previews;
mod record;
mod records;
mod refused;
mod report;
mod said;
mod scopes;
mod touched;
mod touched_revoked;
mod value;
mod without_admin;

use serde_json::{Value, json};

use crate::support::broker::{Caller, Reply};

pub(crate) async fn contain(by: &Caller, subject: Value) -> Reply {
    let body = json!({ "subject": subject, "reason": "token in a public log" });
    by.post_json("/v1/incidents", &body).await
}

/// Contains a subject, which has to succeed; gives the incident's id.
pub(crate) async fn contained(by: &Caller, subject: Value) -> String {
    let reply = contain(by, subject).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["incident"].as_str().unwrap().to_owned()
}

pub(crate) async fn lift(by: &Caller, incident: &str) -> Reply {
    by.post_json(&format!("/v1/incidents/{incident}/lift"), &json!({ "reason": "a false alarm" })).await
}

pub(crate) fn agent(name: &str) -> Value {
    json!({ "kind": "agent", "name": name })
}

pub(crate) fn operator(name: &str) -> Value {
    json!({ "kind": "operator", "name": name })
}
