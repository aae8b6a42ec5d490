use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::page::Items;
use super::status::{EndedAnswer, FixedText};

endpoints! {
    /// List the generations of the certificate authority
    LIST_AUTHORITIES: GET "/v1/authorities", Nothing, Nothing => Items<AuthorityAnswer>;
    /// Prepare the next generation of the certificate authority
    PREPARE_AUTHORITY: POST "/v1/authorities", Nothing, Nothing => Items<AuthorityAnswer>;
    /// Activate a prepared generation of the certificate authority
    ACTIVATE_AUTHORITY: POST "/v1/authorities/{generation}/activate", u32, StageBody => StagedAnswer<AuthorityAnswer>;
    /// Taint an old generation of the certificate authority (stop trusting it)
    TAINT_AUTHORITY: POST "/v1/authorities/{generation}/taint", u32, StageBody => StagedAnswer<AuthorityAnswer>;
    /// Revoke a generation of the certificate authority
    REVOKE_AUTHORITY: POST "/v1/authorities/{generation}/revoke", u32, StageBody => StagedAnswer<AuthorityAnswer>;
    /// List the generations of the token key
    LIST_TOKEN_KEYS: GET "/v1/token-keys", Nothing, Nothing => Items<TokenKeyAnswer>;
    /// Prepare the next generation of the token key
    PREPARE_TOKEN_KEY: POST "/v1/token-keys", Nothing, Nothing => Items<TokenKeyAnswer>;
    /// Activate a prepared generation of the token key
    ACTIVATE_TOKEN_KEY: POST "/v1/token-keys/{generation}/activate", u32, StageBody => StagedAnswer<TokenKeyAnswer>;
    /// Revoke a generation of the token key
    REVOKE_TOKEN_KEY: POST "/v1/token-keys/{generation}/revoke", u32, StageBody => StagedAnswer<TokenKeyAnswer>;
    /// Rotate the checkpoint key
    ROTATE_CHECKPOINT_KEY: POST "/v1/checkpoint-key/rotate", Nothing, Nothing => CheckpointKeyAnswer;
    /// Rotate the value key
    ROTATE_VALUE_KEY: POST "/v1/value-key/rotate", Nothing, Nothing => ValueKeyAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AuthorityAnswer {
    pub generation: u32,
    pub stage: FixedText,
    pub since: String,
    pub pin: String,
    pub not_after: Option<String>,
    pub behind: usize,
    /// The names of these agents and operators, up to 10 of them.
    #[serde(default)]
    pub behind_names: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct TokenKeyAnswer {
    pub generation: u32,
    pub stage: FixedText,
    pub since: String,
}

/// All generations after the change.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct StagedAnswer<T> {
    pub items: Vec<T>,
    #[serde(flatten)]
    pub ended: EndedAnswer,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StageBody {
    #[serde(default)]
    pub force: bool,
    /// The reason, in one line; the ledger keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CheckpointKeyAnswer {
    pub generation: u32,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ValueKeyAnswer {
    pub generation: u32,
    /// The number of versions that the new key wraps; null for a replayed request.
    pub carried_over: Option<usize>,
}
