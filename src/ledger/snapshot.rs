//! The state as of one entry in a sealed file, so that a start costs what is live and not what ever happened.
//!
//! A snapshot is a shortcut and never the truth: a build that cannot read one reads the entries instead.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::entry::EntryFields;
use super::follower::SnapshotPoint;
use super::keys::{DeltaKeys, Sealing};
use super::layer::{Layer, LayerFile, name_durably};
use super::options::{Build, Options};
use crate::base::limits::SNAPSHOT_CHUNK_BYTES;
use crate::base::{LedgerId, Sensitive, Timestamp, io_reason};
use crate::crypto::{Aad, AeadKey, CounterKey, Digest, SEAL_OVERHEAD_BYTES, Sha256Stream};

/// A snapshot that was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotWritten {
    /// The entry that it is as of.
    pub point: SnapshotPoint,
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read: {}", io_reason(.0))]
    Io(#[from] io::Error),
    #[error("it is not what was written")]
    Altered,
    #[error("it is sealed under an earlier delta key")]
    EarlierKey,
    #[error("another build wrote it")]
    OtherBuild,
    #[error("{0}")]
    NotTakenIn(String),
}

/// How many are kept: an older one is there should the newest not read back.
const KEPT: usize = 2;
const MAGIC: [u8; 8] = *b"keywrdsn";
/// The format of snapshots that this version writes.
pub const SNAPSHOT_FORMAT: u16 = 2;
const HEADER_BYTES: usize = 142;
const PIECE_BYTES: usize = 256 * 1024;
const UNNAMED: &str = "snapshot.tmp";
/// Whether a chunk is the last one, and how many sealed bytes it has.
const CHUNK_HEAD_BYTES: usize = 5;

fn name(through: u64) -> String {
    format!("{through:020}.snap")
}

/// What the snapshots in `layer` are as of, the newest first.
pub(super) fn all(layer: &dyn Layer) -> io::Result<Vec<u64>> {
    let through = |file: &String| {
        let through = file.strip_suffix(".snap")?.parse().ok()?;
        (name(through) == *file).then_some(through)
    };
    let mut found: Vec<u64> = layer.list()?.iter().filter_map(through).collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found)
}

/// The SHA-256 of the file as of entry `through`.
pub(super) fn digest(layer: &dyn Layer, through: u64) -> io::Result<Digest> {
    let file = layer.open(&name(through))?;
    let (mut hash, mut piece, mut offset) = (Sha256Stream::new(), vec![0; PIECE_BYTES], 0_u64);
    loop {
        match file.read_at(offset, &mut piece)? {
            0 => return Ok(hash.finish()),
            read => {
                hash.update(piece.get(..read).unwrap_or_default());
                offset = offset.saturating_add(read as u64);
            }
        }
    }
}

/// Removes older snapshots than the newest ones.
pub(super) fn prune(layer: &dyn Layer) -> io::Result<()> {
    for old in all(layer)?.into_iter().skip(KEPT) {
        layer.remove(&name(old))?;
    }
    Ok(())
}

/// Removes snapshots as of a later entry than `after`.
pub(super) fn forget_after(layer: &dyn Layer, after: u64) -> io::Result<()> {
    for ahead in all(layer)?.into_iter().filter(|through| *through > after) {
        layer.remove(&name(ahead))?;
    }
    layer.sync_dir()
}

/// What a snapshot says of itself; every chunk is bound to it.
#[derive(Clone, Debug)]
struct SnapshotHeader {
    ledger: LedgerId,
    point: SnapshotPoint,
    sealing: Sealing,
    build: Digest,
}

impl SnapshotHeader {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&SNAPSHOT_FORMAT.to_be_bytes());
        out.extend_from_slice(self.ledger.as_bytes());
        out.extend_from_slice(&self.point.through.to_be_bytes());
        out.extend_from_slice(&self.point.time.ms().to_be_bytes());
        out.extend_from_slice(self.point.node.as_bytes());
        out.extend_from_slice(&self.sealing.generation.to_be_bytes());
        out.extend_from_slice(&self.sealing.salt);
        out.extend_from_slice(self.build.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = EntryFields(bytes);
        if fields.array()? != MAGIC || u16::from_be_bytes(fields.array()?) != SNAPSHOT_FORMAT {
            return None;
        }
        Some(Self {
            ledger: LedgerId::from_bytes(fields.array()?),
            point: SnapshotPoint {
                through: u64::from_be_bytes(fields.array()?),
                time: Timestamp::from_ms(i64::from_be_bytes(fields.array()?)),
                node: Digest::from_bytes(fields.array()?),
            },
            sealing: Sealing { generation: u32::from_be_bytes(fields.array()?), salt: fields.array()? },
            build: Digest::from_bytes(fields.array()?),
        })
    }
}

fn bound(header: &[u8], last: u8) -> Aad {
    Aad::new("keyward/ledger/snapshot").field(header).number(u64::from(last))
}

/// Writes the state as of `point`, which `fill` hands over, to a file that is durable, whole and read back
/// when this returns.
pub(super) fn write(
    options: &Options,
    point: SnapshotPoint,
    fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<SnapshotWritten> {
    let layer = options.snapshots.as_ref();
    // One that was not finished before.
    drop(layer.remove(UNNAMED));
    let written = write_unnamed(options, point, fill);
    if written.is_err() {
        drop(layer.remove(UNNAMED));
    }
    let (file, written) = written?;
    name_durably(layer, file.as_ref(), UNNAMED, &name(point.through))?;
    prune(layer)?;
    Ok(written)
}

fn write_unnamed(
    options: &Options,
    point: SnapshotPoint,
    fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<(Arc<dyn LayerFile>, SnapshotWritten)> {
    let sealing = options.keys.sealing(options.entropy.bytes());
    let header = SnapshotHeader { ledger: options.ledger, point, sealing, build: options.build.digest()? };
    let file = options.snapshots.create(UNNAMED)?;
    let mut writer = SnapshotWriter::begin(Arc::clone(&file), &header, &options.keys)?;
    fill(&mut writer)?;
    let (bytes, sha256) = writer.finish()?;
    Ok((file, SnapshotWritten { point, bytes, sha256 }))
}

/// Seals what is written to it, chunk by chunk.
struct SnapshotWriter {
    file: Arc<dyn LayerFile>,
    key: CounterKey,
    header: Vec<u8>,
    chunk: Vec<u8>,
    offset: u64,
    hash: Sha256Stream,
}

impl SnapshotWriter {
    fn begin(file: Arc<dyn LayerFile>, header: &SnapshotHeader, keys: &DeltaKeys) -> io::Result<Self> {
        let key = CounterKey::new(keys.snapshot_key(&header.sealing).map_err(io::Error::other)?);
        let (hash, chunk) = (Sha256Stream::new(), Vec::with_capacity(SNAPSHOT_CHUNK_BYTES));
        let mut writer = Self { file, key, header: header.encode(), chunk, offset: 0, hash };
        let header = writer.header.clone();
        writer.put(&header)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.offset, bytes)?;
        self.hash.update(bytes);
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn seal(&mut self, last: u8) -> io::Result<()> {
        let plain = Sensitive::new(std::mem::take(&mut self.chunk));
        let sealed = self.key.seal(bound(&self.header, last), &[plain.expose()]);
        if self.key.is_forgotten() {
            return Err(io::Error::other("its key was wiped"));
        }
        self.chunk = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?.to_be_bytes();
        self.put(&[&[last], &length[..], &sealed].concat())
    }

    fn finish(mut self) -> io::Result<(u64, Digest)> {
        self.seal(1)?;
        Ok((self.offset, self.hash.finish()))
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() >= SNAPSHOT_CHUNK_BYTES {
            self.seal(0)?;
        }
        let room = SNAPSHOT_CHUNK_BYTES.saturating_sub(self.chunk.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.chunk.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A snapshot whose first chunk has opened: it is this ledger's.
pub(super) struct SnapshotReader {
    file: Arc<dyn LayerFile>,
    key: AeadKey,
    head: SnapshotHeader,
    header: Vec<u8>,
    number: u64,
    offset: u64,
    chunk: Sensitive<Vec<u8>>,
    start: usize,
    is_last: bool,
}

impl SnapshotReader {
    /// Opens the snapshot as of entry `through`.
    pub(super) fn open(options: &Options, through: u64) -> Result<Self, Unusable> {
        Self::open_with(options.snapshots.as_ref(), options.ledger, &options.keys, through)
    }

    /// The same, for readers.
    pub(super) fn open_with(
        layer: &dyn Layer,
        ledger: LedgerId,
        keys: &DeltaKeys,
        through: u64,
    ) -> Result<Self, Unusable> {
        let file = layer.open(&name(through))?;
        let mut header = vec![0; HEADER_BYTES];
        if file.read_at(0, &mut header)? < HEADER_BYTES {
            return Err(Unusable::Altered);
        }
        let head = SnapshotHeader::decode(&header).ok_or(Unusable::Altered)?;
        if head.ledger != ledger || head.point.through != through {
            return Err(Unusable::Altered);
        }
        let key = keys.snapshot_key(&head.sealing).map_err(|_| Unusable::Altered)?;
        let (chunk, offset) = (Sensitive::new(Vec::new()), HEADER_BYTES as u64);
        let mut reader = Self { file, key, head, header, number: 0, offset, chunk, start: 0, is_last: false };
        reader.next_chunk()?;
        Ok(reader)
    }

    /// The entry that it is as of.
    pub(super) const fn point(&self) -> SnapshotPoint {
        self.head.point
    }

    /// Whether this build wrote it.
    pub(super) fn check_build(&self, build: Build) -> Result<(), Unusable> {
        if self.head.build == build.digest()? { Ok(()) } else { Err(Unusable::OtherBuild) }
    }

    /// Whether the newest delta key seals it. A state that an earlier one seals could be forged by a holder of
    /// that key from an old copy of the keyring: the entries say it better, for they are in the tree.
    pub(super) fn check_generation(&self, keys: &DeltaKeys) -> Result<(), Unusable> {
        if self.head.sealing.generation == keys.current() { Ok(()) } else { Err(Unusable::EarlierKey) }
    }

    /// Reads on to the end: `Ok` says that all of it is as it was written.
    pub(super) fn check_whole(mut self) -> Result<(), Unusable> {
        while !self.is_last {
            self.next_chunk()?;
        }
        Ok(())
    }

    fn next_chunk(&mut self) -> Result<(), Unusable> {
        let mut head = [0; CHUNK_HEAD_BYTES];
        if self.is_last || self.file.read_at(self.offset, &mut head)? < CHUNK_HEAD_BYTES {
            return Err(Unusable::Altered);
        }
        let [last, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if last > 1 || length > SNAPSHOT_CHUNK_BYTES.saturating_add(SEAL_OVERHEAD_BYTES) {
            return Err(Unusable::Altered);
        }
        let mut sealed = vec![0; length];
        let at = self.offset.saturating_add(CHUNK_HEAD_BYTES as u64);
        if self.file.read_at(at, &mut sealed)? < length {
            return Err(Unusable::Altered);
        }
        let opened = self.key.open_numbered(self.number, &bound(&self.header, last), &sealed);
        self.chunk = opened.map_err(|_| Unusable::Altered)?;
        (self.start, self.is_last) = (0, last == 1);
        self.number = self.number.saturating_add(1);
        self.offset = at.saturating_add(length as u64);
        if self.is_last && self.offset != self.file.size()? {
            return Err(Unusable::Altered);
        }
        Ok(())
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start >= self.chunk.expose().len() {
            if self.is_last {
                return Ok(0);
            }
            self.next_chunk().map_err(io::Error::other)?;
        }
        let rest = self.chunk.expose().get(self.start..).unwrap_or_default();
        let count = rest.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.start = self.start.saturating_add(count);
        Ok(count)
    }
}
