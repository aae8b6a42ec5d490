use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::broker::{ClockWatch, Services};

/// Interval of comparisons of the clocks.
const LOOK: Duration = Duration::from_secs(1);

/// Compares the wall clock with the boot clock.
#[derive(Debug)]
pub struct ClockWatcher {
    services: Arc<Services>,
    watch: Mutex<ClockWatch>,
}

impl ClockWatcher {
    /// Watches the clock of `services`.
    #[must_use]
    pub fn new(services: Arc<Services>) -> Self {
        Self { services, watch: Mutex::default() }
    }

    /// Works until `stop` is true.
    pub async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            self.look().await;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Compares the clocks once. The next comparison tries again to record a change.
    pub async fn look(&self) {
        let mut watch = self.watch.lock().await;
        if let Err(failure) = self.services.look_at_clock(&mut watch).await {
            tracing::error!(?failure, "a change of the clock could not be recorded");
        }
    }
}
