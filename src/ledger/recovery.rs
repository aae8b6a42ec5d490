//! Opening a directory of segments: check, replay, and write again what is not known to be durable.

use super::active::{ActiveSegment, Extent, MakeError, SegmentSite, SegmentStart, UNNAMED, no_space};
use super::catalog::Catalog;
use super::entry::Entry;
use super::error::{OpenError, VerifyError};
use super::keys::{DeltaKeys, closing};
use super::layer::{Layer, read_whole};
use super::log::{LogReport, TornTail};
use super::replay::{CheckedBatch, Replay};
use super::segment::{HEADER_BYTES, NoHeader, SegmentHeader, segment_name, segment_of_name};
use super::walk::{SegmentBatch, SegmentStep, Torn, Walker};
use crate::base::encoding::hex;

/// The segments as they stand after recovery.
#[derive(Debug)]
pub(super) struct Recovered {
    /// `None`: the first append makes a segment.
    pub(super) active: Option<ActiveSegment>,
    pub(super) catalog: Catalog,
    pub(super) report: LogReport,
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
pub(super) fn load(layer: &dyn Layer, first_seq: u64) -> Result<(Vec<u8>, SegmentHeader), VerifyError> {
    let name = segment_name(first_seq);
    let file =
        read_whole(layer, &name).map_err(|source| VerifyError::Io { doing: "read a segment", source })?;
    let header = header_of(&file, first_seq, &name)?;
    Ok((file, header))
}

/// The header of a segment whose entries are not read now.
pub(super) fn load_header(layer: &dyn Layer, first_seq: u64) -> Result<SegmentHeader, VerifyError> {
    let name = segment_name(first_seq);
    let mut bytes = vec![0; HEADER_BYTES];
    let read = layer.open(&name).and_then(|file| file.read_at(0, &mut bytes));
    bytes.truncate(read.map_err(|source| VerifyError::Io { doing: "read a segment", source })?);
    header_of(&bytes, first_seq, &name)
}

fn header_of(file: &[u8], first_seq: u64, name: &str) -> Result<SegmentHeader, VerifyError> {
    let header = SegmentHeader::decode(file).map_err(|error| match error {
        NoHeader::Damaged(what) => VerifyError::damaged(first_seq, name, what),
        NoHeader::Newer(format) => VerifyError::Newer { segment: name.to_owned(), format },
        NoHeader::Older(format) => VerifyError::Older { segment: name.to_owned(), format },
    })?;
    if header.first_seq == first_seq {
        return Ok(header);
    }
    Err(VerifyError::damaged(first_seq, name, "the file has the name of another segment"))
}

/// The entry `seq` as it is stored, or nothing. `firsts` are the ledger's segments.
pub(super) fn stored(layer: &dyn Layer, firsts: &[u64], seq: u64) -> Result<Option<Entry>, VerifyError> {
    let after = firsts.partition_point(|first| *first <= seq);
    let Some(&first_seq) = after.checked_sub(1).and_then(|at| firsts.get(at)) else { return Ok(None) };
    let (file, header) = load(layer, first_seq)?;
    let name = segment_name(first_seq);
    let mut walker = Walker::new(&file, &header, &name);
    while walker.next_seq() <= seq {
        let SegmentStep::Batch(batch) = walker.step()? else { return Ok(None) };
        if let Some(frame) = batch.frames.into_iter().find(|frame| frame.entry.seq == seq) {
            return Ok(Some(frame.entry));
        }
    }
    Ok(None)
}

/// Refuses a header that is not believed: without a key nobody makes one, and the holder of an earlier delta key makes
/// none after a rotation. `newest` is the newest delta key before it; gives that of the header.
pub(super) fn check_header(
    header: &SegmentHeader,
    keys: &DeltaKeys,
    newest: u32,
) -> Result<u32, VerifyError> {
    let damaged = |what| VerifyError::damaged(header.first_seq, &segment_name(header.first_seq), what);
    match keys.vouched(header.session, &header.mark(), &header.seal)? {
        Some(generation) if generation >= newest => Ok(generation),
        Some(_) => Err(damaged("it is sealed under an earlier delta key than the segment before it")),
        None => Err(damaged("the header's seal does not match")),
    }
}

/// Refuses a closing mark that is not believed.
pub(super) fn check_closing(
    mark: &Entry,
    header: &SegmentHeader,
    keys: &DeltaKeys,
    newest: u32,
) -> Result<(), VerifyError> {
    let bound = closing(header.ledger, mark.seq, mark.time, mark.chain.previous);
    match keys.vouched(mark.state.session, &bound, &mark.state.sealed)? {
        Some(generation) if generation >= newest => Ok(()),
        Some(_) | None => {
            let what = "the seal of the end does not match";
            Err(VerifyError::damaged(mark.seq, &segment_name(header.first_seq), what))
        }
    }
}

/// Recovers the log at `site`. Until all has been checked, nothing is changed.
pub(super) fn recover(site: &SegmentSite, replay: &mut Replay<'_>) -> Result<Recovered, OpenError> {
    let layer = site.layer.as_ref();
    let firsts = segments(layer)?;
    let resumed_after = replay.head().seq;
    let mut recovery = Recovery { site, replay, catalog: Catalog::default(), resumed_after, generation: 0 };
    let mut ending = SegmentEnding::default();
    for (at, &first_seq) in firsts.iter().enumerate() {
        let next = firsts.get(at.saturating_add(1)).copied();
        if let Some(next) = next.filter(|next| next.saturating_sub(1) <= resumed_after) {
            recovery.enter(&load_header(layer, first_seq)?)?;
            recovery.catalog.leave_unread(next);
            continue;
        }
        let (file, header) = load(layer, first_seq)?;
        recovery.enter(&header)?;
        let name = segment_name(first_seq);
        let mut walker = Walker::new(&file, &header, &name);
        match next {
            Some(next) => walker.walk_settled(next, |batch| recovery.take(&name, batch))?,
            None => ending = recovery.finish(&header, &file, walker)?,
        }
    }
    drop(layer.remove(UNNAMED));
    let SegmentEnding { active, written_again, torn } = ending;
    let Recovery { catalog, .. } = recovery;
    let report = LogReport { segments: catalog.len(), written_again, torn };
    Ok(Recovered { active, catalog, report })
}

#[derive(Default)]
struct SegmentEnding {
    active: Option<ActiveSegment>,
    written_again: u64,
    torn: Option<TornTail>,
}

struct Recovery<'a, 'r> {
    site: &'a SegmentSite,
    replay: &'a mut Replay<'r>,
    catalog: Catalog,
    /// Entries up to this one have been taken in already.
    resumed_after: u64,
    /// The newest delta key of a header.
    generation: u32,
}

impl Recovery<'_, '_> {
    fn enter(&mut self, header: &SegmentHeader) -> Result<(), VerifyError> {
        if header.ledger != self.site.context.ledger {
            return Err(VerifyError::damaged(
                header.first_seq,
                &segment_name(header.first_seq),
                "the segment belongs to another ledger",
            ));
        }
        let is_passed = header.first_seq <= self.resumed_after;
        if !is_passed {
            self.generation = self.generation.max(self.replay.history.generation());
        }
        self.generation = check_header(header, &self.site.context.keys, self.generation)?;
        if !is_passed && header.previous != self.replay.history.node() {
            let what = "it was begun after another entry than the one before it";
            return Err(VerifyError::damaged(header.first_seq, &segment_name(header.first_seq), what));
        }
        self.catalog.add(header);
        Ok(())
    }

    fn take(&mut self, name: &str, batch: SegmentBatch<'_>) -> Result<(), OpenError> {
        self.note(&batch, batch.offset as u64);
        let entries = batch.frames.into_iter().map(|frame| frame.entry);
        let entries: Vec<Entry> = entries.filter(|entry| entry.seq > self.resumed_after).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let checked = self.replay.check(entries, name)?;
        self.replay.take(checked)
    }

    fn note(&mut self, batch: &SegmentBatch<'_>, offset: u64) {
        for (seq, offset, size) in batch.places(offset) {
            self.catalog.note(seq, offset, size);
        }
    }

    /// Walks the last segment. Its last group commit is held back: whether it was synced is unknown,
    /// unless the ledger was closed after it.
    fn finish(
        &mut self,
        header: &SegmentHeader,
        file: &[u8],
        mut walker: Walker<'_>,
    ) -> Result<SegmentEnding, OpenError> {
        let name = segment_name(header.first_seq);
        let mut held: Option<SegmentBatch<'_>> = None;
        let torn = loop {
            match walker.step()? {
                SegmentStep::Batch(batch) => {
                    if let Some(synced) = held.replace(batch) {
                        self.take(&name, synced)?;
                    }
                }
                SegmentStep::Closed(mark) => {
                    return self.closed(header, held, &mark);
                }
                SegmentStep::End => break None,
                SegmentStep::Torn(torn) => break Some(torn),
            }
        };
        if (file.len() as u64) < header.bytes {
            let what = "the file is shorter than when it was created";
            return Err(VerifyError::damaged(walker.next_seq(), &name, what).into());
        }
        let carried_before = header.carried_through.unwrap_or_default();
        if held.as_ref().is_some_and(|batch| batch.last_seq() <= carried_before)
            && let Some(synced) = held.take()
        {
            self.take(&name, synced)?;
        }
        let checked = held.as_ref().map(|batch| self.check_held(batch, &name)).transpose()?;
        let torn = torn.map(|torn| self.set_aside(file, walker.next_seq(), torn)).transpose()?;
        let mut ending = SegmentEnding { active: None, written_again: 0, torn };
        let first_seq = held.as_ref().map_or(walker.next_seq(), SegmentBatch::first_seq);
        if held.is_some() || ending.torn.is_some() {
            let carried = held.as_ref().map_or(&[][..], |batch| &batch.frames);
            let previous =
                carried.first().map_or(self.replay.history.node(), |frame| frame.entry.chain.previous);
            let active = self.make(SegmentStart { first_seq, previous, carried })?;
            self.catalog.add(active.header());
            ending.active = Some(active);
            // The new segment may have taken the old one's name, and must not be cut.
            if first_seq != header.first_seq {
                let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
                drop(self.site.layer.shorten(&name, used as u64));
            }
        }
        if let (Some(batch), Some(checked)) = (held, checked) {
            ending.written_again = batch.frames.len() as u64;
            self.note(&batch, HEADER_BYTES as u64);
            self.replay.take(checked)?;
        }
        Ok(ending)
    }

    /// Checks a group commit that is about to be copied. The new header is sealed, and names the node before the copied
    /// entries: so their seals are opened, also of those that a snapshot has already.
    fn check_held(&self, batch: &SegmentBatch<'_>, name: &str) -> Result<CheckedBatch, OpenError> {
        let entries = batch.frames.iter().map(|frame| &frame.entry);
        let (passed, new): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.seq <= self.resumed_after);
        for entry in &passed {
            self.replay.open(entry, name)?;
        }
        for (before, entry) in passed.iter().zip(passed.iter().skip(1)) {
            if entry.chain.previous != before.node() {
                let what = "it was written after another entry than the one before it";
                return Err(VerifyError::damaged(entry.seq, name, what).into());
            }
        }
        self.replay.check(new.into_iter().cloned().collect(), name)
    }

    fn closed(
        &mut self,
        header: &SegmentHeader,
        held: Option<SegmentBatch<'_>>,
        mark: &Entry,
    ) -> Result<SegmentEnding, OpenError> {
        let name = segment_name(header.first_seq);
        if let Some(synced) = held {
            self.take(&name, synced)?;
        }
        check_closing(mark, header, &self.site.context.keys, self.replay.history.generation())?;
        if mark.chain.previous == self.replay.history.node() && mark.time == self.replay.head().time {
            return Ok(SegmentEnding::default());
        }
        Err(VerifyError::damaged(mark.seq, &name, "it was closed after another entry").into())
    }

    /// On a full disk, what is known can still be served: the segment is made as small as it can be.
    fn make(&self, start: SegmentStart<'_>) -> Result<ActiveSegment, MakeError> {
        let make = |extent| ActiveSegment::make(self.site, start, extent);
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
        let tail = torn.written_in(file);
        let kept_as = format!("torn-{first_seq}-{}.bin", hex(&self.site.context.entropy.bytes::<4>()));
        let layer = self.site.layer.as_ref();
        let kept = layer
            .create(&kept_as)
            .and_then(|copy| copy.write_at(0, tail).and_then(|()| copy.sync_data()))
            .and_then(|()| layer.sync_dir());
        kept.map_err(|source| no_space("set a torn group commit aside", source))?;
        Ok(TornTail { first_seq, kept_as, bytes: tail.len() as u64 })
    }
}
