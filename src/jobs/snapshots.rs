use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::base::limits::LAST_SNAPSHOT_WAIT_S;
use crate::broker::Services;

/// Interval of checks whether a snapshot is due.
const LOOK: Duration = Duration::from_secs(10);

/// Takes snapshots of the state, so that the next start is short.
#[derive(Debug)]
pub struct Snapshots {
    services: Arc<Services>,
}

impl Snapshots {
    /// Takes those of `services`.
    #[must_use]
    pub const fn new(services: Arc<Services>) -> Self {
        Self { services }
    }

    /// Works until `stop` is true. A snapshot in progress is cancelled then.
    pub async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if self.services.is_snapshot_due() {
                self.take(&stop).await;
            }
        }
    }

    /// Takes a last snapshot after an orderly stop, if the next start would have much to read. Cancelled after
    /// `LAST_SNAPSHOT_WAIT_S`.
    pub async fn take_last(&self) {
        if !self.services.is_snapshot_worth_a_stop() {
            return;
        }
        let (give_up, stop) = watch::channel(false);
        let mut taking = pin!(self.take(&stop));
        let wait = Duration::from_secs(LAST_SNAPSHOT_WAIT_S);
        if tokio::time::timeout(wait, taking.as_mut()).await.is_err() {
            tracing::warn!("the last snapshot took too long and was cancelled: the next start takes longer");
            give_up.send_replace(true);
            taking.await;
        }
    }

    /// Takes one now.
    pub async fn take(&self, stop: &watch::Receiver<bool>) {
        Services::take_snapshot(&self.services, stop.clone()).await;
    }
}
