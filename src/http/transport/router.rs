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
use super::middleware::{Middleware, RequestInfo, RequestSlot};
use crate::base::code;
use crate::http::documents::problem::Problem;

/// A listener's routes behind its middleware.
#[derive(Clone)]
pub struct ListenerRouter {
    middleware: Arc<Middleware>,
    routes: Router,
    detached: DetachedHandlers,
}

impl ListenerRouter {
    pub(crate) fn new(middleware: Middleware, routes: Router) -> Self {
        Self { middleware: Arc::new(middleware), routes, detached: DetachedHandlers::default() }
    }

    /// Handlers that continue although their connection has ended.
    #[must_use]
    pub fn detached(&self) -> DetachedHandlers {
        self.detached.clone()
    }

    fn carry_out(&self, request: Request<Body>, slot: Option<OwnedSemaphorePermit>) -> ResponseStage {
        let mut routes = self.routes.clone();
        let handler = async move {
            let response = routes.call(request).await.unwrap_or_else(|never| match never {});
            // The permit is returned when the handler has ended, not when its caller has disconnected.
            drop(slot);
            response
        };
        ResponseStage::UnderWay(HandlerFuture::new(handler, self.detached()))
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
        let (info, admitted) = self.middleware.admit(&request);
        let stage = match admitted {
            Ok(RequestSlot::Taken(slot)) => self.carry_out(request, Some(slot)),
            Ok(RequestSlot::NotNeeded) => self.carry_out(request, None),
            Ok(RequestSlot::Awaited) => {
                let slot = Box::pin(Arc::clone(&self.middleware).slot());
                ResponseStage::Waiting { slot, asked: Some((self.clone(), request)) }
            }
            Err(problem) => ResponseStage::Refused(Some(problem)),
        };
        ResponseFuture { middleware: Arc::clone(&self.middleware), info, stage }
    }
}

impl fmt::Debug for ListenerRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Front")
    }
}

/// A request in progress.
pub struct ResponseFuture {
    middleware: Arc<Middleware>,
    info: RequestInfo,
    stage: ResponseStage,
}

type SlotResult = Result<OwnedSemaphorePermit, Problem>;

enum ResponseStage {
    Refused(Option<Problem>),
    /// Waits for a permit. If the client disconnects meanwhile, its request is dropped.
    Waiting {
        slot: Pin<Box<dyn Future<Output = SlotResult> + Send>>,
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
                ResponseStage::UnderWay(running) => break ready!(Pin::new(running).poll(cx)),
                ResponseStage::Waiting { slot, asked } => {
                    match (ready!(slot.as_mut().poll(cx)), asked.take()) {
                        (Ok(slot), Some((front, request))) => front.carry_out(request, Some(slot)),
                        (Err(problem), _) => ResponseStage::Refused(Some(problem)),
                        (Ok(_), None) => ResponseStage::Refused(None),
                    }
                }
            };
        };
        let response = response.unwrap_or_else(|| Problem::new(code::INTERNAL).into_response());
        Poll::Ready(Ok(self.middleware.finish(self.info, response)))
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
    detached: DetachedHandlers,
}

impl HandlerFuture {
    fn new(
        handler: impl Future<Output = Response<Body>> + Send + 'static,
        detached: DetachedHandlers,
    ) -> Self {
        Self { handler: Some(Box::pin(handler)), detached }
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
            self.detached.go_on(handler);
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
        let detached = DetachedHandlers::default();
        let handler = async move {
            told.await.unwrap();
            done.send(()).unwrap();
            Response::new(Body::empty())
        };
        let mut running = HandlerFuture::new(handler, detached.clone());
        poll_fn(|cx| {
            assert!(Pin::new(&mut running).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        detached.ended().await;
        drop(running);
        let mut all_ended = pin!(detached.ended());
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
        let detached = DetachedHandlers::default();
        drop(HandlerFuture::new(async { panic!("on purpose") }, detached.clone()));
        detached.ended().await;
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
