use crate::base::IncidentId;

/// A caller whose certificate was refused, and why.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RefusedIdentity {
    /// `agent`, `resource-server` or `operator`; `unknown` if no authority of the broker signed the certificate.
    pub kind: &'static str,
    /// The name in the certificate, if an authority of the broker signed it.
    pub name: Option<String>,
    /// Why.
    pub reason: &'static str,
    /// The incidents that contain it.
    pub incidents: Vec<IncidentId>,
}
