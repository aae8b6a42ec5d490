use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{self, HeaderMap};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::address_origin::AddressOrigin;
use super::handshake_failure::{handshake_failure, host_of};
use super::request::ClientRequest;
use crate::base::{Clock, Sensitive, SystemClock, code, io_reason};
use crate::console::CommandFailure;
use crate::pki::tls::{HandshakeFault, PeerRefusal};

/// The way to a broker.
#[derive(Clone)]
pub(super) enum Transport {
    /// TLS to `host:port`.
    Tls { address: String, origin: AddressOrigin, config: Arc<ClientConfig> },
    /// The socket on the broker's host.
    Socket(PathBuf),
}

/// A broker's response with any status.
pub(super) struct ClientResponse {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Sensitive<Vec<u8>>,
}

/// The failure of a connection or of a request.
pub(super) enum TransportFailure {
    /// The broker refused the client's certificate with an alert that names the cause.
    Refused(PeerRefusal),
    /// Every other failure.
    Other(CommandFailure),
}

impl From<CommandFailure> for TransportFailure {
    fn from(failure: CommandFailure) -> Self {
        Self::Other(failure)
    }
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

    pub(super) async fn connect(&self) -> Result<Connection, TransportFailure> {
        match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                Ok(stream.map(Connection::Socket).map_err(|error| self.unreachable(&io_reason(&error)))?)
            }
            Self::Tls { address, origin, config } => {
                let name = ServerName::try_from(host_of(address).to_owned())
                    .map_err(|_| address_invalid(address, origin))?;
                let stream = self.connect_tcp(address, origin).await?;
                let connected = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
                let stream = connected.map_err(|error| self.untrusted(address, origin, &error))?;
                Ok(Connection::Tls(Box::new(stream)))
            }
        }
    }

    async fn connect_tcp(&self, address: &str, origin: &AddressOrigin) -> Result<TcpStream, CommandFailure> {
        let found: Vec<SocketAddr> = match timeout(CONNECT_WAIT, lookup_host(address)).await {
            Ok(Ok(found)) => found.collect(),
            // The port is not a number.
            Ok(Err(error)) if error.kind() == ErrorKind::InvalidInput => {
                return Err(address_invalid(address, origin));
            }
            Ok(Err(_)) => return Err(unresolved(address, origin, "does not resolve")),
            Err(_) => {
                let problem = format!("does not resolve within {} seconds", CONNECT_WAIT.as_secs());
                return Err(unresolved(address, origin, &problem));
            }
        };
        match timeout(CONNECT_WAIT, TcpStream::connect(&*found)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Err(self
                .unreachable("the connection was refused: no process listens there")
                .mended_by(format!(
                    "check on the broker's host that `keyward serve` runs, or {}",
                    origin.correction()
                ))),
            Ok(Err(error)) => Err(self.unreachable(&io_reason(&error))),
            Err(_) => {
                Err(self.unreachable(&format!("connect timeout after {} seconds", CONNECT_WAIT.as_secs())))
            }
        }
    }

    /// Sends `request` over `connection`.
    pub(super) async fn exchange(
        &self,
        connection: Connection,
        request: ClientRequest,
    ) -> Result<ClientResponse, TransportFailure> {
        match connection {
            Connection::Tls(stream) => self.exchange_over(*stream, request).await,
            Connection::Socket(stream) => self.exchange_over(stream, request).await,
        }
    }

    async fn exchange_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        request: ClientRequest,
    ) -> Result<ClientResponse, TransportFailure> {
        let host = match self {
            Self::Tls { address, .. } => address,
            Self::Socket(_) => "keyward",
        };
        let ClientRequest { method, uri, headers, body, .. } = request;
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
        let (mut sender, driver) =
            connected.map_err(|_| self.unreachable("the HTTP connection could not be started"))?;
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

    fn untrusted(&self, address: &str, origin: &AddressOrigin, error: &io::Error) -> TransportFailure {
        if let Some(cause) = PeerRefusal::received(error) {
            return TransportFailure::Refused(cause);
        }
        let failure = handshake_failure(address, origin, error, SystemClock::new().now());
        let closed = || {
            self.unreachable(
                "the connection was closed during the TLS handshake, e.g. because the broker has ended, or at its connection limit",
            )
        };
        TransportFailure::Other(failure.unwrap_or_else(closed))
    }

    /// In TLS 1.3 the client learns only from the first response that its certificate was refused.
    fn cut(&self, errors: &[Option<hyper::Error>]) -> TransportFailure {
        let mut received = errors.iter().flatten().filter_map(|error| PeerRefusal::received(error));
        if let Some(cause) = received.next() {
            return TransportFailure::Refused(cause);
        }
        let is_alert = |error: &hyper::Error| HandshakeFault::of(error) == Some(HandshakeFault::Alert);
        let failure = if errors.iter().flatten().any(is_alert) {
            let why = format!("the broker at {} refused this machine's certificate", self.place());
            CommandFailure::new(code::CERTIFICATE_REFUSED).because(why)
        } else {
            self.unreachable("the connection was closed before a response arrived")
        };
        failure.into()
    }

    /// The broker's address, for messages.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Tls { address, .. } => address.clone(),
            Self::Socket(path) => format!("`{}`", path.display()),
        }
    }
}

fn address_invalid(address: &str, origin: &AddressOrigin) -> CommandFailure {
    let why = format!("the broker's address `{address}` is not a host name with a port");
    CommandFailure::new(code::ADDRESS_INVALID).because(why).mended_by(origin.correction())
}

fn unresolved(address: &str, origin: &AddressOrigin, problem: &str) -> CommandFailure {
    let host = host_of(address);
    CommandFailure::new(code::BROKER_UNREACHABLE)
        .because(format!("the host name `{host}` {problem}; the broker's address is {}", origin.place()))
        .mended_by(format!(
            "check the name service of this machine (`getent hosts {host}`), or {}",
            origin.correction()
        ))
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
