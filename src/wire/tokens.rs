use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::{AnyQuery, Form, Nothing, endpoints};
use super::secret_text::SecretText;
use super::status::FixedText;
use crate::base::{CapabilityName, DecisionId, GivenParameters, GrantedParameters, TokenId};

endpoints! {
    /// Always refuses: the broker has no authorization endpoint
    AUTHORIZE: GET "/oauth/authorize", Nothing, AnyQuery => Nothing;
    /// Issue an access token
    MINT_TOKEN: POST "/oauth/token", Nothing, Form<TokenForm> => TokenAnswer;
    /// Revoke a token of the caller (RFC 7009)
    GIVE_UP_TOKEN: POST "/oauth/revoke", Nothing, Form<TokenReferenceForm> => Nothing;
    /// Introspect a token (RFC 7662)
    INTROSPECT_TOKEN: POST "/oauth/introspect", Nothing, Form<TokenReferenceForm> => IntrospectionAnswer;
}

/// RFC 6749 §4.4.2, with RFC 8707's `resource` and RFC 9396's `authorization_details`. It names capabilities in `scope`, in
/// `authorization_details`, or in both.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct TokenForm {
    /// `client_credentials`, or `urn:ietf:params:oauth:grant-type:device_code`.
    pub grant_type: String,
    /// Names of capabilities, separated by spaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// A JSON array of objects of the type `keyward_capability`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    /// The id of an approval of this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// The id of the denial whose smaller request this is (`instead` of the refusal).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediates: Option<String>,
    /// The device code of RFC 8628 §3.4, instead of all fields but `client_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_code: Option<String>,
}

#[derive(Clone, Debug, JsonSchema)]
pub struct TokenReferenceForm {
    pub token: String,
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct TokenAnswer {
    pub access_token: SecretText,
    /// `Bearer`.
    pub token_type: FixedText,
    /// In seconds.
    pub expires_in: u32,
    pub scope: Arc<str>,
    /// The capabilities of the token; only if the request has `authorization_details` (RFC 9396 §7).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<AuthorizationDetail>,
    pub token_id: TokenId,
    pub decision_id: DecisionId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constrained: Vec<String>,
    /// The requested capabilities that the token does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutAnswer>,
}

/// A requested capability that a token does not have.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct LeftOutAnswer {
    pub capability: CapabilityName,
    /// The code that a request for this capability alone gets.
    pub code: FixedText,
    pub reason: FixedText,
}

/// RFC 7662 §2.2, with the binding (RFC 8705 §3.2) and the details (RFC 9396 §9.2).
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum IntrospectionAnswer {
    Active(Box<ActiveTokenAnswer>),
    Inactive(InactiveTokenAnswer),
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ActiveTokenAnswer {
    pub active: bool,
    pub iss: Arc<str>,
    pub sub: Arc<str>,
    pub client_id: Arc<str>,
    pub aud: String,
    pub scope: Arc<str>,
    /// `Bearer`.
    pub token_type: FixedText,
    pub jti: TokenId,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    pub cnf: Confirmation,
    pub authorization_details: Vec<AuthorizationDetail>,
}

/// The response for a token that is not active, or not for the caller.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct InactiveTokenAnswer {
    pub active: bool,
}

/// A capability that a token request names (RFC 9396 §2).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestedDetail {
    /// Always `keyward_capability`.
    #[serde(rename = "type")]
    pub kind: DetailType,
    pub capability: CapabilityName,
    /// Exactly one: the access of the capability, `read` or `write`.
    #[serde(default)]
    pub actions: Option<Vec<String>>,
    /// Exactly one: the audience of the token, as `resource` names it.
    #[serde(default)]
    pub locations: Option<Vec<String>>,
    /// The parameters of the capability, by name.
    #[serde(default)]
    pub parameters: Option<GivenParameters>,
}

/// The field `authorization_details` of a token request that gives these parameters; `None` if it gives none.
#[must_use]
pub fn details_with(parameters: &BTreeMap<CapabilityName, GivenParameters>) -> Option<String> {
    let detail = |(capability, given): (&CapabilityName, &GivenParameters)| json!({ "type": DetailType::Capability, "capability": capability, "parameters": given });
    let details: Vec<Value> = parameters.iter().map(detail).collect();
    (!details.is_empty()).then(|| Value::from(details).to_string())
}

/// One capability in a token (RFC 9396 §2).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationDetail {
    /// Always `keyward_capability`.
    #[serde(rename = "type")]
    pub kind: DetailType,
    /// The capability's name.
    pub capability: CapabilityName,
    /// `read` or `write`.
    pub access: Cow<'static, str>,
    /// The parameters that the request gave, with their values.
    #[serde(default, skip_serializing_if = "GrantedParameters::is_empty")]
    pub parameters: GrantedParameters,
}

/// The only type of authorization details.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DetailType {
    /// A declared capability.
    #[serde(rename = "keyward_capability")]
    Capability,
}

/// The certificate whose key the bearer must prove to hold (RFC 8705 §3.1).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// SHA-256 of the certificate in DER, base64url.
    #[serde(rename = "x5t#S256")]
    pub x5t_s256: String,
}
