//! A process at a `MariaDB` server's port that has its certificate, and asks for more than it needs.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::webhook::certified;

/// What it does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Does {
    /// Says that it has no TLS.
    OffersNoTls,
    /// Asks for the password itself.
    AsksForThePassword,
    /// Asks for a hash of eight bytes, which is cheap to reverse.
    AsksForTheOldHash,
    AsksForAnUnknownMethod,
    /// Answers a statement by asking for a file of the client's.
    AsksForAFile,
    SendsRowsWithoutEnd,
    /// Announces a packet of 16 MiB.
    AnnouncesAHugePacket,
}

pub(crate) struct FalseMariaDb {
    port: u16,
    ca_pem: String,
    does: Arc<Mutex<Does>>,
    /// Everything that was said to it after the greeting.
    heard: Arc<Mutex<Vec<u8>>>,
}

impl FalseMariaDb {
    pub(crate) async fn start() -> Self {
        let (acceptor, ca_pem) = certified(&["127.0.0.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (does, heard) = (Arc::new(Mutex::new(Does::OffersNoTls)), Arc::default());
        let server = Self { port, ca_pem, does: Arc::clone(&does), heard: Arc::clone(&heard) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let session = Session { does: *does.lock().unwrap(), heard: Arc::clone(&heard) };
                let acceptor = acceptor.clone();
                tokio::spawn(async move { drop(session.serve(stream, acceptor).await) });
            }
        });
        server
    }

    pub(crate) fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    pub(crate) fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    /// The fields of a declared upstream that lead here, TOML.
    pub(crate) fn declared(&self) -> String {
        let (port, ca) = (self.port, &self.ca_pem);
        format!("driver = \"mariadb\"\nhost = \"127.0.0.1\"\nport = {port}\nca = \"\"\"\n{ca}\"\"\"\n")
    }
}

const TLS: u32 = 0x0800;
/// The protocol of 4.1, transactions, secure connections, named methods and long passwords.
const CAPABILITIES: u32 = 0x0008_a201;

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

struct Session {
    does: Does,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    async fn serve(&self, mut stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
        let capabilities = if self.does == Does::OffersNoTls { CAPABILITIES } else { CAPABILITIES | TLS };
        stream.write_all(&packet(0, &greeting(capabilities))).await?;
        self.read(&mut stream).await?;
        self.talk(acceptor.accept(stream).await?).await
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> std::io::Result<()> {
        self.read(&mut stream).await?;
        let method = match self.does {
            Does::AsksForThePassword => Some("mysql_clear_password"),
            Does::AsksForTheOldHash => Some("mysql_old_password"),
            Does::AsksForAnUnknownMethod => Some("trust_me"),
            Does::OffersNoTls
            | Does::AsksForAFile
            | Does::SendsRowsWithoutEnd
            | Does::AnnouncesAHugePacket => None,
        };
        let mut sequence = 3;
        if let Some(method) = method {
            let switch = [b"\xfe", method.as_bytes(), b"\0aaaaaaaaaaaaaaaaaaaa\0"].concat();
            stream.write_all(&packet(sequence, &switch)).await?;
            self.read(&mut stream).await?;
            sequence += 2;
        }
        stream.write_all(&packet(sequence, OK)).await?;
        loop {
            self.read(&mut stream).await?;
            match self.does {
                Does::AsksForAFile => stream.write_all(&packet(1, b"\xfb/etc/hostname")).await?,
                Does::AnnouncesAHugePacket => stream.write_all(&[0xff, 0xff, 0xff, 1, 0]).await?,
                Does::SendsRowsWithoutEnd => {
                    stream.write_all(&packet(1, b"\x01")).await?;
                    let mut sequence = 2_u8;
                    loop {
                        stream.write_all(&packet(sequence, &[b'x'; 4096])).await?;
                        sequence = sequence.wrapping_add(1);
                    }
                }
                Does::OffersNoTls
                | Does::AsksForThePassword
                | Does::AsksForTheOldHash
                | Does::AsksForAnUnknownMethod => stream.write_all(&packet(1, OK)).await?,
            }
        }
    }

    async fn read<S: AsyncRead + Unpin>(&self, stream: &mut S) -> std::io::Result<()> {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let mut body = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
        stream.read_exact(&mut body).await?;
        self.heard.lock().unwrap().extend(body);
        Ok(())
    }
}

fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
    let [low, middle, high, _] = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&[low, middle, high, sequence], body].concat()
}

fn greeting(capabilities: u32) -> Vec<u8> {
    let [first, second, third, fourth] = capabilities.to_le_bytes();
    [
        b"\x0a5.5.5-10.11.19-MariaDB\0".as_slice(),
        &7_u32.to_le_bytes(),
        b"aaaaaaaa\0",
        &[first, second, 45, 2, 0, third, fourth, 21],
        &[0; 10],
        b"aaaaaaaaaaaa\0",
        b"mysql_native_password\0",
    ]
    .concat()
}
