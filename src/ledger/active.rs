use std::io;
use std::sync::Arc;

use super::file_ledger::Options;
use super::flaw::{OpenError, VerifyError};
use super::keys::SegmentKeys;
use super::layer::{Layer, LayerFile, name_durably};
use super::reserve;
use super::segment::{Carried, FRAME_BYTES, Frame, HEADER_BYTES, Header, segment_name};
use crate::base::Timestamp;

/// The one segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    file: Arc<dyn LayerFile>,
    header: Header,
    keys: Arc<SegmentKeys>,
    offset: u64,
    is_reserve: bool,
}

/// A group commit that is copied from the segment before, as it stands.
#[derive(Debug)]
pub(super) struct Carry<'a> {
    pub(super) carried: Carried,
    pub(super) frames: &'a [Frame<'a>],
}

/// How large a new segment becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    /// As configured, or larger if one group commit of so many bytes needs it.
    Usual(u64),
    /// No larger than what is carried: for a disk that is full.
    Smallest,
    /// What was taken beforehand, for a disk that has not even room for that. Whoever takes away alone
    /// writes there.
    Reserve,
}

/// Why there is no new segment.
#[derive(Debug)]
pub(super) enum MakeError {
    /// There is no space; nothing was changed.
    NoSpace,
    /// A step failed; whether the segment is there is unknown.
    Failed { doing: &'static str, source: io::Error },
    /// The current delta key is not at hand.
    Key(VerifyError),
}

impl From<MakeError> for OpenError {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::NoSpace => Self::NoSpace,
            MakeError::Failed { doing, source } => Self::Io { doing, source },
            MakeError::Key(error) => error.into(),
        }
    }
}

/// A segment gets its name only when header and carried frames are synced. At most one is under way.
pub(super) const UNNAMED: &str = "new.tmp";

impl Active {
    /// A new segment that begins with `first_seq`, durable together with what it carries.
    pub(super) fn make(
        options: &Options,
        first_seq: u64,
        carry: Option<&Carry<'_>>,
        extent: Extent,
    ) -> Result<Self, MakeError> {
        let carried_bytes = carry
            .into_iter()
            .flat_map(|carry| carry.frames)
            .fold(0, |sum: usize, frame| sum.saturating_add(frame.size()));
        let fixed = (HEADER_BYTES as u64).saturating_add(carried_bytes as u64).saturating_add(CLOSING_BYTES);
        let bytes = match extent {
            Extent::Usual(room) => options.segment_bytes.max(fixed.saturating_add(room)),
            Extent::Smallest => fixed,
            Extent::Reserve if fixed > options.reserve_bytes => return Err(MakeError::NoSpace),
            Extent::Reserve => options.reserve_bytes,
        };
        let header = Header {
            ledger: options.ledger,
            first_seq,
            sealing: options.keys.sealing(options.entropy.bytes()),
            bytes,
            carried: carry.map(|carry| carry.carried),
        };
        let keys = SegmentKeys::new(&options.keys, &header).map_err(MakeError::Key)?;
        let mut content = header.encode();
        for frame in carry.into_iter().flat_map(|carry| carry.frames) {
            frame.encode(header.checksum_seed(), &mut content);
        }
        let is_reserve = matches!(extent, Extent::Reserve);
        let file = if is_reserve {
            turn_reserve(options, &header, &content)?
        } else {
            place(options, &header, &content)?
        };
        Ok(Self { file, header, keys: Arc::new(keys), offset: content.len() as u64, is_reserve })
    }

    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    pub(super) const fn keys(&self) -> &Arc<SegmentKeys> {
        &self.keys
    }

    /// Where the next group commit begins.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether it is room that was taken for what takes away.
    pub(super) const fn is_reserve(&self) -> bool {
        self.is_reserve
    }

    /// Whether a group commit of so many bytes fits, with room left for the closing frame.
    pub(super) const fn has_room(&self, bytes: u64) -> bool {
        self.offset.saturating_add(bytes).saturating_add(CLOSING_BYTES) <= self.header.bytes
    }

    /// Writes a group commit and syncs it.
    pub(super) fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        self.file.write_at(self.offset, batch)?;
        self.file.sync_data()?;
        self.offset = self.offset.saturating_add(batch.len() as u64);
        Ok(())
    }

    /// Says that nothing comes after, so that the next start need not doubt the last group commit, and
    /// gives back the space that was preallocated and not needed.
    pub(super) fn close(mut self, layer: &dyn Layer, next_seq: u64, time: Timestamp) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(FRAME_BYTES);
        Frame::closing(next_seq, time).encode(self.header.checksum_seed(), &mut bytes);
        self.append(&bytes)?;
        layer.shorten(&segment_name(self.header.first_seq), self.offset)
    }
}

const CLOSING_BYTES: u64 = FRAME_BYTES as u64;

/// Allocates, writes, syncs, names and makes the name durable, in this order.
fn place(options: &Options, header: &Header, content: &[u8]) -> Result<Arc<dyn LayerFile>, MakeError> {
    let layer = options.layer.as_ref();
    // One that was not finished before. If it cannot be removed, making it anew says so.
    drop(layer.remove(UNNAMED));
    let file = layer.create(UNNAMED).map_err(|source| no_space("make a segment", source))?;
    let filled = file.allocate(header.bytes).and_then(|()| file.write_at(0, content));
    if let Err(source) = filled {
        drop(layer.remove(UNNAMED));
        return Err(no_space("fill a segment", source));
    }
    let named = name_durably(layer, file.as_ref(), UNNAMED, &segment_name(header.first_seq));
    named.map_err(|source| MakeError::Failed { doing: "sync and name a segment", source })?;
    Ok(file)
}

/// The room that was taken beforehand becomes a segment: nothing is asked of the disk but the bytes that it
/// has already.
fn turn_reserve(options: &Options, header: &Header, content: &[u8]) -> Result<Arc<dyn LayerFile>, MakeError> {
    let layer = options.layer.as_ref();
    let failed = |doing| move |source| MakeError::Failed { doing, source };
    let taken = reserve::take(layer).map_err(failed("open the reserve"))?;
    let (name, file) = taken.ok_or(MakeError::NoSpace)?;
    file.write_at(0, content).map_err(|source| no_space("fill the reserve", source))?;
    name_durably(layer, file.as_ref(), name, &segment_name(header.first_seq))
        .map_err(failed("sync and name the reserve"))?;
    Ok(file)
}

/// A full disk is told apart from a failing one.
pub(super) fn no_space(doing: &'static str, source: io::Error) -> MakeError {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        MakeError::NoSpace
    } else {
        MakeError::Failed { doing, source }
    }
}
