use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{self, HeaderMap};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::request::ClientRequest;
use crate::base::{Sensitive, code, io_reason};
use crate::console::CommandFailure;

/// The way to a broker.
#[derive(Clone)]
pub(super) enum Transport {
    /// TLS to `host:port`.
    Tls { address: String, config: Arc<ClientConfig> },
    /// The socket on the broker's host.
    Socket(PathBuf),
}

/// A broker's response with any status.
pub(super) struct ClientResponse {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Sensitive<Vec<u8>>,
}

/// A connection before the first request.
pub(super) enum Connection {
    Tls(Box<TlsStream<TcpStream>>),
    Socket(UnixStream),
}

const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// For a request as a whole: connection, handshake and response.
const WAIT: Duration = Duration::from_secs(30);
/// Unsealing a broker with a large ledger takes minutes.
const SOCKET_WAIT: Duration = Duration::from_secs(600);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Transport {
    /// The limit for a request as a whole, if the caller sets no other one.
    pub(super) const fn wait(&self) -> Duration {
        match self {
            Self::Tls { .. } => WAIT,
            Self::Socket(_) => SOCKET_WAIT,
        }
    }

    pub(super) async fn connect(&self) -> Result<Connection, CommandFailure> {
        match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                stream.map(Connection::Socket).map_err(|error| self.unreachable(&io_reason(&error)))
            }
            Self::Tls { address, config } => {
                let stream = self.connect_tls(address, config).await?;
                Ok(Connection::Tls(Box::new(stream)))
            }
        }
    }

    async fn connect_tls(
        &self,
        address: &str,
        config: &Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>, CommandFailure> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| CommandFailure::new(code::ADDRESS_INVALID))?;
        let connected = tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(&io_reason(&error))),
            Err(_) => {
                return Err(
                    self.unreachable(&format!("connect timeout after {} seconds", CONNECT_WAIT.as_secs()))
                );
            }
        };
        let connected = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        connected.map_err(|error| self.untrusted(&error))
    }

    /// Sends `request` over `connection`.
    pub(super) async fn exchange(
        &self,
        connection: Connection,
        request: ClientRequest,
    ) -> Result<ClientResponse, CommandFailure> {
        match connection {
            Connection::Tls(stream) => self.exchange_over(*stream, request).await,
            Connection::Socket(stream) => self.exchange_over(stream, request).await,
        }
    }

    async fn exchange_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        request: ClientRequest,
    ) -> Result<ClientResponse, CommandFailure> {
        let host = match self {
            Self::Tls { address, .. } => address,
            Self::Socket(_) => "keyward",
        };
        let ClientRequest { method, uri, headers, body } = request;
        let mut request = hyper::Request::builder()
            .method(method.as_str())
            .uri(uri)
            .header(header::HOST, host)
            .body(Full::new(body))
            .map_err(|_| {
                CommandFailure::usage(
                    "a name contains characters that no name can have",
                    "check the names in the command",
                )
            })?;
        request.headers_mut().extend(headers);
        let connected = handshake(TokioIo::new(stream)).await;
        let (mut sender, driver) = connected.map_err(|error| self.unreachable(&error.to_string()))?;
        let driver = tokio::spawn(driver);
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                drop(sender);
                // Either half may have received the alert; the other half only knows that the connection was closed.
                let ended = driver.await.ok().and_then(Result::err);
                return Err(self.cut(&[Some(error), ended]));
            }
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        drop(sender);
        driver.abort();
        let body = body.map_err(|_| self.unreachable("the response is incomplete"))?;
        let body = Sensitive::new(body.to_bytes().to_vec());
        Ok(ClientResponse { status: head.status.as_u16(), headers: head.headers, body })
    }

    pub(super) fn unreachable(&self, why: &str) -> CommandFailure {
        let failure = CommandFailure::new(code::BROKER_UNREACHABLE);
        match self {
            Self::Tls { address, .. } => {
                failure.because(format!("the request to the broker at {address} failed: {why}"))
            }
            Self::Socket(path) => failure
                .because(format!("the request to the broker at `{}` failed: {why}", path.display()))
                .mended_by("check that `keyward serve` runs on this host, and run this command as root"),
        }
    }

    fn untrusted(&self, error: &std::io::Error) -> CommandFailure {
        // The library reports invalid TLS messages with this kind; other kinds are errors of the connection.
        if error.kind() != std::io::ErrorKind::InvalidData {
            return self.unreachable(
                "the connection was closed during the TLS handshake, e.g. at the broker's connection limit",
            );
        }
        CommandFailure::new(code::TLS_FAILED)
            .because(format!("the TLS handshake with the broker at {} failed: {error}", self.place()))
    }

    /// In TLS 1.3 the client learns only from the first response that its certificate was refused.
    fn cut(&self, errors: &[Option<hyper::Error>]) -> CommandFailure {
        let mut causes = errors.iter().flatten().flat_map(|error| {
            std::iter::successors(std::error::Error::source(error), |cause| cause.source())
        });
        if causes.any(|cause| cause.to_string().contains("alert")) {
            let why = format!("the broker at {} refused this machine's certificate", self.place());
            return CommandFailure::new(code::CERTIFICATE_REFUSED).because(why);
        }
        self.unreachable("the connection was closed before a response arrived")
    }

    /// The broker's address, for messages.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Tls { address, .. } => address.clone(),
            Self::Socket(path) => format!("`{}`", path.display()),
        }
    }
}

impl Connection {
    /// The broker's certificate chain, its own certificate first.
    pub(super) fn certificates(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Socket(_) => Vec::new(),
            Self::Tls(stream) => {
                let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                shown.iter().map(|der| der.to_vec()).collect()
            }
        }
    }
}
