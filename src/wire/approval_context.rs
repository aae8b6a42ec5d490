use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::approvals::ApprovalState;
use super::endpoint::{Nothing, endpoints};
use super::status::FixedText;
use super::subject_report::ReportedEntries;
use crate::base::{AgentName, ApprovalId, ApprovalReference, CapabilityName, ParameterName};

endpoints! {
    /// Compare a request for approval with the usual requests of its agent, and list earlier requests of its kind
    GET_APPROVAL_CONTEXT: GET "/v1/approvals/{id}/context", ApprovalReference, Nothing => ApprovalContextAnswer;
}

/// The request compared with the agent's tokens of the 30 days before it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ApprovalContextAnswer {
    pub approval: ApprovalId,
    /// The entries about the agent in this time.
    pub entries: ReportedEntries,
    /// The number of tokens among them.
    pub tokens: u64,
    /// The fields that were compared: those that the operator sees of the tokens.
    #[serde(default)]
    pub compared: Vec<FixedText>,
    /// The fields of the request that no token had.
    pub differences: Vec<ApprovalDifferenceAnswer>,
    /// Earlier requests for some of the capabilities, of any agent in the scope, the newest first; at most 20.
    pub previous: Vec<PreviousApprovalAnswer>,
}

/// A field of a request that differs from all tokens of the agent.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ApprovalDifferenceAnswer {
    /// `capability`, `audience`, `life` (longer than every token's, in seconds), `source` or `parameter`.
    pub field: FixedText,
    /// The capability of the parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<CapabilityName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<ParameterName>,
    /// Of a sensitive parameter the keyed digest; `none` if all tokens had the parameter and the request does not.
    pub value: String,
    /// The values of the tokens, at most 8; for `life` the longest one; for numbers in parameters their range (`5 to 40`).
    pub usual: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PreviousApprovalAnswer {
    pub approval: ApprovalId,
    pub agent: AgentName,
    #[schemars(with = "ApprovalState")]
    pub state: FixedText,
    pub capabilities: Vec<CapabilityName>,
    pub opened_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
