use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::{get, post};
use serde_json::Value;

use super::answers::{answer, page_of};
use super::enrolment::{enrol_input, identity, renew_input};
use super::guard::{Operator, operator};
use super::input::{self, JSON, Wanted, body, id, name, parse_json};
use super::leases;
use super::operators;
use super::rotations;
use super::secrets;
use super::signing_keys;
use super::upstreams;
use crate::base::AgentName;
use crate::base::code;
use crate::base::limits::{
    BODY_BYTES_MAX, DECLARATION_BYTES_MAX, DECLARATION_FILES_MAX, FILE_NAME_BYTES_MAX, PAGE_ENTRIES_MAX,
};
use crate::broker::{AdminDesk, Applied, Ended, HeavyRequest, InviteInput, Priority, Revocation, Uploaded};
use crate::config::SourceFile;
use crate::http::documents::openapi::openapi;
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Route, Table, build, route};
use crate::http::transport::edge::Edge;
use crate::http::transport::listener::Peer;
use crate::http::transport::router::Front;
use crate::policy::{
    BeOneself, Contain, Declare, InviteAgents, ReadDeclared, ReadLedger, ReadMetrics, RevokeTokens,
};
use crate::registry::Unnamed;
use crate::wire::{
    AgentAnswer, AgentInvitationAnswer, AppliedAnswer, CapabilityAnswer, DeclareBody, EndedAnswer,
    EntriesAnswer, InviteAgentBody, OperatorWhoamiAnswer, ReadinessAnswer, RoleAnswer, StatusAnswer,
};

/// The admin listener's routes.
#[must_use]
pub fn admin_routes() -> Vec<Route> {
    table().into_iter().map(|(route, _)| route).collect()
}

/// What the admin listener serves.
#[must_use]
pub fn admin_router(desk: AdminDesk) -> Front {
    let own = desk.clone();
    let edge = Edge::new("admins", admin_routes(), desk.meters(), move || own.request_id());
    Front::new(edge, build(table()).with_state(desk))
}

fn table() -> Table<AdminDesk> {
    use Caller::Public;
    let mut table: Table<AdminDesk> = vec![
        (
            route("GET", "/livez", Public),
            get(async || answer(StatusCode::OK, &StatusAnswer { status: "ok".into() })),
        ),
        (route("GET", "/readyz", Public), get(readyz)),
        (route("POST", "/v1/enrol", Public), post(enrol)),
        operator("POST", "/v1/renew", renew),
        operator("GET", "/v1/whoami", whoami),
        operator("POST", "/v1/plan", plan),
        operator("POST", "/v1/apply", apply),
        operator("GET", "/v1/agents", agents),
        operator("GET", "/v1/agents/{name}", agent),
        operator("POST", "/v1/agents/{name}/invitations", invite),
        operator("POST", "/v1/agents/{name}/revoke", revoke_agent),
        operator("POST", "/v1/agents/{name}/suspend", suspend_agent),
        operator("POST", "/v1/agents/{name}/resume", resume_agent),
        operator("POST", "/v1/instances/{id}/revoke", revoke_instance),
        operator("POST", "/v1/certificates/{serial}/revoke", revoke_certificate),
        operator("POST", "/v1/tokens/{id}/revoke", revoke_token),
        operator("GET", "/v1/capabilities", capabilities),
        operator("GET", "/v1/roles", roles),
        operator("GET", "/v1/ledger/entries", entries),
        operator("GET", "/metrics", metrics),
        operator("GET", "/openapi.json", document),
    ];
    table.extend(operators::table());
    table.extend(signing_keys::table());
    table.extend(secrets::table());
    table.extend(rotations::table());
    table.extend(upstreams::table());
    table.extend(leases::admin_table());
    table
}

async fn readyz(State(desk): State<AdminDesk>) -> Result<Response<Body>, Problem> {
    desk.check_ready()?;
    // What waits for an operator is no reason to send requests elsewhere: there is no better broker.
    let warnings = desk.warnings().into_iter().map(|warning| warning.as_str().into()).collect();
    Ok(answer(StatusCode::OK, &ReadinessAnswer { status: "ok".into(), warnings }))
}

async fn enrol(
    State(desk): State<AdminDesk>,
    axum::Extension(peer): axum::Extension<Peer>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let enrolled = desk.enrol(enrol_input(request, &peer).await?).await?;
    Ok(identity(&desk.authorities_in_use(), &enrolled))
}

async fn renew(
    State(desk): State<AdminDesk>,
    operator: Operator<BeOneself>,
    axum::Extension(peer): axum::Extension<Peer>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let renewed = desk.renew(&operator.authorised, renew_input(request, &peer).await?).await?;
    Ok(identity(&desk.authorities_in_use(), &renewed))
}

async fn whoami(State(desk): State<AdminDesk>, operator: Operator<BeOneself>) -> Response<Body> {
    let principal = operator.authorised.operator();
    let answered = OperatorWhoamiAnswer {
        kind: "operator".into(),
        name: principal.name().to_string(),
        role: principal.role().as_str().into(),
        owner: principal.scope().owner().map(ToString::to_string),
        spiffe_id: operator.certificate.spiffe().to_string(),
        certificate: (&*operator.certificate).into(),
        renew_now: desk.is_to_be_replaced(&operator.certificate),
    };
    answer(StatusCode::OK, &answered)
}

impl DeclareBody {
    pub(crate) fn uploaded(self) -> Result<Uploaded, Problem> {
        if self.files.is_empty() || self.files.len() > DECLARATION_FILES_MAX {
            let why = format!("1 to {DECLARATION_FILES_MAX} files are taken at once");
            return Err(Problem::new(code::FILE_COUNT_INVALID).because(why));
        }
        if self.files.iter().any(|file| file.name.len() > FILE_NAME_BYTES_MAX) {
            return Err(Problem::new(code::FILE_NAME_TOO_LONG));
        }
        let unnamed = if self.prune { Unnamed::Prune } else { Unnamed::Keep };
        let files = self.files.into_iter().map(|file| SourceFile::new(file.name, file.text));
        Ok(Uploaded { files: files.collect(), unnamed })
    }
}

async fn plan(
    State(desk): State<AdminDesk>,
    operator: Operator<Declare>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let heavy = desk.heavy(&operator.authorised)?;
    let body = body(request, JSON, DECLARATION_BYTES_MAX).await?;
    let parsed = heavy.run(Priority::Low, move |_| parse_json::<DeclareBody>(&body)?.uploaded());
    let planned = desk.plan(&operator.authorised, &heavy, parsed.await?).await?;
    applied(&heavy, planned).await
}

async fn apply(
    State(desk): State<AdminDesk>,
    operator: Operator<Declare>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let heavy = desk.heavy(&operator.authorised)?;
    let body = body(request, JSON, DECLARATION_BYTES_MAX).await?;
    let own = desk.clone();
    let parsed = heavy.run(Priority::Low, move |_| {
        let once = operator.once(&own, body.expose());
        Ok::<_, Problem>((parse_json::<DeclareBody>(&body)?.uploaded()?, once, operator))
    });
    let (uploaded, once, operator) = parsed.await?;
    let done = desk.apply(&operator.authorised, &heavy, uploaded, once.as_ref()).await?;
    applied(&heavy, done).await
}

async fn applied(heavy: &HeavyRequest, done: Applied) -> Result<Response<Body>, Problem> {
    heavy.run(Priority::Low, move |_| Ok(answer(StatusCode::OK, &AppliedAnswer::from(done)))).await
}

async fn agents(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadDeclared>,
    Wanted(page): Wanted,
) -> Response<Body> {
    answer(StatusCode::OK, &page_of::<_, AgentAnswer>(desk.agents(&operator.authorised, &page)))
}

async fn agent(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadDeclared>,
    Path(agent): Path<String>,
) -> Result<Response<Body>, Problem> {
    let agent: AgentName = name(&agent)?;
    Ok(answer(StatusCode::OK, &AgentAnswer::from(desk.agent(&operator.authorised, &agent)?)))
}

async fn invite(
    State(desk): State<AdminDesk>,
    operator: Operator<InviteAgents>,
    Path(agent): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let agent: AgentName = name(&agent)?;
    let (body, once) = operator.json::<InviteAgentBody>(&desk, request, BODY_BYTES_MAX).await?;
    let input = InviteInput {
        agent,
        roles: body.roles.iter().map(|role| name(role)).collect::<Result<_, _>>()?,
        uses: body.uses,
        life_s: body.life_s,
        network: body.network.as_deref().map(name).transpose()?,
    };
    let invitation = desk.invite(&operator.authorised, input, once.as_ref()).await?;
    let answered = AgentInvitationAnswer {
        agent: invitation.agent,
        code: invitation.code.into(),
        code_id: invitation.id.to_string(),
        expires_at: invitation.expires_at.to_string(),
    };
    Ok(answer(StatusCode::CREATED, &answered))
}

impl From<Ended> for EndedAnswer {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Recorded(seq) => Self { seq: Some(seq), durable: true, kept: false },
            Ended::InMemory { kept } => Self { seq: None, durable: false, kept },
        }
    }
}

async fn revoke_agent(
    State(desk): State<AdminDesk>,
    operator: Operator<Contain>,
    Path(agent): Path<String>,
) -> Result<Response<Body>, Problem> {
    standing(&desk, &operator, &agent, Revocation::Revoke).await
}

async fn suspend_agent(
    State(desk): State<AdminDesk>,
    operator: Operator<Contain>,
    Path(agent): Path<String>,
) -> Result<Response<Body>, Problem> {
    standing(&desk, &operator, &agent, Revocation::Suspend).await
}

async fn resume_agent(
    State(desk): State<AdminDesk>,
    operator: Operator<Contain>,
    Path(agent): Path<String>,
) -> Result<Response<Body>, Problem> {
    standing(&desk, &operator, &agent, Revocation::Resume).await
}

async fn standing(
    desk: &AdminDesk,
    operator: &Operator<Contain>,
    agent: &str,
    what: Revocation,
) -> Result<Response<Body>, Problem> {
    let agent: AgentName = name(agent)?;
    let once = operator.once(desk, &[]);
    let ended = desk.revoke_agent(&operator.authorised, &agent, what, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndedAnswer::from(ended)))
}

async fn revoke_instance(
    State(desk): State<AdminDesk>,
    operator: Operator<Contain>,
    Path(instance): Path<String>,
) -> Result<Response<Body>, Problem> {
    let once = operator.once(&desk, &[]);
    let ended = desk.revoke_instance(&operator.authorised, id(&instance)?, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndedAnswer::from(ended)))
}

async fn revoke_certificate(
    State(desk): State<AdminDesk>,
    operator: Operator<Contain>,
    Path(serial): Path<String>,
) -> Result<Response<Body>, Problem> {
    let serial = input::serial(&serial)?;
    let once = operator.once(&desk, &[]);
    let ended = desk.revoke_certificate(&operator.authorised, serial, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndedAnswer::from(ended)))
}

async fn revoke_token(
    State(desk): State<AdminDesk>,
    operator: Operator<RevokeTokens>,
    Path(token): Path<String>,
) -> Result<Response<Body>, Problem> {
    let once = operator.once(&desk, &[]);
    let ended = desk.revoke_token(&operator.authorised, id(&token)?, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndedAnswer::from(ended)))
}

async fn capabilities(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadDeclared>,
    Wanted(page): Wanted,
) -> Response<Body> {
    answer(StatusCode::OK, &page_of::<_, CapabilityAnswer>(desk.capabilities(&operator.authorised, &page)))
}

async fn roles(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadDeclared>,
    Wanted(page): Wanted,
) -> Response<Body> {
    answer(StatusCode::OK, &page_of::<_, RoleAnswer>(desk.roles(&operator.authorised, &page)))
}

/// The content type of `OpenMetrics`.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn document(State(_): State<AdminDesk>, _operator: Operator<BeOneself>) -> Response<Body> {
    // Made once: it is the same for as long as the program runs.
    static DOCUMENT: LazyLock<Option<Value>> =
        LazyLock::new(|| openapi("Keyward, for operators", &admin_routes()));
    answer(StatusCode::OK, &*DOCUMENT)
}

async fn metrics(State(desk): State<AdminDesk>, operator: Operator<ReadMetrics>) -> Response<Body> {
    let mut response = Response::new(Body::from(desk.metrics(&operator.authorised)));
    let kind = HeaderValue::from_static(OPENMETRICS);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn entries(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadLedger>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (mut after, mut limit) = (0, PAGE_ENTRIES_MAX);
    for (field, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        let number = value.parse::<u64>().map_err(|_| bad_query())?;
        match field.as_ref() {
            "after" => after = number,
            "limit" if (1..=PAGE_ENTRIES_MAX as u64).contains(&number) => {
                limit = usize::try_from(number).unwrap_or(PAGE_ENTRIES_MAX);
            }
            _ => return Err(bad_query()),
        }
    }
    let heavy = desk.heavy(&operator.authorised)?;
    let page = heavy.run(Priority::Ordinary, move |_| {
        let page = desk.entries(&operator.authorised, after, limit).map_err(Problem::from)?;
        Ok(answer(StatusCode::OK, &EntriesAnswer::from(page)))
    });
    page.await
}

fn bad_query() -> Problem {
    Problem::new(code::QUERY_INVALID)
}
