use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Form, Nothing, endpoints};
use super::secret_text::SecretText;
use super::status::Word;
use crate::base::{DecisionId, TokenId};

endpoints! {
    /// Refuses: the broker has no such grant
    AUTHORIZE: GET "/oauth/authorize", Nothing, Nothing => Nothing;
    /// Mint an access token
    MINT_TOKEN: POST "/oauth/token", Nothing, Form<TokenForm> => TokenAnswer;
    /// Give a token of the caller up (RFC 7009)
    GIVE_UP_TOKEN: POST "/oauth/revoke", Nothing, Form<TokenReferenceForm> => Nothing;
}

/// RFC 6749 §4.4.2, with RFC 8707's `resource`.
#[derive(Clone, Debug, JsonSchema)]
pub struct TokenForm {
    /// `client_credentials`.
    pub grant_type: String,
    /// Names of capabilities, separated by spaces.
    pub scope: String,
    pub resource: Option<String>,
    pub client_id: Option<String>,
    /// In seconds.
    pub expires_in: Option<String>,
}

#[derive(Clone, Debug, JsonSchema)]
pub struct TokenReferenceForm {
    pub token: String,
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct TokenAnswer {
    pub access_token: SecretText,
    /// `Bearer`.
    pub token_type: Word,
    /// In seconds.
    pub expires_in: u32,
    pub scope: Arc<str>,
    pub token_id: TokenId,
    pub decision_id: DecisionId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constrained: Vec<String>,
}
