//! The accept loop of the socket on the broker's host: the kernel says whose process is at the other
//! end, and nothing else is asked of a connection. The same limits hold as on the other listeners.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, watch};

use super::listener::{ListenerService, ListenerState, back_off, converse};
use crate::base::limits::HOST_CONNECTIONS_MAX;

/// Whose process is at the other end of the host's socket. Read once, when the connection is made.
#[derive(Clone, Copy, Debug)]
pub struct HostPeer {
    /// Its uid, as the kernel says (`SO_PEERCRED`).
    pub uid: u32,
}

/// Accepts until it is told to stop, and returns when the last connection has ended.
pub async fn serve_host(
    listener: UnixListener,
    front: impl ListenerService,
    mut course: watch::Receiver<ListenerState>,
) {
    let places = Arc::new(Semaphore::new(HOST_CONNECTIONS_MAX));
    // Held by every connection, sent nothing through: it closes when the last of them has ended.
    let (open, mut all_ended) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ListenerState::stopped(&mut course) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                back_off(&error).await;
                continue;
            }
        };
        let (Ok(place), Ok(credentials)) = (Arc::clone(&places).try_acquire_owned(), stream.peer_cred())
        else {
            tracing::warn!(
                "a connection to the host socket was closed: its user is unknown, or the connection limit is reached"
            );
            continue;
        };
        let peer = HostPeer { uid: credentials.uid() };
        let (front, course, open) = (front.clone(), course.clone(), open.clone());
        tokio::spawn(async move {
            converse(stream, (peer, "host"), front, (course, std::future::pending())).await;
            drop((place, open));
        });
    }
    drop((listener, open));
    all_ended.recv().await;
}
