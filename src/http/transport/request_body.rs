use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};

use crate::base::limits::{LINGER_WAIT_S, UNREAD_BYTES_MAX};

/// Lends the bodies of a connection's requests, one after another, and reads the rest of each.
///
/// A request that is refused because of its header is answered before its body has arrived. The connection stays open,
/// because the caller may send the next request on it.
#[derive(Clone, Default)]
pub(crate) struct ConnectionBodies(BodySlot);

type BodySlot = Arc<Mutex<Option<Incoming>>>;

/// The end of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyRest {
    /// The body has been read: the connection can continue.
    Read,
    /// The rest of the body is too large, or does not arrive: the connection has to be closed.
    Unread,
}

impl ConnectionBodies {
    /// Lends the body to the handler of the request.
    pub(crate) fn lend(&self, body: Incoming) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        *lock(&self.0) = Some(body);
        Body::new(ConnectionBody(Arc::clone(&self.0)))
    }

    /// Reads the rest of the body.
    pub(crate) async fn rest(&self) -> BodyRest {
        let Some(mut body) = lock(&self.0).take() else { return BodyRest::Read };
        if body.is_end_stream() {
            return BodyRest::Read;
        }
        if body.size_hint().lower() > UNREAD_BYTES_MAX {
            return BodyRest::Unread;
        }
        let read = async {
            // The length of a chunked body is known only at its end.
            let mut read = 0_u64;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return BodyRest::Unread };
                read = read.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
                if read > UNREAD_BYTES_MAX {
                    return BodyRest::Unread;
                }
            }
            BodyRest::Read
        };
        tokio::time::timeout(Duration::from_secs(LINGER_WAIT_S), read).await.unwrap_or(BodyRest::Unread)
    }
}

struct ConnectionBody(BodySlot);

impl HttpBody for ConnectionBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match lock(&self.0).as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

fn lock(slot: &BodySlot) -> std::sync::MutexGuard<'_, Option<Incoming>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
