use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::base::limits::SCRAM_ITERATIONS_MIN;

/// A connection to a PostgreSQL server that ends unless the server requests SCRAM with enough iterations.
///
/// Only in SCRAM the server proves that it knows a verifier of the password, and the library checks this proof. A server
/// that accepts the client without it, or requests the password or its MD5 hash, may be another process at this port, and
/// a login there proves nothing about the password.
///
/// The client sends its proof first. A false server can test passwords against it, each at the cost of the iterations
/// that it requested; therefore few iterations are refused.
#[derive(Debug)]
pub(super) struct ScramProof<S> {
    stream: S,
    /// The server's bytes until they were judged.
    opening: Option<Vec<u8>>,
}

const AUTHENTICATION: u8 = b'R';
const AUTHENTICATION_SASL: u32 = 10;
const AUTHENTICATION_SASL_CONTINUE: u32 = 11;
const ERROR: u8 = b'E';

impl<S> ScramProof<S> {
    pub(super) const fn required(stream: S) -> Self {
        Self { stream, opening: Some(Vec::new()) }
    }

    /// Whether the server asks for SCRAM and then for enough iterations, or sends an error, as far as `received`
    /// shows it.
    fn accepts(&mut self, received: &[u8]) -> Result<(), ScramMissing> {
        let Some(opening) = &mut self.opening else { return Ok(()) };
        opening.extend_from_slice(received);
        if judged(opening)? == Judged::Good {
            self.opening = None;
        }
        Ok(())
    }
}

/// The result of a server's first messages.
#[derive(Eq, PartialEq)]
enum Judged {
    Good,
    /// No objection so far.
    Unfinished,
}

fn judged(opening: &[u8]) -> Result<Judged, ScramMissing> {
    let rest = match next(opening, AUTHENTICATION_SASL)? {
        Next::Request { rest, .. } => rest,
        Next::Error => return Ok(Judged::Good),
        Next::Unfinished => return Ok(Judged::Unfinished),
    };
    match next(rest, AUTHENTICATION_SASL_CONTINUE)? {
        Next::Request { body, .. } => match iterations(body) {
            Some(SCRAM_ITERATIONS_MIN..) => Ok(Judged::Good),
            Some(_) => Err(ScramMissing::FewIterations),
            None => Err(ScramMissing::NoScram),
        },
        Next::Error => Ok(Judged::Good),
        Next::Unfinished => Ok(Judged::Unfinished),
    }
}

/// The next message of a server.
enum Next<'a> {
    /// The authentication request that was expected, and what follows it.
    Request {
        body: &'a [u8],
        rest: &'a [u8],
    },
    Error,
    Unfinished,
}

/// The message at the start of `bytes`, which may be an error or the authentication request `code` and nothing else.
fn next(bytes: &[u8], code: u32) -> Result<Next<'_>, ScramMissing> {
    match bytes {
        [] => Ok(Next::Unfinished),
        [ERROR, ..] => Ok(Next::Error),
        [AUTHENTICATION, a, b, c, d, e, f, g, h, rest @ ..] => {
            // The length counts itself and the code.
            let length = u32::from_be_bytes([*a, *b, *c, *d]).checked_sub(8);
            let length = length.and_then(|length| usize::try_from(length).ok());
            let is_expected = u32::from_be_bytes([*e, *f, *g, *h]) == code;
            let length = length.filter(|_| is_expected).ok_or(ScramMissing::NoScram)?;
            let whole = rest.split_at_checked(length);
            Ok(whole.map_or(Next::Unfinished, |(body, rest)| Next::Request { body, rest }))
        }
        [AUTHENTICATION, ..] => Ok(Next::Unfinished),
        [..] => Err(ScramMissing::NoScram),
    }
}

/// The number of iterations in a server's first SCRAM message: `r=…,s=…,i=…` (RFC 5802 §7).
fn iterations(message: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(message).ok()?;
    text.split(',').find_map(|field| field.strip_prefix("i="))?.parse().ok()
}

impl<S: AsyncRead + Unpin> AsyncRead for ScramProof<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let received = buffer.filled().get(before..).unwrap_or_default();
        match this.accepts(received) {
            Ok(()) => polled,
            Err(unproven) => Poll::Ready(Err(io::Error::other(unproven))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ScramProof<S> {
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

impl<S: TlsStream + Unpin> TlsStream for ScramProof<S> {
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
    type Stream = ScramProof<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.0.connect(stream);
        Box::pin(async { connecting.await.map(ScramProof::required) })
    }
}

/// The reason for a missing proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ScramMissing {
    /// It does not request SCRAM, or does not complete it.
    #[error("the server does not ask for SCRAM")]
    NoScram,
    /// Its SCRAM has too few iterations.
    #[error("the server asks for too few iterations")]
    FewIterations,
}

impl ScramMissing {
    /// The detail beside the code.
    pub(super) fn detail(self) -> Option<String> {
        match self {
            Self::NoScram => None,
            Self::FewIterations => Some(format!("fewer than {SCRAM_ITERATIONS_MIN} SCRAM iterations")),
        }
    }
}

/// The fault of a login whose server did not prove that it knows the password.
pub(super) fn unproven(error: &tokio_postgres::Error) -> Option<ScramMissing> {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let refused_here = io.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref::<ScramMissing>());
    // The library reports a wrong signature and an unexpected message only as text.
    let words = error.to_string();
    let is_told =
        || ["authentication error", "unexpected message"].iter().any(|start| words.starts_with(start));
    refused_here.copied().or_else(|| is_told().then_some(ScramMissing::NoScram))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, request: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().saturating_add(8);
        [&[kind][..], &length.to_be_bytes(), &request.to_be_bytes(), body].concat()
    }

    /// The verdict on `whole`, in parts and at once.
    fn accepts(whole: &[u8]) -> Result<(), ScramMissing> {
        let mut in_parts = ScramProof::required(());
        let verdict = whole.chunks(2).try_for_each(|part| in_parts.accepts(part));
        assert_eq!(ScramProof::required(()).accepts(whole), verdict, "in parts and at once");
        verdict
    }

    #[test]
    fn a_server_may_ask_for_scram_or_refuse_and_nothing_else() {
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
            let verdict = accepts(&message(kind, request, b""));
            assert_eq!(verdict.is_ok(), is_accepted, "{} {request}", char::from(kind));
        }
        assert_eq!(accepts(b"R\0\0\0\x07\0\0\0\x0a"), Err(ScramMissing::NoScram), "shorter than its head");
    }

    #[test]
    fn a_server_may_ask_for_as_many_iterations_as_the_limit_and_no_fewer() {
        let request = message(b'R', 10, b"SCRAM-SHA-256\0\0");
        let challenge =
            |kind, code, body: &str| [&request[..], &message(kind, code, body.as_bytes())].concat();
        let of = |count: u32| challenge(b'R', 11, &format!("r=abc,s=c2FsdA==,i={count}"));
        assert_eq!(accepts(&of(SCRAM_ITERATIONS_MIN)), Ok(()));
        assert_eq!(accepts(&of(SCRAM_ITERATIONS_MIN - 1)), Err(ScramMissing::FewIterations));
        assert_eq!(accepts(&of(1)), Err(ScramMissing::FewIterations));
        assert_eq!(accepts(&[of(4096), vec![0; 100]].concat()), Ok(()), "what follows is the library's");
        assert_eq!(accepts(&challenge(b'E', 0, "")), Ok(()));
        for other in [
            challenge(b'R', 11, "r=abc,s=c2FsdA=="),
            challenge(b'R', 11, "r=abc,s=c2FsdA==,i=x"),
            challenge(b'R', 0, ""),
            challenge(b'R', 12, "v=x"),
            challenge(b'N', 11, ""),
        ] {
            assert_eq!(accepts(&other), Err(ScramMissing::NoScram), "{}", String::from_utf8_lossy(&other));
        }
    }
}
