use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Audience, CapabilityName, DecisionId, InstanceId, TokenId};

/// What an access token says (RFC 9068 §2.2), no more and no less.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The broker that issued it.
    pub iss: Arc<str>,
    /// The agent, as its SPIFFE ID.
    pub sub: Arc<str>,
    /// The OAuth client: the same agent.
    pub client_id: Arc<str>,
    /// Whom it is for; exactly one.
    pub aud: Audience,
    /// Capability names, separated by spaces.
    pub scope: Arc<str>,
    /// The same capabilities with what they allow (RFC 9396).
    pub authorization_details: Vec<AuthorizationDetail>,
    /// Its id.
    pub jti: TokenId,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it begins to hold, in seconds since 1970.
    pub nbf: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// The certificate that it is bound to.
    pub cnf: Confirmation,
    /// The ledger sequence of its issue.
    pub seq: u64,
    /// The instance of the agent that it was issued to.
    pub instance: InstanceId,
    /// The decision that allowed it.
    pub decision: DecisionId,
}

/// One capability in a token (RFC 9396 §2).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationDetail {
    /// Always `keyward_capability`.
    #[serde(rename = "type")]
    pub kind: DetailType,
    /// The capability's name.
    #[schemars(with = "String")]
    pub capability: CapabilityName,
    /// `read` or `write`.
    pub access: Cow<'static, str>,
}

/// The one type of authorization detail there is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DetailType {
    /// A declared capability.
    #[serde(rename = "keyward_capability")]
    Capability,
}

/// What the bearer must prove to hold (RFC 8705 §3.1).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// SHA-256 of the certificate in DER, base64url.
    #[serde(rename = "x5t#S256")]
    pub x5t_s256: String,
}
