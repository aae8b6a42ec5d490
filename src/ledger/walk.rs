//! Walking the frames of a segment, group commit by group commit.

use super::entry::{Entry, EntryMark};
use super::error::VerifyError;
use super::segment::{ALIGN, Frame, HEADER_BYTES, NoFrame, SegmentHeader, batch_of_frame};

/// One whole group commit.
#[derive(Debug)]
pub(super) struct SegmentBatch<'a> {
    /// The offset of its first frame.
    pub(super) offset: usize,
    pub(super) frames: Vec<Frame<'a>>,
}

impl SegmentBatch<'_> {
    pub(super) fn first_seq(&self) -> u64 {
        self.frames.first().map_or(0, |frame| frame.entry.seq)
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.entry.seq)
    }

    /// The entries of its frames, where each of them stands when the first one stands at `offset`, and its size.
    pub(super) fn places(&self, offset: u64) -> impl Iterator<Item = (u64, u64, usize)> {
        self.frames.iter().scan(offset, |next, frame| {
            let offset = std::mem::replace(next, next.saturating_add(frame.size() as u64));
            Some((frame.entry.seq, offset, frame.size()))
        })
    }
}

/// The next part of a segment.
#[derive(Debug)]
pub(super) enum SegmentStep<'a> {
    /// A whole group commit.
    Batch(SegmentBatch<'a>),
    /// The ledger was closed here, by the word of this frame.
    Closed(Box<Entry>),
    /// Nothing but zeros.
    End,
    /// A group commit that is not whole, with nothing of a later one after it.
    Torn(Torn),
}

/// The beginning of an incomplete end of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Torn {
    /// Where the group commit begins.
    pub(super) offset: usize,
    /// The first entry that is not there as it was written.
    pub(super) bad_seq: u64,
    pub(super) what: &'static str,
}

impl Torn {
    /// The bytes of `file` from the beginning of the group commit to the last one that is not zero.
    pub(super) fn written_in(self, file: &[u8]) -> &[u8] {
        let tail = file.get(self.offset..).unwrap_or_default();
        let end = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        tail.get(..end).unwrap_or_default()
    }
}

/// Goes through a segment's bytes.
#[derive(Debug)]
pub(super) struct Walker<'a> {
    file: &'a [u8],
    name: &'a str,
    seed: u32,
    settled_through: u64,
    offset: usize,
    next_seq: u64,
}

impl<'a> Walker<'a> {
    pub(super) fn new(file: &'a [u8], header: &SegmentHeader, name: &'a str) -> Self {
        Self {
            file,
            name,
            seed: header.checksum_seed(),
            // What was carried was synced before the segment got its name: it cannot be torn.
            settled_through: header.carried_through.unwrap_or_default(),
            offset: HEADER_BYTES,
            next_seq: header.first_seq,
        }
    }

    /// The sequence that comes next.
    pub(super) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The next group commit, or how the segment ends.
    pub(super) fn step(&mut self) -> Result<SegmentStep<'a>, VerifyError> {
        let first = self.next_seq;
        let mut frames = Vec::new();
        let (mut at, mut seq) = (self.offset, first);
        loop {
            let rest = self.file.get(at..).unwrap_or_default();
            let frame = match Frame::decode(rest, self.seed) {
                Ok(frame) => frame,
                Err(_) if frames.is_empty() && all_zero(rest) => return self.end(SegmentStep::End),
                // Whole, and yet not understood: a newer build wrote it. It must not be set aside.
                Err(NoFrame::Unknown) => return Err(self.damaged(seq, NoFrame::Unknown.what())),
                Err(error) => {
                    if self.another_batch_in(rest, first) {
                        return Err(self.damaged(seq, error.what()));
                    }
                    return self.end(SegmentStep::Torn(Torn {
                        offset: self.offset,
                        bad_seq: seq,
                        what: error.what(),
                    }));
                }
            };
            if frame.entry.seq != seq || frame.entry.batch.first != first {
                return Err(self.damaged(seq, "another entry stands in its place"));
            }
            at = at.saturating_add(frame.size());
            match frame.mark {
                EntryMark::Closing => return self.close(frames.is_empty(), at, frame.entry),
                EntryMark::Within | EntryMark::Last => {}
            }
            let is_last = frame.mark == EntryMark::Last;
            frames.push(frame);
            seq = seq.saturating_add(1);
            if is_last {
                let offset = std::mem::replace(&mut self.offset, at);
                self.next_seq = seq;
                return Ok(SegmentStep::Batch(SegmentBatch { offset, frames }));
            }
        }
    }

    fn end(&self, step: SegmentStep<'a>) -> Result<SegmentStep<'a>, VerifyError> {
        if self.next_seq <= self.settled_through {
            return Err(self.damaged(self.next_seq, "an entry that was written again is not whole"));
        }
        Ok(step)
    }

    fn close(&self, between_batches: bool, at: usize, mark: Entry) -> Result<SegmentStep<'a>, VerifyError> {
        if !between_batches {
            return Err(self.damaged(self.next_seq, "the ledger is closed inside a group commit"));
        }
        if !all_zero(self.file.get(at..).unwrap_or_default()) {
            return Err(self.damaged(self.next_seq, "there are bytes after the end"));
        }
        self.end(SegmentStep::Closed(Box::new(mark)))
    }

    /// Whether `bytes` hold a whole frame of another group commit than the one that begins with
    /// `batch`. If so, that one was synced: what is wrong with it is no torn write but damage.
    fn another_batch_in(&self, bytes: &[u8], batch: u64) -> bool {
        const BLOCK: usize = 512 * ALIGN;
        let mut start: usize = 0;
        while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
            let block = rest.get(..BLOCK).unwrap_or(rest);
            if !all_zero(block) {
                for at in (0..block.len()).step_by(ALIGN) {
                    let found = batch_of_frame(rest.get(at..).unwrap_or_default(), self.seed);
                    if found.is_some_and(|found| found != batch) {
                        return true;
                    }
                }
            }
            start = start.saturating_add(BLOCK);
        }
        false
    }

    fn damaged(&self, seq: u64, what: &str) -> VerifyError {
        let what = format!("{what}; the entries in the first {} bytes of the file are valid", self.offset);
        VerifyError::damaged(seq, self.name, &what)
    }

    /// Walks a segment that another one follows: every entry up to `next_first` must be there. What
    /// comes after was superseded by the next segment.
    pub(super) fn walk_settled<E: From<VerifyError>>(
        &mut self,
        next_first: u64,
        mut take: impl FnMut(SegmentBatch<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.next_seq < next_first {
            match self.step()? {
                SegmentStep::Batch(batch) if batch.last_seq() < next_first => take(batch)?,
                SegmentStep::Batch(_) => {
                    return Err(self
                        .damaged(next_first, "the next segment begins inside a group commit")
                        .into());
                }
                SegmentStep::Closed(_) | SegmentStep::End => {
                    return Err(self.damaged(self.next_seq, "it is missing").into());
                }
                SegmentStep::Torn(torn) => return Err(self.damaged(torn.bad_seq, torn.what).into()),
            }
        }
        Ok(())
    }
}

/// Compares block by block: fast even in a build without optimisation.
pub(super) fn all_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.starts_with(chunk))
}
