use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::FixedText;
use crate::config::Fault;

/// A refusal (RFC 9457).
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ProblemBody {
    pub r#type: String,
    pub title: FixedText,
    pub status: u16,
    pub detail: Cow<'static, str>,
    pub code: FixedText,
    pub fix: Cow<'static, str>,
    pub retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// A refusal on an OAuth route (RFC 6749 §5.2).
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OAuthBody {
    pub error: FixedText,
    pub error_description: Cow<'static, str>,
    pub error_uri: String,
    pub code: FixedText,
    pub fix: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
}
