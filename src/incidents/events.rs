use serde::Serialize;

use super::incident::IncidentSubject;
use super::times::IncidentTimes;
use crate::base::{IncidentId, Person, Reason};
use crate::ledger::Kind;
use crate::store::Event;

/// A subject was contained: everything issued under it before this entry is revoked, and nothing issued under it is
/// accepted until the containment is lifted.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct IncidentContained<'a>(pub IncidentChange<'a>);

/// The containments of an incident were lifted. What was revoked stays revoked.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct IncidentLifted<'a>(pub IncidentChange<'a>);

/// The record of an incident was opened without a containment. The entry contains the reason.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct IncidentOpened<'a>(pub IncidentRecordChange<'a>);

/// Details were added to the record of an incident.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct IncidentUpdated<'a>(pub IncidentRecordChange<'a>);

/// Details that an operator adds to the record of an incident.
#[derive(Debug, Serialize)]
pub struct IncidentRecordChange<'a> {
    /// The incident.
    pub incident: IncidentId,
    /// The first affected subject.
    pub subject: EventSubject<'a>,
    /// Further subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<EventSubject<'a>>,
    /// The operator's name.
    pub by: &'a str,
    /// The people who work on it or know about it.
    #[serde(skip_serializing_if = "<[Person]>::is_empty")]
    pub people: &'a [Person],
    /// The times that the operator stated.
    #[serde(flatten)]
    pub times: IncidentTimesText,
}

/// A note was added to the record of an incident.
#[derive(Debug, Serialize)]
pub struct IncidentNoted<'a> {
    /// The incident.
    pub incident: IncidentId,
    /// The first affected subject.
    pub subject: EventSubject<'a>,
    /// Further subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<EventSubject<'a>>,
    /// The operator's name.
    pub by: &'a str,
    /// The note.
    pub text: &'a Reason,
}

/// An incident was closed.
#[derive(Debug, Serialize)]
pub struct IncidentClosed<'a> {
    /// The incident.
    pub incident: IncidentId,
    /// The first affected subject.
    pub subject: EventSubject<'a>,
    /// Further subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<EventSubject<'a>>,
    /// The operator's name.
    pub by: &'a str,
    /// The cause.
    pub cause: &'a Reason,
    /// The actions that follow.
    pub follow_ups: &'a [Reason],
    /// All times.
    #[serde(flatten)]
    pub times: IncidentTimesText,
}

/// Times as entries have them, RFC 3339.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IncidentTimesText {
    #[serde(skip_serializing_if = "Option::is_none")]
    first_sign_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detected_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contained_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered_at: Option<String>,
}

impl From<IncidentTimes> for IncidentTimesText {
    fn from(times: IncidentTimes) -> Self {
        let IncidentTimes { first_sign, detected, contained, recovered } = times;
        Self {
            first_sign_at: first_sign.map(|at| at.to_string()),
            detected_at: detected.map(|at| at.to_string()),
            contained_at: contained.map(|at| at.to_string()),
            recovered_at: recovered.map(|at| at.to_string()),
        }
    }
}

/// The common content of the events of incidents. The entry contains the reason.
#[derive(Debug, Serialize)]
pub struct IncidentChange<'a> {
    /// The incident.
    incident: IncidentId,
    /// The subject; the first one, if there are several.
    subject: SubjectText<'a>,
    /// The agent of an instance or certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    /// The operator of a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<&'a str>,
    /// Further subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subjects: Vec<EventSubject<'a>>,
    /// The operator's name, or `host uid N`.
    by: &'a str,
    /// Whether the certificate of the operator `by` is accepted, although the containment would refuse it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    spares_operator: bool,
}

/// A subject as entries name it.
#[derive(Debug, Serialize)]
struct SubjectText<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// A subject with the agent or operator that it belongs to.
#[derive(Debug, Serialize)]
pub struct EventSubject<'a> {
    #[serde(flatten)]
    subject: SubjectText<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<&'a str>,
}

impl<'a> SubjectText<'a> {
    fn of(subject: &'a IncidentSubject) -> Self {
        let IncidentSubject { kind, id, name, .. } = subject;
        Self { kind, id: id.as_deref(), name: name.as_deref() }
    }
}

impl<'a> EventSubject<'a> {
    /// The subject for an event.
    #[must_use]
    pub fn of(subject: &'a IncidentSubject) -> Self {
        let (agent, operator) = (subject.agent.as_deref(), subject.operator.as_deref());
        Self { subject: SubjectText::of(subject), agent, operator }
    }
}

impl<'a> IncidentChange<'a> {
    /// A change by `by` of the incident of `subject`.
    #[must_use]
    pub fn new(incident: IncidentId, subject: &'a IncidentSubject, by: &'a str) -> Self {
        Self {
            incident,
            subject: SubjectText::of(subject),
            agent: subject.agent.as_deref(),
            operator: subject.operator.as_deref(),
            subjects: Vec::new(),
            by,
            spares_operator: false,
        }
    }

    /// The same, which also concerns these subjects.
    #[must_use]
    pub fn and(mut self, others: impl IntoIterator<Item = &'a IncidentSubject>) -> Self {
        self.subjects.extend(others.into_iter().map(EventSubject::of));
        self
    }

    /// The same, which accepts the certificate of the operator that ordered it if `spares_operator` is set.
    #[must_use]
    pub const fn sparing(mut self, spares_operator: bool) -> Self {
        self.spares_operator = spares_operator;
        self
    }
}

/// The broker was frozen: it issues no token, delivers no secret value and gives no database login until it is thawed. The
/// entry contains the reason.
#[derive(Debug, Serialize)]
pub struct BrokerFrozen<'a> {
    /// The operator's name, or `host uid N`.
    pub by: &'a str,
}

/// The freeze of the broker ended.
#[derive(Debug, Serialize)]
pub struct BrokerThawed<'a> {
    /// The operator's name.
    pub by: &'a str,
}

impl Event for IncidentContained<'_> {
    const KIND: Kind = Kind(0x0e01);
    const NAME: &'static str = "incident.contained";
}

impl Event for IncidentLifted<'_> {
    const KIND: Kind = Kind(0x0e02);
    const NAME: &'static str = "incident.lifted";
}

impl Event for BrokerFrozen<'_> {
    const KIND: Kind = Kind(0x0e03);
    const NAME: &'static str = "broker.frozen";
}

impl Event for BrokerThawed<'_> {
    const KIND: Kind = Kind(0x0e04);
    const NAME: &'static str = "broker.thawed";
}

impl Event for IncidentOpened<'_> {
    const KIND: Kind = Kind(0x0e05);
    const NAME: &'static str = "incident.opened";
}

impl Event for IncidentUpdated<'_> {
    const KIND: Kind = Kind(0x0e06);
    const NAME: &'static str = "incident.updated";
}

impl Event for IncidentNoted<'_> {
    const KIND: Kind = Kind(0x0e07);
    const NAME: &'static str = "incident.noted";
}

impl Event for IncidentClosed<'_> {
    const KIND: Kind = Kind(0x0e08);
    const NAME: &'static str = "incident.closed";
}
