use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::status::FixedText;

endpoints! {
    /// Metadata of the authorization server (RFC 8414)
    AUTHORIZATION_SERVER: GET "/.well-known/oauth-authorization-server", Nothing, Nothing => AuthorizationServerAnswer;
    /// Metadata of the authorization server (`OpenID` Connect Discovery)
    OPENID_CONFIGURATION: GET "/.well-known/openid-configuration", Nothing, Nothing => OpenidConfigurationAnswer;
    /// Metadata of the broker as a resource server (RFC 9728)
    PROTECTED_RESOURCE: GET "/.well-known/oauth-protected-resource", Nothing, Nothing => ProtectedResourceAnswer;
}

/// RFC 8414, with the fields that clients require although the only grant does not use them.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AuthorizationServerAnswer {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub revocation_endpoint: String,
    pub revocation_endpoint_auth_methods_supported: Vec<FixedText>,
    /// RFC 8628 §4.
    pub device_authorization_endpoint: String,
    pub introspection_endpoint: String,
    pub introspection_endpoint_auth_methods_supported: Vec<FixedText>,
    pub mtls_endpoint_aliases: EndpointAliases,
    pub jwks_uri: String,
    pub response_types_supported: Vec<FixedText>,
    pub grant_types_supported: Vec<FixedText>,
    pub token_endpoint_auth_methods_supported: Vec<FixedText>,
    /// RFC 9396 §10.
    pub authorization_details_types_supported: Vec<FixedText>,
    pub tls_client_certificate_bound_access_tokens: bool,
}

/// RFC 8705 §5. The endpoints are the same, because the listener accepts callers with and without a certificate; some
/// clients look for them only here.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct EndpointAliases {
    pub token_endpoint: String,
    pub revocation_endpoint: String,
    pub introspection_endpoint: String,
    pub device_authorization_endpoint: String,
}

/// `OpenID` Connect Discovery 1.0 §3, with the fields that clients require. The broker issues no ID tokens; the algorithm
/// is that of access tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OpenidConfigurationAnswer {
    #[serde(flatten)]
    pub oauth: AuthorizationServerAnswer,
    pub subject_types_supported: Vec<FixedText>,
    pub id_token_signing_alg_values_supported: Vec<FixedText>,
}

/// RFC 9728: the broker as a resource server, which accepts tokens of `reveal` capabilities.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ProtectedResourceAnswer {
    pub resource: String,
    pub authorization_servers: Vec<String>,
    pub jwks_uri: String,
    /// The capabilities of the calling agent; absent for a caller without a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes_supported: Option<Vec<String>>,
    pub bearer_methods_supported: Vec<FixedText>,
    pub tls_client_certificate_bound_access_tokens: bool,
}
