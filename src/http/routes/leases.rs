use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode, Uri};
use axum::routing::{get, post};

use super::answers::{answer, explained};
use super::guard::{Operator, operator};
use super::input::{Agent, JSON, body, id, json, name, parse_json};
use crate::base::limits::{BODY_BYTES_MAX, PAGE_ENTRIES_MAX};
use crate::base::{DecisionId, LeaseId, Reason, ReasonError, Sensitive, code};
use crate::broker::{AdminDesk, AgentDesk, Chosen, Freshness, LeaseInput, LeaseView, Leased, Renewal};
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Table, route};
use crate::leases::{Ending, RevocationFailure};
use crate::policy::{EndLeases, ForgetLeases, ReadLeases, RenewLeases};
use crate::wire::{
    EndedLeasesAnswer, ForgetLeaseBody, ForgottenLeaseAnswer, GiveUpLeaseBody, GivenUpLeaseAnswer, Items,
    LeaseAnswer, LeaseBody, LeaseEndingAnswer, LeaseRenewalAnswer, LeaseSelectionBody, LoginAnswer,
    PageAnswer, RenewLeaseBody,
};

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
    let password = String::from_utf8(login.password.expose().to_vec());
    Ok(answer(
        StatusCode::OK,
        &LoginAnswer {
            lease: login.lease,
            capability: login.capability,
            username: login.login,
            password: Sensitive::new(password.map_err(|_| Problem::new(code::INTERNAL))?).into(),
            connection,
            expires_at: login.expires_at.to_string(),
            renewable_until: login.renewable_until.to_string(),
            reused,
            decision_id: login.decision,
            constrained: login.constrained,
        },
    ))
}

impl From<Renewal> for LeaseRenewalAnswer {
    fn from(renewal: Renewal) -> Self {
        Self {
            lease: renewal.lease,
            expires_at: renewal.expires_at.to_string(),
            renewable_until: renewal.renewable_until.to_string(),
            decision_id: renewal.decision,
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
    Ok(answer(StatusCode::OK, &LeaseRenewalAnswer::from(renewed)))
}

async fn give_up(
    State(desk): State<AgentDesk>,
    agent: Agent,
    Path(lease): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let lease: LeaseId = id(&lease)?;
    let asked: GiveUpLeaseBody = json(request, BODY_BYTES_MAX).await?;
    let used_by = asked.decision_id.as_deref().map(id::<DecisionId>).transpose()?;
    desk.give_up_lease(&agent.principal, lease, used_by).await?;
    Ok(answer(StatusCode::OK, &GivenUpLeaseAnswer { lease }))
}

impl From<Ending> for LeaseEndingAnswer {
    fn from(ending: Ending) -> Self {
        let trouble = ending.trouble;
        let explained = |trouble: &RevocationFailure| explained(&trouble.code, trouble.upstream.as_deref());
        Self {
            reason: trouble.as_ref().and_then(explained),
            why: ending.why.as_str().into(),
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
            lease: view.id,
            agent: view.agent,
            instance: view.instance,
            capability: view.capability,
            login: view.login,
            upstream: view.upstream,
            stage: view.stage.into(),
            issued_at: view.issued_at.to_string(),
            expires_at: view.expires_at.to_string(),
            renewable_until: view.renewable_until.to_string(),
            uses: view.uses,
            ending: view.ending.map(LeaseEndingAnswer::from),
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
    Ok(answer(StatusCode::OK, &PageAnswer { items, next_after }))
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
    Ok(answer(StatusCode::OK, &LeaseRenewalAnswer::from(renewed)))
}

impl LeaseSelectionBody {
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

async fn end(
    State(desk): State<AdminDesk>,
    operator: Operator<EndLeases>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (asked, once) = operator.json::<LeaseSelectionBody>(&desk, request, BODY_BYTES_MAX).await?;
    let ended = desk.end_leases(&operator.authorised, &asked.chosen()?, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndedLeasesAnswer { ended: ended.ended.into(), leases: ended.count }))
}

async fn retry(
    State(desk): State<AdminDesk>,
    operator: Operator<EndLeases>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (asked, once) = operator.json::<LeaseSelectionBody>(&desk, request, BODY_BYTES_MAX).await?;
    let retried = desk.retry_leases(&operator.authorised, &asked.chosen()?, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndedLeasesAnswer { ended: retried.ended.into(), leases: retried.count }))
}

async fn forget(
    State(desk): State<AdminDesk>,
    operator: Operator<ForgetLeases>,
    Path(lease): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let lease: LeaseId = id(&lease)?;
    let (asked, once) = operator.json::<ForgetLeaseBody>(&desk, request, BODY_BYTES_MAX).await?;
    let reason: Reason = asked
        .reason
        .parse()
        .map_err(|error: ReasonError| Problem::new(code::REASON_INVALID).because(error.to_string()))?;
    let forgotten = desk.forget_lease(&operator.authorised, lease, &reason, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &ForgottenLeaseAnswer { seq: forgotten.seq, could_log_in: forgotten.open }))
}
