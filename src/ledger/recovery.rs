//! Opening a directory of segments: check, replay, and write again what is not known to be durable.

use std::sync::Arc;

use super::active::{Active, Carry, Extent, MakeError, UNNAMED, no_space};
use super::append::Head;
use super::catalog::Catalog;
use super::entry::{Follower, Kind};
use super::file_ledger::Options;
use super::flaw::{OpenError, VerifyError};
use super::keys::{Opened, SegmentKeys};
use super::layer::{Layer, read_whole};
use super::resume::{Resumed, resume};
use super::segment::{Carried, HEADER_BYTES, Header, segment_name, segment_of_name};
use super::walk::{Batch, Step, Torn, Walker};
use crate::base::Timestamp;
use crate::base::encoding::hex;

/// What an open has found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenReport {
    /// The newest entry; its sequence is also the number of entries.
    pub head: Head,
    /// How many segments hold them.
    pub segments: usize,
    /// Entries at the end that the last stop left in doubt; they were written again and are durable.
    pub written_again: u64,
    /// What was set aside because a group commit was not whole. It was never acknowledged.
    pub torn: Option<TornTail>,
    /// The entry that a snapshot is as of by which those up to it did not have to be read.
    pub resumed_after: Option<u64>,
    /// An entry that a snapshot is as of, and that is gone.
    pub lost: Option<u64>,
}

/// The end of a segment that was set aside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TornTail {
    /// The first entry of the group commit that is not whole.
    pub first_seq: u64,
    /// The file that its bytes were copied to.
    pub kept_as: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// A ledger as it stands after recovery.
#[derive(Debug)]
pub(super) struct Recovered {
    /// `None`: the first append makes a segment.
    pub(super) active: Option<Active>,
    pub(super) catalog: Catalog,
    pub(super) head: Head,
    pub(super) report: OpenReport,
}

/// The first sequences of all segments, in order. They must begin with 1.
pub(super) fn segments(layer: &dyn Layer) -> Result<Vec<u64>, VerifyError> {
    let listed = layer.list();
    let names = listed.map_err(|source| VerifyError::Io { doing: "list the ledger's directory", source })?;
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| segment_of_name(name)).collect();
    firsts.sort_unstable();
    match firsts.first() {
        None | Some(1) => Ok(firsts),
        Some(later) => {
            Err(VerifyError::damaged(1, &segment_name(*later), "the segments before it are missing"))
        }
    }
}

/// A segment's bytes, with a header that fits its name.
pub(super) fn load(layer: &dyn Layer, first_seq: u64) -> Result<(Vec<u8>, Header), VerifyError> {
    let name = segment_name(first_seq);
    let file =
        read_whole(layer, &name).map_err(|source| VerifyError::Io { doing: "read a segment", source })?;
    let header = header_of(&file, first_seq, &name)?;
    Ok((file, header))
}

/// The header of a segment whose entries are not read now.
fn load_header(layer: &dyn Layer, first_seq: u64) -> Result<Header, VerifyError> {
    let name = segment_name(first_seq);
    let mut bytes = vec![0; HEADER_BYTES];
    let read = layer.open(&name).and_then(|file| file.read_at(0, &mut bytes));
    bytes.truncate(read.map_err(|source| VerifyError::Io { doing: "read a segment", source })?);
    header_of(&bytes, first_seq, &name)
}

fn header_of(file: &[u8], first_seq: u64, name: &str) -> Result<Header, VerifyError> {
    let header = Header::decode(file).map_err(|what| VerifyError::damaged(first_seq, name, what))?;
    if header.first_seq == first_seq {
        return Ok(header);
    }
    Err(VerifyError::damaged(first_seq, name, "the file has the name of another segment"))
}

/// Recovers the ledger of `options`. Until all has been checked, nothing is changed.
pub(super) fn recover(options: &Options, follower: &mut dyn Follower) -> Result<Recovered, OpenError> {
    let layer = options.layer.as_ref();
    let firsts = segments(layer)?;
    let Resumed { point, lost } = resume(options, &firsts, follower)?;
    let nothing = Head { seq: 0, time: Timestamp::from_ms(0) };
    let head = point.map_or(nothing, |point| Head { seq: point.through, time: point.time });
    let resumed_after = head.seq;
    let mut replay =
        Replay { options, follower, catalog: Catalog::default(), resumed_after, generation: 0, head };
    let mut ending = Ending::default();
    for (at, &first_seq) in firsts.iter().enumerate() {
        let next = firsts.get(at.saturating_add(1)).copied();
        if let Some(next) = next.filter(|next| next.saturating_sub(1) <= resumed_after) {
            replay.pass(&load_header(layer, first_seq)?, next)?;
            continue;
        }
        let (file, header) = load(layer, first_seq)?;
        let segment = replay.enter(&header)?;
        let mut walker = Walker::new(&file, &header, &segment.name);
        match next {
            Some(next) => walker.walk_settled(next, |batch| replay.take(&segment, &batch))?,
            None => ending = replay.finish(&segment, &header, &file, walker)?,
        }
    }
    drop(layer.remove(UNNAMED));
    let report = OpenReport {
        head: replay.head,
        segments: replay.catalog.len(),
        written_again: ending.written_again,
        torn: ending.torn,
        resumed_after: point.map(|point| point.through),
        lost,
    };
    let Replay { catalog, head, .. } = replay;
    Ok(Recovered { active: ending.active, catalog, head, report })
}

#[derive(Default)]
struct Ending {
    active: Option<Active>,
    written_again: u64,
    torn: Option<TornTail>,
}

struct Replay<'a> {
    options: &'a Options,
    follower: &'a mut dyn Follower,
    catalog: Catalog,
    /// The follower has taken in the entries up to this one.
    resumed_after: u64,
    /// The delta key of the segment before.
    generation: u32,
    head: Head,
}

struct Segment {
    name: String,
    keys: Arc<SegmentKeys>,
}

impl Replay<'_> {
    /// Takes note of a segment all of whose entries the follower has taken in.
    fn pass(&mut self, header: &Header, next_first: u64) -> Result<(), VerifyError> {
        self.enter(header)?;
        self.catalog.leave_unread(next_first);
        Ok(())
    }

    fn enter(&mut self, header: &Header) -> Result<Segment, VerifyError> {
        let name = segment_name(header.first_seq);
        if header.ledger != self.options.ledger {
            return Err(VerifyError::damaged(
                header.first_seq,
                &name,
                "the segment belongs to another ledger",
            ));
        }
        // Whoever holds an earlier delta key can seal by it: what comes after it was relieved is not believed.
        if header.sealing.generation < self.generation {
            let what = "it is sealed under an earlier delta key than the segment before it";
            return Err(VerifyError::damaged(header.first_seq, &name, what));
        }
        self.generation = header.sealing.generation;
        let keys = Arc::new(SegmentKeys::new(&self.options.keys, header)?);
        self.catalog.add(header, &keys);
        Ok(Segment { name, keys })
    }

    /// Opens all of a group commit, before any of it is taken in.
    fn open(&self, segment: &Segment, batch: &Batch<'_>) -> Result<Vec<Opened>, OpenError> {
        let is_new = batch.first_seq() > self.resumed_after;
        let mut time = if is_new { self.head.time } else { Timestamp::from_ms(i64::MIN) };
        let mut opened = Vec::with_capacity(batch.frames.len());
        for frame in &batch.frames {
            let damaged = |what| VerifyError::damaged(frame.seq, &segment.name, what);
            opened.push(segment.keys.open(frame).ok_or_else(|| damaged("its seal does not match"))?);
            if frame.time < time && frame.kind != Kind::CLOCK_ADJUSTED {
                return Err(damaged("it is older than the entry before it").into());
            }
            time = frame.time;
        }
        Ok(opened)
    }

    fn take(&mut self, segment: &Segment, batch: &Batch<'_>) -> Result<(), OpenError> {
        if batch.last_seq() <= self.resumed_after {
            self.note(batch, batch.offset as u64);
            return Ok(());
        }
        let opened = self.open(segment, batch)?;
        self.take_opened(batch, &opened, batch.offset as u64)
    }

    fn take_opened(&mut self, batch: &Batch<'_>, opened: &[Opened], offset: u64) -> Result<(), OpenError> {
        for (frame, opened) in batch.frames.iter().zip(opened) {
            if frame.seq > self.resumed_after {
                self.follower
                    .apply(&frame.to_entry(), opened.delta())
                    .map_err(|why| OpenError::NotTakenIn { seq: frame.seq, why })?;
                self.head = Head { seq: frame.seq, time: frame.time };
            }
        }
        self.note(batch, offset);
        self.follower.settle();
        Ok(())
    }

    fn note(&mut self, batch: &Batch<'_>, offset: u64) {
        for (frame, offset) in batch.places(offset) {
            self.catalog.note(frame.seq, offset, frame.size());
        }
    }

    /// Walks the last segment. Its last group commit is held back: whether it was synced is unknown,
    /// unless the ledger was closed after it.
    fn finish(
        &mut self,
        segment: &Segment,
        header: &Header,
        file: &[u8],
        mut walker: Walker<'_>,
    ) -> Result<Ending, OpenError> {
        let mut held: Option<Batch<'_>> = None;
        let torn = loop {
            match walker.step()? {
                Step::Batch(batch) => {
                    if let Some(synced) = held.replace(batch) {
                        self.take(segment, &synced)?;
                    }
                }
                Step::Closed => {
                    if let Some(synced) = held {
                        self.take(segment, &synced)?;
                    }
                    return Ok(Ending::default());
                }
                Step::End => break None,
                Step::Torn(torn) => break Some(torn),
            }
        };
        if (file.len() as u64) < header.bytes {
            let what = "the file is shorter than it was made";
            return Err(VerifyError::damaged(walker.next_seq(), &segment.name, what).into());
        }
        let carried_before = header.carried.map_or(0, |carried| carried.through_seq);
        if held.as_ref().is_some_and(|batch| batch.last_seq() <= carried_before)
            && let Some(synced) = held.take()
        {
            self.take(segment, &synced)?;
        }
        let opened = held.as_ref().map(|batch| self.open(segment, batch)).transpose()?;
        let torn = torn.map(|torn| self.set_aside(file, walker.next_seq(), torn)).transpose()?;
        let first_seq = held.as_ref().map_or(walker.next_seq(), Batch::first_seq);
        let carry = held.as_ref().map(|batch| Carry {
            carried: Carried { sealing: header.sealing, through_seq: batch.last_seq() },
            frames: &batch.frames,
        });
        let mut ending = Ending { active: None, written_again: 0, torn };
        if carry.is_some() || ending.torn.is_some() {
            let active = self.make(first_seq, carry.as_ref())?;
            self.catalog.add(active.header(), active.keys());
            ending.active = Some(active);
            // The new segment may have taken the old one's name, and must not be cut.
            if first_seq != header.first_seq {
                let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
                drop(self.options.layer.shorten(&segment.name, used as u64));
            }
        }
        if let (Some(batch), Some(opened)) = (held, opened) {
            ending.written_again = batch.frames.len() as u64;
            self.take_opened(&batch, &opened, HEADER_BYTES as u64)?;
        }
        Ok(ending)
    }

    /// On a full disk, what is known can still be served: the segment is made as small as it can be.
    fn make(&self, first_seq: u64, carry: Option<&Carry<'_>>) -> Result<Active, MakeError> {
        let make = |extent| Active::make(self.options, first_seq, carry, extent);
        let mut made = make(Extent::Usual(0));
        for extent in [Extent::Smallest, Extent::Reserve] {
            if !matches!(made, Err(MakeError::NoSpace)) {
                break;
            }
            made = make(extent);
        }
        made
    }

    fn set_aside(&self, file: &[u8], first_seq: u64, torn: Torn) -> Result<TornTail, OpenError> {
        let tail = file.get(torn.offset..).unwrap_or_default();
        let end = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        let tail = tail.get(..end).unwrap_or_default();
        let kept_as = format!("torn-{first_seq}-{}.bin", hex(&self.options.entropy.bytes::<4>()));
        let layer = self.options.layer.as_ref();
        let kept = layer
            .create(&kept_as)
            .and_then(|copy| copy.write_at(0, tail).and_then(|()| copy.sync_data()))
            .and_then(|()| layer.sync_dir());
        kept.map_err(|source| no_space("set a torn group commit aside", source))?;
        Ok(TornTail { first_seq, kept_as, bytes: tail.len() as u64 })
    }
}
