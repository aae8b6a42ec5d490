use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// A connection to a PostgreSQL server that ends unless the server asks for SCRAM.
///
/// SCRAM is the only exchange in which the server proves that it knows a verifier of the password, and the
/// library checks that proof. A server that lets the client in without it, or asks for the password itself or
/// an MD5 hash of it, may be a process that took the port, and a login there says nothing of the password.
#[derive(Debug)]
pub(super) struct Proof<S> {
    stream: S,
    opening: Vec<u8>,
}

/// The kind, the length and the code of an authentication request.
const REQUEST_BYTES: usize = 9;
const AUTHENTICATION: u8 = b'R';
const AUTHENTICATION_SASL: u32 = 10;
const ERROR: u8 = b'E';

impl<S> Proof<S> {
    pub(super) const fn required(stream: S) -> Self {
        Self { stream, opening: Vec::new() }
    }

    /// Whether the server's first message is an error or a request for SCRAM, as far as `received` shows it.
    fn accepts(&mut self, received: &[u8]) -> bool {
        let missing = REQUEST_BYTES.saturating_sub(self.opening.len());
        self.opening.extend(received.iter().take(missing));
        match *self.opening.as_slice() {
            [] | [ERROR, ..] => true,
            [AUTHENTICATION, _, _, _, _, a, b, c, d] => {
                u32::from_be_bytes([a, b, c, d]) == AUTHENTICATION_SASL
            }
            [kind, ..] => kind == AUTHENTICATION,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Proof<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let received = buffer.filled().get(before..).unwrap_or_default();
        if this.accepts(received) { polled } else { Poll::Ready(Err(io::Error::other(Unproven))) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Proof<S> {
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

impl<S: TlsStream + Unpin> TlsStream for Proof<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// Makes TLS connections that require the proof.
pub(super) struct ProofOver<C>(pub(super) C);

impl<S, C> TlsConnect<S> for ProofOver<C>
where
    C: TlsConnect<S>,
    C::Future: Send + 'static,
{
    type Stream = Proof<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.0.connect(stream);
        Box::pin(async { connecting.await.map(Proof::required) })
    }
}

/// The server proves nothing.
#[derive(Debug, thiserror::Error)]
#[error("the server does not ask for SCRAM")]
struct Unproven;

/// Whether a login failed because the server did not prove that it knows the password.
pub(super) fn is_unproven(error: &tokio_postgres::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let is_refused_here = io.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<Unproven>());
    // The library has words alone for a wrong signature, and for a message out of turn.
    let words = error.to_string();
    is_refused_here
        || ["authentication error", "unexpected message"].iter().any(|start| words.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_ask_for_scram_or_refuse_and_nothing_else() {
        let accepts = |kind: u8, request: u32| {
            let whole = [&[kind][..], &8_u32.to_be_bytes(), &request.to_be_bytes()].concat();
            let mut in_parts = Proof::required(());
            let verdict = whole.chunks(2).all(|part| in_parts.accepts(part));
            assert_eq!(Proof::required(()).accepts(&whole), verdict, "in parts and at once");
            verdict
        };
        for (kind, request, is_accepted) in [
            (b'R', 10, true),
            (b'E', 3, true),
            (b'R', 0, false),
            (b'R', 3, false),
            (b'R', 5, false),
            (b'R', 7, false),
            (b'N', 10, false),
            (b'S', 10, false),
            (b'Z', 10, false),
            (b'v', 10, false),
        ] {
            assert_eq!(accepts(kind, request), is_accepted, "{} {request}", char::from(kind));
        }
    }
}
