//! What goes out, as JSON: the transfer forms of records, which themselves know no outside.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use crate::base::code::Code;
use crate::broker::{AgentView, Applied, AuditPage, CapabilityView, Ended, Paged, RoleView, SecretView};
use crate::registry::PlannedChange;
use crate::upstream::Explained;

/// Most answers are shorter; longer ones cost a copy.
const USUAL_BYTES: usize = 2048;

/// `value` as a JSON response.
pub(crate) fn answer<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let mut body = Vec::with_capacity(USUAL_BYTES);
    if serde_json::to_writer(&mut body, value).is_err() {
        body.clear();
    }
    json_answer(status, body)
}

/// `body`, which is JSON already, as a response.
pub(crate) fn json_answer(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A list; `items` is there even when it is empty.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
}

/// A part of a list; the rest comes after `next_after`, which is null at the end.
#[derive(JsonSchema, Serialize)]
pub(crate) struct PageAnswer<T> {
    items: Vec<T>,
    next_after: Option<String>,
}

impl<T> PageAnswer<T> {
    pub(crate) fn of<V: Into<T>>(page: Paged<V>) -> Self {
        let Paged { items, next_after } = page.map(V::into);
        Self { items, next_after }
    }
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct CapabilityAnswer {
    name: String,
    access: &'static str,
    delivery: &'static str,
    audience: String,
    secret: Option<String>,
    max_life_s: u32,
    owner: Option<String>,
}

impl From<CapabilityView> for CapabilityAnswer {
    fn from(view: CapabilityView) -> Self {
        Self {
            name: view.name.to_string(),
            access: view.access.as_str(),
            delivery: view.delivery,
            audience: view.audience,
            secret: view.secret.map(|name| name.to_string()),
            max_life_s: view.max_life_s,
            owner: view.owner.map(|name| name.to_string()),
        }
    }
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct RoleAnswer {
    name: String,
    capabilities: Vec<String>,
    owner: Option<String>,
}

impl From<RoleView> for RoleAnswer {
    fn from(view: RoleView) -> Self {
        Self {
            name: view.name.to_string(),
            capabilities: view.capabilities.iter().map(ToString::to_string).collect(),
            owner: view.owner.map(|name| name.to_string()),
        }
    }
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct AgentAnswer {
    id: String,
    name: String,
    owner: Option<String>,
    roles: Vec<String>,
    /// The audience that it serves, when it is a resource server.
    audience: Option<String>,
    max_instances: u32,
    /// `active` or `suspended`.
    state: &'static str,
    instances: Vec<InstanceAnswer>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct InstanceAnswer {
    id: String,
    serial: String,
    enrolled_at: String,
    not_after: String,
    /// `live`, `expired`, `suspended` or `revoked`.
    state: &'static str,
}

impl From<AgentView> for AgentAnswer {
    fn from(view: AgentView) -> Self {
        let instances = view.instances.into_iter().map(|instance| InstanceAnswer {
            id: instance.id.to_string(),
            serial: instance.serial,
            enrolled_at: instance.enrolled_at.to_string(),
            not_after: instance.not_after.to_string(),
            state: instance.state.as_str(),
        });
        Self {
            id: view.id.to_string(),
            name: view.name.to_string(),
            owner: view.owner.map(|name| name.to_string()),
            roles: view.roles.iter().map(ToString::to_string).collect(),
            audience: view.serves.map(|audience| audience.to_string()),
            max_instances: view.max_instances,
            state: if view.suspended { "suspended" } else { "active" },
            instances: instances.collect(),
        }
    }
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct SecretAnswer {
    name: String,
    version: u32,
    updated_at: String,
    owner: Option<String>,
    sensitivity: &'static str,
}

impl From<SecretView> for SecretAnswer {
    fn from(view: SecretView) -> Self {
        Self {
            name: view.name.to_string(),
            version: view.version,
            updated_at: view.updated_at.to_string(),
            owner: view.owner.map(|name| name.to_string()),
            sensitivity: view.sensitivity.as_str(),
        }
    }
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct AppliedAnswer {
    changes: Vec<PlannedChange>,
    applied: bool,
    seq: Option<u64>,
    /// False when the ledger has not taken it in time: what it takes away is in force in memory, and what it gives
    /// is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
    /// Whether, until the ledger has it, what it takes away is kept in the runtime directory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    kept: bool,
}

impl From<Applied> for AppliedAnswer {
    fn from(Applied { changes, done }: Applied) -> Self {
        match done {
            None => Self { changes, applied: false, seq: None, durable: None, kept: false },
            Some(Ended::Recorded(seq)) => {
                Self { changes, applied: true, seq: Some(seq), durable: Some(true), kept: false }
            }
            Some(Ended::InMemory { kept }) => {
                Self { changes, applied: false, seq: None, durable: Some(false), kept }
            }
        }
    }
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct AuditAnswer {
    items: Vec<EntryAnswer>,
    next_after: Option<u64>,
    head: u64,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct EntryAnswer {
    seq: u64,
    time: String,
    kind: &'static str,
    event: serde_json::Value,
    leaf: String,
}

impl From<AuditPage> for AuditAnswer {
    fn from(page: AuditPage) -> Self {
        let items = page.entries.into_iter().map(|entry| EntryAnswer {
            seq: entry.seq,
            time: entry.time.to_string(),
            kind: entry.kind,
            event: serde_json::from_slice(&entry.event).unwrap_or_default(),
            leaf: entry.leaf,
        });
        Self { items: items.collect(), next_after: page.next_after, head: page.head }
    }
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct CertificateAnswer {
    pub(crate) serial: String,
    pub(crate) not_after: String,
}

impl From<&crate::pki::PeerCertificate> for CertificateAnswer {
    fn from(certificate: &crate::pki::PeerCertificate) -> Self {
        Self { serial: certificate.serial().to_string(), not_after: certificate.not_after().to_string() }
    }
}

/// What a failure that is kept by its code and detail was, in a sentence.
pub(crate) fn explained(code: &str, detail: Option<&str>) -> Option<String> {
    let code = code.parse::<Code>().ok()?;
    Some(Explained::of(code, detail).why.into_owned())
}
