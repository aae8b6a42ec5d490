use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::routing::{get, post};
use serde_json::Value;

use super::answers::answer;
use super::client_id::BasicClient;
use super::discovery;
use super::enrolment::{enrol_input, identity, renew_input};
use super::form::parse_form;
use super::input::{Agent, Enrolled, FORM, Renewing, ResourceServer, bearer, body, form, name};
use super::introspection;
use super::leases;
use crate::base::code;
use crate::base::limits::{BODY_BYTES_MAX, DOCUMENTS_MAX_AGE_S, TOKEN_LIFE_MIN_S};
use crate::base::{Audience, CapabilityName, NameError, SecretName, Sensitive};
use crate::broker::{AgentDesk, MintInput};
use crate::http::documents::openapi::openapi;
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Route, Table, build, route};
use crate::http::transport::edge::Edge;
use crate::http::transport::listener::Peer;
use crate::http::transport::router::Front;
use crate::pki::{PeerCertificate, authorities_pem};
use crate::wire::{AgentWhoamiAnswer, ReadinessAnswer, StatusAnswer, TokenAnswer};

/// The agent listener's routes.
#[must_use]
pub fn agent_routes() -> Vec<Route> {
    table().into_iter().map(|(route, _)| route).collect()
}

/// What the agent listener serves.
#[must_use]
pub fn agent_router(desk: AgentDesk) -> Front {
    let own = desk.clone();
    let edge = Edge::new("agents", agent_routes(), desk.meters(), move || own.request_id());
    Front::new(edge.of_resource(desk.issuer()), build(table()).with_state(desk))
}

/// The same without limits, names and meters: for the broker to ask itself.
pub(crate) fn document_router(desk: AgentDesk) -> Router {
    build(table()).with_state(desk)
}

fn table() -> Table<AgentDesk> {
    use Caller::{Agent, Enrolled, Public};
    let mut table: Table<AgentDesk> = vec![
        (
            route("GET", "/livez", Public),
            get(async || answer(StatusCode::OK, &StatusAnswer { status: "ok".into() })),
        ),
        (route("GET", "/readyz", Public), get(readyz)),
        (route("GET", "/.well-known/jwks.json", Public), get(jwks)),
        (route("GET", "/openapi.json", Public), get(document)),
        (route("GET", "/v1/authority", Public), get(authority)),
        (route("GET", "/v1/checkpoint", Public), get(checkpoint)),
        (route("GET", "/v1/checkpoint/key", Public), get(checkpoint_key)),
        (route("GET", "/oauth/authorize", Public), get(authorize)),
        (route("POST", "/v1/enrol", Public), post(enrol)),
        (route("POST", "/v1/renew", Enrolled), post(renew)),
        (route("POST", "/oauth/token", Agent), post(token)),
        (route("POST", "/oauth/revoke", Agent), post(revoke)),
        (route("GET", "/v1/whoami", Enrolled), get(whoami)),
        (route("GET", "/v1/secrets/{*name}", Agent), get(reveal)),
    ];
    table.extend(discovery::table());
    table.extend(introspection::table());
    table.extend(leases::table());
    table
}

async fn readyz(State(desk): State<AgentDesk>) -> Result<Response<Body>, Problem> {
    desk.check_ready()?;
    Ok(answer(StatusCode::OK, &ReadinessAnswer { status: "ok".into(), warnings: Vec::new() }))
}

pub(crate) async fn document() -> Response<Body> {
    // Made once: it is the same for as long as the program runs.
    static DOCUMENT: LazyLock<Option<Value>> =
        LazyLock::new(|| openapi("Keyward, for agents", &agent_routes()));
    public(answer(StatusCode::OK, &*DOCUMENT))
}

async fn jwks(State(desk): State<AgentDesk>) -> Response<Body> {
    public(answer(StatusCode::OK, &desk.key_set()))
}

async fn authority(State(desk): State<AgentDesk>) -> Response<Body> {
    let mut response = Response::new(Body::from(authorities_pem(&desk.authorities())));
    let kind = HeaderValue::from_static("application/x-pem-file");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    public(response)
}

async fn checkpoint(State(desk): State<AgentDesk>) -> Response<Body> {
    text(desk.checkpoint())
}

async fn checkpoint_key(State(desk): State<AgentDesk>) -> Response<Body> {
    text(format!("{}\n", desk.checkpoint_key()))
}

fn text(body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Public documents may be kept for a minute: short enough for a rotation to be seen.
pub(crate) fn public(mut response: Response<Body>) -> Response<Body> {
    let age = format!("public, max-age={DOCUMENTS_MAX_AGE_S}");
    if let Ok(age) = HeaderValue::try_from(age) {
        response.headers_mut().insert(header::CACHE_CONTROL, age);
    }
    response
}

/// What is one caller's alone is kept by that caller alone.
pub(crate) fn private(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
    response
}

async fn authorize() -> Problem {
    Problem::new(code::RESPONSE_TYPE_UNSUPPORTED).oauth()
}

async fn enrol(
    State(desk): State<AgentDesk>,
    axum::Extension(peer): axum::Extension<Peer>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let enrolled = desk.enrol(enrol_input(request, &peer).await?).await?;
    Ok(identity(&desk.authorities(), &enrolled))
}

async fn renew(
    State(desk): State<AgentDesk>,
    Renewing(renewing): Renewing,
    axum::Extension(peer): axum::Extension<Peer>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let renewed = desk.renew(renewing, renew_input(request, &peer).await?).await?;
    Ok(identity(&desk.authorities(), &renewed))
}

async fn token(
    State(desk): State<AgentDesk>,
    agent: Result<Agent, Problem>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let agent = agent.map_err(Problem::oauth)?;
    let client = BasicClient::of(request.headers()).map_err(Problem::oauth)?;
    let body = body(request, FORM, BODY_BYTES_MAX).await.map_err(Problem::oauth)?;
    let once = agent.once(&desk, body.expose());
    let input = mint_input(&body, &client, agent.principal.certificate()).map_err(Problem::oauth)?;
    let minted = desk.mint(agent.principal, input, once.as_ref()).await;
    let minted = minted.map_err(|failure| Problem::from(failure).oauth())?;
    let answered = TokenAnswer {
        access_token: Sensitive::new(minted.token.expose().to_owned()).into(),
        token_type: "Bearer".into(),
        expires_in: minted.life_s,
        scope: minted.scope,
        token_id: minted.id,
        decision_id: minted.decision,
        constrained: minted.constrained,
    };
    let mut response = answer(StatusCode::OK, &answered);
    // RFC 6749 §5.1 asks for it beside `Cache-Control`.
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

fn mint_input(
    body: &Sensitive<Vec<u8>>,
    client: &BasicClient,
    certificate: &PeerCertificate,
) -> Result<MintInput, Problem> {
    let fields = parse_form(body)?;
    client.is_holder_of(certificate, &fields)?;
    match fields.get("grant_type").map(AsRef::as_ref) {
        Some("client_credentials") => {}
        Some(_) => return Err(Problem::new(code::GRANT_TYPE_UNSUPPORTED)),
        None => return Err(Problem::new(code::GRANT_TYPE_MISSING)),
    }
    if fields.contains_key("authorization_details") {
        return Err(Problem::new(code::AUTHORIZATION_DETAILS_NOT_SUPPORTED));
    }
    let scope: Result<BTreeSet<_>, Problem> =
        fields.get("scope").into_iter().flat_map(|scope| scope.split(' ')).map(scope_named).collect();
    let life_s = fields.get("expires_in").map(|text| {
        let number = text.parse::<u32>().ok();
        number
            .filter(|seconds| i64::from(*seconds) >= TOKEN_LIFE_MIN_S)
            .ok_or_else(|| Problem::new(code::EXPIRES_IN_INVALID))
    });
    Ok(MintInput {
        scope: scope?,
        resource: fields.get("resource").map(|text| resource_named(text)).transpose()?,
        life_s: life_s.transpose()?,
    })
}

/// What is no capability's name is a wrong scope (RFC 6749 §5.2), and an audience in another spelling
/// a wrong target (RFC 8707 §2).
fn scope_named(text: &str) -> Result<CapabilityName, Problem> {
    text.parse().map_err(|error: NameError| Problem::new(code::SCOPE_MALFORMED).because(error.to_string()))
}

fn resource_named(text: &str) -> Result<Audience, Problem> {
    text.parse().map_err(|error: NameError| Problem::new(code::RESOURCE_MALFORMED).because(error.to_string()))
}

/// RFC 7009: the answer says nothing of the token, which is the caller's own or none of its business.
async fn revoke(
    State(desk): State<AgentDesk>,
    agent: Result<Agent, Problem>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let given_up = async {
        let agent = agent?;
        let fields = form(request, Some(agent.principal.certificate()), BODY_BYTES_MAX).await?;
        let token = fields.get("token").ok_or_else(|| Problem::new(code::TOKEN_PARAMETER_MISSING))?;
        desk.give_up(&agent.principal, token).await?;
        Ok(Response::new(Body::empty()))
    };
    given_up.await.map_err(Problem::oauth)
}

async fn whoami(State(desk): State<AgentDesk>, caller: Enrolled) -> Response<Body> {
    let answered = match caller {
        Enrolled::Agent(agent) => agent_itself(&desk, &agent),
        Enrolled::ResourceServer(server) => server_itself(&desk, &server),
    };
    answer(StatusCode::OK, &answered)
}

fn agent_itself(desk: &AgentDesk, agent: &Agent) -> AgentWhoamiAnswer {
    let overview = desk.overview(&agent.principal);
    AgentWhoamiAnswer {
        kind: "agent".into(),
        name: agent.principal.name().to_string(),
        spiffe_id: agent.principal.spiffe().to_string(),
        instance: agent.principal.instance().to_string(),
        audience: None,
        roles: overview.roles.iter().map(ToString::to_string).collect(),
        capabilities: overview.capabilities.into_iter().map(Into::into).collect(),
        certificate: agent.principal.certificate().into(),
        renew_now: desk.is_to_be_replaced(agent.principal.certificate()),
    }
}

fn server_itself(desk: &AgentDesk, server: &ResourceServer) -> AgentWhoamiAnswer {
    AgentWhoamiAnswer {
        kind: "resource-server".into(),
        name: server.principal.name().to_string(),
        spiffe_id: server.certificate.spiffe().to_string(),
        instance: server.principal.instance().to_string(),
        audience: Some(server.principal.serves().to_string()),
        roles: Vec::new(),
        capabilities: Vec::new(),
        certificate: (&*server.certificate).into(),
        renew_now: desk.is_to_be_replaced(&server.certificate),
    }
}

/// The scope that gets `agent` a token for secrets that are `wanted`: its own capabilities alone.
pub(crate) fn scope_of(desk: &AgentDesk, agent: &Agent, wanted: impl Fn(&SecretName) -> bool) -> Vec<String> {
    let capabilities = desk.overview(&agent.principal).capabilities.into_iter();
    let reading = capabilities.filter(|one| one.audience == desk.issuer());
    reading.filter(|one| one.secret.as_ref().is_some_and(&wanted)).map(|one| one.name.to_string()).collect()
}

async fn reveal(
    State(desk): State<AgentDesk>,
    agent: Agent,
    Path(secret): Path<String>,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let scope = || scope_of(&desk, &agent, |read| *read == secret);
    let token = bearer(&headers).map_err(|problem| problem.for_scope(scope()))?;
    let revealed = desk.reveal(agent.principal.clone(), token, &secret).await;
    let revealed = revealed.map_err(|failure| Problem::from(failure).for_scope(scope()))?;
    let mut response = Response::new(Body::from(revealed.value.expose().to_vec()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("keyward-secret-version", HeaderValue::from(revealed.version));
    if let Ok(decision) = HeaderValue::from_str(&revealed.decision.to_string()) {
        headers.insert("keyward-decision-id", decision);
    }
    Ok(response)
}
