use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::page::Items;
use super::status::{EndedAnswer, Word};

endpoints! {
    /// The generations of the certificate authority
    LIST_AUTHORITIES: GET "/v1/authorities", Nothing, Nothing => Items<AuthorityAnswer>;
    /// Prepare the next certificate authority
    PREPARE_AUTHORITY: POST "/v1/authorities", Nothing, Nothing => Items<AuthorityAnswer>;
    /// Have a certificate authority sign
    ACTIVATE_AUTHORITY: POST "/v1/authorities/{generation}/activate", u32, StageBody => StagedAnswer<AuthorityAnswer>;
    /// Stop trusting a certificate authority
    TAINT_AUTHORITY: POST "/v1/authorities/{generation}/taint", u32, StageBody => StagedAnswer<AuthorityAnswer>;
    /// Revoke a certificate authority
    REVOKE_AUTHORITY: POST "/v1/authorities/{generation}/revoke", u32, StageBody => StagedAnswer<AuthorityAnswer>;
    /// The generations of the token key
    LIST_TOKEN_KEYS: GET "/v1/token-keys", Nothing, Nothing => Items<TokenKeyAnswer>;
    /// Prepare the next token key
    PREPARE_TOKEN_KEY: POST "/v1/token-keys", Nothing, Nothing => Items<TokenKeyAnswer>;
    /// Have a token key sign
    ACTIVATE_TOKEN_KEY: POST "/v1/token-keys/{generation}/activate", u32, StageBody => StagedAnswer<TokenKeyAnswer>;
    /// Revoke a token key
    REVOKE_TOKEN_KEY: POST "/v1/token-keys/{generation}/revoke", u32, StageBody => StagedAnswer<TokenKeyAnswer>;
    /// Rotate the checkpoint key
    ROTATE_CHECKPOINT_KEY: POST "/v1/checkpoint-key/rotate", Nothing, Nothing => CheckpointKeyAnswer;
    /// Rotate the value key
    ROTATE_VALUE_KEY: POST "/v1/value-key/rotate", Nothing, Nothing => ValueKeyAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AuthorityAnswer {
    pub generation: u32,
    pub stage: Word,
    pub since: String,
    pub pin: String,
    pub not_after: Option<String>,
    pub behind: usize,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct TokenKeyAnswer {
    pub generation: u32,
    pub stage: Word,
    pub since: String,
}

/// All generations after one was brought to another stage.
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
    /// Why, in one line: it stays in the ledger.
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
    /// How many versions were carried over; null when the request had been carried out before.
    pub carried_over: Option<usize>,
}
