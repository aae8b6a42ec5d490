use super::answer::{WithHeaders, cacheable, private};
use super::caller::OptionalAgent;
use super::table::{PublicRequest, RouteRequest, Routes};
use super::tokens::{DEVICE_CODE, scope_of};
use crate::broker::AgentServices;
use crate::http::documents::problem::Problem;
use crate::token::{KEY_SET, KeySet};
use crate::wire::{
    self, AuthorizationServerAnswer, EndpointAliases, FixedText, Nothing, OpenidConfigurationAnswer,
    ProtectedResourceAnswer,
};

/// The discovery routes for standard clients.
pub(crate) fn routes() -> Routes<AgentServices> {
    Routes::new()
        .route(&KEY_SET, key_set)
        .route(&wire::AUTHORIZATION_SERVER, authorization_server)
        .route(&wire::OPENID_CONFIGURATION, openid_configuration)
        .route(&wire::PROTECTED_RESOURCE, protected_resource)
}

async fn key_set(services: AgentServices, _: PublicRequest) -> Result<WithHeaders<KeySet>, Problem> {
    Ok(cacheable(services.key_set()))
}

fn by_certificate() -> Vec<FixedText> {
    vec!["tls_client_auth".into()]
}

fn described(issuer: &str) -> AuthorizationServerAnswer {
    let at = |path: &str| format!("{issuer}{path}");
    let token_endpoint = at(wire::MINT_TOKEN.path);
    let revocation_endpoint = at(wire::GIVE_UP_TOKEN.path);
    let introspection_endpoint = at(wire::INTROSPECT_TOKEN.path);
    let device_authorization_endpoint = at(wire::AUTHORIZE_DEVICE.path);
    AuthorizationServerAnswer {
        issuer: issuer.to_owned(),
        authorization_endpoint: at(wire::AUTHORIZE.path),
        token_endpoint: token_endpoint.clone(),
        revocation_endpoint: revocation_endpoint.clone(),
        revocation_endpoint_auth_methods_supported: by_certificate(),
        device_authorization_endpoint: device_authorization_endpoint.clone(),
        introspection_endpoint: introspection_endpoint.clone(),
        introspection_endpoint_auth_methods_supported: by_certificate(),
        mtls_endpoint_aliases: EndpointAliases {
            token_endpoint,
            revocation_endpoint,
            introspection_endpoint,
            device_authorization_endpoint,
        },
        jwks_uri: at(KEY_SET.path),
        response_types_supported: vec!["none".into()],
        grant_types_supported: vec!["client_credentials".into(), DEVICE_CODE.into()],
        token_endpoint_auth_methods_supported: by_certificate(),
        authorization_details_types_supported: vec!["keyward_capability".into()],
        tls_client_certificate_bound_access_tokens: true,
    }
}

async fn authorization_server(
    services: AgentServices,
    _: PublicRequest,
) -> Result<WithHeaders<AuthorizationServerAnswer>, Problem> {
    Ok(cacheable(described(services.issuer())))
}

async fn openid_configuration(
    services: AgentServices,
    _: PublicRequest,
) -> Result<WithHeaders<OpenidConfigurationAnswer>, Problem> {
    Ok(cacheable(OpenidConfigurationAnswer {
        oauth: described(services.issuer()),
        subject_types_supported: vec!["public".into()],
        // The standard requires RS256 in the list, and clients check it; the broker signs nothing with it.
        id_token_signing_alg_values_supported: vec!["ES256".into(), "RS256".into()],
    }))
}

async fn protected_resource(
    services: AgentServices,
    call: RouteRequest<OptionalAgent, Nothing, Nothing>,
) -> Result<WithHeaders<ProtectedResourceAnswer>, Problem> {
    let scopes_supported = call.by.0.map(|agent| scope_of(&services, &agent, |_| true));
    let is_personal = scopes_supported.is_some();
    let issuer = services.issuer();
    let resource = ProtectedResourceAnswer {
        resource: issuer.to_owned(),
        authorization_servers: vec![issuer.to_owned()],
        jwks_uri: format!("{issuer}{}", KEY_SET.path),
        scopes_supported,
        bearer_methods_supported: vec!["header".into()],
        tls_client_certificate_bound_access_tokens: true,
    };
    Ok(if is_personal { private(resource) } else { cacheable(resource) })
}
