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
use crate::base::RequestId;
use crate::base::code;
use crate::base::limits::{PLACE_WAIT_MS, REQUESTS_UNDER_WAY_MAX};
use crate::http::documents::problem::{Problem, ProblemForm};
use crate::http::documents::resource_metadata::pointed_to;
use crate::http::route::{Caller, Route};
use crate::telemetry::{AnsweredRequest, Meters};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every request passes first and every response last, at one listener.
pub(crate) struct Middleware {
    listener: &'static str,
    /// By the path as the route table has it, with the methods that it takes.
    routes: matchit::Router<Vec<Route>>,
    meters: Arc<Meters>,
    under_way: Arc<Semaphore>,
    /// Names one more request.
    name: Box<dyn Fn() -> RequestId + Send + Sync>,
    /// The `iss` of tokens, where the listener is a resource itself.
    issuer: Option<String>,
}

/// What the log and the meters call a request for no route.
const NO_ROUTE: &str = "(no route)";

/// The methods that routes have, in the order in which a response names them, and HEAD.
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

/// A place among the requests under way.
pub(crate) enum RequestSlot {
    /// One that needs none.
    NotNeeded,
    /// It has one, until this is dropped.
    Taken(OwnedSemaphorePermit),
    /// There is none at the moment.
    Awaited,
}

/// What is remembered of a request until its response passes.
#[derive(Clone, Copy)]
pub(crate) struct RequestInfo {
    id: RequestId,
    /// Log and meters name the route and never the path: a path is input, and input does not go there.
    route: Option<Route>,
    /// Which of [`METHODS`] its path takes.
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
            // The router is built from the same table, by the same rules, and does not start with a bad one.
            drop(routes.insert(path, methods));
        }
        let under_way = Arc::new(Semaphore::new(REQUESTS_UNDER_WAY_MAX));
        Self { listener, routes, meters, under_way, name: Box::new(name), issuer: None }
    }

    /// The same at a listener that is a resource itself, for tokens of `issuer`.
    pub(crate) fn of_resource(self, issuer: &str) -> Self {
        Self { issuer: Some(issuer.to_owned()), ..self }
    }

    /// Lets a request pass, or says why not.
    pub(crate) fn admit(&self, request: &Request) -> (RequestInfo, Result<RequestSlot, Problem>) {
        let path = request.uri().path();
        let at_path = self.routes.at(path).map(|matched| matched.value.as_slice()).unwrap_or_default();
        let route = at_path.iter().find(|route| route.method == request.method().as_str()).copied();
        let form = ProblemForm::of_path(path);
        let is_of_resource = self.issuer.is_some() && path.starts_with("/v1/secrets/");
        // A request for a route, as almost all are, needs none of them.
        let methods = if route.is_none() { methods(at_path) } else { [false; METHODS.len()] };
        let [_, takes_head, ..] = methods;
        let takes_query =
            route.map_or_else(|| at_path.iter().any(|one| one.takes_query), |one| one.takes_query);
        let place = check_head(request, takes_query).and_then(|()| {
            // The router answers HEAD like GET: it would carry the request out, and tell the length of its answer.
            if *request.method() == Method::HEAD && methods.contains(&true) && !takes_head {
                return Err(Problem::new(code::METHOD_NOT_ALLOWED));
            }
            Ok(self.taken_on(request, route))
        });
        (RequestInfo { id: (self.name)(), route, methods, form, is_of_resource }, place)
    }

    /// A place among the requests under way, for a certificate's holder. A client without a certificate needs none, and so
    /// cannot take one away: what is public costs little, or is limited by its address.
    fn taken_on(&self, request: &Request, route: Option<Route>) -> RequestSlot {
        let peer = request.extensions().get::<Peer>();
        if peer.is_none_or(|peer| peer.certificate.is_none()) {
            return RequestSlot::NotNeeded;
        }
        match self.next_place() {
            Some(place) => RequestSlot::Taken(place),
            // What revokes waits for nobody.
            None if route.is_some_and(|route| route.is_urgent) => RequestSlot::NotNeeded,
            None => RequestSlot::Awaited,
        }
    }

    fn next_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.under_way).try_acquire_owned().ok()
    }

    /// The next place that is given back, in the order of asking, unless that takes too long. To wait costs
    /// nothing; a refusal costs half as much as a token, and its caller comes back for another one.
    pub(crate) async fn place(self: Arc<Self>) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.under_way).acquire_owned();
        let waited = tokio::time::timeout(Duration::from_millis(PLACE_WAIT_MS), place).await;
        waited.ok().and_then(Result::ok).ok_or_else(|| Problem::new(code::OVERLOADED))
    }

    /// The response as it goes out.
    pub(crate) fn finish(&self, passing: RequestInfo, mut response: Response) -> Response {
        let RequestInfo { id, route, methods, form, is_of_resource } = passing;
        let (method, route) = route.map_or(("", NO_ROUTE), |route| (route.method, route.path));
        let mut code = "";
        let mut problem = response.extensions_mut().remove::<Problem>();
        if problem.is_none()
            && matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
        {
            problem = Some(unrouted(response.status()));
        }
        if let Some(problem) = problem {
            code = problem.code().as_str();
            let is_shed = problem.code() == code::OVERLOADED;
            response = problem.in_form(form).of_request(id).write_out();
            // RFC 9110 §15.5.6.
            if response.status() == StatusCode::METHOD_NOT_ALLOWED {
                let named =
                    METHODS.iter().zip(methods).filter(|(_, takes)| *takes).map(|(method, _)| *method);
                let allow = HeaderValue::from_str(&named.collect::<Vec<_>>().join(","));
                response.headers_mut().extend(allow.ok().map(|methods| (header::ALLOW, methods)));
            }
            // A broker that has too much to do does not write a line about each: the meters count them.
            if is_shed {
                response.extensions_mut().insert(Overloaded);
            } else {
                tracing::info!(request.id = %id, request.what = %format_args!("{method} {route}"), status = response.status().as_u16(), code, "refused");
            }
        } else {
            tracing::debug!(request.id = %id, request.what = %format_args!("{method} {route}"), status = response.status().as_u16(), "answered");
        }
        let (listener, status) = (self.listener, response.status().as_u16());
        self.meters.answered(AnsweredRequest { listener, method, route, status, code });
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let headers = response.headers_mut();
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match &self.issuer {
            Some(issuer) if is_of_resource => pointed_to(issuer, response),
            Some(_) | None => response,
        }
    }
}

/// Which of [`METHODS`] these routes of one path take: HEAD where GET is public.
fn methods(at_path: &[Route]) -> [bool; METHODS.len()] {
    METHODS.map(|method| {
        at_path.iter().any(|route| match method {
            "HEAD" => route.method == "GET" && route.caller == Caller::Public,
            method => route.method == method,
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
        let edge = Middleware::new(
            "agents",
            Vec::new(),
            Arc::new(Meters::new(&Latency::new(), &crate::telemetry::Alarms::new())),
            || unreachable!(),
        );
        let edge = Arc::new(edge);
        let mut places: Vec<_> = (0..REQUESTS_UNDER_WAY_MAX).map(|_| edge.next_place().unwrap()).collect();
        assert!(edge.next_place().is_none());
        let nobody = Request::new(axum::body::Body::empty());
        assert!(
            matches!(edge.taken_on(&nobody, None), RequestSlot::NotNeeded),
            "a client without a certificate takes none"
        );

        let waiting = tokio::spawn(Arc::clone(&edge).place());
        tokio::task::yield_now().await;
        places.pop();
        let place = waiting.await.unwrap().ok().unwrap();

        let refused = Arc::clone(&edge).place().await.err().unwrap();
        assert_eq!(refused.code(), code::OVERLOADED);
        let response = refused.write_out();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        drop(place);
        assert!(edge.next_place().is_some());
    }
}
