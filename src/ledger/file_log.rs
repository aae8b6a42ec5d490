use std::sync::{Arc, PoisonError, RwLock};

use super::active::{ActiveSegment, Extent, MakeError, SegmentSite, SegmentStart};
use super::catalog::{Catalog, EntryFound, EntrySpot, SegmentMarks};
use super::draft::Space;
use super::entry::{Entry, EntryMark};
use super::error::{OpenError, ReadError, VerifyError};
use super::history::Head;
use super::layer::{Layer, Lock};
use super::log::{BatchId, BatchNeed, Begun, Log, LogContext, LogFailure, LogReader, LogReport, TakeStored};
use super::probe;
use super::recovery::{Recovered, load, recover, segments, stored};
use super::replay::Replay;
use super::reserve;
use super::segment::{FRAME_EXTRA_BYTES_MAX, encode_frame, segment_name};
use super::walk::Walker;
use crate::base::io_reason;
use crate::base::limits::PROBE_ROOM_BYTES;
use crate::crypto::Digest;

/// Bytes preallocated for a segment, unless configured otherwise.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes that are kept twice over for what takes away, unless configured otherwise: for some thousand
/// revocations.
pub const RESERVE_BYTES: u64 = 1024 * 1024;

/// A log in files: segments in one directory, for one writer at a time.
///
/// A clean close spares the next start from writing the last group commit again.
#[derive(Debug)]
pub struct FileLog {
    layer: Arc<dyn Layer>,
    segment_bytes: u64,
    reserve_bytes: u64,
    catalog: Arc<RwLock<Catalog>>,
    has_reserve: bool,
    writing: Option<FileWriting>,
}

/// The writer of a claimed log.
#[derive(Debug)]
struct FileWriting {
    site: SegmentSite,
    active: Option<ActiveSegment>,
    /// The newest entry and its node.
    head: (u64, Digest),
    /// A group commit as it goes to the file; kept for its memory.
    buffer: Vec<u8>,
    /// Held as long as anything may be written.
    _lock: Lock,
}

impl FileLog {
    /// The log in the directory of `layer`. Larger group commits than [`SEGMENT_BYTES`] get a segment of their own
    /// size; `reserve_bytes` are kept for what takes away, should the disk be full.
    #[must_use]
    pub fn new(layer: Arc<dyn Layer>, segment_bytes: u64, reserve_bytes: u64) -> Self {
        let catalog = Arc::new(RwLock::new(Catalog::default()));
        Self { layer, segment_bytes, reserve_bytes, catalog, has_reserve: false, writing: None }
    }
}

impl FileWriting {
    /// Sees to it that a group commit of so many bytes fits; true when a new segment was made for it.
    fn make_room(&mut self, catalog: &RwLock<Catalog>, bytes: u64) -> Result<bool, MakeError> {
        if self.active.as_ref().is_some_and(|active| !active.is_reserve() && active.has_room(bytes)) {
            return Ok(false);
        }
        self.begin_segment(catalog, Extent::Usual(bytes))?;
        Ok(true)
    }

    fn begin_segment(&mut self, catalog: &RwLock<Catalog>, extent: Extent) -> Result<(), MakeError> {
        let (seq, previous) = self.head;
        let start = SegmentStart { first_seq: seq.saturating_add(1), previous, carried: &[] };
        let active = ActiveSegment::make(&self.site, start, extent)?;
        catalog.write().unwrap_or_else(PoisonError::into_inner).add(active.header());
        self.active = Some(active);
        Ok(())
    }

    /// Where the disk has none: true when the reserve was spent for it.
    fn make_reserved_room(&mut self, catalog: &RwLock<Catalog>, bytes: u64) -> Result<bool, MakeError> {
        let has_room = |writing: &Self| writing.active.as_ref().is_some_and(|active| active.has_room(bytes));
        if has_room(self) {
            return Ok(false);
        }
        self.begin_segment(catalog, Extent::Reserve)?;
        tracing::error!("the disk is full: revocations are written to the reserved space");
        if has_room(self) { Ok(true) } else { Err(MakeError::NoSpace) }
    }
}

impl FileLog {
    /// Takes room for what takes away, unless it is there. Without it everything else goes on.
    fn keep_reserve(&mut self) {
        let kept = reserve::keep(self.layer.as_ref(), self.reserve_bytes);
        if let Err(error) = &kept {
            tracing::error!(error = %io_reason(error), "the space that is reserved for revocations on a full disk cannot be made: free space on the data disk");
        }
        self.has_reserve = kept.is_ok();
    }

    fn writing(&mut self) -> Result<&mut FileWriting, LogFailure> {
        self.writing.as_mut().ok_or_else(|| LogFailure::Stopped("the log was not claimed".to_owned()))
    }

    fn make_room(&mut self, bytes: u64) -> Result<(), LogFailure> {
        let catalog = Arc::clone(&self.catalog);
        let made = self.writing()?.make_room(&catalog, bytes)?;
        if made && !self.has_reserve {
            self.keep_reserve();
        }
        Ok(())
    }
}

impl Log for FileLog {
    fn claim(&mut self, context: LogContext) -> Result<(), OpenError> {
        let locked = self.layer.lock();
        let locked = locked.map_err(|source| OpenError::io("lock the ledger's directory", source))?;
        let lock = locked.ok_or(OpenError::InUse)?;
        let (segment_bytes, reserve_bytes) = (self.segment_bytes, self.reserve_bytes);
        let site = SegmentSite { layer: Arc::clone(&self.layer), context, segment_bytes, reserve_bytes };
        let head = (0, Digest::from_bytes([0; 32]));
        self.writing = Some(FileWriting { site, active: None, head, buffer: Vec::new(), _lock: lock });
        Ok(())
    }

    fn stored(&self, seq: u64) -> Result<Option<Entry>, VerifyError> {
        stored(self.layer.as_ref(), &segments(self.layer.as_ref())?, seq)
    }

    fn replay(&mut self, replay: &mut Replay<'_>) -> Result<LogReport, OpenError> {
        let Some(writing) = &mut self.writing else { return Err(OpenError::InUse) };
        let Recovered { active, catalog, report } = recover(&writing.site, replay)?;
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = catalog;
        writing.active = active;
        writing.head = (replay.head().seq, replay.history.node());
        self.keep_reserve();
        Ok(report)
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(FileReader { layer: Arc::clone(&self.layer), catalog: Arc::clone(&self.catalog) })
    }

    fn begin(&mut self, _after: u64, need: BatchNeed) -> Result<Begun, LogFailure> {
        let bytes = framed_bytes_max(need);
        match need.space {
            Space::Usual => self.make_room(bytes)?,
            Space::Reserve => {
                let catalog = Arc::clone(&self.catalog);
                let spent = self.writing()?.make_reserved_room(&catalog, bytes)?;
                self.has_reserve &= !spent;
            }
        }
        Ok(Begun::Held(Vec::new()))
    }

    fn commit(&mut self, batch: &[Entry]) -> Result<(), LogFailure> {
        let catalog = Arc::clone(&self.catalog);
        let FileWriting { active, buffer, head, .. } = self.writing()?;
        let Some(active) = active else { return Err(LogFailure::Stopped("there is no segment".to_owned())) };
        buffer.clear();
        let (seed, start) = (active.header().checksum_seed(), active.offset());
        let mut ends = Vec::with_capacity(batch.len());
        for entry in batch {
            let mark = if entry.batch.is_last { EntryMark::Last } else { EntryMark::Within };
            encode_frame(entry, mark, seed, buffer);
            ends.push(buffer.len());
        }
        let appended = active.append(buffer);
        appended.map_err(|error| {
            LogFailure::Stopped(format!("cannot write a group commit: {}", io_reason(&error)))
        })?;
        let mut catalog = catalog.write().unwrap_or_else(PoisonError::into_inner);
        let mut from = 0_usize;
        for (entry, end) in batch.iter().zip(ends) {
            catalog.note(entry.seq, start.saturating_add(from as u64), end.saturating_sub(from));
            from = end;
        }
        if let Some(last) = batch.last() {
            *head = (last.seq, last.node());
        }
        Ok(())
    }

    /// What a failed write or sync has left on the disk is found out by the next start alone.
    fn look_up(&mut self, _batch: &BatchId) -> Result<bool, LogFailure> {
        Err(LogFailure::Stopped("the outcome of a write is unknown until the next start".to_owned()))
    }

    fn idle(&mut self, _after: u64) -> Result<Vec<Entry>, LogFailure> {
        // First: a sync of a segment that fails would stop the ledger for good.
        probe::write(self.layer.as_ref()).map_err(|error| LogFailure::Failing(io_reason(&error)))?;
        self.make_room(PROBE_ROOM_BYTES)?;
        Ok(Vec::new())
    }

    fn close(&mut self, head: Head, node: Digest) {
        let Some(FileWriting { site, active: Some(active), _lock, .. }) = self.writing.take() else { return };
        if site.context.session.is_forgotten() {
            // Without its key nobody believes a mark: the next start writes the end again.
            return;
        }
        if let Err(error) = active.close(&site, head, node) {
            tracing::warn!(error = %io_reason(&error), "the ledger could not be marked as closed; the next start writes its end again");
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        self.layer.free_bytes()
    }

    fn has_reserve(&self) -> bool {
        self.has_reserve
    }
}

/// Most bytes that a batch takes up in a segment. One byte less, and a full disk stops the ledger in the middle of a
/// group commit, where it should have refused it.
const fn framed_bytes_max(need: BatchNeed) -> u64 {
    need.bytes.saturating_add(need.entries.saturating_mul(FRAME_EXTRA_BYTES_MAX as u64))
}

/// Reads what a [`FileLog`] has written.
#[derive(Debug)]
struct FileReader {
    layer: Arc<dyn Layer>,
    catalog: Arc<RwLock<Catalog>>,
}

impl FileReader {
    fn spot(&self, seq: u64) -> Result<EntrySpot, ReadError> {
        let find = || self.catalog.read().unwrap_or_else(PoisonError::into_inner).find(seq);
        let nowhere = || ReadError::Io(format!("there is no entry {seq}"));
        match find() {
            EntryFound::Here(spot) => return Ok(spot),
            EntryFound::Nowhere => return Err(nowhere()),
            EntryFound::Unread { first_seq, next_first } => self.look_through(first_seq, next_first)?,
        }
        if let EntryFound::Here(spot) = find() { Ok(spot) } else { Err(nowhere()) }
    }

    /// Finds out where the entries of a segment stand that no start has had to read.
    fn look_through(&self, first_seq: u64, next_first: u64) -> Result<(), ReadError> {
        let (file, header) = load(self.layer.as_ref(), first_seq)?;
        let name = segment_name(first_seq);
        let mut marks = SegmentMarks::default();
        Walker::new(&file, &header, &name).walk_settled(next_first, |batch| {
            for (seq, offset, size) in batch.places(batch.offset as u64) {
                marks.note(seq, offset, size);
            }
            Ok::<(), VerifyError>(())
        })?;
        self.catalog.write().unwrap_or_else(PoisonError::into_inner).has_read(first_seq, marks);
        Ok(())
    }
}

impl LogReader for FileReader {
    fn each(&self, from: u64, through: u64, take: &mut TakeStored<'_>) -> Result<(), ReadError> {
        let mut next = Some(from);
        while let Some(from) = next.filter(|from| *from <= through) {
            next = self.spot(from)?.each(self.layer.as_ref(), from, through, take)?;
        }
        Ok(())
    }

    fn holder(&self, seq: u64) -> String {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).holder(seq)
    }
}
