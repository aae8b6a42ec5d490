use std::io;
use std::sync::Arc;

use super::entry::{Entry, EntryBatch, EntryCause, EntryChain, EntryMark, FIXED_BYTES, SealedState};
use super::error::OpenError;
use super::history::Head;
use super::key::Kind;
use super::keys::closing;
use super::layer::{Layer, LayerFile, name_durably};
use super::log::{LogContext, LogFailure};
use super::reserve;
use super::segment::{Frame, HEADER_BYTES, SegmentHeader, encode_frame, padded, segment_name};
use crate::base::io_reason;
use crate::crypto::{Digest, SEAL_OVERHEAD_BYTES};

/// The directory of segments.
#[derive(Debug)]
pub(super) struct SegmentSite {
    pub(super) layer: Arc<dyn Layer>,
    pub(super) context: LogContext,
    /// Bytes preallocated for a segment.
    pub(super) segment_bytes: u64,
    /// Bytes kept for what takes away, should the disk be full.
    pub(super) reserve_bytes: u64,
}

/// The one segment that is written to.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    file: Arc<dyn LayerFile>,
    header: SegmentHeader,
    offset: u64,
    is_reserve: bool,
}

/// The beginning of a new segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentStart<'a> {
    pub(super) first_seq: u64,
    /// The node of the entry before.
    pub(super) previous: Digest,
    /// A group commit that is copied from the segment before, as it stands.
    pub(super) carried: &'a [Frame<'a>],
}

/// The size of a new segment, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    /// As configured, or larger if one group commit of so many bytes needs it.
    Usual(u64),
    /// No larger than what is carried: for a disk that is full.
    Smallest,
    /// What was taken beforehand, for a disk that has not even room for that. Only what takes away is written there.
    Reserve,
}

/// Why there is no new segment.
#[derive(Debug)]
pub(super) enum MakeError {
    /// There is no space; nothing was changed.
    NoSpace,
    /// A step failed; whether the segment is there is unknown.
    Failed { doing: &'static str, source: io::Error },
}

impl From<MakeError> for OpenError {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::NoSpace => Self::NoSpace,
            MakeError::Failed { doing, source } => Self::io(doing, source),
        }
    }
}

impl From<MakeError> for LogFailure {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::NoSpace => Self::NoSpace,
            MakeError::Failed { doing, source } => {
                Self::Stopped(format!("cannot {doing}: {}", io_reason(&source)))
            }
        }
    }
}

/// A segment gets its name only when header and carried frames are synced. At most one is under way.
pub(super) const UNNAMED: &str = "new.tmp";

impl ActiveSegment {
    /// A new segment, durable together with what it carries.
    pub(super) fn make(
        site: &SegmentSite,
        start: SegmentStart<'_>,
        extent: Extent,
    ) -> Result<Self, MakeError> {
        let carried_bytes =
            start.carried.iter().fold(0, |sum: usize, frame| sum.saturating_add(frame.size()));
        let fixed = (HEADER_BYTES as u64).saturating_add(carried_bytes as u64).saturating_add(CLOSING_BYTES);
        let bytes = match extent {
            Extent::Usual(room) => site.segment_bytes.max(fixed.saturating_add(room)),
            Extent::Smallest => fixed,
            Extent::Reserve if fixed > site.reserve_bytes => return Err(MakeError::NoSpace),
            Extent::Reserve => site.reserve_bytes,
        };
        let header = SegmentHeader {
            ledger: site.context.ledger,
            first_seq: start.first_seq,
            previous: start.previous,
            bytes,
            carried_through: start.carried.last().map(|frame| frame.entry.seq),
            session: [0; 32],
            seal: [0; SEAL_OVERHEAD_BYTES],
        };
        let wiped =
            || MakeError::Failed { doing: "seal a segment", source: io::Error::other("its keys were wiped") };
        let header = header.sealed(&site.context.session).ok_or_else(wiped)?;
        let mut content = header.encode();
        for frame in start.carried {
            frame.copy(header.checksum_seed(), &mut content);
        }
        let is_reserve = matches!(extent, Extent::Reserve);
        let file =
            if is_reserve { turn_reserve(site, &header, &content)? } else { place(site, &header, &content)? };
        Ok(Self { file, header, offset: content.len() as u64, is_reserve })
    }

    pub(super) const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The offset of the next group commit.
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

    /// Says that nothing comes after `head`, whose node is `node`, so that the next start need not doubt the last
    /// group commit, and gives back the space that was preallocated and not needed.
    pub(super) fn close(mut self, site: &SegmentSite, head: Head, node: Digest) -> io::Result<()> {
        let LogContext { ledger, session, .. } = &site.context;
        let seq = head.seq.saturating_add(1);
        let sealed = session.vouch(closing(*ledger, seq, head.time, node));
        let mark = Entry {
            seq,
            batch: EntryBatch { first: seq, is_last: false },
            time: head.time,
            kind: Kind(0),
            chain: EntryChain::new([0; 32], node, Vec::new()),
            cause: EntryCause::default(),
            event: Vec::new(),
            state: SealedState { session: session.salt(), sealed },
        };
        let mut bytes = Vec::new();
        encode_frame(&mark, EntryMark::Closing, self.header.checksum_seed(), &mut bytes);
        self.append(&bytes)?;
        site.layer.shorten(&segment_name(self.header.first_seq), self.offset)
    }
}

const CLOSING_BYTES: u64 = padded(FIXED_BYTES + SEAL_OVERHEAD_BYTES) as u64;

/// Allocates, writes, syncs, names and makes the name durable, in this order.
fn place(
    site: &SegmentSite,
    header: &SegmentHeader,
    content: &[u8],
) -> Result<Arc<dyn LayerFile>, MakeError> {
    let layer = site.layer.as_ref();
    // One that was not finished before. If it cannot be removed, making it anew says so.
    drop(layer.remove(UNNAMED));
    let file = layer.create(UNNAMED).map_err(|source| no_space("create a segment", source))?;
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
fn turn_reserve(
    site: &SegmentSite,
    header: &SegmentHeader,
    content: &[u8],
) -> Result<Arc<dyn LayerFile>, MakeError> {
    let layer = site.layer.as_ref();
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
