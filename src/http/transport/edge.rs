use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::Body as HttpBody;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backpressure::ComeBack;
use super::head_checks::acceptable;
use super::listener::Peer;
use crate::base::code;
use crate::base::limits::{BODY_WAIT_S, PLACE_WAIT_MS, REQUESTS_UNDER_WAY_MAX};
use crate::base::{RequestId, Sensitive};
use crate::http::documents::problem::{Form, Problem};
use crate::http::route::{Caller, Route};
use crate::http::routes::discovery::pointed_to;
use crate::http::routes::repeat::put_on_route;
use crate::telemetry::{Answered, Meters};

/// How sensitive a secret is to be.
pub(crate) const SENSITIVITY: HeaderName = HeaderName::from_static("keyward-sensitivity");
/// Whose a secret is to be.
pub(crate) const OWNER: HeaderName = HeaderName::from_static("keyward-owner");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every request passes first and every response last, at one listener.
pub(crate) struct Edge {
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

/// What a request is called in the log and in the meters: as the route table has it, never as it
/// came. A path is input, and input does not go there.
#[derive(Clone, Copy)]
struct Called {
    method: &'static str,
    route: &'static str,
}

/// The methods that routes have, in the order in which a response names them, and HEAD.
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

const NO_ROUTE: Called = Called { method: "", route: "(no route)" };

/// A place among the requests under way.
pub(crate) enum Place {
    /// One that needs none.
    NotNeeded,
    /// It has one, until this is dropped.
    Taken(OwnedSemaphorePermit),
    /// There is none at the moment.
    Awaited,
}

/// What is remembered of a request until its response passes.
#[derive(Clone, Copy)]
pub(crate) struct Passing {
    id: RequestId,
    called: Called,
    /// Which of [`METHODS`] its path takes.
    methods: [bool; METHODS.len()],
    form: Form,
    is_of_resource: bool,
}

impl Edge {
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
    pub(crate) fn admit(&self, request: &mut Request) -> (Passing, Result<Place, Problem>) {
        let called = self.called(request);
        put_on_route(request, called.route);
        let path = request.uri().path();
        let form = if path.starts_with("/oauth/") { Form::OAuth } else { Form::Problem };
        let is_of_resource = self.issuer.is_some() && path.starts_with("/v1/secrets/");
        // A request for a route, as almost all are, needs none of them.
        let methods =
            if called.route == NO_ROUTE.route { self.methods(request) } else { [false; METHODS.len()] };
        let [_, takes_head, ..] = methods;
        let place = acceptable(request).and_then(|()| {
            // The router answers HEAD like GET: it would carry the request out, and tell the length of its answer.
            if *request.method() == Method::HEAD && methods.contains(&true) && !takes_head {
                return Err(Problem::new(code::METHOD_NOT_ALLOWED));
            }
            Ok(self.taken_on(request, called))
        });
        (Passing { id: (self.name)(), called, methods, form, is_of_resource }, place)
    }

    /// Which of [`METHODS`] the path of `request` takes: HEAD where anybody may GET.
    fn methods(&self, request: &Request) -> [bool; METHODS.len()] {
        let matched = self.routes.at(request.uri().path()).ok();
        let routes = matched.map(|matched| matched.value.as_slice()).unwrap_or_default();
        METHODS.map(|method| {
            routes.iter().any(|route| match method {
                "HEAD" => route.method == "GET" && route.caller == Caller::Public,
                method => route.method == method,
            })
        })
    }

    /// A place among the requests under way, for a certificate's holder. Whoever shows none needs none, and so
    /// cannot take one away: what is public costs little, or is limited by its address.
    fn taken_on(&self, request: &Request, called: Called) -> Place {
        let peer = request.extensions().get::<Peer>();
        if peer.is_none_or(|peer| peer.certificate.is_none()) {
            return Place::NotNeeded;
        }
        match self.next_place() {
            Some(place) => Place::Taken(place),
            // What revokes waits for nobody.
            None if revokes(called.route) => Place::NotNeeded,
            None => Place::Awaited,
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

    fn called(&self, request: &Request) -> Called {
        let method = request.method().as_str();
        let matched = self.routes.at(request.uri().path()).ok();
        let known = matched.and_then(|matched| matched.value.iter().find(|route| route.method == method));
        known.map_or(NO_ROUTE, |route| Called { method: route.method, route: route.path })
    }

    /// The response as it goes out.
    pub(crate) fn finish(&self, passing: Passing, mut response: Response) -> Response {
        let Passing { id, called: Called { method, route }, methods, form, is_of_resource } = passing;
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
                response.extensions_mut().insert(ComeBack);
            } else {
                tracing::info!(request.id = %id, request.what = %format_args!("{method} {route}"), status = response.status().as_u16(), code, "refused");
            }
        } else {
            tracing::debug!(request.id = %id, request.what = %format_args!("{method} {route}"), status = response.status().as_u16(), "answered");
        }
        let (listener, status) = (self.listener, response.status().as_u16());
        self.meters.answered(Answered { listener, method, route, status, code });
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

/// Whether a route revokes, suspends or ends something.
fn revokes(route: &str) -> bool {
    route.ends_with("/revoke") || route.ends_with("/suspend") || route == "/v1/lease-endings"
}

fn unrouted(status: StatusCode) -> Problem {
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return Problem::new(code::METHOD_NOT_ALLOWED);
    }
    Problem::new(code::ROUTE_UNKNOWN)
}

/// Reads a body of at most `limit` bytes within the time that a body may take.
pub(crate) async fn read_body(body: Body, limit: usize) -> Result<Sensitive<Vec<u8>>, Problem> {
    read_within(body, limit, Duration::from_secs(BODY_WAIT_S)).await
}

async fn read_within(mut body: Body, limit: usize, wait: Duration) -> Result<Sensitive<Vec<u8>>, Problem> {
    use tokio::time::{Instant, timeout};
    let began = Instant::now();
    // A length that is said beforehand is believed when it is too large: such a body is not kept.
    let said = usize::try_from(HttpBody::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if said <= limit {
        let read = timeout(wait, collected(&mut body, limit)).await;
        if let Some(bytes) = read.unwrap_or_else(|_| Err(Problem::new(code::BODY_TIMEOUT)))? {
            return Ok(bytes);
        }
    }
    let discarded = limit.saturating_mul(2);
    if said <= discarded {
        drop(timeout(wait.saturating_sub(began.elapsed()), discard(&mut body, discarded)).await);
    }
    Err(too_large(limit))
}

/// The body; `None` as soon as it is longer than the limit.
async fn collected(body: &mut Body, limit: usize) -> Result<Option<Sensitive<Vec<u8>>>, Problem> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(code::BODY_INCOMPLETE))?;
        let Ok(data) = frame.into_data() else { continue };
        let size = bytes.len().saturating_add(data.len());
        if size > limit {
            return Ok(None);
        }
        grow(&mut bytes, size, limit);
        bytes.extend_from_slice(&data);
    }
    Ok(Some(Sensitive::new(std::mem::take(&mut *bytes))))
}

/// Reads the rest of a body that is not wanted, up to a limit. A connection that is closed with bytes unread is
/// reset, and a reset can overtake the answer: a client that still writes would see no 413.
async fn discard(body: &mut Body, limit: usize) {
    let mut size = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        size = size.saturating_add(frame.data_ref().map_or(0, |data| data.len()));
        if size > limit {
            return;
        }
    }
}

/// Grows by copying into a new buffer and wiping the old one: a body may be a secret, and a plain
/// reallocation would leave a copy behind.
fn grow(bytes: &mut zeroize::Zeroizing<Vec<u8>>, size: usize, limit: usize) {
    if size > bytes.capacity() {
        let mut larger = Vec::with_capacity(size.saturating_mul(2).min(limit));
        larger.extend_from_slice(bytes);
        *bytes = zeroize::Zeroizing::new(larger);
    }
}

fn too_large(limit: usize) -> Problem {
    let why = format!("the body is larger than the {limit} bytes that this route takes");
    Problem::new(code::BODY_TOO_LARGE).because(why)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Bytes, Frame, SizeHint};

    use super::*;
    use crate::telemetry::Latency;

    /// A body that does not come, and says beforehand how long it would be.
    struct Never(u64);

    impl HttpBody for Never {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0)
        }
    }

    fn code_of(read: Result<Sensitive<Vec<u8>>, Problem>) -> Option<code::Code> {
        read.err().map(|problem| problem.code())
    }

    #[tokio::test]
    async fn no_more_requests_are_taken_on_than_the_limit_and_one_beyond_waits_for_a_place() {
        let edge = Edge::new(
            "agents",
            Vec::new(),
            Arc::new(Meters::new(&Latency::new(), &crate::telemetry::Alarms::new())),
            || unreachable!(),
        );
        let edge = Arc::new(edge);
        let mut places: Vec<_> = (0..REQUESTS_UNDER_WAY_MAX).map(|_| edge.next_place().unwrap()).collect();
        assert!(edge.next_place().is_none());
        let nobody = Request::new(Body::empty());
        assert!(matches!(edge.taken_on(&nobody, NO_ROUTE), Place::NotNeeded), "whoever is nobody takes none");

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

    #[tokio::test]
    async fn http_05_a_body_is_read_up_to_its_limit_and_no_longer_than_its_wait() {
        let wait = Duration::from_millis(20);
        let read = |bytes: usize| read_within(Body::from(vec![b'x'; bytes]), 64, wait);
        assert_eq!(code_of(read(64).await), None);
        assert_eq!(code_of(read(65).await), Some(code::BODY_TOO_LARGE));
        assert_eq!(code_of(read_within(Body::new(Never(64)), 64, wait).await), Some(code::BODY_TIMEOUT));
        assert_eq!(code_of(read_within(Body::new(Never(65)), 64, wait).await), Some(code::BODY_TOO_LARGE));
    }
}
