use serde::Serialize;

use super::subject::Subject;
use crate::ledger::Kind;
use crate::store::Event;

/// Everything issued under the subject before this entry is revoked.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SubjectRevoked<'a>(pub SubjectChange<'a>);

/// Nothing issued under the subject is accepted until it is resumed.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SubjectSuspended<'a>(pub SubjectChange<'a>);

/// The suspension of the subject ended.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SubjectResumed<'a>(pub SubjectChange<'a>);

/// The content of the three events. The entry contains the reason.
#[derive(Debug, Serialize)]
pub struct SubjectChange<'a> {
    /// The subject.
    pub subject: NamedSubject,
    /// The agent that the subject belongs to, when the subject is one of its credentials and the agent is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
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
