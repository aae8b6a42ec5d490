//! HTTP on one accepted connection, until its end.

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::background::BackgroundFuture;
use super::backpressure::Backpressure;
use super::framing::HeadReader;
use super::listener_state::{ListenerService, ListenerState};
use super::request_body::{BodyRest, ConnectionBodies};
use super::write_timeout::WriteTimeout;
use crate::base::limits::{CUT_WAIT_S, HEADER_BYTES_MAX, HEADER_WAIT_S, HEADERS_MAX, WRITE_WAIT_S};

/// The number of header fields for which the library needs no allocation.
const HEADERS_READ_MAX: usize = 100;
const _: () = assert!(HEADERS_READ_MAX > HEADERS_MAX);

/// HTTP over `stream` with `peer` (`who` in the log), until either side ends it, the listener stops, or the peer is
/// `lost`.
pub(crate) async fn converse<S, P>(
    stream: S,
    peer: P,
    who: impl fmt::Display,
    router: impl ListenerService,
    mut state: watch::Receiver<ListenerState>,
    lost: impl Future<Output = ()> + Send + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Clone + Send + Sync + 'static,
{
    let mut ending = BackgroundFuture::new(async move {
        tokio::select! {
            state = ListenerState::stopped(&mut state) => ConnectionEnd::Stop(state),
            () = lost => ConnectionEnd::Cut,
        }
    });
    let (bodies, backpressure) = (ConnectionBodies::default(), Backpressure::default());
    let (stream, faults) = HeadReader::new(WriteTimeout::new(stream, Duration::from_secs(WRITE_WAIT_S)));
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let fault = faults.next();
        if let Some(fault) = fault {
            request.extensions_mut().insert(fault);
        }
        let request = request.map(|body| bodies.lend(body));
        let (mut router, bodies, backpressure) = (router.clone(), bodies.clone(), backpressure.clone());
        async move {
            backpressure.wait().await;
            // Always ready: the middleware limits requests in progress.
            let mut response = router.call(request).await?;
            backpressure.note(&response);
            if bodies.rest().await == BodyRest::Unread || fault.is_some() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    // More than is taken: up to there, what is too much is refused in our own words by the middleware. A request is
    // carried out whether or not its caller is still there, so that nobody looks for its end meanwhile.
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADER_WAIT_S))
        .max_buf_size(HEADER_BYTES_MAX.saturating_mul(2))
        .max_headers(HEADERS_READ_MAX)
        .half_close(true);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        ending = &mut ending => {
            serving.as_mut().graceful_shutdown();
            end(serving, ending, &who).await
        }
    };
    if let Err(error) = served {
        tracing::debug!(peer = %who, %error, "a connection ended early");
    }
}

/// The reason to end a connection.
enum ConnectionEnd {
    /// The listener stops.
    Stop(ListenerState),
    /// The peer may not stay.
    Cut,
}

/// Waits for the request in progress on a connection that has to end, as long as the reason allows.
async fn end<E>(
    serving: impl Future<Output = Result<(), E>>,
    ending: ConnectionEnd,
    who: &impl fmt::Display,
) -> Result<(), E> {
    match ending {
        ConnectionEnd::Stop(state) => tokio::time::timeout(state.wait(), serving).await.unwrap_or_else(|_| {
            tracing::warn!(peer = %who, "a connection was closed at the stop before its request had ended");
            Ok(())
        }),
        ConnectionEnd::Cut => {
            tracing::info!(peer = %who, "a connection was closed because its certificate has expired, or was revoked or suspended");
            // The response in progress was decided before, and may be the response to this revocation.
            tokio::time::timeout(Duration::from_secs(CUT_WAIT_S), serving).await.unwrap_or(Ok(()))
        }
    }
}
