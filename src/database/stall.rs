use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::base::limits::LEDGER_STALLED_MS;

/// The result of `step`, a write to the database. If it takes so long that the broker is not ready, the log says so, while
/// the writer still waits.
pub(super) async fn told<T>(step: impl Future<Output = T>) -> T {
    let mut step = pin!(step);
    if let Ok(done) = timeout(Duration::from_millis(LEDGER_STALLED_MS), step.as_mut()).await {
        return done;
    }
    tracing::warn!(
        "the database of the ledger has not answered a write for {} s: check its servers, their network, and whether a \
         synchronous standby is connected; the broker continues once it answers",
        LEDGER_STALLED_MS / 1000
    );
    step.await
}
