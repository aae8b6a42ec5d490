use super::caller::AuthorisedOperator;
use super::table::{PublicRequest, RouteRequest, Routes};
use crate::broker::{AdminServices, AgentServices};
use crate::http::documents::problem::Problem;
use crate::policy::ReadMetrics;
use crate::wire::{self, Nothing, OpenMetrics, ReadinessAnswer, StatusAnswer};

/// The agents' routes of liveness and readiness.
pub(crate) fn agent_routes() -> Routes<AgentServices> {
    Routes::new().route(&wire::LIVENESS, liveness).route(&wire::READINESS, agent_readiness)
}

/// The operators' routes of liveness, readiness and metrics.
pub(crate) fn operator_routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIVENESS, liveness)
        .route(&wire::READINESS, operator_readiness)
        .route(&wire::METRICS, metrics)
}

pub(crate) fn alive() -> StatusAnswer {
    StatusAnswer { status: "ok".into() }
}

async fn liveness<S>(_: S, _: PublicRequest) -> Result<StatusAnswer, Problem> {
    Ok(alive())
}

async fn agent_readiness(services: AgentServices, _: PublicRequest) -> Result<ReadinessAnswer, Problem> {
    services.check_ready()?;
    Ok(ReadinessAnswer { status: "ok".into(), warnings: Vec::new() })
}

async fn operator_readiness(services: AdminServices, _: PublicRequest) -> Result<ReadinessAnswer, Problem> {
    services.check_ready()?;
    // A warning does not fail the readiness: no other broker would serve the requests better.
    let warnings = services.warnings().into_iter().map(|warning| warning.as_str().into()).collect();
    Ok(ReadinessAnswer { status: "ok".into(), warnings })
}

async fn metrics(
    services: AdminServices,
    call: RouteRequest<AuthorisedOperator<ReadMetrics>, Nothing, Nothing>,
) -> Result<OpenMetrics, Problem> {
    Ok(OpenMetrics(services.metrics(&call.by)))
}
