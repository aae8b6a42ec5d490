use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::broker::Services;

/// Interval of checks for due messages.
const LOOK: Duration = Duration::from_secs(2);

/// Sends the messages about requests for approval to the webhook, a limited number at a time.
#[derive(Debug)]
pub struct Announcer(Arc<Services>);

impl Announcer {
    /// Looks after the messages of `services`.
    #[must_use]
    pub const fn new(services: Arc<Services>) -> Self {
        Self(services)
    }

    /// Works until `stop` is true and no message is being sent.
    pub async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        loop {
            self.begin_due(&mut tasks);
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                Some(_) = tasks.join_next() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Sends all messages that are due, and waits for their end.
    pub async fn look(&self) {
        let mut tasks = JoinSet::new();
        self.begin_due(&mut tasks);
        while tasks.join_next().await.is_some() {
            self.begin_due(&mut tasks);
        }
    }

    fn begin_due(&self, tasks: &mut JoinSet<()>) {
        for id in self.0.announcements_due() {
            let services = Arc::clone(&self.0);
            tasks.spawn(async move { services.announce(id).await });
        }
    }
}
