use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::base::io_reason;
use crate::broker::services::Services;
use crate::ledger::SnapshotWritten;
use crate::store::{SnapshotError, SnapshotTaken};
use crate::telemetry::give_way;

impl Services {
    /// Whether a snapshot is due: otherwise the next start would read many entries.
    #[must_use]
    pub fn is_snapshot_due(&self) -> bool {
        self.state.store.is_snapshot_due()
    }

    /// Whether a clean stop should write a last snapshot.
    #[must_use]
    pub fn is_snapshot_worth_a_stop(&self) -> bool {
        self.state.store.is_snapshot_worth_a_stop()
    }

    /// Writes a snapshot of the state, unless `stop` becomes true. A failure is only logged: a start then takes
    /// longer.
    pub async fn take_snapshot(services: &Arc<Self>, stop: watch::Receiver<bool>) {
        match Self::write_snapshot(Arc::clone(services), stop).await {
            Some(Ok(Some(written))) => {
                if let Err(error) = services.state.record(&SnapshotTaken::of(&written)).await {
                    tracing::warn!(%error, "a snapshot could not be recorded in the ledger");
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "a snapshot could not be taken: starts take longer"),
            Some(Ok(None)) | None => {}
        }
    }

    /// On a thread with low priority: it reads entries and seals state for a long time.
    async fn write_snapshot(
        services: Arc<Self>,
        stop: watch::Receiver<bool>,
    ) -> Option<Result<Option<SnapshotWritten>, SnapshotError>> {
        let (reply, answer) = oneshot::channel();
        let started = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
            give_way();
            let taken = services.state.store.take_snapshot(&|| *stop.borrow());
            // Before the answer: the directory may be wanted by then.
            drop(services);
            drop(reply.send(taken));
        });
        if let Err(error) = started {
            tracing::warn!(error = %io_reason(&error), "a thread for a snapshot could not be started");
        }
        answer.await.ok()
    }
}
