use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::base::limits::{PUBLISH_WAIT_MS, PUBLISHES_WAITING_MAX};

/// Requests to write the public documents for a sealed broker, each with the place to say that it was done.
pub struct Publishing {
    requests: mpsc::Sender<oneshot::Sender<()>>,
    taken: Mutex<Option<mpsc::Receiver<oneshot::Sender<()>>>>,
}

impl Default for Publishing {
    fn default() -> Self {
        let (requests, taken) = mpsc::channel::<oneshot::Sender<()>>(PUBLISHES_WAITING_MAX);
        Self { requests, taken: Mutex::new(Some(taken)) }
    }
}

impl Publishing {
    /// The requests, for the job that writes the documents: once.
    pub fn requests(&self) -> Option<mpsc::Receiver<oneshot::Sender<()>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns when the documents were written. A disk that does not answer holds up no change of keys for longer than
    /// `PUBLISH_WAIT_MS`.
    pub(crate) async fn publish(&self) {
        let (done, written) = oneshot::channel();
        let wait = Duration::from_millis(PUBLISH_WAIT_MS);
        let asked = async { self.requests.send(done).await.is_ok() && written.await.is_ok() };
        if !tokio::time::timeout(wait, asked).await.unwrap_or(false) {
            tracing::warn!("the public documents for a sealed broker were not written in time");
        }
    }
}

impl fmt::Debug for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publishing")
    }
}
