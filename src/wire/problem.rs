use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::FixedText;
use crate::config::Fault;

/// A refusal (RFC 9457). A client reads one that lacks fields other than the code.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ProblemBody {
    #[serde(default)]
    pub r#type: String,
    #[serde(default)]
    pub title: FixedText,
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub detail: Cow<'static, str>,
    pub code: FixedText,
    #[serde(default)]
    pub fix: Cow<'static, str>,
    #[serde(default)]
    pub retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// A refusal on an OAuth route (RFC 6749 §5.2). A client knows it by `error`, and reads one that lacks other fields.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OAuthBody {
    pub error: FixedText,
    #[serde(default)]
    pub error_description: Cow<'static, str>,
    #[serde(default)]
    pub error_uri: String,
    pub code: FixedText,
    #[serde(default)]
    pub fix: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
}
