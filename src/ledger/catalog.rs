//! Where entries stand, and reading them back.

use super::entry::{EntryMark, FIXED_BYTES};
use super::error::ReadError;
use super::layer::{Layer, LayerFile};
use super::log::{ScanFlow, TakeStored};
use super::segment::{Frame, HEADER_BYTES, NoFrame, SegmentHeader, frame_size, padded, segment_name};
use crate::base::io_reason;

/// The segments with their entries, and the offsets of some of them.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// In order of their first sequence.
    segments: Vec<SegmentPlace>,
}

#[derive(Debug)]
struct SegmentPlace {
    first_seq: u64,
    seed: u32,
    marks: SegmentMarks,
    /// The first entry of the segment after it, while nobody has looked where the entries of this one stand.
    unread_before: Option<u64>,
}

/// The places of some entries of a segment, from which the others are not far.
#[derive(Debug, Default)]
pub(super) struct SegmentMarks {
    places: Vec<(u64, u64)>,
    /// The end of the last durable frame.
    end: u64,
}

impl SegmentMarks {
    /// Entry `seq` stands from `offset` on, and takes up `size` bytes.
    pub(super) fn note(&mut self, seq: u64, offset: u64, size: usize) {
        if self.places.is_empty() || seq.is_multiple_of(MARK_STRIDE) {
            self.places.push((seq, offset));
        }
        self.end = offset.saturating_add(size as u64);
    }

    /// The last place that is not behind entry `seq`, with the entry that stands there.
    fn before(&self, seq: u64) -> Option<(u64, u64)> {
        let next = self.places.partition_point(|(marked, _)| *marked <= seq);
        self.places.get(next.checked_sub(1)?).copied()
    }
}

/// Whether an entry's place is known.
#[derive(Debug)]
pub(super) enum EntryFound {
    Here(EntrySpot),
    /// In a segment that nobody has read since the start.
    Unread {
        first_seq: u64,
        next_first: u64,
    },
    Nowhere,
}

const MARK_STRIDE: u64 = 64;

/// The place from which to read for one entry.
#[derive(Debug)]
pub(super) struct EntrySpot {
    name: String,
    seed: u32,
    seq: u64,
    offset: u64,
    end: u64,
    /// The segment's entries end before this one.
    before: u64,
}

impl Catalog {
    /// Adds a segment, which replaces one with the same first entry.
    pub(super) fn add(&mut self, header: &SegmentHeader) {
        self.segments.retain(|place| place.first_seq != header.first_seq);
        self.segments.push(SegmentPlace {
            first_seq: header.first_seq,
            seed: header.checksum_seed(),
            marks: SegmentMarks { places: Vec::new(), end: HEADER_BYTES as u64 },
            unread_before: None,
        });
    }

    /// Nobody has looked where the newest segment's entries stand, up to entry `next_first`.
    pub(super) fn leave_unread(&mut self, next_first: u64) {
        if let Some(place) = self.segments.last_mut() {
            place.unread_before = Some(next_first);
        }
    }

    /// A reader has found the places of the entries of the segment that begins with `first_seq`.
    pub(super) fn has_read(&mut self, first_seq: u64, marks: SegmentMarks) {
        if let Some(place) = self.segments.iter_mut().find(|place| place.first_seq == first_seq) {
            (place.marks, place.unread_before) = (marks, None);
        }
    }

    /// The newest segment's entry `seq` stands from `offset` on, and takes up `size` bytes.
    pub(super) fn note(&mut self, seq: u64, offset: u64, size: usize) {
        if let Some(place) = self.segments.last_mut() {
            place.marks.note(seq, offset, size);
        }
    }

    /// The name of the segment that holds entry `seq`.
    pub(super) fn holder(&self, seq: u64) -> String {
        let after = self.segments.partition_point(|place| place.first_seq <= seq);
        let place = after.checked_sub(1).and_then(|at| self.segments.get(at));
        segment_name(place.map_or(1, |place| place.first_seq))
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// The place of entry `seq`.
    pub(super) fn find(&self, seq: u64) -> EntryFound {
        let after = self.segments.partition_point(|place| place.first_seq <= seq);
        let Some(place) = after.checked_sub(1).and_then(|at| self.segments.get(at)) else {
            return EntryFound::Nowhere;
        };
        if let Some(next_first) = place.unread_before {
            return EntryFound::Unread { first_seq: place.first_seq, next_first };
        }
        let Some((marked, offset)) = place.marks.before(seq) else { return EntryFound::Nowhere };
        EntryFound::Here(EntrySpot {
            name: segment_name(place.first_seq),
            seed: place.seed,
            seq: marked,
            offset,
            end: place.marks.end,
            before: self.segments.get(after).map_or(u64::MAX, |next| next.first_seq),
        })
    }
}

impl EntrySpot {
    /// Shows the entries from `from` to `through`, as far as this segment has them, to `take`, until that has enough;
    /// says which comes next, unless it is enough.
    pub(super) fn each(
        &self,
        layer: &dyn Layer,
        from: u64,
        through: u64,
        take: &mut TakeStored<'_>,
    ) -> Result<Option<u64>, ReadError> {
        let file = layer.open(&self.name).map_err(|error| ReadError::Io(io_reason(&error)))?;
        let mut frames =
            Frames { file: file.as_ref(), at: self.offset, end: self.end, window: Vec::new(), start: 0 };
        let through = through.min(self.before.saturating_sub(1));
        for seq in self.seq..=through {
            let damaged = |what: &str| self.damaged(seq, what);
            let frame = match frames.next(self.seed) {
                Ok(frame) => frame,
                Err(Unread::NoFrame(error)) => return Err(damaged(error.what())),
                Err(Unread::Io(error)) => return Err(ReadError::Io(io_reason(&error))),
            };
            if frame.entry.seq != seq || frame.mark == EntryMark::Closing {
                return Err(damaged("another entry stands in its place"));
            }
            if seq >= from && take(frame.entry)? == ScanFlow::Enough {
                return Ok(None);
            }
        }
        Ok(Some(through.saturating_add(1)))
    }

    fn damaged(&self, seq: u64, what: &str) -> ReadError {
        ReadError::Damaged { seq, segment: self.name.clone(), what: what.to_owned() }
    }
}

/// Reads frames one after another through a window.
struct Frames<'a> {
    file: &'a dyn LayerFile,
    /// The offset of the next frame in the file.
    at: u64,
    /// The end of the last frame.
    end: u64,
    window: Vec<u8>,
    /// The offset of the next frame in the window.
    start: usize,
}

enum Unread {
    NoFrame(NoFrame),
    Io(std::io::Error),
}

const WINDOW_BYTES: usize = 64 * 1024;

impl Frames<'_> {
    fn next(&mut self, seed: u32) -> Result<Frame<'_>, Unread> {
        let mut wanted = padded(FIXED_BYTES);
        // The first fill shows the frame's length, a second one brings the rest of a long frame.
        for _ in 0..2 {
            let rest = self.window.get(self.start..).unwrap_or_default();
            match frame_size(rest) {
                Ok(size) => wanted = size,
                Err(NoFrame::Short) => {}
                Err(error) => return Err(Unread::NoFrame(error)),
            }
            if wanted > rest.len() {
                self.fill(wanted).map_err(Unread::Io)?;
            }
        }
        let rest = self.window.get(self.start..).unwrap_or_default();
        let frame = Frame::decode(rest, seed).map_err(Unread::NoFrame)?;
        self.at = self.at.saturating_add(frame.size() as u64);
        self.start = self.start.saturating_add(frame.size());
        Ok(frame)
    }

    /// Makes the window begin at the next frame and hold `wanted` bytes, and more while it is at it.
    fn fill(&mut self, wanted: usize) -> std::io::Result<()> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.window.clear();
        self.window.resize(wanted.max(WINDOW_BYTES).min(left), 0);
        let read = self.file.read_at(self.at, &mut self.window)?;
        self.window.truncate(read);
        self.start = 0;
        Ok(())
    }
}
