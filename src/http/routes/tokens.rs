use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

use super::answer::{IntoAnswer, WithHeaders};
use super::answers::located;
use super::caller::{AnonymousCaller, ResourceServer};
use super::form::FormFields;
use super::requested::RequestedCapabilities;
use super::table::{RouteRequest, Routes};
use super::target::id;
use crate::authn::AgentPrincipal;
use crate::base::limits::TOKEN_LIFE_MIN_S;
use crate::base::{Audience, CapabilityName, NameError, SecretName, Sensitive, code};
use crate::broker::{AgentServices, MintInput};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::issuance::Token;
use crate::policy::LeftOut;
use crate::token::Claims;
use crate::wire::{
    self, ActiveTokenAnswer, AnyQuery, ApprovalState, Form, InactiveTokenAnswer, IntrospectionAnswer,
    LeftOutAnswer, Nothing, OwnApprovalAnswer, TokenAnswer, TokenForm, TokenReferenceForm,
};

/// The routes of access tokens (OAuth 2.0).
pub(crate) fn routes() -> Routes<AgentServices> {
    Routes::new()
        .route(&wire::AUTHORIZE, authorize)
        .idempotent(&wire::MINT_TOKEN, mint)
        .accepting::<OwnApprovalAnswer>()
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
) -> Result<TokenResponse, Problem> {
    let preference = call.input.preference();
    let input = mint_input(&services, &call.by, &call.input.fields_of(call.by.certificate())?)?;
    let certificate = call.by.certificate().clone();
    let asked = input.clone();
    let refused = match services.mint(call.by, input, idempotency.as_ref()).await {
        Ok(minted) => return Ok(TokenResponse::issued(minted)),
        Err(failure) => failure,
    };
    let Some(approval) = refused.awaits_approval().filter(|_| preference.accepts_pending()) else {
        return Err(refused.into());
    };
    let present = services.identify(&certificate)?;
    let pending = services.own_approval(&present, approval, preference.wait()).await?;
    if pending.state == ApprovalState::Pending.as_str() {
        return Ok(TokenResponse::Pending(Box::new(located(pending))));
    }
    // Approved, or ended: the request with the approval says so. The certificate is judged again after the wait.
    let principal = services.identify(&certificate)?;
    let input = MintInput { approval: Some(approval), ..asked };
    Ok(TokenResponse::issued(services.mint(principal, input, idempotency.as_ref()).await?))
}

/// The response to a token request.
enum TokenResponse {
    Issued(Box<WithHeaders<TokenAnswer>>),
    /// The request waits for an approval.
    Pending(Box<WithHeaders<OwnApprovalAnswer>>),
}

impl TokenResponse {
    fn issued(minted: Token) -> Self {
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
        let headers = vec![(header::PRAGMA, HeaderValue::from_static("no-cache"))];
        Self::Issued(Box::new(WithHeaders { answer, headers }))
    }
}

impl IntoAnswer<TokenAnswer> for TokenResponse {
    fn give(self, status: StatusCode) -> Response<Body> {
        match self {
            Self::Issued(issued) => IntoAnswer::<TokenAnswer>::give(*issued, status),
            Self::Pending(pending) => IntoAnswer::<OwnApprovalAnswer>::give(*pending, StatusCode::ACCEPTED),
        }
    }
}

fn left_out(left_out: LeftOut) -> LeftOutAnswer {
    LeftOutAnswer {
        code: left_out.code.as_str().into(),
        reason: left_out.reason(),
        capability: left_out.capability,
    }
}

/// The grant type of RFC 8628 §3.4.
pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn mint_input(
    services: &AgentServices,
    by: &AgentPrincipal,
    fields: &FormFields<'_>,
) -> Result<MintInput, Problem> {
    match fields.get("grant_type").map(AsRef::as_ref) {
        Some("client_credentials") => {
            let approval = fields.get("approval").map(|text| id(text)).transpose()?;
            let remediates = fields.get("remediates").map(|text| id(text)).transpose()?;
            Ok(MintInput { approval, remediates, ..requested_token(fields)? })
        }
        Some(DEVICE_CODE) => {
            let device = fields.get("device_code").ok_or_else(|| Problem::new(code::DEVICE_CODE_MISSING))?;
            // Another text than an id is a device code that the broker did not issue.
            let device = device.parse().map_err(|_| Problem::new(code::APPROVAL_UNKNOWN))?;
            Ok(services.device_request(by, device)?)
        }
        Some(_) => Err(Problem::new(code::GRANT_TYPE_UNSUPPORTED)),
        None => Err(Problem::new(code::GRANT_TYPE_MISSING)),
    }
}

/// The token that a request describes.
pub(super) fn requested_token(fields: &FormFields<'_>) -> Result<MintInput, Problem> {
    let scope: Result<BTreeSet<_>, Problem> =
        fields.get("scope").into_iter().flat_map(|scope| scope.split(' ')).map(scope_named).collect();
    let resource = fields.get("resource").map(|text| resource_named(text)).transpose()?;
    let parameters = BTreeMap::new();
    let mut requested = RequestedCapabilities { scope: scope?, resource, details: None, parameters };
    if let Some(details) = fields.get("authorization_details") {
        requested.add_details(details)?;
    }
    let life_s = fields.get("expires_in").map(|text| {
        let number = text.parse::<u32>().ok();
        number
            .filter(|seconds| i64::from(*seconds) >= TOKEN_LIFE_MIN_S)
            .ok_or_else(|| Problem::new(code::EXPIRES_IN_INVALID))
    });
    let RequestedCapabilities { scope, resource, details, parameters } = requested;
    Ok(MintInput {
        scope,
        resource,
        life_s: life_s.transpose()?,
        details,
        parameters,
        approval: None,
        remediates: None,
    })
}

/// A malformed capability name is a wrong scope (RFC 6749 §5.2), and a malformed audience a wrong target (RFC 8707 §2).
fn scope_named(text: &str) -> Result<CapabilityName, Problem> {
    text.parse().map_err(|error: NameError| Problem::new(code::SCOPE_MALFORMED).because(error.to_string()))
}

pub(super) fn resource_named(text: &str) -> Result<Audience, Problem> {
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
