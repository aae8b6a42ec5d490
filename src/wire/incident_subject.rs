use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::IncidentId;

/// A subject of a request: with a name, or with an id, or `everything`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectBody {
    /// `agent`, `operator`, `role`, `capability`, `owner`, `secret` or `network` with a name; `instance`, `certificate`
    /// or `token` with an id; or `everything`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id of an instance or token, or the serial number of a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The subject of an incident, as it was named then.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SubjectAnswer {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id of an agent, instance, operator or token, or the serial number of a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The agent of an instance or certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The operator of a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
}

/// A step of an incident.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IncidentStepAnswer {
    pub at: String,
    /// The operator, or `host uid N`.
    pub by: String,
    /// The ledger entry; absent while the ledger has not recorded the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A containment that refuses an agent or operator, or a part of what an agent may get.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ContainmentAnswer {
    /// The contained subject, e.g. `network/10.1.0.0/16`.
    pub subject: String,
    pub incident: IncidentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it refuses only some instances, or tokens and leases of some capabilities.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}
