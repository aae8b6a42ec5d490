use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::base::io_reason;
use crate::base::limits::LAST_SNAPSHOT_WAIT_S;
use crate::broker::Core;
use crate::ledger::SnapshotWritten;
use crate::store::{Change, SnapshotError, SnapshotTaken};
use crate::telemetry::give_way;

/// How often it looks whether one is due.
const LOOK: Duration = Duration::from_secs(10);

/// Takes snapshots of the state, so that the next start is short.
#[derive(Debug)]
pub struct Snapshots {
    core: Arc<Core>,
}

impl Snapshots {
    /// Takes those of `core`.
    #[must_use]
    pub const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Works until `stop` turns true. One that is being taken then is given up.
    pub async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if self.core.state.store.is_snapshot_due() {
                self.take(&stop).await;
            }
        }
    }

    /// Takes a last one, when the broker has ended in good order and a start would have much to read. It is given up
    /// after `LAST_SNAPSHOT_WAIT_S`.
    pub async fn take_last(&self) {
        if !self.core.state.store.is_snapshot_worth_a_stop() {
            return;
        }
        let (give_up, stop) = watch::channel(false);
        let mut taking = pin!(self.take(&stop));
        let wait = Duration::from_secs(LAST_SNAPSHOT_WAIT_S);
        if tokio::time::timeout(wait, taking.as_mut()).await.is_err() {
            tracing::warn!("the last snapshot takes too long and is given up; the next start takes longer");
            give_up.send_replace(true);
            taking.await;
        }
    }

    /// Takes one now. What goes wrong is told: nothing depends on it but how long a start takes.
    pub async fn take(&self, stop: &watch::Receiver<bool>) {
        let Some(taken) = self.write(stop.clone()).await else { return };
        match taken {
            Ok(Some(written)) => self.announce(&written).await,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "no snapshot could be taken; starts take longer"),
        }
    }

    /// On a thread of its own that gives way: it reads entries and seals state for as long as it takes.
    async fn write(
        &self,
        stop: watch::Receiver<bool>,
    ) -> Option<Result<Option<SnapshotWritten>, SnapshotError>> {
        let (core, (reply, answer)) = (Arc::clone(&self.core), oneshot::channel());
        let started = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
            give_way();
            let taken = core.state.store.take_snapshot(&|| *stop.borrow());
            // Before the answer: whoever has it may take the directory for himself.
            drop(core);
            drop(reply.send(taken));
        });
        if let Err(error) = started {
            tracing::warn!(error = %io_reason(&error), "there is no thread for a snapshot");
        }
        answer.await.ok()
    }

    async fn announce(&self, written: &SnapshotWritten) {
        let change = match Change::new(&SnapshotTaken::of(written)) {
            Ok(change) => change,
            Err(error) => return tracing::warn!(%error, "a snapshot could not be announced"),
        };
        match self.core.state.store.commit(change, ()).await {
            Ok(receipt) => receipt.redeem(),
            Err(error) => tracing::warn!(%error, "a snapshot could not be announced"),
        }
    }
}
