use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode, Uri};
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admins::EndedAnswer;
use super::answers::{Items, answer, explained};
use super::guard::{Operator, operator};
use super::input::{Agent, JSON, body, id, json, name, parse_json};
use crate::base::limits::{BODY_BYTES_MAX, PAGE_ENTRIES_MAX};
use crate::base::{DecisionId, LeaseId, Reason, ReasonError, code};
use crate::broker::{AdminDesk, AgentDesk, Chosen, Freshness, LeaseInput, LeaseView, Leased, Renewal};
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Table, route};
use crate::leases::{Ending, Trouble};
use crate::policy::{EndLeases, ForgetLeases, ReadLeases, RenewLeases};

/// The agents' routes of leases.
pub(crate) fn table() -> Table<AgentDesk> {
    vec![
        (route("GET", "/v1/leases", Caller::Agent), get(own)),
        (route("POST", "/v1/leases", Caller::Agent), post(lend)),
        (route("POST", "/v1/leases/{id}/renew", Caller::Agent), post(renew)),
        (route("POST", "/v1/leases/{id}/give-up", Caller::Agent), post(give_up)),
    ]
}

/// The operators' routes of leases.
pub(crate) fn admin_table() -> Table<AdminDesk> {
    vec![
        operator("GET", "/v1/leases", leases),
        operator("POST", "/v1/leases/{id}/renew", extend),
        operator("POST", "/v1/lease-endings", end),
        operator("POST", "/v1/lease-retries", retry),
        operator("POST", "/v1/leases/{id}/forget", forget),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseBody {
    capability: String,
    /// How long it is to last, in seconds; an hour, or what the capability allows, unless said.
    life_s: Option<u32>,
    /// Whether a login that the instance has already will not do.
    #[serde(default)]
    fresh: bool,
}

/// A login. Whoever is answered this has it; it stands nowhere else.
#[derive(JsonSchema, Serialize)]
pub(crate) struct LoginAnswer<'a> {
    lease: String,
    capability: String,
    username: &'a str,
    password: &'a str,
    /// How the upstream is reached: `driver`, and the fields that the reference of that driver lists.
    connection: &'a serde_json::Map<String, serde_json::Value>,
    expires_at: String,
    renewable_until: String,
    /// Whether the instance had it before.
    reused: bool,
    decision_id: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    constrained: &'a [String],
}

async fn lend(
    State(desk): State<AgentDesk>,
    agent: Agent,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let body = body(request, JSON, BODY_BYTES_MAX).await?;
    let once = agent.once(&desk, body.expose());
    let asked: LeaseBody = parse_json(&body)?;
    let freshness = if asked.fresh { Freshness::Fresh } else { Freshness::Any };
    let input = LeaseInput { capability: name(&asked.capability)?, life_s: asked.life_s, freshness };
    let Leased { login, connection, reused } = desk.lease(agent.principal, &input, once.as_ref()).await?;
    let password = std::str::from_utf8(login.password.expose());
    Ok(answer(
        StatusCode::OK,
        &LoginAnswer {
            lease: login.lease.to_string(),
            capability: login.capability.to_string(),
            username: &login.login,
            password: password.map_err(|_| Problem::new(code::INTERNAL))?,
            connection: &connection,
            expires_at: login.expires_at.to_string(),
            renewable_until: login.renewable_until.to_string(),
            reused,
            decision_id: login.decision.to_string(),
            constrained: &login.constrained,
        },
    ))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenewLeaseBody {
    /// How long it is to last from now on, in seconds.
    life_s: Option<u32>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct RenewalAnswer {
    lease: String,
    expires_at: String,
    renewable_until: String,
    decision_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    constrained: Vec<String>,
}

impl From<Renewal> for RenewalAnswer {
    fn from(renewal: Renewal) -> Self {
        Self {
            lease: renewal.lease.to_string(),
            expires_at: renewal.expires_at.to_string(),
            renewable_until: renewal.renewable_until.to_string(),
            decision_id: renewal.decision.to_string(),
            constrained: renewal.constrained,
        }
    }
}

async fn renew(
    State(desk): State<AgentDesk>,
    agent: Agent,
    Path(lease): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let lease: LeaseId = id(&lease)?;
    let asked: RenewLeaseBody = json(request, BODY_BYTES_MAX).await?;
    let renewed = desk.renew_lease(agent.principal, lease, asked.life_s).await?;
    Ok(answer(StatusCode::OK, &RenewalAnswer::from(renewed)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GiveUpBody {
    /// The decision by which it was handed out, when only that use of it ends.
    decision_id: Option<String>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct GivenUpAnswer {
    lease: String,
}

async fn give_up(
    State(desk): State<AgentDesk>,
    agent: Agent,
    Path(lease): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let lease: LeaseId = id(&lease)?;
    let asked: GiveUpBody = json(request, BODY_BYTES_MAX).await?;
    let used_by = asked.decision_id.as_deref().map(id::<DecisionId>).transpose()?;
    desk.give_up_lease(&agent.principal, lease, used_by).await?;
    Ok(answer(StatusCode::OK, &GivenUpAnswer { lease: lease.to_string() }))
}

/// A lease; never its password.
#[derive(JsonSchema, Serialize)]
pub(crate) struct LeaseAnswer {
    lease: String,
    agent: String,
    instance: String,
    capability: String,
    login: String,
    upstream: String,
    stage: &'static str,
    issued_at: String,
    expires_at: String,
    renewable_until: String,
    /// How often it was handed out and is still needed.
    uses: usize,
    ending: Option<EndingAnswer>,
    /// Whether its end should have come before now.
    overdue: bool,
}

#[derive(JsonSchema, Serialize)]
struct EndingAnswer {
    why: &'static str,
    since: String,
    failures: u32,
    /// The stable code of the last failure.
    code: Option<String>,
    /// Upstream's own code, or the name of what is wrong with its certificate.
    upstream_code: Option<String>,
    /// What the last failure was, in a sentence.
    reason: Option<String>,
    retry_at: Option<String>,
}

impl From<Ending> for EndingAnswer {
    fn from(ending: Ending) -> Self {
        let trouble = ending.trouble;
        let explained = |trouble: &Trouble| explained(&trouble.code, trouble.upstream.as_deref());
        Self {
            reason: trouble.as_ref().and_then(explained),
            why: ending.why.as_str(),
            since: ending.since.to_string(),
            failures: ending.failures,
            retry_at: trouble.as_ref().map(|trouble| trouble.retry_at.to_string()),
            upstream_code: trouble.as_ref().and_then(|trouble| trouble.upstream.clone()),
            code: trouble.map(|trouble| trouble.code),
        }
    }
}

impl From<LeaseView> for LeaseAnswer {
    fn from(view: LeaseView) -> Self {
        Self {
            lease: view.id.to_string(),
            agent: view.agent.to_string(),
            instance: view.instance.to_string(),
            capability: view.capability.to_string(),
            login: view.login,
            upstream: view.upstream,
            stage: view.stage,
            issued_at: view.issued_at.to_string(),
            expires_at: view.expires_at.to_string(),
            renewable_until: view.renewable_until.to_string(),
            uses: view.uses,
            ending: view.ending.map(EndingAnswer::from),
            overdue: view.overdue,
        }
    }
}

async fn own(State(desk): State<AgentDesk>, agent: Agent, uri: Uri) -> Result<Response<Body>, Problem> {
    if uri.query().is_some() {
        return Err(Problem::new(code::QUERY_NOT_ALLOWED));
    }
    let items: Vec<_> = desk.own_leases(&agent.principal).into_iter().map(LeaseAnswer::from).collect();
    Ok(answer(StatusCode::OK, &Items { items }))
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct LeasesAnswer {
    items: Vec<LeaseAnswer>,
    /// The lease to go on after.
    next_after: Option<String>,
}

async fn leases(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadLeases>,
    uri: Uri,
) -> Result<Response<Body>, Problem> {
    let (mut after, mut limit) = (None, PAGE_ENTRIES_MAX);
    for (field, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let number = value.parse::<usize>().ok().filter(|number| (1..=PAGE_ENTRIES_MAX).contains(number));
        match (field.as_ref(), number) {
            ("after", _) => after = Some(id::<LeaseId>(&value)?),
            ("limit", Some(number)) => limit = number,
            _ => return Err(Problem::new(code::QUERY_INVALID)),
        }
    }
    let page = desk.leases(&operator.authorised, after, limit);
    let next_after = page.next_after.map(|lease| lease.to_string());
    let items = page.leases.into_iter().map(LeaseAnswer::from).collect();
    Ok(answer(StatusCode::OK, &LeasesAnswer { items, next_after }))
}

async fn extend(
    State(desk): State<AdminDesk>,
    operator: Operator<RenewLeases>,
    Path(lease): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let lease: LeaseId = id(&lease)?;
    let asked: RenewLeaseBody = json(request, BODY_BYTES_MAX).await?;
    let renewed = desk.renew_lease(&operator.authorised, lease, asked.life_s).await?;
    Ok(answer(StatusCode::OK, &RenewalAnswer::from(renewed)))
}

/// Which leases are to end: in one way.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndBody {
    lease: Option<String>,
    agent: Option<String>,
    capability: Option<String>,
    #[serde(default)]
    all: bool,
}

impl EndBody {
    fn chosen(&self) -> Result<Chosen, Problem> {
        match (&self.lease, &self.agent, &self.capability, self.all) {
            (Some(lease), None, None, false) => Ok(Chosen::Lease(id(lease)?)),
            (None, Some(agent), None, false) => Ok(Chosen::Agent(name(agent)?)),
            (None, None, Some(capability), false) => Ok(Chosen::Capability(name(capability)?)),
            (None, None, None, true) => Ok(Chosen::All),
            _ => Err(Problem::new(code::LEASE_SELECTION_INVALID)),
        }
    }
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct EndAnswer {
    #[serde(flatten)]
    ended: EndedAnswer,
    /// How many there were; not said when the request had been carried out before.
    leases: Option<usize>,
}

async fn end(
    State(desk): State<AdminDesk>,
    operator: Operator<EndLeases>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (asked, once) = operator.json::<EndBody>(&desk, request, BODY_BYTES_MAX).await?;
    let ended = desk.end_leases(&operator.authorised, &asked.chosen()?, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndAnswer { ended: ended.ended.into(), leases: ended.count }))
}

async fn retry(
    State(desk): State<AdminDesk>,
    operator: Operator<EndLeases>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (asked, once) = operator.json::<EndBody>(&desk, request, BODY_BYTES_MAX).await?;
    let retried = desk.retry_leases(&operator.authorised, &asked.chosen()?, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndAnswer { ended: retried.ended.into(), leases: retried.count }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgetBody {
    /// Why, in one line: it stays in the ledger.
    reason: String,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct ForgottenAnswer {
    seq: u64,
    /// Whether the login could still log in, as far as the broker knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    could_log_in: Option<bool>,
}

async fn forget(
    State(desk): State<AdminDesk>,
    operator: Operator<ForgetLeases>,
    Path(lease): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let lease: LeaseId = id(&lease)?;
    let (asked, once) = operator.json::<ForgetBody>(&desk, request, BODY_BYTES_MAX).await?;
    let reason: Reason = asked
        .reason
        .parse()
        .map_err(|error: ReasonError| Problem::new(code::REASON_INVALID).because(error.to_string()))?;
    let forgotten = desk.forget_lease(&operator.authorised, lease, &reason, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &ForgottenAnswer { seq: forgotten.seq, could_log_in: forgotten.open }))
}
