use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::StatusCode;
use serde_json::Value;

use super::answer::{ReadyResponse, WithHeaders, cacheable, json};
use super::caller::{AnonymousCaller, AuthorisedOperator};
use super::table::{RouteRequest, Routes};
use super::{
    agents, approval_context, approval_keys, approvals, decisions, declarations, discovery, evidence, host,
    identity, incidents, keys, leases, ledger, operators, policies, rotations, secrets, status, tokens,
};
use crate::broker::{AdminServices, AgentServices, HostServices};
use crate::http::documents::openapi::openapi;
use crate::http::documents::problem::Problem;
use crate::http::route::Route;
use crate::http::transport::middleware::Middleware;
use crate::http::transport::router::ListenerRouter;
use crate::policy::BeOneself;
use crate::telemetry::Meters;
use crate::wire::{self, Nothing};

fn agent_table() -> Routes<AgentServices> {
    status::agent_routes()
        .route(
            &wire::OPENAPI_DOCUMENT,
            async |_: AgentServices, _: RouteRequest<AnonymousCaller, Nothing, Nothing>| Ok(agent_document()),
        )
        .and(ledger::public_routes())
        .and(discovery::routes())
        .and(tokens::routes())
        .and(identity::agent_routes())
        .and(secrets::agent_routes())
        .and(leases::agent_routes())
        .and(decisions::agent_routes())
        .and(approvals::agent_routes())
}

fn admin_table() -> Routes<AdminServices> {
    status::operator_routes()
        .route(&wire::OPENAPI_DOCUMENT, admin_document)
        .and(identity::operator_routes())
        .and(declarations::routes())
        .and(agents::routes())
        .and(policies::routes())
        .and(decisions::routes())
        .and(ledger::routes())
        .and(evidence::routes())
        .and(operators::routes())
        .and(approval_keys::routes())
        .and(approval_context::routes())
        .and(keys::routes())
        .and(secrets::routes())
        .and(rotations::routes())
        .and(leases::routes())
        .and(incidents::routes())
        .and(approvals::operator_routes())
}

/// The agent listener's routes.
#[must_use]
pub fn agent_routes() -> Vec<Route> {
    agent_table().routes()
}

/// The admin listener's routes.
#[must_use]
pub fn admin_routes() -> Vec<Route> {
    admin_table().routes()
}

/// The routes of the socket on the broker's host.
#[must_use]
pub fn host_routes() -> Vec<Route> {
    host::routes().routes()
}

/// The agent listener's router.
#[must_use]
pub fn agent_router(services: AgentServices) -> ListenerRouter {
    let (own, marked) = (services.clone(), services.clone());
    let middleware = Middleware::new("agents", agent_routes(), services.meters(), move || own.request_id());
    ListenerRouter::new(
        middleware.of_resource(services.issuer()).marking(move || marked.is_read_only()),
        agent_table().router().with_state(services),
    )
}

/// The agent listener's router without limits, request ids and metrics, for internal requests.
pub(crate) fn document_router(services: AgentServices) -> Router {
    agent_table().router().with_state(services)
}

/// The admin listener's router.
#[must_use]
pub fn admin_router(services: AdminServices) -> ListenerRouter {
    let (own, marked) = (services.clone(), services.clone());
    let middleware = Middleware::new("admins", admin_routes(), services.meters(), move || own.request_id());
    ListenerRouter::new(
        middleware.marking(move || marked.is_read_only()),
        admin_table().router().with_state(services),
    )
}

/// The host socket's router. It outlives the serving broker, whose metrics would end before.
#[must_use]
pub fn host_router(services: HostServices, meters: Arc<Meters>) -> ListenerRouter {
    let own = services.clone();
    let middleware = Middleware::new("host", host_routes(), meters, move || own.request_id());
    ListenerRouter::new(middleware, host::routes().router().with_state(services))
}

/// The `OpenAPI` document of the agent listener. Made once, because it never changes.
pub(crate) fn agent_document() -> WithHeaders<ReadyResponse> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi("Keyward, for agents", &agent_routes()));
    cacheable(ReadyResponse(json(StatusCode::OK, &*DOCUMENT)))
}

async fn admin_document(
    _: AdminServices,
    _: RouteRequest<AuthorisedOperator<BeOneself>, Nothing, Nothing>,
) -> Result<ReadyResponse, Problem> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi("Keyward, for operators", &admin_routes()));
    Ok(ReadyResponse(json(StatusCode::OK, &*DOCUMENT)))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::base::{SystemClock, SystemEntropy};
    use crate::custody::Orders;
    use crate::http::transport::host_listener::HostPeer;
    use crate::telemetry::Latency;

    const OWN: u32 = 990;

    #[tokio::test]
    async fn every_route_is_closed_to_whoever_is_not_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let orders = Orders::open(&dir.path().join("orders")).unwrap();
        let (services, _wishes) =
            HostServices::new(OWN, orders, Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
        let router =
            host_router(services, Arc::new(Meters::new(&Latency::new(), &crate::telemetry::Alarms::new())));
        for route in host_routes() {
            let path = route.path.replace("{name}", "a").replace("{id}", "x").replace("{serial}", "x");
            let mut statuses = Vec::new();
            for uid in [None, Some(OWN + 1), Some(65_534), Some(OWN), Some(0)] {
                let request =
                    Request::builder().method(route.method.as_str()).uri(&path).header("host", "keyward");
                let mut request = request.body(Body::empty()).unwrap();
                if let Some(uid) = uid {
                    request.extensions_mut().insert(HostPeer { uid });
                }
                statuses.push(router.clone().oneshot(request).await.unwrap().status());
            }
            let (others, host) = statuses.split_at(3);
            assert!(others.iter().all(|status| *status == StatusCode::FORBIDDEN), "{route:?}: {others:?}");
            assert!(host.iter().all(|status| *status != StatusCode::FORBIDDEN), "{route:?}: {host:?}");
        }
    }
}
