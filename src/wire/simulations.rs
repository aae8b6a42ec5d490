use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declarations::DeclarationFileBody;
use super::endpoint::{Nothing, endpoints};
use super::object::objects;
use super::status::FixedText;
use crate::base::limits::DECLARATION_BYTES_MAX;
use crate::base::{AgentName, CapabilityName, DecisionId};

endpoints! {
    /// Replay recorded requests against declarations; nothing is changed
    SIMULATE_DECLARATIONS: POST "/v1/simulations", Nothing, SimulateBody => SimulationAnswer, up to DECLARATION_BYTES_MAX;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SimulateBody {
    #[serde(deserialize_with = "objects")]
    pub files: Vec<DeclarationFileBody>,
    #[serde(default)]
    pub prune: bool,
    /// The earliest time of the requests, in RFC 3339, or a length of time before now, e.g. `7d`.
    pub since: String,
    /// Only requests of entries before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// A part of a simulation, the newest requests first.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SimulationAnswer {
    /// The number of replayed requests.
    pub requests: u64,
    /// The number of those that were not decided again: their entries do not have what decides, e.g. the value of a sensitive
    /// parameter that a policy tests.
    #[serde(default)]
    pub not_replayed: u64,
    /// The causes of these.
    #[serde(default)]
    pub not_replayed_causes: NotReplayedAnswer,
    /// What would be decided otherwise, by agent and capability; at most 1,000.
    pub changes: Vec<SimulatedChangeAnswer>,
    /// The number of further changes.
    pub further: usize,
    /// `before` of the next part; null if this is the last one.
    pub next_before: Option<u64>,
}

/// The numbers of requests that were not decided again, by the part that their entries do not have.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct NotReplayedAnswer {
    /// The value of a sensitive parameter that a policy tests.
    pub sensitive_parameter: u64,
    /// The parameters of a request that was refused for them.
    pub refused_parameters: u64,
    /// The audience and the actions of a request, in entries of earlier versions.
    pub target: u64,
}

impl NotReplayedAnswer {
    /// The number of all.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.sensitive_parameter.saturating_add(self.refused_parameters).saturating_add(self.target)
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            sensitive_parameter: self.sensitive_parameter.saturating_add(other.sensitive_parameter),
            refused_parameters: self.refused_parameters.saturating_add(other.refused_parameters),
            target: self.target.saturating_add(other.target),
        }
    }
}

/// Requests of an agent for a capability that would be decided otherwise.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SimulatedChangeAnswer {
    pub agent: AgentName,
    pub capability: CapabilityName,
    /// `newly-allowed`, `newly-denied`, `newly-needing-approval`, `shorter-life` or `longer-life`.
    pub change: FixedText,
    /// The number of requests.
    pub requests: u64,
    /// The newest of these decisions.
    pub decision: DecisionId,
    /// The rules that would determine it.
    pub rules: Vec<String>,
}
