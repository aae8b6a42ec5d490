use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::incidents::NamesAnswer;
use super::secret_text::SecretText;
use super::status::FixedText;

endpoints! {
    /// Recognise a leaked value: a token, an enrolment code, a secret or the password of a database login
    CHECK_VALUE: POST "/v1/value-checks", Nothing, ValueCheckBody => ValueCheckAnswer;
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ValueCheckBody {
    /// The leaked text, alone or in a line with other text. It is neither stored nor logged.
    pub value: SecretText,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ValueCheckAnswer {
    /// What the text is; empty if the broker does not know it.
    pub found: Vec<RecognisedAnswer>,
    /// Whether the text and all its parts were compared with every stored value, and all readers were found.
    pub complete: bool,
    /// The ledger entry of the check.
    pub seq: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RecognisedAnswer {
    /// `token`, `enrolment-code`, `secret` or `login`.
    pub kind: FixedText,
    /// The name of the secret; the id of the token, code or lease.
    pub which: String,
    /// The version of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The agent, resource server or operator that it was issued to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Whether the broker, or the upstream of the secret or lease, accepts it now, as far as the records say.
    pub accepted: bool,
    /// What `accepted` does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<FixedText>,
    /// The agents that read this version of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_by: Option<NamesAnswer>,
}
