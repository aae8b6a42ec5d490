use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::super::driver::DriverContext;
use super::super::fault::UpstreamFault;
use super::super::guard::DialError;
use super::super::pipe::Pipe;
use super::origin::{HttpOrigin, Scheme};
use crate::base::limits::UPSTREAM_ANSWER_BYTES_MAX;
use crate::base::{Sensitive, code};
use crate::pki::certificates_from_pem;
use crate::pki::tls::{HandshakeFault, upstream_config};

/// The limits of a call by URL.
pub(super) struct Terms<'a> {
    pub(super) with: &'a DriverContext,
    /// The CA certificates for the server in PEM.
    pub(super) ca: Option<&'a str>,
    /// Longest total time.
    pub(super) wait: Duration,
    /// Largest response body, in bytes.
    pub(super) answer_bytes_max: usize,
}

/// A response. Its headers are ignored, so that no redirect is followed.
pub(super) struct ExchangeAnswer {
    pub(super) status: StatusCode,
    pub(super) body: Sensitive<Vec<u8>>,
}

/// A connection to an origin, with or without TLS.
enum Line {
    Clear(Pipe),
    Tls(Box<TlsStream<Pipe>>),
}

impl Terms<'_> {
    /// Sends one request on a new connection, and returns its response.
    ///
    /// # Errors
    /// [`UpstreamFault`]: before the request the upstream is unchanged; afterwards it may have changed.
    pub(super) async fn exchange(
        &self,
        origin: &HttpOrigin,
        request: Request<Full<Bytes>>,
    ) -> Result<ExchangeAnswer, UpstreamFault> {
        let until = self.until();
        let answered = match self.line(origin, until).await? {
            Line::Clear(pipe) => timeout_at(until, self.talk(pipe, request)).await,
            Line::Tls(stream) => timeout_at(until, self.talk(stream, request)).await,
        };
        answered.map_err(|_| UpstreamFault::unknown(code::UPSTREAM_TIMEOUT))?
    }

    /// Checks that `origin` can be connected to, without a request.
    ///
    /// # Errors
    /// [`UpstreamFault`].
    pub(super) async fn connect(&self, origin: &HttpOrigin) -> Result<(), UpstreamFault> {
        self.line(origin, self.until()).await.map(drop)
    }

    fn until(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.wait).unwrap_or(now)
    }

    async fn line(&self, origin: &HttpOrigin, until: Instant) -> Result<Line, UpstreamFault> {
        let line = timeout_at(until, self.connected(origin)).await;
        line.map_err(|_| UpstreamFault::refused(code::UPSTREAM_TIMEOUT))?
    }

    async fn connected(&self, origin: &HttpOrigin) -> Result<Line, UpstreamFault> {
        self.with.called.set();
        let stream =
            self.with.reach.dial(&origin.host, origin.port).await.map_err(|undialled| match undialled {
                DialError::Forbidden => UpstreamFault::refused(code::UPSTREAM_ADDRESS_BLOCKED),
                DialError::Unreachable(cause) => UpstreamFault::unreachable(cause),
            })?;
        let pipe = Pipe::new(stream, UPSTREAM_ANSWER_BYTES_MAX.saturating_mul(2));
        if origin.scheme == Scheme::Http {
            return Ok(Line::Clear(pipe));
        }
        let untrusted = || UpstreamFault::refused(code::UPSTREAM_HANDSHAKE_FAILED);
        let authorities = certificates_from_pem(self.ca.unwrap_or_default()).map_err(|_| untrusted())?;
        let config = upstream_config(&authorities, &["http/1.1"], Arc::clone(&self.with.clock));
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| untrusted())?;
        let connector = TlsConnector::from(Arc::new(config.map_err(|_| untrusted())?));
        let stream = connector.connect(name, pipe).await;
        let stream = stream.map_err(|error| UpstreamFault::of_handshake(HandshakeFault::of(&error)))?;
        Ok(Line::Tls(Box::new(stream)))
    }

    async fn talk<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<ExchangeAnswer, UpstreamFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let lost = || UpstreamFault::unknown(code::UPSTREAM_UNREACHABLE);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| lost())?;
        let mut talk = pin!(async move {
            let response = sender.send_request(request).await.map_err(|_| lost())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), self.answer_bytes_max).collect().await;
            let body = body.map_err(|error| too_much(&*error).unwrap_or_else(lost))?.to_bytes();
            Ok(ExchangeAnswer { status, body: Sensitive::new(body.to_vec()) })
        });
        tokio::select! {
            biased;
            answered = &mut talk => answered,
            // The server has closed the connection: the bytes so far are the response.
            _ = connection => talk.await,
        }
    }
}

fn too_much(error: &(dyn Error + 'static)) -> Option<UpstreamFault> {
    error.is::<LengthLimitError>().then(|| UpstreamFault::unknown(code::UPSTREAM_RESPONSE_TOO_LARGE))
}
