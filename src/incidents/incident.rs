use serde::{Deserialize, Serialize};

use crate::base::{IncidentId, OwnerName, Reason, Timestamp};

/// The subject of an incident, as it was named then. This is the stored form: no field is left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IncidentSubject {
    /// The word for its kind, e.g. `agent`.
    pub kind: String,
    /// The id of an agent, instance, operator or token, or the serial number of a certificate.
    pub id: Option<String>,
    /// The name of any other subject, also of an agent or operator; the text of a network.
    pub name: Option<String>,
    /// The agent of an instance or certificate.
    pub agent: Option<String>,
    /// The operator of a certificate.
    pub operator: Option<String>,
}

/// A step of an incident.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IncidentStep {
    /// When.
    pub at: Timestamp,
    /// The entry; 0 while there is none.
    pub seq: u64,
    /// The operator, or `host uid N`.
    pub by: String,
    /// Why.
    pub reason: Option<Reason>,
}

/// An incident.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// The contained subject.
    pub subject: IncidentSubject,
    /// The owner of the subject at that time.
    pub owner: Option<OwnerName>,
    /// Whether the containment revoked certificates for good; otherwise they were refused until the lift.
    pub revokes_certificates: bool,
    /// The first containment.
    pub opened: IncidentStep,
    /// The last containment; a repetition also revokes what was issued since the one before.
    pub contained: IncidentStep,
    /// The end of the containment.
    pub lifted: Option<IncidentStep>,
}

impl Incident {
    /// Times in the future move back to `now`.
    pub(super) fn time_went_back(&mut self, now: Timestamp) {
        for step in [&mut self.opened, &mut self.contained].into_iter().chain(&mut self.lifted) {
            step.at = step.at.min(now);
        }
    }
}
