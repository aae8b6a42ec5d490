use serde::Serialize;

use super::incident::IncidentSubject;
use crate::base::IncidentId;
use crate::ledger::Kind;
use crate::store::Event;

/// Everything issued under the subject before this entry is revoked, and nothing issued under it is accepted until the
/// containment is lifted.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct IncidentContained<'a>(pub IncidentChange<'a>);

/// The containment ended. What was revoked stays revoked.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct IncidentLifted<'a>(pub IncidentChange<'a>);

/// The content of the two events. The entry contains the reason.
#[derive(Debug, Serialize)]
pub struct IncidentChange<'a> {
    /// The incident.
    incident: IncidentId,
    /// The subject.
    subject: SubjectText<'a>,
    /// The agent of an instance or certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    /// The operator of a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<&'a str>,
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

impl<'a> IncidentChange<'a> {
    /// A change by `by` of the incident of `subject`.
    #[must_use]
    pub fn new(incident: IncidentId, subject: &'a IncidentSubject, by: &'a str) -> Self {
        let IncidentSubject { kind, id, name, agent, operator } = subject;
        Self {
            incident,
            subject: SubjectText { kind, id: id.as_deref(), name: name.as_deref() },
            agent: agent.as_deref(),
            operator: operator.as_deref(),
            by,
            spares_operator: false,
        }
    }

    /// The same, which accepts the certificate of the operator that ordered it if `spares_operator` is set.
    #[must_use]
    pub const fn sparing(mut self, spares_operator: bool) -> Self {
        self.spares_operator = spares_operator;
        self
    }
}

/// The broker hands out no token, no value and no login until it is thawed. The entry contains the reason.
#[derive(Debug, Serialize)]
pub struct BrokerFrozen<'a> {
    /// The operator's name, or `host uid N`.
    pub by: &'a str,
}

/// The freeze ended.
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
