use std::collections::BTreeSet;

use axum::http::{HeaderValue, header};

use super::answer::WithHeaders;
use super::caller::{AnonymousCaller, ResourceServer};
use super::form::FormFields;
use super::requested::RequestedCapabilities;
use super::table::{RouteRequest, Routes};
use crate::authn::AgentPrincipal;
use crate::base::limits::TOKEN_LIFE_MIN_S;
use crate::base::{Audience, CapabilityName, NameError, SecretName, Sensitive, code};
use crate::broker::{AgentServices, MintInput};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::policy::LeftOut;
use crate::token::Claims;
use crate::wire::{
    self, ActiveTokenAnswer, AnyQuery, Form, InactiveTokenAnswer, IntrospectionAnswer, LeftOutAnswer,
    Nothing, TokenAnswer, TokenForm, TokenReferenceForm,
};

/// The routes of access tokens (OAuth 2.0).
pub(crate) fn routes() -> Routes<AgentServices> {
    Routes::new()
        .route(&wire::AUTHORIZE, authorize)
        .idempotent(&wire::MINT_TOKEN, mint)
        .route(&wire::GIVE_UP_TOKEN, give_up)
        .without_waiting()
        .route(&wire::INTROSPECT_TOKEN, introspect)
}

async fn authorize(
    _: AgentServices,
    _: RouteRequest<AnonymousCaller, Nothing, AnyQuery>,
) -> Result<Nothing, Problem> {
    Err(Problem::new(code::RESPONSE_TYPE_UNSUPPORTED))
}

async fn mint(
    services: AgentServices,
    call: RouteRequest<AgentPrincipal, Nothing, Form<TokenForm>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<WithHeaders<TokenAnswer>, Problem> {
    let input = mint_input(&call.input.fields_of(call.by.certificate())?)?;
    let minted = services.mint(call.by, input, idempotency.as_ref()).await?;
    let answer = TokenAnswer {
        access_token: Sensitive::new(minted.token.expose().to_owned()).into(),
        token_type: "Bearer".into(),
        expires_in: minted.life_s,
        scope: minted.scope,
        authorization_details: minted.details,
        token_id: minted.id,
        decision_id: minted.decision,
        constrained: minted.constrained,
        left_out: minted.left_out.into_iter().map(left_out).collect(),
    };
    // RFC 6749 §5.1 requires it beside `Cache-Control`.
    Ok(WithHeaders { answer, headers: vec![(header::PRAGMA, HeaderValue::from_static("no-cache"))] })
}

fn left_out(left_out: LeftOut) -> LeftOutAnswer {
    LeftOutAnswer {
        code: left_out.code.as_str().into(),
        reason: left_out.reason(),
        capability: left_out.capability,
    }
}

fn mint_input(fields: &FormFields<'_>) -> Result<MintInput, Problem> {
    match fields.get("grant_type").map(AsRef::as_ref) {
        Some("client_credentials") => {}
        Some(_) => return Err(Problem::new(code::GRANT_TYPE_UNSUPPORTED)),
        None => return Err(Problem::new(code::GRANT_TYPE_MISSING)),
    }
    let scope: Result<BTreeSet<_>, Problem> =
        fields.get("scope").into_iter().flat_map(|scope| scope.split(' ')).map(scope_named).collect();
    let resource = fields.get("resource").map(|text| resource_named(text)).transpose()?;
    let mut requested = RequestedCapabilities { scope: scope?, resource, details: None };
    if let Some(details) = fields.get("authorization_details") {
        requested.add_details(details)?;
    }
    let life_s = fields.get("expires_in").map(|text| {
        let number = text.parse::<u32>().ok();
        number
            .filter(|seconds| i64::from(*seconds) >= TOKEN_LIFE_MIN_S)
            .ok_or_else(|| Problem::new(code::EXPIRES_IN_INVALID))
    });
    let RequestedCapabilities { scope, resource, details } = requested;
    Ok(MintInput { scope, resource, life_s: life_s.transpose()?, details })
}

/// A malformed capability name is a wrong scope (RFC 6749 §5.2), and a malformed audience a wrong target (RFC 8707 §2).
fn scope_named(text: &str) -> Result<CapabilityName, Problem> {
    text.parse().map_err(|error: NameError| Problem::new(code::SCOPE_MALFORMED).because(error.to_string()))
}

fn resource_named(text: &str) -> Result<Audience, Problem> {
    text.parse().map_err(|error: NameError| Problem::new(code::RESOURCE_MALFORMED).because(error.to_string()))
}

/// RFC 7009: the response reveals nothing about the token, which may be another caller's.
async fn give_up(
    services: AgentServices,
    call: RouteRequest<AgentPrincipal, Nothing, Form<TokenReferenceForm>>,
) -> Result<Nothing, Problem> {
    let fields = call.input.fields_of(call.by.certificate())?;
    services.give_up(&call.by, token_in(&fields)?).await?;
    Ok(Nothing)
}

fn token_in<'a>(fields: &'a FormFields<'_>) -> Result<&'a str, Problem> {
    fields.get("token").map(AsRef::as_ref).ok_or_else(|| Problem::new(code::TOKEN_PARAMETER_MISSING))
}

async fn introspect(
    services: AgentServices,
    call: RouteRequest<ResourceServer, Nothing, Form<TokenReferenceForm>>,
) -> Result<IntrospectionAnswer, Problem> {
    let fields = call.input.fields()?;
    Ok(match services.introspect(&call.by.principal, token_in(&fields)?).await? {
        Some(introspection) => IntrospectionAnswer::Active(Box::new(active(introspection.claims()))),
        None => IntrospectionAnswer::Inactive(InactiveTokenAnswer { active: false }),
    })
}

fn active(claims: &Claims) -> ActiveTokenAnswer {
    ActiveTokenAnswer {
        active: true,
        iss: claims.iss.clone(),
        sub: claims.sub.clone(),
        client_id: claims.client_id.clone(),
        aud: claims.aud.to_string(),
        scope: claims.scope.clone(),
        token_type: "Bearer".into(),
        jti: claims.jti,
        iat: claims.iat,
        nbf: claims.nbf,
        exp: claims.exp,
        cnf: claims.cnf.clone(),
        authorization_details: claims.authorization_details.clone(),
    }
}

/// The capabilities of `agent` that deliver the `wanted` secrets, as a scope.
pub(crate) fn scope_of(
    services: &AgentServices,
    agent: &AgentPrincipal,
    wanted: impl Fn(&SecretName) -> bool,
) -> Vec<String> {
    let capabilities = services.overview(agent).capabilities.into_iter();
    let reading = capabilities.filter(|one| one.audience == services.issuer());
    reading.filter(|one| one.secret.as_ref().is_some_and(&wanted)).map(|one| one.name.to_string()).collect()
}
