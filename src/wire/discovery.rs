use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::status::Word;

endpoints! {
    /// RFC 8414
    AUTHORIZATION_SERVER: GET "/.well-known/oauth-authorization-server", Nothing, Nothing => AuthorizationServerAnswer;
    /// `OpenID` Connect Discovery
    OPENID_CONFIGURATION: GET "/.well-known/openid-configuration", Nothing, Nothing => OpenidConfigurationAnswer;
    /// RFC 9728
    PROTECTED_RESOURCE: GET "/.well-known/oauth-protected-resource", Nothing, Nothing => ProtectedResourceAnswer;
}

/// RFC 8414, with the fields that real clients insist on although our only grant needs none.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AuthorizationServerAnswer {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub revocation_endpoint: String,
    pub revocation_endpoint_auth_methods_supported: Vec<Word>,
    pub introspection_endpoint: String,
    pub introspection_endpoint_auth_methods_supported: Vec<Word>,
    pub mtls_endpoint_aliases: EndpointAliases,
    pub jwks_uri: String,
    pub response_types_supported: Vec<Word>,
    pub grant_types_supported: Vec<Word>,
    pub token_endpoint_auth_methods_supported: Vec<Word>,
    pub tls_client_certificate_bound_access_tokens: bool,
}

/// RFC 8705 §5. They are the same endpoints: one listener takes callers with a certificate and
/// without; but some clients look for them here alone.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct EndpointAliases {
    pub token_endpoint: String,
    pub revocation_endpoint: String,
    pub introspection_endpoint: String,
}

/// `OpenID` Connect Discovery 1.0 §3: the same, and what stock clients insist on. No ID token is ever
/// issued; the algorithm is that of access tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OpenidConfigurationAnswer {
    #[serde(flatten)]
    pub oauth: AuthorizationServerAnswer,
    pub subject_types_supported: Vec<Word>,
    pub id_token_signing_alg_values_supported: Vec<Word>,
}

/// RFC 9728: the broker as a resource, where tokens of `reveal` capabilities are taken.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ProtectedResourceAnswer {
    pub resource: String,
    pub authorization_servers: Vec<String>,
    pub jwks_uri: String,
    /// The caller's own, when it shows an agent's certificate: names are not told to strangers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes_supported: Option<Vec<String>>,
    pub bearer_methods_supported: Vec<Word>,
    pub tls_client_certificate_bound_access_tokens: bool,
}
