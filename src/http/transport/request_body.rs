use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};

use crate::base::limits::{LINGER_WAIT_S, UNREAD_BYTES_MAX};

/// Lends the bodies of a connection's requests, one after another, and reads what is left of one.
///
/// A request that is refused for its header alone is answered before its body has come. A connection that is
/// closed over it would be missing to a caller who has been told nothing of that, and asks again on it.
#[derive(Clone, Default)]
pub(crate) struct ConnectionBodies(BodySlot);

type BodySlot = Arc<Mutex<Option<Incoming>>>;

/// Whether a body has come to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyRest {
    /// The connection can go on.
    Read,
    /// There is more of it than anybody reads in vain, or it does not come.
    Unread,
}

impl ConnectionBodies {
    /// The body for the handler of the request.
    pub(crate) fn lend(&self, body: Incoming) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        *lock(&self.0) = Some(body);
        Body::new(ConnectionBody(Arc::clone(&self.0)))
    }

    /// Reads what nobody has.
    pub(crate) async fn rest(&self) -> BodyRest {
        let Some(mut body) = lock(&self.0).take() else { return BodyRest::Read };
        if body.is_end_stream() {
            return BodyRest::Read;
        }
        if body.size_hint().lower() > UNREAD_BYTES_MAX {
            return BodyRest::Unread;
        }
        let read = async {
            // A chunked body says its length at its end alone.
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
