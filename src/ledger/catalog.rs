//! Where entries stand, and reading them back.

use std::sync::Arc;

use super::append::ReadError;
use super::entry::Entry;
use super::keys::{Opened, SegmentKeys};
use super::layer::{Layer, LayerFile};
use super::segment::{FRAME_BYTES, Frame, HEADER_BYTES, Header, Mark, NoFrame, frame_size, segment_name};
use crate::base::io_reason;

/// Which segment holds which entries, with the place of every so-manieth one.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// In order of their first sequence.
    segments: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    first_seq: u64,
    seed: u32,
    keys: Arc<SegmentKeys>,
    marks: Marks,
    /// The first entry of the segment after it, while nobody has looked where the entries of this one stand.
    unread_before: Option<u64>,
}

/// The places of some entries of a segment, from which the others are not far.
#[derive(Debug, Default)]
pub(super) struct Marks {
    places: Vec<(u64, u64)>,
    /// Where the last durable frame ends.
    end: u64,
}

impl Marks {
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
pub(super) enum Found {
    Here(Spot),
    /// In a segment that nobody has read since the start.
    Unread {
        first_seq: u64,
        next_first: u64,
    },
    Nowhere,
}

/// Whether reading goes on after an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Going {
    On,
    Enough,
}

const MARK_STRIDE: u64 = 64;

/// What a page of entries may still take.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Room {
    pub(super) const fn is_left(&self) -> bool {
        self.entries > 0 && self.bytes > 0
    }

    /// One entry more. The one that uses the room up is still on the page, so that every page has one.
    const fn take(&mut self, bytes: usize) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Where to start reading for one entry, and under which keys.
#[derive(Debug)]
pub(super) struct Spot {
    name: String,
    seed: u32,
    pub(super) keys: Arc<SegmentKeys>,
    seq: u64,
    offset: u64,
    end: u64,
    /// The segment's entries end before this one.
    before: u64,
}

impl Catalog {
    /// Takes in a segment; one that began with the same entry has been replaced by it.
    pub(super) fn add(&mut self, header: &Header, keys: &Arc<SegmentKeys>) {
        self.segments.retain(|place| place.first_seq != header.first_seq);
        self.segments.push(Place {
            first_seq: header.first_seq,
            seed: header.checksum_seed(),
            keys: Arc::clone(keys),
            marks: Marks { places: Vec::new(), end: HEADER_BYTES as u64 },
            unread_before: None,
        });
    }

    /// Nobody has looked where the newest segment's entries stand, up to entry `next_first`.
    pub(super) fn leave_unread(&mut self, next_first: u64) {
        if let Some(place) = self.segments.last_mut() {
            place.unread_before = Some(next_first);
        }
    }

    /// Somebody has looked where the entries of the segment that begins with `first_seq` stand.
    pub(super) fn has_read(&mut self, first_seq: u64, marks: Marks) {
        if let Some(place) = self.segments.iter_mut().find(|place| place.first_seq == first_seq) {
            (place.marks, place.unread_before) = (marks, None);
        }
    }

    /// The first entry of each segment.
    pub(super) fn firsts(&self) -> Vec<u64> {
        self.segments.iter().map(|place| place.first_seq).collect()
    }

    /// The newest segment's entry `seq` stands from `offset` on, and takes up `size` bytes.
    pub(super) fn note(&mut self, seq: u64, offset: u64, size: usize) {
        if let Some(place) = self.segments.last_mut() {
            place.marks.note(seq, offset, size);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Where to find entry `seq`.
    pub(super) fn find(&self, seq: u64) -> Found {
        let after = self.segments.partition_point(|place| place.first_seq <= seq);
        let Some(place) = after.checked_sub(1).and_then(|at| self.segments.get(at)) else {
            return Found::Nowhere;
        };
        if let Some(next_first) = place.unread_before {
            return Found::Unread { first_seq: place.first_seq, next_first };
        }
        let Some((marked, offset)) = place.marks.before(seq) else { return Found::Nowhere };
        Found::Here(Spot {
            name: segment_name(place.first_seq),
            seed: place.seed,
            keys: Arc::clone(&place.keys),
            seq: marked,
            offset,
            end: place.marks.end,
            before: self.segments.get(after).map_or(u64::MAX, |next| next.first_seq),
        })
    }
}

impl Spot {
    /// Reads entries from `from` to `through`, while there is `room`, as far as this segment has them. Each is
    /// checked against its seal: an altered one is refused even if its checksum was made to match.
    pub(super) fn read(
        &self,
        layer: &dyn Layer,
        from: u64,
        through: u64,
        room: &mut Room,
    ) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        self.each(layer, from, through, &mut |frame, _| {
            room.take(frame.size());
            entries.push(frame.to_entry());
            Ok(if room.is_left() { Going::On } else { Going::Enough })
        })?;
        Ok(entries)
    }

    /// Shows them to `take`, with their state changes, until it has enough, and says which comes next.
    pub(super) fn each(
        &self,
        layer: &dyn Layer,
        from: u64,
        through: u64,
        take: &mut dyn FnMut(&Frame<'_>, &Opened) -> Result<Going, ReadError>,
    ) -> Result<u64, ReadError> {
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
            if frame.seq != seq || frame.mark == Mark::Closing {
                return Err(damaged("another entry stands in its place"));
            }
            if seq >= from {
                let opened = self.keys.open(&frame).ok_or_else(|| damaged("its seal does not match"))?;
                if take(&frame, &opened)? == Going::Enough {
                    return Ok(seq.saturating_add(1));
                }
            }
        }
        Ok(through.saturating_add(1))
    }

    pub(super) fn damaged(&self, seq: u64, what: &str) -> ReadError {
        ReadError::Damaged { seq, segment: self.name.clone(), what: what.to_owned() }
    }
}

/// Reads frames one after another through a window.
struct Frames<'a> {
    file: &'a dyn LayerFile,
    /// Where in the file the next frame begins.
    at: u64,
    /// Where the last frame ends.
    end: u64,
    window: Vec<u8>,
    /// Where in the window the next frame begins.
    start: usize,
}

enum Unread {
    NoFrame(NoFrame),
    Io(std::io::Error),
}

const WINDOW_BYTES: usize = 64 * 1024;

impl Frames<'_> {
    fn next(&mut self, seed: u32) -> Result<Frame<'_>, Unread> {
        let mut wanted = FRAME_BYTES;
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
