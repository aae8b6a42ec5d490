//! The accept loop of the socket on the broker's host. The kernel identifies the user of the peer process. The limits are
//! those of the other listeners.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, watch};

use super::conversation::converse;
use super::listener::back_off;
use super::listener_state::{ListenerService, ListenerState};
use crate::base::limits::HOST_CONNECTIONS_MAX;

/// The user of the peer process at the host socket. Read once, when the connection is made.
#[derive(Clone, Copy, Debug)]
pub struct HostPeer {
    /// The uid from the kernel (`SO_PEERCRED`).
    pub uid: u32,
}

/// Accepts connections until the stop, and returns when the last connection has ended.
pub async fn serve_host(
    listener: UnixListener,
    router: impl ListenerService,
    mut state: watch::Receiver<ListenerState>,
) {
    let slots = Arc::new(Semaphore::new(HOST_CONNECTIONS_MAX));
    // Every connection holds a sender; the channel closes when the last connection has ended.
    let (open, mut all_ended) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ListenerState::stopped(&mut state) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                back_off(&error).await;
                continue;
            }
        };
        let (Ok(slot), Ok(credentials)) = (Arc::clone(&slots).try_acquire_owned(), stream.peer_cred()) else {
            tracing::warn!(
                "a connection to the host socket was closed: its user is unknown, or the connection limit is reached"
            );
            continue;
        };
        let peer = HostPeer { uid: credentials.uid() };
        let (router, state, open) = (router.clone(), state.clone(), open.clone());
        tokio::spawn(async move {
            converse(stream, peer, "host", router, state, std::future::pending()).await;
            drop((slot, open));
        });
    }
    drop((listener, open));
    all_ended.recv().await;
}
