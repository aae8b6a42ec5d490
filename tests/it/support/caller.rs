//! A caller of the broker over TLS, and what it gets.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::connection::Connection;

/// A caller over a TLS connection.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    pub(crate) config: Arc<ClientConfig>,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// An agent and what it holds.
pub(crate) struct Agent {
    pub(crate) caller: Caller,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Agent {
    pub(crate) async fn ask(&self, form: &str) -> Reply {
        self.caller.post("/oauth/token", "application/x-www-form-urlencoded", form.as_bytes()).await
    }

    pub(crate) async fn token(&self, scope: &str) -> String {
        let reply = self.ask(&format!("grant_type=client_credentials&scope={scope}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn secret(&self, name: &str, token: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        self.caller.send("GET", &format!("/v1/secrets/{name}"), &headers, b"").await
    }
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Caller {
    /// A TLS connection.
    pub(crate) async fn open(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.open_over(TcpStream::connect(self.address).await?).await
    }

    async fn open_over(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.address.ip().to_string()).unwrap();
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }

    /// Says `bytes` and gives back all that comes until the other side closes.
    pub(crate) async fn say_and_wait(&self, bytes: &[u8]) -> String {
        let mut stream = self.open().await.unwrap();
        let mut answer = Vec::new();
        // How far the saying comes and how the connection is closed is no matter, but what is answered.
        drop(stream.write_all(bytes).await);
        drop(stream.flush().await);
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8(answer).unwrap()
    }

    /// A connection that stays open.
    pub(crate) async fn connect(&self) -> std::io::Result<Connection> {
        Self::speak_over(self.open().await?).await
    }

    /// The same from another address of this machine.
    pub(crate) async fn connect_from(&self, source: [u8; 4]) -> std::io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((source, 0)))?;
        Self::speak_over(self.open_over(socket.connect(self.address).await?).await?).await
    }

    async fn speak_over(stream: TlsStream<TcpStream>) -> std::io::Result<Connection> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Connection::over(sender))
    }

    /// One request on a connection of its own; an error when TLS or the broker refused it.
    pub(crate) async fn attempt(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        self.connect().await?.send(method, path, headers, body).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        self.attempt(method, path, headers, body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, kind: &str, body: &[u8]) -> Reply {
        self.send("POST", path, &[("content-type", kind)], body).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.post(path, "application/json", body.to_string().as_bytes()).await
    }

    pub(crate) async fn put(&self, path: &str, kind: &str, body: &[u8]) -> Reply {
        self.send("PUT", path, &[("content-type", kind)], body).await
    }
}
