use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The handler of one request.
pub(crate) type Handler = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Handlers that continue although their connection has ended. A stop waits for them.
#[derive(Clone, Debug, Default)]
pub struct DetachedHandlers(Arc<watch::Sender<usize>>);

impl DetachedHandlers {
    /// Returns when no handler is in progress.
    pub async fn ended(&self) {
        // Cannot fail: `self` holds a sender.
        drop(self.0.subscribe().wait_for(|under_way| *under_way == 0).await);
    }

    /// Continues `handler` as a separate task.
    pub(crate) fn go_on(&self, handler: Handler) {
        let Ok(runtime) = Handle::try_current() else { return };
        let counted = CountedHandler::of(self.clone());
        runtime.spawn(async move {
            let _response: Response<Body> = handler.await;
            drop(counted);
        });
    }
}

/// Counts a handler until this is dropped, also after a panic.
struct CountedHandler(DetachedHandlers);

impl CountedHandler {
    fn of(detached: DetachedHandlers) -> Self {
        detached.0.send_modify(|under_way| *under_way = under_way.saturating_add(1));
        Self(detached)
    }
}

impl Drop for CountedHandler {
    fn drop(&mut self) {
        self.0.0.send_modify(|under_way| *under_way = under_way.saturating_sub(1));
    }
}
