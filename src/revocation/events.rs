use serde::Serialize;

use super::subject::Subject;
use crate::base::IncidentId;
use crate::ledger::Kind;
use crate::store::Event;

/// A subject was revoked: everything issued under it before this entry is invalid.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SubjectRevoked<'a>(pub SubjectChange<'a>);

/// A subject was suspended: nothing issued under it is accepted until it is resumed.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SubjectSuspended<'a>(pub SubjectChange<'a>);

/// The suspension of a subject ended.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SubjectResumed<'a>(pub SubjectChange<'a>);

/// The broker refused certificates at handshakes or requests, because they are revoked, suspended, contained or unknown:
/// one entry counts the refusals since the time that it names. A certificate that is refused at a handshake was
/// *presented*: the possession of its key was not proved. At most one such entry a minute.
#[derive(Debug, Serialize)]
pub struct CertificateRefused {
    /// When the first of them was refused.
    pub since: String,
    /// The refused callers.
    pub callers: Vec<RefusedCaller>,
    /// Refusals of further callers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<RefusedTimes>,
}

/// A caller that was refused.
#[derive(Debug, Serialize)]
pub struct RefusedCaller {
    /// `agent`, `resource-server` or `operator`; `unknown` if no authority of the broker signed the certificate.
    pub kind: &'static str,
    /// The name in the certificate, if an authority of the broker signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Why.
    pub reason: &'static str,
    /// The incidents that contain it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<IncidentId>,
    /// The first sources, then those that were seen last.
    pub sources: Vec<RefusedSource>,
    /// How often a source was left out between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// Refusals at the sources that were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<RefusedTimes>,
}

/// A source of refused certificates.
#[derive(Debug, Serialize)]
pub struct RefusedSource {
    /// The address; of IPv6 the first address of the /64.
    pub source: String,
    /// How often.
    #[serde(flatten)]
    pub times: RefusedTimes,
}

/// How often certificates were refused.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RefusedTimes {
    /// At handshakes.
    pub presented: u64,
    /// At requests.
    pub requests: u64,
}

/// The content of the three events. The entry contains the reason.
#[derive(Debug, Serialize)]
pub struct SubjectChange<'a> {
    /// The subject.
    pub subject: NamedSubject,
    /// The agent that the subject belongs to, when the subject is one of its credentials and the agent is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The operator whose certificate the subject is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The operator's name, or (no name has a space) `its holder` for an agent's own token and `host uid N` for a user
    /// of the broker's host.
    pub by: &'a str,
}

/// A subject as entries name it.
#[derive(Debug, Serialize)]
pub struct NamedSubject {
    /// One of [`Subject::KINDS`].
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// The name of an agent or operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl NamedSubject {
    /// `subject`, whose name is `name`.
    #[must_use]
    pub fn of(subject: &Subject, name: Option<String>) -> Self {
        Self { kind: subject.kind(), id: subject.id(), name }
    }
}

impl Event for CertificateRefused {
    const KIND: Kind = Kind(0x0610);
    const NAME: &'static str = "certificate.refused";
}

impl Event for SubjectRevoked<'_> {
    const KIND: Kind = Kind(0x0601);
    const NAME: &'static str = "subject.revoked";
}

impl Event for SubjectSuspended<'_> {
    const KIND: Kind = Kind(0x0602);
    const NAME: &'static str = "subject.suspended";
}

impl Event for SubjectResumed<'_> {
    const KIND: Kind = Kind(0x0603);
    const NAME: &'static str = "subject.resumed";
}
