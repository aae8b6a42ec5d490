use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::agents::document;
use super::answers::answer;
use super::public_documents::Documents;
use crate::base::{Clock, Entropy, RequestId, code};
use crate::http::documents::problem::Problem;
use crate::http::route::{Route, build};
use crate::http::transport::edge::Edge;
use crate::http::transport::router::Front;
use crate::telemetry::Meters;
use crate::wire::StatusAnswer;

/// What a listener has while the broker is sealed: nothing that opens or signs anything.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What it goes on to give.
    pub documents: Documents,
    /// What is counted, until the broker serves.
    pub meters: Arc<Meters>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

/// What a listener with these routes serves while the broker is sealed: it lives, has the public
/// documents as they were last signed, and refuses everything else by the same name.
#[must_use]
pub fn sealed_router(listener: &'static str, routes: Vec<Route>, sealed: &Sealed) -> Front {
    let (clock, entropy) = (Arc::clone(&sealed.clock), Arc::clone(&sealed.entropy));
    let documents = Arc::new(sealed.documents.clone());
    let name = move || RequestId::mint(clock.now(), &*entropy);
    let edge = Edge::new(listener, routes.clone(), Arc::clone(&sealed.meters), name);
    let table = routes.into_iter().map(|route| (route, handled(route, &documents))).collect();
    Front::new(edge, build(table))
}

fn handled(route: Route, documents: &Arc<Documents>) -> MethodRouter {
    let method = match route.method {
        "GET" => MethodFilter::GET,
        "PUT" => MethodFilter::PUT,
        _ => MethodFilter::POST,
    };
    let documents = Arc::clone(documents);
    let is_public = route.caller == crate::http::route::Caller::Public;
    match (route.method, route.path) {
        ("GET", "/livez") => {
            on(method, async || answer(StatusCode::OK, &StatusAnswer { status: "ok".into() }))
        }
        ("GET", "/openapi.json") if is_public => on(method, document),
        (_, path) => on(method, move || async move {
            documents.answer(path).unwrap_or_else(|| Problem::new(code::SEALED).into_response())
        }),
    }
}
