use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use tokio::sync::OwnedSemaphorePermit;
use tower::Service;

use super::detached::{DetachedHandlers, Handler};
use super::edge::{Middleware, RequestInfo, RequestSlot};
use crate::base::code;
use crate::http::documents::problem::Problem;

/// A listener's routes behind its edge.
#[derive(Clone)]
pub struct ListenerRouter {
    edge: Arc<Middleware>,
    routes: Router,
    outlived: DetachedHandlers,
}

impl ListenerRouter {
    pub(crate) fn new(edge: Middleware, routes: Router) -> Self {
        Self { edge: Arc::new(edge), routes, outlived: DetachedHandlers::default() }
    }

    /// Handlers that continue although their connection has ended.
    #[must_use]
    pub fn outlived(&self) -> DetachedHandlers {
        self.outlived.clone()
    }

    fn carry_out(&self, request: Request<Body>, place: Option<OwnedSemaphorePermit>) -> ResponseStage {
        let mut routes = self.routes.clone();
        let handler = async move {
            let response = routes.call(request).await.unwrap_or_else(|never| match never {});
            // The permit is returned when the handler has ended, not when its caller has disconnected.
            drop(place);
            response
        };
        ResponseStage::UnderWay(HandlerFuture::new(handler, self.outlived()))
    }
}

impl Service<Request<Body>> for ListenerRouter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        let (passing, admitted) = self.edge.admit(&request);
        let stage = match admitted {
            Ok(RequestSlot::Taken(place)) => self.carry_out(request, Some(place)),
            Ok(RequestSlot::NotNeeded) => self.carry_out(request, None),
            Ok(RequestSlot::Awaited) => {
                let place = Box::pin(Arc::clone(&self.edge).place());
                ResponseStage::Waiting { place, asked: Some((self.clone(), request)) }
            }
            Err(problem) => ResponseStage::Refused(Some(problem)),
        };
        ResponseFuture { edge: Arc::clone(&self.edge), passing, stage }
    }
}

impl fmt::Debug for ListenerRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Front")
    }
}

/// A request in progress.
pub struct ResponseFuture {
    edge: Arc<Middleware>,
    passing: RequestInfo,
    stage: ResponseStage,
}

type SlotResult = Result<OwnedSemaphorePermit, Problem>;

enum ResponseStage {
    Refused(Option<Problem>),
    /// Waits for a permit. If the client disconnects meanwhile, its request is dropped.
    Waiting {
        place: Pin<Box<dyn Future<Output = SlotResult> + Send>>,
        asked: Option<(ListenerRouter, Request<Body>)>,
    },
    UnderWay(HandlerFuture),
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = loop {
            self.stage = match &mut self.stage {
                ResponseStage::Refused(problem) => break problem.take().map(IntoResponse::into_response),
                ResponseStage::UnderWay(onward) => break ready!(Pin::new(onward).poll(cx)),
                ResponseStage::Waiting { place, asked } => {
                    match (ready!(place.as_mut().poll(cx)), asked.take()) {
                        (Ok(place), Some((front, request))) => front.carry_out(request, Some(place)),
                        (Err(problem), _) => ResponseStage::Refused(Some(problem)),
                        (Ok(_), None) => ResponseStage::Refused(None),
                    }
                }
            };
        };
        let response = response.unwrap_or_else(|| Problem::new(code::INTERNAL).into_response());
        Poll::Ready(Ok(self.edge.finish(self.passing, response)))
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answering")
    }
}

/// A handler in progress. A caller that disconnects does not stop a commit: an unfinished handler continues as a
/// separate task. A panic fails only this request.
struct HandlerFuture {
    handler: Option<Handler>,
    outlived: DetachedHandlers,
}

impl HandlerFuture {
    fn new(
        handler: impl Future<Output = Response<Body>> + Send + 'static,
        outlived: DetachedHandlers,
    ) -> Self {
        Self { handler: Some(Box::pin(handler)), outlived }
    }
}

impl Future for HandlerFuture {
    type Output = Option<Response<Body>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(handler) = self.handler.as_mut() else { return Poll::Ready(None) };
        // The future is not polled again after a panic, so that no code sees its broken state.
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx)));
        let response = match polled {
            Ok(polled) => Some(ready!(polled)),
            Err(_) => None,
        };
        self.handler = None;
        Poll::Ready(response)
    }
}

impl Drop for HandlerFuture {
    fn drop(&mut self) {
        if let Some(handler) = self.handler.take() {
            self.outlived.go_on(handler);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::pin::pin;

    use tokio::sync::oneshot;

    use super::*;

    /// Hazard API-05.
    #[tokio::test]
    async fn a_handler_ends_although_its_caller_has_gone() {
        let (go, told) = oneshot::channel::<()>();
        let (done, mut ended) = oneshot::channel();
        let outlived = DetachedHandlers::default();
        let handler = async move {
            told.await.unwrap();
            done.send(()).unwrap();
            Response::new(Body::empty())
        };
        let mut onward = HandlerFuture::new(handler, outlived.clone());
        poll_fn(|cx| {
            assert!(Pin::new(&mut onward).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        outlived.ended().await;
        drop(onward);
        let mut all_ended = pin!(outlived.ended());
        poll_fn(|cx| {
            assert!(all_ended.as_mut().poll(cx).is_pending(), "one goes on");
            Poll::Ready(())
        })
        .await;
        go.send(()).unwrap();
        all_ended.await;
        ended.try_recv().unwrap();
    }

    #[tokio::test]
    async fn a_handler_that_panics_without_its_caller_is_not_waited_for() {
        let outlived = DetachedHandlers::default();
        drop(HandlerFuture::new(async { panic!("on purpose") }, outlived.clone()));
        outlived.ended().await;
    }

    #[tokio::test]
    async fn a_handler_that_panics_costs_its_own_request() {
        let broken = HandlerFuture::new(async { panic!("on purpose") }, DetachedHandlers::default());
        assert!(broken.await.is_none());
        let mut whole =
            HandlerFuture::new(async { Response::new(Body::empty()) }, DetachedHandlers::default());
        assert!((&mut whole).await.is_some());
        assert!((&mut whole).await.is_none(), "once");
        drop(HandlerFuture::new(pending(), DetachedHandlers::default()));
    }
}
