use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of which only a limited number of bytes can be read until the limit is lifted.
#[derive(Debug)]
pub(crate) struct Bounded<S> {
    inner: S,
    /// The number of bytes that can still be read; `None` without a limit.
    left: Option<usize>,
}

impl<S> Bounded<S> {
    pub(crate) const fn new(inner: S, bytes_max: usize) -> Self {
        Self { inner, left: Some(bytes_max) }
    }

    /// Sets the limit.
    pub(crate) const fn bound(&mut self, bytes_max: usize) {
        self.left = Some(bytes_max);
    }

    /// Lifts the limit.
    pub(crate) const fn lift(&mut self) {
        self.left = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.left else { return Pin::new(&mut self.inner).poll_read(cx, buf) };
        if left == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the client sent more bytes than a TLS handshake has",
            )));
        }
        let room = left.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        let polled = Pin::new(&mut self.inner).poll_read(cx, &mut part);
        let read = part.filled().len();
        buf.advance(read);
        self.left = Some(left.saturating_sub(read));
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn no_more_is_read_than_the_bound_until_it_is_lifted() {
        let (mut peer, stream) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"0123456789").await.unwrap();
        let mut bounded = Bounded::new(stream, 4);
        let mut read = [0; 8];
        assert_eq!(bounded.read(&mut read).await.unwrap(), 4);
        assert_eq!(bounded.read(&mut read).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        bounded.bound(1);
        assert_eq!(bounded.read(&mut read).await.unwrap(), 1);
        bounded.lift();
        assert_eq!(bounded.read(&mut read).await.unwrap(), 5);
        assert_eq!(&read[..5], b"56789");
    }
}
