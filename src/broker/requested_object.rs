use std::fmt;

use crate::base::{ApprovalId, ApprovalReference, CodeId, IncidentId, LeaseId, SubjectName};

/// An object that a request names.
#[derive(Clone, Debug)]
pub enum RequestedObject {
    /// An object that can be contained.
    Subject(SubjectName),
    /// An incident.
    Incident(IncidentId),
    /// A lease.
    Lease(LeaseId),
    /// An approval, by its id or its code.
    Approval(ApprovalReference),
    /// An enrolment code of an agent or operator.
    Code(CodeId),
    /// A generation of the certificate authority.
    Authority(u32),
    /// A generation of the key that signs tokens.
    TokenKey(u32),
}

impl RequestedObject {
    /// The approval of this id.
    pub(crate) const fn approval(id: ApprovalId) -> Self {
        Self::Approval(ApprovalReference::Id(id))
    }
}

impl fmt::Display for RequestedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(name) => name.fmt(f),
            Self::Incident(id) => write!(f, "incident/{id}"),
            Self::Lease(id) => write!(f, "lease/{id}"),
            Self::Approval(reference) => write!(f, "approval/{reference}"),
            Self::Code(id) => write!(f, "code/{id}"),
            Self::Authority(generation) => write!(f, "authority/{generation}"),
            Self::TokenKey(generation) => write!(f, "token-key/{generation}"),
        }
    }
}
