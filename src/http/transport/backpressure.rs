use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use tokio::time::Instant;

use crate::base::limits::COME_BACK_AFTER_S;

/// Marks a response that refuses a request because the broker is overloaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overloaded;

/// Delays the requests of a connection whose client ignores `Retry-After`: a refusal costs half as much as a token, so
/// that clients which repeat at once would keep the broker overloaded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backpressure {
    until: Arc<Mutex<Option<Instant>>>,
}

impl Backpressure {
    /// Returns when the broker may read the next request of the connection.
    pub(crate) async fn wait(&self) {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Notes the response.
    pub(crate) fn note(&self, response: &Response<Body>) {
        if response.extensions().get::<Overloaded>().is_some() {
            let until = Instant::now().checked_add(Duration::from_secs(COME_BACK_AFTER_S));
            *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    async fn waits(patience: &Backpressure) -> bool {
        let mut waiting = pin!(patience.wait());
        poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn only_whoever_was_told_to_come_back_is_made_to_wait_and_once() {
        let patience = Backpressure::default();
        let mut response = Response::new(Body::empty());
        patience.note(&response);
        assert!(!waits(&patience).await, "an answer like any other");

        response.extensions_mut().insert(Overloaded);
        patience.note(&response);
        assert!(waits(&patience).await);
        assert!(!waits(&patience).await, "what was asked next has waited");
    }
}
