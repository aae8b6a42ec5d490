use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::{Answer, IntoAnswer};
use super::caller::{AnonymousCaller, AuthorisedOperator, Identify, Repeats};
use super::idempotency_header::IdempotencyHeader;
use super::input::{Input, InputHead};
use super::refusals::{RecordRefusals, RefusableRequest};
use super::target::FromPath;
use crate::base::{Cancellation, Sensitive};
use crate::broker::{AdminServices, Priority, RequestedObject};
use crate::http::documents::operation::{OperationDocument, Schemas};
use crate::http::documents::problem::Problem;
use crate::http::route::{Repetition, Route, RouteDocument};
use crate::http::transport::body::read_body;
use crate::policy::Right;
use crate::wire::{Endpoint, Method, Nothing};

/// A request for its handler.
pub(crate) struct RouteRequest<C, T, I: Input> {
    pub(crate) by: C,
    pub(crate) target: T,
    pub(crate) input: I::Read,
}

/// A request of an operator with the right `R`.
pub(crate) type AdminRequest<R, T = Nothing, I = Nothing> = RouteRequest<AuthorisedOperator<R>, T, I>;

/// A request for a public document.
pub(crate) type PublicRequest = RouteRequest<AnonymousCaller, Nothing, Nothing>;

/// The routes of a listener, with their handlers. The description of a route follows from the types of its handler.
pub(crate) struct Routes<S>(Vec<(Route, MethodRouter<S>)>);

impl<S: RecordRefusals + Clone + Send + Sync + 'static> Routes<S> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    pub(crate) fn routes(&self) -> Vec<Route> {
        self.0.iter().map(|(route, _)| *route).collect()
    }

    pub(crate) fn router(self) -> Router<S> {
        self.0.into_iter().fold(Router::new(), |router, (route, handler)| router.route(route.path, handler))
    }

    /// A route that reads, or whose repetition has no further effect.
    pub(crate) fn route<C, T, I, A, G, F>(
        self,
        endpoint: &Endpoint<T, I, A>,
        handler: impl Fn(S, RouteRequest<C, T, I>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        C: Identify<S> + 'static,
        T: FromPath,
        I: Input,
        A: Answer,
        G: IntoAnswer<A>,
        F: Future<Output = Result<G, Problem>> + Send + 'static,
    {
        let route = described::<S, C, T, I, A>(endpoint, Repetition::Harmless);
        let (status, body_bytes_max) = (success(endpoint), endpoint.body_bytes_max);
        self.with(route, move |services: S, request: Request| {
            let handler = handler.clone();
            async move {
                let (parts, body) = request.into_parts();
                let head = RequestHead::<C, T, I>::of(&parts, &services, &route).await?;
                drop(parts);
                let body = body_of::<I>(body, body_bytes_max).await?;
                let (owner, object) = (head.by.owner().cloned(), head.target.object(route.path));
                let call = RouteRequest { by: head.by, target: head.target, input: head.input.read(body)? };
                let answer = handler(services.clone(), call).await;
                let told = |problem| services.told(problem, object.as_ref(), owner.as_ref());
                Ok(answer.map_err(told)?.give(status))
            }
        })
    }

    /// A route that carries out a request with an idempotency key once.
    pub(crate) fn idempotent<C, T, I, A, G, F>(
        self,
        endpoint: &Endpoint<T, I, A>,
        handler: impl Fn(S, RouteRequest<C, T, I>, C::IdempotencyKey) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        C: Repeats<S> + 'static,
        T: FromPath,
        I: Input,
        A: Answer,
        G: IntoAnswer<A>,
        F: Future<Output = Result<G, Problem>> + Send + 'static,
    {
        let route = described::<S, C, T, I, A>(endpoint, Repetition::Once);
        let (status, body_bytes_max) = (success(endpoint), endpoint.body_bytes_max);
        self.with(route, move |services: S, request: Request| {
            let handler = handler.clone();
            async move {
                let (parts, body) = request.into_parts();
                let head = RequestHead::<C, T, I>::of(&parts, &services, &route).await?;
                drop(parts);
                let body = body_of::<I>(body, body_bytes_max).await?;
                let idempotency = head.by.idempotency_key(&services, head.idempotency, I::digested(&body));
                let (owner, object) = (head.by.owner().cloned(), head.target.object(route.path));
                let call = RouteRequest { by: head.by, target: head.target, input: head.input.read(body)? };
                let answer = handler(services.clone(), call, idempotency).await;
                let told = |problem| services.told(problem, object.as_ref(), owner.as_ref());
                Ok(answer.map_err(told)?.give(status))
            }
        })
    }

    /// The route also responds with 202 and an `A`, if its request is pending.
    pub(crate) fn accepting<A: Serialize + JsonSchema>(mut self) -> Self {
        if let Some((route, _)) = self.0.last_mut() {
            route.document.accepted = Some(Schemas::answer::<A>);
        }
        self
    }

    /// Marks the route as a revocation: its requests wait for no other request.
    pub(crate) fn without_waiting(mut self) -> Self {
        if let Some((route, _)) = self.0.last_mut() {
            route.is_urgent = true;
        }
        self
    }

    pub(crate) fn with<F>(
        mut self,
        route: Route,
        handler: impl Fn(S, Request) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Response<Body>, Problem>> + Send + 'static,
    {
        let answering = move |State(services): State<S>, request: Request| {
            let refusable = RefusableRequest::of(&request, &route);
            let answered = handler(services.clone(), request);
            async move {
                match answered.await {
                    Ok(response) => response,
                    Err(problem) => services.recorded(refusable, problem).await.into_response(),
                }
            }
        };
        self.0.push((route, on(filter(route.method), answering)));
        self
    }
}

impl Routes<AdminServices> {
    /// A route that reads much, and therefore runs on a thread for heavy requests.
    pub(crate) fn heavy<R, T, I, A>(
        self,
        endpoint: &Endpoint<T, I, A>,
        handler: impl Fn(
            &AdminServices,
            &RouteRequest<AuthorisedOperator<R>, T, I>,
            &Cancellation,
        ) -> Result<A, Problem>
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> Self
    where
        R: Right,
        T: FromPath,
        I: Input<Read: Sync>,
        A: Answer + IntoAnswer<A>,
    {
        let status = success(endpoint);
        self.route(
            endpoint,
            move |services: AdminServices, call: RouteRequest<AuthorisedOperator<R>, T, I>| {
                let handler = handler.clone();
                async move {
                    let heavy = services.heavy(&call.by)?;
                    let read = move |work: &Cancellation| Ok(handler(&services, &call, work)?.give(status));
                    heavy.run(Priority::Ordinary, read).await.map(super::answer::ReadyResponse)
                }
            },
        )
    }
}

/// The input of a request before its body.
pub(crate) struct RequestHead<C, T, I: Input> {
    pub(crate) by: C,
    pub(crate) target: T,
    pub(crate) input: InputHead<I>,
    pub(crate) idempotency: IdempotencyHeader,
}

impl<C, T: FromPath, I: Input> RequestHead<C, T, I> {
    pub(crate) async fn of<S>(parts: &Parts, services: &S, route: &Route) -> Result<Self, Problem>
    where
        C: Identify<S>,
    {
        let by = C::identify(parts, services).await?;
        let target = T::of_path(parts.uri.path(), route.path)?;
        let input = InputHead::of(parts)?;
        // Also where the key does nothing: who sends one finds out that it is malformed.
        let idempotency = IdempotencyHeader::of(parts, route)?;
        Ok(Self { by, target, input, idempotency })
    }
}

/// The body of a request, if its input has one.
pub(crate) async fn body_of<I: Input>(body: Body, bytes_max: usize) -> Result<Sensitive<Vec<u8>>, Problem> {
    match I::CONTENT {
        Some(_) => read_body(body, bytes_max).await,
        None => Ok(Sensitive::new(Vec::new())),
    }
}

pub(crate) fn described<S, C, T, I, A>(endpoint: &Endpoint<T, I, A>, repetition: Repetition) -> Route
where
    C: Identify<S>,
    T: FromPath,
    I: Input,
    A: Answer,
{
    Route {
        method: endpoint.method,
        path: endpoint.path,
        status: endpoint.status,
        document: RouteDocument {
            summary: endpoint.summary,
            operation: endpoint.name,
            describe: describe::<S, C, T, I, A>,
            object: object_of::<T>,
            accepted: None,
        },
        caller: C::CALLER,
        repetition,
        takes_query: I::TAKES_QUERY,
        is_urgent: false,
    }
}

fn object_of<T: FromPath>(path: &str, template: &str) -> Option<RequestedObject> {
    T::of_path(path, template).ok()?.object(template)
}

fn describe<S, C, T, I, A>(document: &mut OperationDocument<'_>)
where
    C: Identify<S>,
    T: FromPath,
    I: Input,
    A: Answer,
{
    T::describe(document);
    I::describe(document);
    A::describe(document);
    document.takes_token = C::TAKES_TOKEN;
}

pub(crate) fn success<T, I, A>(endpoint: &Endpoint<T, I, A>) -> StatusCode {
    StatusCode::from_u16(endpoint.status).unwrap_or_default()
}

pub(crate) const fn filter(method: Method) -> MethodFilter {
    match method {
        Method::GET => MethodFilter::GET,
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::DELETE => MethodFilter::DELETE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_of_a_method_lets_that_method_pass() {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let spelled: axum::http::Method = method.as_str().parse().unwrap();
            assert_eq!(filter(method), MethodFilter::try_from(spelled).unwrap());
        }
    }
}
