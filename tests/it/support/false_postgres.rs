//! A process at a PostgreSQL server's port that knows no password and lets every role in.

use std::sync::{Arc, Mutex};

use keyward::base::encoding::base64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::webhook::certified;

/// How it authenticates a role before it lets it in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asks {
    /// Not at all.
    Nothing,
    /// A notice comes first.
    NothingAfterNotice,
    Cleartext,
    Md5,
    /// SCRAM of one iteration: it tries passwords against what it hears.
    ScramOfOneIteration,
    /// SCRAM, which it does not begin.
    ScramThenOk,
    /// SCRAM, which it does not end.
    ScramWithoutSignature,
    /// SCRAM with a signature of zeros.
    ScramWrongSignature,
}

pub(crate) const ALL: [Asks; 8] = [
    Asks::Nothing,
    Asks::NothingAfterNotice,
    Asks::Cleartext,
    Asks::Md5,
    Asks::ScramOfOneIteration,
    Asks::ScramThenOk,
    Asks::ScramWithoutSignature,
    Asks::ScramWrongSignature,
];

pub(crate) struct FalsePostgres {
    pub(crate) port: u16,
    /// What its certificate is verified against; empty without TLS.
    pub(crate) ca_pem: String,
    asks: Arc<Mutex<Asks>>,
    /// Every message of a password, and every query.
    heard: Arc<Mutex<Vec<u8>>>,
}

impl FalsePostgres {
    pub(crate) async fn start(has_tls: bool) -> Self {
        let (acceptor, ca_pem) = if has_tls {
            let (acceptor, ca_pem) = certified(&["127.0.0.1"]);
            (Some(acceptor), ca_pem)
        } else {
            (None, String::new())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asks, heard) = (Arc::new(Mutex::new(Asks::Nothing)), Arc::default());
        let server = Self { port, ca_pem, asks: Arc::clone(&asks), heard: Arc::clone(&heard) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let session = Session { asks: *asks.lock().unwrap(), heard: Arc::clone(&heard) };
                let acceptor = acceptor.clone();
                tokio::spawn(async move { drop(session.serve(stream, acceptor).await) });
            }
        });
        server
    }

    pub(crate) fn asks(&self, asks: Asks) {
        *self.asks.lock().unwrap() = asks;
    }

    pub(crate) fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    /// The fields of a declared upstream that lead here, TOML.
    pub(crate) fn declared(&self) -> String {
        let (port, ca) = (self.port, &self.ca_pem);
        let trust =
            if ca.is_empty() { "tls = \"off\"".to_owned() } else { format!("ca = \"\"\"\n{ca}\"\"\"") };
        format!("driver = \"postgresql\"\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"d\"\n{trust}\n")
    }
}

struct Session {
    asks: Asks,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    async fn serve(&self, mut stream: TcpStream, acceptor: Option<TlsAcceptor>) -> std::io::Result<()> {
        let Some(acceptor) = acceptor else { return self.talk(stream).await };
        let mut request = [0_u8; 8];
        stream.read_exact(&mut request).await?;
        stream.write_all(b"S").await?;
        self.talk(acceptor.accept(stream).await?).await
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> std::io::Result<()> {
        let length = stream.read_u32().await?;
        stream.read_exact(&mut vec![0; length as usize - 4]).await?;
        match self.asks {
            Asks::Nothing => {}
            Asks::NothingAfterNotice => stream.write_all(&message(b'N', b"SNOTICE\0\0")).await?,
            Asks::Cleartext => {
                stream.write_all(&request(3, b"")).await?;
                self.read(&mut stream).await?;
            }
            Asks::Md5 => {
                stream.write_all(&request(5, b"salt")).await?;
                self.read(&mut stream).await?;
            }
            Asks::ScramThenOk
            | Asks::ScramOfOneIteration
            | Asks::ScramWithoutSignature
            | Asks::ScramWrongSignature => self.scram(&mut stream).await?,
        }
        let ready = message(b'Z', b"I");
        stream.write_all(&[request(0, b""), ready.clone()].concat()).await?;
        loop {
            // Every statement counts as executed.
            self.read(&mut stream).await?;
            stream.write_all(&[message(b'C', b"ALTER ROLE\0"), ready.clone()].concat()).await?;
        }
    }

    async fn scram<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> std::io::Result<()> {
        stream.write_all(&request(10, b"SCRAM-SHA-256\0\0")).await?;
        let first = self.read(stream).await?;
        if matches!(self.asks, Asks::ScramThenOk) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&first);
        let nonce = text.split(",r=").nth(1).unwrap_or_default();
        let iterations = if matches!(self.asks, Asks::ScramOfOneIteration) { 1 } else { 4096 };
        stream.write_all(&request(11, format!("r={nonce}0,s=c2FsdA==,i={iterations}").as_bytes())).await?;
        self.read(stream).await?;
        if matches!(self.asks, Asks::ScramWrongSignature) {
            stream.write_all(&request(12, format!("v={}", base64(&[0; 32])).as_bytes())).await?;
        }
        Ok(())
    }

    async fn read<S: AsyncRead + Unpin>(&self, stream: &mut S) -> std::io::Result<Vec<u8>> {
        stream.read_u8().await?;
        let mut body = vec![0; stream.read_u32().await? as usize - 4];
        stream.read_exact(&mut body).await?;
        self.heard.lock().unwrap().extend_from_slice(&body);
        Ok(body)
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

/// An authentication request.
fn request(code: u32, body: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes()[..], body].concat())
}
