//! One connection of one agent, speaking just enough HTTP/1.1, cheaply: the client is not what is measured.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Failed;

/// What an agent, an operator or nobody connects with.
#[derive(Clone)]
pub(crate) struct Identity(Arc<ClientConfig>);

impl Identity {
    /// Nobody's.
    pub(crate) fn none() -> Result<Self, Failed> {
        Ok(Self::finished(Self::builder()?.with_no_client_auth()))
    }

    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Failed> {
        Ok(Self::finished(Self::builder()?.with_client_auth_cert(chain, key)?))
    }

    fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Failed> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        Ok(ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider))))
    }

    fn finished(mut config: ClientConfig) -> Self {
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }
}

/// An open connection, its handshake done.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

/// An answer as it was received.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    pub(crate) const fn is_good(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, identity: &Identity) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::clone(&identity.0)).connect(name, stream).await?;
        Ok(Self { stream, received: Vec::with_capacity(4096) })
    }

    /// Sends `request` and reads its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>, Failed> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.received.clear();
        let (head, end) = loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("the server closed the connection".into());
            }
            match extent(&self.received)? {
                Some((head, end)) if self.received.len() >= end => break (head, end),
                _ => {}
            }
        };
        let status = std::str::from_utf8(&self.received[9..12])?.parse()?;
        Ok(Answer { status, head: &self.received[..head], body: &self.received[head..end] })
    }

    /// Whether the server has ended it. Nothing may be under way.
    pub(crate) fn has_ended(&self) -> bool {
        // Between requests it has nothing to say but that.
        let mut said = [0];
        !matches!(self.stream.get_ref().0.try_read(&mut said), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Returns when the server has ended it. Nothing may be under way.
    pub(crate) async fn ended(mut self) {
        let mut said = [0; 64];
        while matches!(self.stream.read(&mut said).await, Ok(1..)) {}
    }

    /// Ends the connection as TLS wants it.
    pub(crate) async fn close(mut self) {
        // Whoever has closed already needs no word of it.
        drop(self.stream.shutdown().await);
    }
}

/// Where the head of a message and all of it end, as soon as its head is there.
fn extent(bytes: &[u8]) -> Result<Option<(usize, usize)>, Failed> {
    let Some(blank) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..blank + 4];
    // Keyward and the floor write it in lower case, OpenBao does not.
    let at = memchr::memmem::find(head, b"content-length: ")
        .or_else(|| memchr::memmem::find(head, b"Content-Length: "));
    let length = match at {
        None => 0,
        Some(at) => {
            let digits = head[at + 16..].split(|byte| *byte == b'\r').next().unwrap_or_default();
            std::str::from_utf8(digits)?.parse()?
        }
    };
    Ok(Some((head.len(), head.len() + length)))
}

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, extra: &str, body: &str) -> Vec<u8> {
    let length = if method == "GET" { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{extra}{length}\r\n{body}").into_bytes()
}

/// Takes any server for the one it connected to: the generator and both servers are on one machine, and what
/// verification costs a client is not what is measured.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is off".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
