use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::endpoints;
use super::page::PageQuery;
use super::status::FixedText;
use crate::base::{AgentName, CapabilityName, IncidentId, LeaseId};

endpoints! {
    /// List the effects of a containment since a ledger entry, and those that are still pending
    LIST_INCIDENT_EFFECTS: GET "/v1/incidents/{id}/effects", IncidentId, PageQuery<u64> => IncidentEffectsAnswer;
}

/// The effects of an incident's last containment. Certificates, tokens and codes are refused from the containment on, and
/// have no effect of their own here.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct IncidentEffectsAnswer {
    /// Ends of leases, and failures to end them, in the ledger entries after `after`.
    pub items: Vec<IncidentEffectAnswer>,
    /// The cursor for the next request.
    pub next_after: u64,
    /// Whether a lease or a connection has not ended yet.
    pub pending: bool,
    pub leases: LeaseEffectsAnswer,
    pub connections: ConnectionEffectsAnswer,
}

/// The end of a lease, or a failure to end it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IncidentEffectAnswer {
    /// The ledger entry.
    pub seq: u64,
    /// Milliseconds since the containment.
    pub ms: u64,
    /// `lease.ended` or `lease.revocation-failed`.
    pub what: FixedText,
    pub lease: LeaseId,
    pub agent: AgentName,
    pub capability: CapabilityName,
    /// The code of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// The leases of the subjects whose logins may still exist.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct LeaseEffectsAnswer {
    pub pending: usize,
    /// The first 20 of those whose revocation has failed. The broker tries again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedLeaseAnswer>,
}

/// A lease whose revocation has failed.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct FailedLeaseAnswer {
    pub lease: LeaseId,
    /// Absent if the agent was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    pub capability: CapabilityName,
    /// The code of the last failure.
    pub code: String,
    pub failures: u32,
}

/// The connections of the subjects' certificates.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct ConnectionEffectsAnswer {
    /// Open connections of certificates that are not accepted any more: they are being closed.
    pub open: usize,
    /// Connections that this process has closed since the containment, because of a revocation.
    pub closed: usize,
    /// Milliseconds from the containment to the end of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_closed_ms: Option<u64>,
}
