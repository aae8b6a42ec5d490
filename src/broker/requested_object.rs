use std::fmt;

use crate::base::{IncidentId, SubjectName};

/// An object that a request names.
#[derive(Clone, Debug)]
pub enum RequestedObject {
    /// An object that can be contained.
    Subject(SubjectName),
    /// An incident.
    Incident(IncidentId),
}

impl fmt::Display for RequestedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(name) => name.fmt(f),
            Self::Incident(id) => write!(f, "incident/{id}"),
        }
    }
}
