use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Body as HttpBody;

use crate::base::limits::BODY_WAIT_S;
use crate::base::{Sensitive, code};
use crate::http::documents::problem::Problem;

/// Reads a body of at most `limit` bytes within `BODY_WAIT_S`.
pub(crate) async fn read_body(body: Body, limit: usize) -> Result<Sensitive<Vec<u8>>, Problem> {
    read_within(body, limit, Duration::from_secs(BODY_WAIT_S)).await
}

async fn read_within(mut body: Body, limit: usize, wait: Duration) -> Result<Sensitive<Vec<u8>>, Problem> {
    use tokio::time::{Instant, timeout};
    let began = Instant::now();
    // A declared length above the limit is refused before the body is read.
    let said = usize::try_from(HttpBody::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if said <= limit {
        let read = timeout(wait, collected(&mut body, limit)).await;
        if let Some(bytes) = read.unwrap_or_else(|_| Err(Problem::new(code::BODY_TIMEOUT)))? {
            return Ok(bytes);
        }
    }
    let discarded = limit.saturating_mul(2);
    if said <= discarded {
        drop(timeout(wait.saturating_sub(began.elapsed()), discard(&mut body, discarded)).await);
    }
    Err(too_large(limit))
}

/// The body; `None` if it is longer than the limit.
async fn collected(body: &mut Body, limit: usize) -> Result<Option<Sensitive<Vec<u8>>>, Problem> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(code::BODY_INCOMPLETE))?;
        let Ok(data) = frame.into_data() else { continue };
        let size = bytes.len().saturating_add(data.len());
        if size > limit {
            return Ok(None);
        }
        grow(&mut bytes, size, limit);
        bytes.extend_from_slice(&data);
    }
    Ok(Some(Sensitive::new(std::mem::take(&mut *bytes))))
}

/// Reads the rest of an unneeded body up to a limit. The kernel resets a connection that is closed with unread bytes,
/// and a reset can overtake the response: a client that still writes would not see the 413.
async fn discard(body: &mut Body, limit: usize) {
    let mut size = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        size = size.saturating_add(frame.data_ref().map_or(0, |data| data.len()));
        if size > limit {
            return;
        }
    }
}

/// Grows by copying into a new buffer and wiping the old one: a body may be a secret, and a reallocation would leave a
/// copy.
fn grow(bytes: &mut zeroize::Zeroizing<Vec<u8>>, size: usize, limit: usize) {
    if size > bytes.capacity() {
        let mut larger = Vec::with_capacity(size.saturating_mul(2).min(limit));
        larger.extend_from_slice(bytes);
        *bytes = zeroize::Zeroizing::new(larger);
    }
}

fn too_large(limit: usize) -> Problem {
    let why = format!("the body is larger than {limit} bytes, the limit of this route");
    Problem::new(code::BODY_TOO_LARGE).because(why)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Bytes, Frame, SizeHint};

    use super::*;

    /// A body that does not come, and says beforehand how long it would be.
    struct Never(u64);

    impl HttpBody for Never {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0)
        }
    }

    fn code_of(read: Result<Sensitive<Vec<u8>>, Problem>) -> Option<code::Code> {
        read.err().map(|problem| problem.code())
    }

    /// Hazard HTTP-05.
    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_no_longer_than_its_wait() {
        let wait = Duration::from_millis(20);
        let read = |bytes: usize| read_within(Body::from(vec![b'x'; bytes]), 64, wait);
        assert_eq!(code_of(read(64).await), None);
        assert_eq!(code_of(read(65).await), Some(code::BODY_TOO_LARGE));
        assert_eq!(code_of(read_within(Body::new(Never(64)), 64, wait).await), Some(code::BODY_TIMEOUT));
        assert_eq!(code_of(read_within(Body::new(Never(65)), 64, wait).await), Some(code::BODY_TOO_LARGE));
    }
}
