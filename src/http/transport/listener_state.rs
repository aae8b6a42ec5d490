//! Whether a listener serves or stops, and what it serves requests with.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use tokio::sync::watch;
use tower::Service;

use crate::base::limits::{CUT_WAIT_S, DRAIN_WAIT_S};

/// The state of a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListenerState {
    /// It accepts connections.
    On,
    /// It accepts no connections, and waits `DRAIN_WAIT_S` for requests in progress.
    Drain,
    /// It accepts no connections, and waits `CUT_WAIT_S` for requests in progress.
    Cut,
}

impl ListenerState {
    /// Longest wait for requests in progress.
    #[must_use]
    pub const fn wait(self) -> Duration {
        match self {
            Self::On | Self::Drain => Duration::from_secs(DRAIN_WAIT_S),
            Self::Cut => Duration::from_secs(CUT_WAIT_S),
        }
    }

    /// Returns the kind of stop when the listener has to stop.
    pub(crate) async fn stopped(state: &mut watch::Receiver<Self>) -> Self {
        let stopped = state.wait_for(|state| *state != Self::On).await;
        stopped.map_or(Self::Cut, |state| *state)
    }
}

/// The handler of a listener's requests.
pub trait ListenerService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> ListenerService for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}
