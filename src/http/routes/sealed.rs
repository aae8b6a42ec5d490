use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, on};

use super::answer::{IntoAnswer, ReadyResponse, WithHeaders};
use super::listeners::agent_document;
use super::public_documents::Documents;
use super::status::alive;
use super::table::filter;
use crate::base::{Clock, Entropy, RequestId, code};
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Route};
use crate::http::transport::middleware::Middleware;
use crate::http::transport::router::ListenerRouter;
use crate::telemetry::Meters;
use crate::wire::{self, Nothing};

/// The data of a sealed listener: no keys.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The public documents.
    pub documents: Documents,
    /// The metrics until the broker serves.
    pub meters: Arc<Meters>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The router of a listener with these routes while the broker is sealed: liveness and the public documents as they were
/// last signed; every other route is refused with `sealed`.
#[must_use]
pub fn sealed_router(listener: &'static str, routes: Vec<Route>, sealed: &Sealed) -> ListenerRouter {
    let (clock, entropy) = (Arc::clone(&sealed.clock), Arc::clone(&sealed.entropy));
    let documents = Arc::new(sealed.documents.clone());
    let name = move || RequestId::mint(clock.now(), &*entropy);
    let middleware = Middleware::new(listener, routes.clone(), Arc::clone(&sealed.meters), name);
    let router = routes
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, handled(route, &documents)));
    ListenerRouter::new(middleware, router)
}

fn handled(route: Route, documents: &Arc<Documents>) -> MethodRouter {
    let method = filter(route.method);
    let documents = Arc::clone(documents);
    if route.path == wire::LIVENESS.path {
        return on(method, async || alive().give(StatusCode::OK));
    }
    if route.path == wire::OPENAPI_DOCUMENT.path && route.caller == Caller::Public {
        return on(method, async || give(agent_document()));
    }
    on(method, move || async move {
        documents.answer(route.path).map_or_else(|| Problem::new(code::SEALED).into_response(), give)
    })
}

fn give(document: WithHeaders<ReadyResponse>) -> Response<Body> {
    IntoAnswer::<Nothing>::give(document, StatusCode::OK)
}
