use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backpressure::Overloaded;
use super::head_checks::check_head;
use super::listener::Peer;
use crate::base::code;
use crate::base::limits::{PLACE_WAIT_MS, REQUESTS_UNDER_WAY_MAX};
use crate::base::{ConnectionId, RequestId};
use crate::http::documents::problem::{Problem, ProblemForm};
use crate::http::documents::resource_metadata::pointed_to;
use crate::http::route::{Caller, Route};
use crate::telemetry::{AnsweredRequest, Meters};
use crate::wire::READ_ONLY_HEADER;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The first step of every request and the last step of every response of a listener.
pub(crate) struct Middleware {
    listener: &'static str,
    /// The methods of each path of the route table.
    routes: matchit::Router<Vec<Route>>,
    meters: Arc<Meters>,
    under_way: Arc<Semaphore>,
    /// Makes request ids.
    name: Box<dyn Fn() -> RequestId + Send + Sync>,
    /// The `iss` of tokens, if the listener is a protected resource.
    issuer: Option<String>,
    /// Whether the broker is in read-only mode now: its responses say so.
    is_read_only: Box<dyn Fn() -> bool + Send + Sync>,
}

/// The route of unknown paths in logs and metrics.
const NO_ROUTE: &str = "(no route)";

/// The methods of routes, and HEAD, in the order of the `Allow` header.
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

/// A permit for a request in progress.
pub(crate) enum RequestSlot {
    /// The request needs no permit.
    NotNeeded,
    /// A permit, until this is dropped.
    Taken(OwnedSemaphorePermit),
    /// No permit is free.
    Awaited,
}

/// The data of a request that its response needs.
#[derive(Clone, Copy)]
pub(crate) struct RequestInfo {
    id: RequestId,
    /// Its connection; none at the host socket.
    connection: Option<ConnectionId>,
    /// Logs and metrics contain the route, never the path: input does not go there.
    route: Option<Route>,
    /// The [`METHODS`] of its path.
    methods: [bool; METHODS.len()],
    form: ProblemForm,
    is_of_resource: bool,
}

impl Middleware {
    pub(crate) fn new(
        listener: &'static str,
        table: Vec<Route>,
        meters: Arc<Meters>,
        name: impl Fn() -> RequestId + Send + Sync + 'static,
    ) -> Self {
        let mut by_path: BTreeMap<&str, Vec<Route>> = BTreeMap::new();
        for route in table {
            by_path.entry(route.path).or_default().push(route);
        }
        let mut routes = matchit::Router::new();
        for (path, methods) in by_path {
            // The router is built from the same table by the same rules, and fails at the start if it is not valid.
            drop(routes.insert(path, methods));
        }
        let under_way = Arc::new(Semaphore::new(REQUESTS_UNDER_WAY_MAX));
        let is_read_only = Box::new(|| false);
        Self { listener, routes, meters, under_way, name: Box::new(name), issuer: None, is_read_only }
    }

    /// The middleware of a listener of a broker that is in read-only mode whenever `is_read_only` says so.
    pub(crate) fn marking(self, is_read_only: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { is_read_only: Box::new(is_read_only), ..self }
    }

    /// The middleware of a listener that is a protected resource for tokens of `issuer`.
    pub(crate) fn of_resource(self, issuer: &str) -> Self {
        Self { issuer: Some(issuer.to_owned()), ..self }
    }

    /// Accepts a request or refuses it.
    pub(crate) fn admit(&self, request: &Request) -> (RequestInfo, Result<RequestSlot, Problem>) {
        let path = request.uri().path();
        let at_path = self.routes.at(path).map(|matched| matched.value.as_slice()).unwrap_or_default();
        let route = at_path.iter().find(|route| route.method.as_str() == request.method().as_str()).copied();
        let form = ProblemForm::of_path(path);
        let is_of_resource = self.issuer.is_some() && path.starts_with("/v1/secrets/");
        // Almost all requests are for a route, and do not need them.
        let methods = if route.is_none() { methods(at_path) } else { [false; METHODS.len()] };
        let [_, takes_head, ..] = methods;
        let takes_query =
            route.map_or_else(|| at_path.iter().any(|one| one.takes_query), |one| one.takes_query);
        let slot = check_head(request, takes_query).and_then(|()| {
            // The router answers HEAD like GET: it would carry the request out, and reveal the length of the response.
            if *request.method() == Method::HEAD && methods.contains(&true) && !takes_head {
                return Err(Problem::new(code::METHOD_NOT_ALLOWED));
            }
            Ok(self.taken_on(request, route))
        });
        let connection = request.extensions().get::<Peer>().map(|peer| peer.connection.id);
        (RequestInfo { id: (self.name)(), connection, route, methods, form, is_of_resource }, slot)
    }

    /// A permit for a client with a certificate. A client without a certificate needs none, and so cannot use them up:
    /// public routes are cheap, or limited by address.
    fn taken_on(&self, request: &Request, route: Option<Route>) -> RequestSlot {
        let peer = request.extensions().get::<Peer>();
        if peer.is_none_or(|peer| peer.certificate.is_none()) {
            return RequestSlot::NotNeeded;
        }
        match self.next_slot() {
            Some(slot) => RequestSlot::Taken(slot),
            // Revocations never wait.
            None if route.is_some_and(|route| route.is_urgent) => RequestSlot::NotNeeded,
            None => RequestSlot::Awaited,
        }
    }

    fn next_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.under_way).try_acquire_owned().ok()
    }

    /// The next returned permit, in the order of requests, within `PLACE_WAIT_MS`. A wait costs nothing; a refusal costs
    /// half as much as a token, and its caller repeats the request.
    pub(crate) async fn slot(self: Arc<Self>) -> Result<OwnedSemaphorePermit, Problem> {
        let slot = Arc::clone(&self.under_way).acquire_owned();
        let waited = tokio::time::timeout(Duration::from_millis(PLACE_WAIT_MS), slot).await;
        waited.ok().and_then(Result::ok).ok_or_else(|| Problem::new(code::OVERLOADED))
    }

    /// The final response.
    pub(crate) fn finish(&self, info: RequestInfo, mut response: Response) -> Response {
        let RequestInfo { id, connection, route, methods, form, is_of_resource } = info;
        let connection = connection.map(tracing::field::display);
        let (method, route) = route.map_or(("", NO_ROUTE), |route| (route.method.as_str(), route.path));
        let mut code = "";
        let mut problem = response.extensions_mut().remove::<Problem>();
        if problem.is_none()
            && matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
        {
            problem = Some(unrouted(response.status()));
        }
        if let Some(problem) = problem {
            code = problem.code().as_str();
            let operator = problem.operator().map(ToString::to_string);
            let is_shed = problem.code() == code::OVERLOADED;
            response = problem.in_form(form).of_request(id).write_out();
            // RFC 9110 §15.5.6.
            if response.status() == StatusCode::METHOD_NOT_ALLOWED {
                let named =
                    METHODS.iter().zip(methods).filter(|(_, takes)| *takes).map(|(method, _)| *method);
                let allow = HeaderValue::from_str(&named.collect::<Vec<_>>().join(","));
                response.headers_mut().extend(allow.ok().map(|methods| (header::ALLOW, methods)));
            }
            // Refusals by overload are only counted: log lines would add to the load.
            if is_shed {
                response.extensions_mut().insert(Overloaded);
            } else {
                tracing::info!(request.id = %id, connection, operator, request.what = %format_args!("{method} {route}"), status = response.status().as_u16(), code, "refused");
            }
        } else {
            tracing::debug!(request.id = %id, connection, request.what = %format_args!("{method} {route}"), status = response.status().as_u16(), "answered");
        }
        let (listener, status) = (self.listener, response.status().as_u16());
        self.meters.answered(AnsweredRequest { listener, method, route, status, code });
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let headers = response.headers_mut();
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if (self.is_read_only)() {
            headers.insert(HeaderName::from_static(READ_ONLY_HEADER), HeaderValue::from_static("true"));
        }
        match &self.issuer {
            Some(issuer) if is_of_resource => pointed_to(issuer, response),
            Some(_) | None => response,
        }
    }
}

/// The [`METHODS`] of these routes of one path; HEAD if GET is public.
fn methods(at_path: &[Route]) -> [bool; METHODS.len()] {
    METHODS.map(|method| {
        at_path.iter().any(|route| match method {
            "HEAD" => route.method.as_str() == "GET" && route.caller == Caller::Public,
            method => route.method.as_str() == method,
        })
    })
}

fn unrouted(status: StatusCode) -> Problem {
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return Problem::new(code::METHOD_NOT_ALLOWED);
    }
    Problem::new(code::ROUTE_UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Latency;

    #[tokio::test]
    async fn a_request_beyond_the_limit_waits_for_a_place() {
        let middleware = Middleware::new(
            "agents",
            Vec::new(),
            Arc::new(Meters::new(&Latency::new(), &crate::telemetry::Alarms::new())),
            || unreachable!(),
        );
        let middleware = Arc::new(middleware);
        let mut slots: Vec<_> =
            (0..REQUESTS_UNDER_WAY_MAX).map(|_| middleware.next_slot().unwrap()).collect();
        assert!(middleware.next_slot().is_none());
        let nobody = Request::new(axum::body::Body::empty());
        assert!(
            matches!(middleware.taken_on(&nobody, None), RequestSlot::NotNeeded),
            "a client without a certificate takes none"
        );

        let waiting = tokio::spawn(Arc::clone(&middleware).slot());
        tokio::task::yield_now().await;
        slots.pop();
        let slot = waiting.await.unwrap().ok().unwrap();

        let refused = Arc::clone(&middleware).slot().await.err().unwrap();
        assert_eq!(refused.code(), code::OVERLOADED);
        let response = refused.write_out();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        drop(slot);
        assert!(middleware.next_slot().is_some());
    }
}
