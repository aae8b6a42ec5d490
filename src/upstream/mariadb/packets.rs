use std::io;

use mysql_common::io::ParseBuf;
use mysql_common::proto::{MyDeserialize, MySerialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest body of one packet: a longer one is split, which no answer to this driver needs.
const BODY_BYTES_MAX: usize = 0x00ff_ffff;

/// The packets of a connection. Reads no byte beyond the packet that is asked for, so that nothing which was
/// sent before TLS counts after it.
pub(super) struct Packets<S> {
    stream: S,
    sequence: u8,
}

impl<S> Packets<S> {
    pub(super) const fn new(stream: S, sequence: u8) -> Self {
        Self { stream, sequence }
    }

    /// The stream, and the number of the next packet.
    pub(super) fn into_parts(self) -> (S, u8) {
        (self.stream, self.sequence)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Packets<S> {
    /// The next packet's body.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await?;
        let [low, middle, high, sequence] = head;
        let length = usize::try_from(u32::from_le_bytes([low, middle, high, 0])).unwrap_or(BODY_BYTES_MAX);
        if sequence != self.sequence || length == BODY_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.sequence = self.sequence.wrapping_add(1);
        // It grows with what arrives, and not with what is announced.
        let mut body = Vec::new();
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        (&mut self.stream).take(limit).read_to_end(&mut body).await?;
        if body.len() == length { Ok(body) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    pub(super) async fn write(&mut self, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() < BODY_BYTES_MAX);
        let [low, middle, high, _] = length.ok_or(io::ErrorKind::InvalidInput)?.to_le_bytes();
        let packet = zeroize::Zeroizing::new([&[low, middle, high, self.sequence][..], body].concat());
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&packet).await?;
        self.stream.flush().await
    }

    /// Sends a command: its packet is the first of an exchange.
    pub(super) async fn command(&mut self, body: &[u8]) -> io::Result<()> {
        self.sequence = 0;
        self.write(body).await
    }

    pub(super) async fn shut_down(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

/// `body` as a `T`.
pub(super) fn parsed<'a, T: MyDeserialize<'a>>(body: &'a [u8], context: T::Ctx) -> io::Result<T> {
    ParseBuf(body).parse(context)
}

pub(super) fn serialized(packet: &impl MySerialize) -> zeroize::Zeroizing<Vec<u8>> {
    let mut body = Vec::new();
    packet.serialize(&mut body);
    zeroize::Zeroizing::new(body)
}
