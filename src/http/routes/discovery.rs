use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use super::agents::{private, public, scope_of};
use super::answers::answer;
use super::input::Agent;
use crate::broker::AgentDesk;
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Table, route};

/// The routes by which stock clients find out what there is.
pub(crate) fn table() -> Table<AgentDesk> {
    use Caller::Public;
    vec![
        (route("GET", "/.well-known/oauth-authorization-server", Public), get(authorization_server)),
        (route("GET", "/.well-known/openid-configuration", Public), get(openid_configuration)),
        (route("GET", "/.well-known/oauth-protected-resource", Public), get(protected_resource)),
    ]
}

/// RFC 8414, with the fields that real clients insist on although our only grant needs none.
#[derive(JsonSchema, Serialize)]
pub(crate) struct AuthorizationServer<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    mtls_endpoint_aliases: Aliases,
    jwks_uri: String,
    response_types_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 1],
    tls_client_certificate_bound_access_tokens: bool,
}

/// RFC 8705 §5. They are the same endpoints: one listener takes callers with a certificate and
/// without; but some clients look for them here alone.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Aliases {
    token_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
}

/// `OpenID` Connect Discovery 1.0 §3: the same, and what stock clients insist on. No ID token is ever
/// issued; the algorithm is that of access tokens.
#[derive(JsonSchema, Serialize)]
pub(crate) struct OpenidConfiguration<'a> {
    #[serde(flatten)]
    oauth: AuthorizationServer<'a>,
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 2],
}

/// RFC 9728: the broker as a resource, where tokens of `reveal` capabilities are taken.
#[derive(JsonSchema, Serialize)]
pub(crate) struct ProtectedResource<'a> {
    resource: &'a str,
    authorization_servers: [&'a str; 1],
    jwks_uri: String,
    /// The caller's own, when it shows an agent's certificate: names are not told to strangers.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_supported: Option<Vec<String>>,
    bearer_methods_supported: [&'static str; 1],
    tls_client_certificate_bound_access_tokens: bool,
}

const BY_CERTIFICATE: [&str; 1] = ["tls_client_auth"];

fn described(issuer: &str) -> AuthorizationServer<'_> {
    let endpoint = |path: &str| format!("{issuer}/oauth/{path}");
    AuthorizationServer {
        issuer,
        authorization_endpoint: endpoint("authorize"),
        token_endpoint: endpoint("token"),
        revocation_endpoint: endpoint("revoke"),
        revocation_endpoint_auth_methods_supported: BY_CERTIFICATE,
        introspection_endpoint: endpoint("introspect"),
        introspection_endpoint_auth_methods_supported: BY_CERTIFICATE,
        mtls_endpoint_aliases: Aliases {
            token_endpoint: endpoint("token"),
            revocation_endpoint: endpoint("revoke"),
            introspection_endpoint: endpoint("introspect"),
        },
        jwks_uri: keys_of(issuer),
        response_types_supported: ["none"],
        grant_types_supported: ["client_credentials"],
        token_endpoint_auth_methods_supported: BY_CERTIFICATE,
        tls_client_certificate_bound_access_tokens: true,
    }
}

fn keys_of(issuer: &str) -> String {
    format!("{issuer}/.well-known/jwks.json")
}

async fn authorization_server(State(desk): State<AgentDesk>) -> Response<Body> {
    public(answer(StatusCode::OK, &described(desk.issuer())))
}

async fn openid_configuration(State(desk): State<AgentDesk>) -> Response<Body> {
    let configuration = OpenidConfiguration {
        oauth: described(desk.issuer()),
        subject_types_supported: ["public"],
        // The standard wants RS256 in the list, and clients look for it; nothing is ever signed so.
        id_token_signing_alg_values_supported: ["ES256", "RS256"],
    };
    public(answer(StatusCode::OK, &configuration))
}

async fn protected_resource(State(desk): State<AgentDesk>, agent: Result<Agent, Problem>) -> Response<Body> {
    let scopes_supported = agent.ok().map(|agent| scope_of(&desk, &agent, |_| true));
    let is_personal = scopes_supported.is_some();
    let issuer = desk.issuer();
    let resource = ProtectedResource {
        resource: issuer,
        authorization_servers: [issuer],
        jwks_uri: keys_of(issuer),
        scopes_supported,
        bearer_methods_supported: ["header"],
        tls_client_certificate_bound_access_tokens: true,
    };
    let response = answer(StatusCode::OK, &resource);
    if is_personal { private(response) } else { public(response) }
}

/// Where the broker is a resource itself: whoever is asked for a token, or for another one, is told where
/// to find out how to get it (RFC 9728 §5.1).
pub(crate) fn pointed_to(issuer: &str, mut response: Response<Body>) -> Response<Body> {
    let given = response.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let challenge = match given {
        // The first parameter comes without a comma.
        Some("Bearer") => "Bearer ".to_owned(),
        Some(given) if given.starts_with("Bearer ") => format!("{given}, "),
        Some(_) if response.status() == StatusCode::UNAUTHORIZED => "Bearer ".to_owned(),
        Some(_) | None => return response,
    };
    let whole = format!("{challenge}resource_metadata=\"{issuer}/.well-known/oauth-protected-resource\"");
    if let Ok(whole) = HeaderValue::from_str(&whole) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, whole);
    }
    response
}
