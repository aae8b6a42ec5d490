//! What goes out, as JSON: the transfer forms of records, which themselves know no outside.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::base::code::Code;
use crate::broker::{AgentView, Applied, AuditPage, CapabilityView, Ended, Paged, RoleView, SecretView};
use crate::upstream::Explained;
use crate::wire::{
    AgentAnswer, AppliedAnswer, CapabilityAnswer, CertificateAnswer, EntriesAnswer, EntryAnswer,
    InstanceAnswer, PageAnswer, RoleAnswer, SecretAnswer,
};

/// Most answers are shorter; longer ones cost a copy.
const USUAL_BYTES: usize = 2048;

/// `value` as a JSON response.
pub(crate) fn answer<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let mut body = Vec::with_capacity(USUAL_BYTES);
    if serde_json::to_writer(&mut body, value).is_err() {
        body.clear();
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A page of answers made of what the broker lists.
pub(crate) fn page_of<V, T: From<V>>(page: Paged<V>) -> PageAnswer<T> {
    let Paged { items, next_after } = page.map(T::from);
    PageAnswer { items, next_after }
}

impl From<CapabilityView> for CapabilityAnswer {
    fn from(view: CapabilityView) -> Self {
        Self {
            name: view.name,
            access: view.access.as_str().into(),
            delivery: view.delivery.into(),
            audience: view.audience,
            secret: view.secret,
            max_life_s: view.max_life_s,
            owner: view.owner,
        }
    }
}

impl From<RoleView> for RoleAnswer {
    fn from(view: RoleView) -> Self {
        Self { name: view.name, capabilities: view.capabilities, owner: view.owner }
    }
}

impl From<AgentView> for AgentAnswer {
    fn from(view: AgentView) -> Self {
        let instances = view.instances.into_iter().map(|instance| InstanceAnswer {
            id: instance.id,
            serial: instance.serial,
            enrolled_at: instance.enrolled_at.to_string(),
            not_after: instance.not_after.to_string(),
            state: instance.state.as_str().into(),
        });
        Self {
            id: view.id,
            name: view.name,
            owner: view.owner,
            roles: view.roles,
            audience: view.serves.map(|audience| audience.to_string()),
            max_instances: view.max_instances,
            state: if view.suspended { "suspended" } else { "active" }.into(),
            instances: instances.collect(),
        }
    }
}

impl From<SecretView> for SecretAnswer {
    fn from(view: SecretView) -> Self {
        Self {
            name: view.name,
            version: view.version,
            updated_at: view.updated_at.to_string(),
            owner: view.owner,
            sensitivity: view.sensitivity,
        }
    }
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

impl From<AuditPage> for EntriesAnswer {
    fn from(page: AuditPage) -> Self {
        let items = page.entries.into_iter().map(|entry| EntryAnswer {
            seq: entry.seq,
            time: entry.time.to_string(),
            kind: entry.kind.into(),
            event: serde_json::from_slice(&entry.event).unwrap_or_default(),
            leaf: entry.leaf,
        });
        Self { items: items.collect(), next_after: page.next_after, head: page.head }
    }
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
