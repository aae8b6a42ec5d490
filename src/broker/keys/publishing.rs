use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::base::limits::{PUBLISH_WAIT_MS, PUBLISHES_WAITING_MAX};

/// Requests to write the public documents for a sealed broker, each with a channel for the confirmation.
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
    /// The receiver of the requests, for the job that writes the documents. Only the first call returns it.
    pub fn requests(&self) -> Option<mpsc::Receiver<oneshot::Sender<()>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns when the documents are written, or after `PUBLISH_WAIT_MS`.
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
