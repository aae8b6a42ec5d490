//! Where entries stand, and reading them back.

use std::sync::Arc;

use super::append::ReadError;
use super::entry::Entry;
use super::keys::SegmentKeys;
use super::layer::{Layer, LayerFile};
use super::segment::{FRAME_BYTES, Frame, HEADER_BYTES, Header, Mark, NoFrame, frame_size, segment_name};

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
    /// Where the last durable frame ends.
    end: u64,
    marks: Vec<(u64, u64)>,
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
            end: HEADER_BYTES as u64,
            marks: Vec::new(),
        });
    }

    /// The newest segment's entry `seq` stands from `offset` on, and takes up `size` bytes.
    pub(super) fn note(&mut self, seq: u64, offset: u64, size: usize) {
        let Some(place) = self.segments.last_mut() else { return };
        if place.marks.is_empty() || seq.is_multiple_of(MARK_STRIDE) {
            place.marks.push((seq, offset));
        }
        place.end = offset.saturating_add(size as u64);
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Where to find entry `seq`.
    pub(super) fn spot(&self, seq: u64) -> Option<Spot> {
        let after = self.segments.partition_point(|place| place.first_seq <= seq);
        let place = self.segments.get(after.checked_sub(1)?)?;
        let next_mark = place.marks.partition_point(|(marked, _)| *marked <= seq);
        let &(marked, offset) = place.marks.get(next_mark.checked_sub(1)?)?;
        Some(Spot {
            name: segment_name(place.first_seq),
            seed: place.seed,
            keys: Arc::clone(&place.keys),
            seq: marked,
            offset,
            end: place.end,
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
        let file = layer.open(&self.name).map_err(|error| ReadError::Io(error.to_string()))?;
        let mut frames =
            Frames { file: file.as_ref(), at: self.offset, end: self.end, window: Vec::new(), start: 0 };
        let mut entries = Vec::new();
        for seq in self.seq..=through.min(self.before.saturating_sub(1)) {
            if !room.is_left() {
                break;
            }
            let damaged = |what: &str| self.damaged(seq, what);
            let frame = match frames.next(self.seed) {
                Ok(frame) => frame,
                Err(Unread::NoFrame(error)) => return Err(damaged(error.what())),
                Err(Unread::Io(error)) => return Err(ReadError::Io(error.to_string())),
            };
            if frame.seq != seq || frame.mark == Mark::Closing {
                return Err(damaged("another entry stands in its place"));
            }
            if seq >= from {
                self.keys.open(&frame).ok_or_else(|| damaged("its seal does not match"))?;
                room.take(frame.size());
                entries.push(frame.to_entry());
            }
        }
        Ok(entries)
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
