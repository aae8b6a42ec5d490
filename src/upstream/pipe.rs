use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection that ends once the other side has sent as much as it may: no answer that a driver
/// waits for is larger, and an upstream must not fill the broker's memory.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: TcpStream,
    left: usize,
    opening: Option<Opening>,
}

impl Pipe {
    /// Takes at most `max` bytes from `stream`.
    pub(super) const fn new(stream: TcpStream, max: usize) -> Self {
        Self { stream, left: max, opening: None }
    }

    /// The same for PostgreSQL in clear: ends when the server asks for the password itself, or for a hash of
    /// it. Whoever takes the port of a server that is away would be told.
    pub(super) fn by_proof_alone(self) -> Self {
        Self { opening: Some(Opening::default()), ..self }
    }
}

/// The first bytes that a PostgreSQL server says, until it is seen what it asks for.
#[derive(Debug, Default)]
struct Opening(Vec<u8>);

impl Opening {
    /// Takes what came; whether a server may go on so.
    fn takes(&mut self, came: &[u8]) -> bool {
        let missing = OPENING_BYTES.saturating_sub(self.0.len());
        self.0.extend(came.iter().take(missing));
        match *self.0.as_slice() {
            [AUTHENTICATION, _, _, _, _, a, b, c, d] => {
                [AUTHENTICATION_OK, AUTHENTICATION_SASL].contains(&u32::from_be_bytes([a, b, c, d]))
            }
            _ => true,
        }
    }
}

/// Its kind, its length, and what is asked for.
const OPENING_BYTES: usize = 9;
const AUTHENTICATION: u8 = b'R';
const AUTHENTICATION_OK: u32 = 0;
const AUTHENTICATION_SASL: u32 = 10;

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // One read may go beyond by the size of its buffer; the next one finds nothing left.
        if this.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let came = buffer.filled().get(before..).unwrap_or_default();
        this.left = this.left.saturating_sub(came.len());
        if this.opening.as_mut().is_some_and(|opening| !opening.takes(came)) {
            return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
        }
        polled
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_ask_for_a_proof_or_nothing_and_not_for_the_password_or_a_hash_of_it() {
        let asks = |kind: u8, what: u32| {
            let whole = [&[kind][..], &8_u32.to_be_bytes(), &what.to_be_bytes()].concat();
            let mut opening = Opening::default();
            // However it comes in pieces.
            whole.chunks(2).all(|part| opening.takes(part)) && Opening::default().takes(&whole)
        };
        for (kind, what, may) in
            [(b'R', 0, true), (b'R', 10, true), (b'R', 3, false), (b'R', 5, false), (b'E', 3, true)]
        {
            assert_eq!(asks(kind, what), may, "{kind} {what}");
        }
    }
}
