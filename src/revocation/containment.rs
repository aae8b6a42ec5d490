use serde::{Deserialize, Serialize};

use super::judged::CredentialForm;
use super::subject::Subject;
use crate::base::{IncidentId, OperatorEnrolment};

/// The containment of a subject by an incident.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Containment {
    /// The subject.
    pub subject: Subject,
    /// The incident.
    pub incident: IncidentId,
    /// The operator that ordered the containment, if the containment would refuse its certificate.
    pub spared: Option<OperatorEnrolment>,
}

impl Containment {
    /// Whether it refuses a credential of this form while it is not recorded.
    pub(super) fn blocks(&self, form: &CredentialForm) -> bool {
        match form {
            CredentialForm::Issued | CredentialForm::Certificate => true,
            CredentialForm::OperatorCertificate { enrolment, .. } => self.spared != Some(*enrolment),
        }
    }
}
