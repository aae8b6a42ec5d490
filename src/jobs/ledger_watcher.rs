use std::sync::Arc;

use tokio::sync::watch;

use crate::broker::Services;

/// Raises an alarm when the ledger no longer has what it has acknowledged.
#[derive(Debug)]
pub struct LedgerWatcher {
    services: Arc<Services>,
}

impl LedgerWatcher {
    /// Watches the ledger of `services`.
    #[must_use]
    pub const fn new(services: Arc<Services>) -> Self {
        Self { services }
    }

    /// Works until `stop` is true, or until there is nothing more to tell.
    pub async fn work(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.services.raise_when_entries_are_lost() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}
