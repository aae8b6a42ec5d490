use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::FixedText;
use crate::config::Fault;

// A client reads a refusal that lacks any field but the code. The broker always sends all: the schema requires them.
/// A refusal (RFC 9457).
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ProblemBody {
    #[serde(default)]
    #[schemars(!default)]
    pub r#type: String,
    #[serde(default)]
    #[schemars(!default)]
    pub title: FixedText,
    #[serde(default)]
    #[schemars(!default)]
    pub status: u16,
    #[serde(default)]
    #[schemars(!default)]
    pub detail: Cow<'static, str>,
    pub code: FixedText,
    #[serde(default)]
    #[schemars(!default)]
    pub fix: Cow<'static, str>,
    #[serde(default)]
    #[schemars(!default)]
    pub retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    #[serde(flatten)]
    pub next: NextStepBody,
}

// Likewise; a client knows it by `error`.
/// A refusal on an OAuth route (RFC 6749 §5.2).
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OAuthBody {
    pub error: FixedText,
    #[serde(default)]
    #[schemars(!default)]
    pub error_description: Cow<'static, str>,
    #[serde(default)]
    #[schemars(!default)]
    pub error_uri: String,
    pub code: FixedText,
    #[serde(default)]
    #[schemars(!default)]
    pub fix: Cow<'static, str>,
    #[serde(default)]
    #[schemars(!default)]
    pub retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
    #[serde(flatten)]
    pub next: NextStepBody,
}

/// What a program can do after a refusal.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct NextStepBody {
    /// The approval that the request needs, or that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
    /// The path of the approval on the agents' listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_uri: Option<String>,
    /// A smaller request that would be allowed now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<SmallerRequestBody>,
}

/// A smaller token request than a denied one.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SmallerRequestBody {
    /// Names of capabilities, separated by spaces.
    pub scope: String,
    /// In seconds; absent if the request need not name a life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u32>,
    /// The form that requests the token, ready to be sent.
    pub form: String,
}
