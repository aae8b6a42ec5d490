use super::table::{AdminRequest, RouteRequest, Routes};
use super::target::{id, name, reason};
use crate::authn::AgentPrincipal;
use crate::base::{LeaseId, Sensitive, code};
use crate::broker::{
    AdminServices, AgentServices, Chosen, Freshness, LeaseInput, Leased, OperatorRequest, Renewal,
};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::policy::{EndLeases, ForgetLeases, ReadLeases, RenewLeases};
use crate::wire::{
    self, EndedLeasesAnswer, ForgetLeaseBody, ForgottenLeaseAnswer, GiveUpLeaseBody, GivenUpLeaseAnswer,
    Items, LeaseAnswer, LeaseBody, LeaseRenewalAnswer, LeaseSelectionBody, LoginAnswer, Nothing, Optional,
    PageAnswer, PageQuery, RenewLeaseBody, RevokeLeasesBody,
};

type ByAgent<T = Nothing, I = Nothing> = RouteRequest<AgentPrincipal, T, I>;

/// The agents' routes of leases.
pub(crate) fn agent_routes() -> Routes<AgentServices> {
    Routes::new()
        .route(&wire::LIST_OWN_LEASES, list_own)
        .idempotent(&wire::ISSUE_LEASE, issue)
        .route(&wire::RENEW_LEASE, renew)
        .route(&wire::GIVE_UP_LEASE, give_up)
}

/// The operators' routes of leases.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_LEASES, list)
        .route(&wire::EXTEND_LEASE, extend)
        .idempotent(&wire::REVOKE_LEASES, revoke)
        .without_waiting()
        .idempotent(&wire::RETRY_LEASES, retry)
        .idempotent(&wire::FORGET_LEASE, forget)
}

async fn issue(
    services: AgentServices,
    call: ByAgent<Nothing, LeaseBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<LoginAnswer, Problem> {
    let LeaseBody { capability, life_s, fresh } = call.input;
    let freshness = if fresh { Freshness::Fresh } else { Freshness::Any };
    let input = LeaseInput { capability: name(&capability)?, life_s, freshness };
    let Leased { login, connection, reused } = services.lease(call.by, &input, idempotency.as_ref()).await?;
    let password = String::from_utf8(login.password.expose().to_vec());
    Ok(LoginAnswer {
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
    })
}

async fn renew(
    services: AgentServices,
    call: ByAgent<LeaseId, Optional<RenewLeaseBody>>,
) -> Result<LeaseRenewalAnswer, Problem> {
    Ok(services.renew_lease(call.by, call.target, call.input.life_s).await?.into())
}

async fn give_up(
    services: AgentServices,
    call: ByAgent<LeaseId, Optional<GiveUpLeaseBody>>,
) -> Result<GivenUpLeaseAnswer, Problem> {
    let used_by = call.input.decision_id.as_deref().map(id).transpose()?;
    services.give_up_lease(&call.by, call.target, used_by).await?;
    Ok(GivenUpLeaseAnswer { lease: call.target })
}

async fn list_own(services: AgentServices, call: ByAgent) -> Result<Items<LeaseAnswer>, Problem> {
    Ok(Items { items: services.own_leases(&call.by) })
}

async fn list(
    services: AdminServices,
    call: AdminRequest<ReadLeases, Nothing, PageQuery<LeaseId>>,
) -> Result<PageAnswer<LeaseAnswer>, Problem> {
    Ok(services.leases(&call.by, call.input.after, call.input.limit))
}

async fn extend(
    services: AdminServices,
    call: AdminRequest<RenewLeases, LeaseId, Optional<RenewLeaseBody>>,
) -> Result<LeaseRenewalAnswer, Problem> {
    Ok(services.extend_lease(&call.by, call.target, call.input.life_s).await?.into())
}

fn chosen(body: &LeaseSelectionBody) -> Result<Chosen, Problem> {
    match (&body.lease, &body.agent, &body.capability, body.all) {
        (Some(lease), None, None, false) => Ok(Chosen::Lease(id(lease)?)),
        (None, Some(agent), None, false) => Ok(Chosen::Agent(name(agent)?)),
        (None, None, Some(capability), false) => Ok(Chosen::Capability(name(capability)?)),
        (None, None, None, true) => Ok(Chosen::All),
        _ => Err(Problem::new(code::LEASE_SELECTION_INVALID)),
    }
}

async fn revoke(
    services: AdminServices,
    call: AdminRequest<EndLeases, Nothing, RevokeLeasesBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<EndedLeasesAnswer, Problem> {
    let (which, said) = call.input.into_parts();
    let reason = reason(said.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    let ended = services.end_leases(&call.by, &chosen(&which)?, request).await?;
    Ok(EndedLeasesAnswer { ended: ended.ended.into(), leases: ended.count })
}

async fn retry(
    services: AdminServices,
    call: AdminRequest<EndLeases, Nothing, LeaseSelectionBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<EndedLeasesAnswer, Problem> {
    let retried = services.retry_leases(&call.by, &chosen(&call.input)?, idempotency.as_ref()).await?;
    Ok(EndedLeasesAnswer { ended: retried.ended.into(), leases: retried.count })
}

async fn forget(
    services: AdminServices,
    call: AdminRequest<ForgetLeases, LeaseId, ForgetLeaseBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<ForgottenLeaseAnswer, Problem> {
    let reason = reason(Some(&call.input.reason))?.ok_or_else(|| Problem::new(code::REASON_INVALID))?;
    let forgotten = services.forget_lease(&call.by, call.target, &reason, idempotency.as_ref()).await?;
    Ok(ForgottenLeaseAnswer { seq: forgotten.seq, could_log_in: forgotten.open })
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
