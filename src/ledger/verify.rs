//! Checking a ledger's files from outside, without writing and without stopping the writer.

use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::Entry;
use super::error::VerifyError;
use super::history::{Head, LedgerHistory};
use super::key::Kind;
use super::keys::DeltaKeys;
use super::layer::Layer;
use super::recovery::{check_closing, check_header, load, load_header, segments};
use super::segment::{SegmentHeader, segment_name};
use super::snapshot_check::{SnapshotSeen, SnapshotsThere};
use super::walk::{SegmentBatch, SegmentStep, Torn, Walker};
use crate::base::LedgerId;
use crate::crypto::Digest;

/// The result for intact files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// The ledger; `None` without a segment.
    pub ledger: Option<LedgerId>,
    /// The newest entry.
    pub head: Head,
    /// The root of the Merkle tree over all leaves (RFC 6962).
    pub root: Digest,
    /// The roots at the sizes that were asked for, of those that there are so many entries for.
    pub roots_at: Vec<(u64, Digest)>,
    /// The state changes of the kinds that were asked for, the oldest first.
    pub states: Vec<StateSeen>,
    /// The events of the kinds that were asked for, the oldest first.
    pub events: Vec<EventSeen>,
    /// The snapshots that lie beside the entries, the newest first.
    pub snapshots: Vec<SnapshotSeen>,
    /// The end of the last segment.
    pub end: End,
}

/// An event that was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventSeen {
    /// Its entry.
    pub seq: u64,
    /// The kind of the event.
    pub kind: Kind,
    /// The event in JSON.
    pub event: Vec<u8>,
}

/// A state change, and what came before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StateSeen {
    /// Its entry.
    pub seq: u64,
    /// The root of the Merkle tree over the entries before it.
    pub before: Digest,
    /// The state change in clear.
    pub delta: Vec<u8>,
}

impl Verified {
    /// The number of entries.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.head.seq
    }

    /// The root at `size`, which was asked for; `None` when there are fewer entries.
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        self.roots_at.iter().find(|(at, _)| *at == size).map(|(_, root)| *root)
    }
}

/// What is to be told of a ledger besides whether it checks out.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyQuery<'a> {
    /// The roots as they were when there were so many entries: what checkpoints and anchors speak of.
    pub roots_at: &'a [u64],
    /// The state changes of these kinds; there are none without keys. Not for kinds that hold secret values.
    pub states_of: &'a [Kind],
    /// The events of these kinds.
    pub events_of: &'a [Kind],
    /// Set to the number of each checked entry, e.g. to show progress.
    pub checked: Option<&'a AtomicU64>,
}

/// The end of a ledger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// Closed in good order: no entry can be missing at the end.
    Closed,
    /// Not closed: the broker runs, or was stopped at once.
    Open,
    /// With a group commit that is not whole: the broker is writing it, or was stopped while it was, or the disk damaged
    /// it. A start sets it aside.
    Unfinished(UnfinishedEnd),
}

/// The bytes after the last valid entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnfinishedEnd {
    /// The segment file's name.
    pub segment: String,
    /// The offset of the first byte that belongs to no valid entry.
    pub offset: u64,
    /// The number of bytes up to the last one that is not zero.
    pub bytes: u64,
    /// The problem with them.
    pub what: &'static str,
}

impl UnfinishedEnd {
    fn of(file: &[u8], segment: &str, torn: Torn) -> Self {
        let Torn { offset, what, .. } = torn;
        let bytes = torn.written_in(file).len() as u64;
        Self { segment: segment.to_owned(), offset: offset as u64, bytes, what }
    }
}

/// Checks the ledger in `layer`: every checksum, sequence, time and link, and with `keys` every seal too.
/// Without keys, bytes that were altered together with their checksum pass; compare the root hash.
///
/// # Errors
/// [`VerifyError::Damaged`] names the first entry that is not there as it was written.
pub fn verify(
    layer: &dyn Layer,
    ledger: Option<LedgerId>,
    keys: Option<&DeltaKeys>,
    sought: VerifyQuery<'_>,
) -> Result<Verified, VerifyError> {
    let looked_at = SnapshotsThere::list(layer)?;
    let firsts = segments(layer)?;
    let mut check = LedgerCheck::new(ledger, keys, sought, looked_at);
    let mut end = End::Closed;
    for (at, &first_seq) in firsts.iter().enumerate() {
        match firsts.get(at.saturating_add(1)) {
            Some(&next) => check.settled(layer, first_seq, next)?,
            None => end = check.last_while_written(layer, first_seq)?,
        }
    }
    let ledger = if firsts.is_empty() { None } else { check.ledger };
    check.verified(layer, ledger, end)
}

#[derive(Clone)]
pub(super) struct LedgerCheck<'k> {
    keys: Option<&'k DeltaKeys>,
    ledger: Option<LedgerId>,
    history: LedgerHistory,
    sought: VerifyQuery<'k>,
    /// The newest delta key of a segment before.
    generation: u32,
    roots_at: Vec<(u64, Digest)>,
    states: Vec<StateSeen>,
    events: Vec<EventSeen>,
    snapshots: SnapshotsThere,
}

impl<'k> LedgerCheck<'k> {
    /// Nothing has been checked yet. The snapshots were listed before the entries are read.
    pub(super) fn new(
        ledger: Option<LedgerId>,
        keys: Option<&'k DeltaKeys>,
        sought: VerifyQuery<'k>,
        snapshots: SnapshotsThere,
    ) -> Self {
        let (roots_at, states, events) = (Vec::new(), Vec::new(), Vec::new());
        let history = LedgerHistory::new();
        let mut check =
            Self { keys, ledger, history, sought, generation: 0, roots_at, states, events, snapshots };
        check.note_root();
        check
    }

    pub(super) const fn history(&self) -> &LedgerHistory {
        &self.history
    }

    /// All entries have been checked; looks at the snapshots in `layer`.
    pub(super) fn verified(
        self,
        layer: &dyn Layer,
        ledger: Option<LedgerId>,
        end: End,
    ) -> Result<Verified, VerifyError> {
        let (root, head) = (self.history.tree().root(), self.history.head());
        let Self { roots_at, states, events, snapshots, keys, .. } = self;
        let snapshots = snapshots.look(layer, ledger, keys)?;
        Ok(Verified { ledger, head, root, roots_at, states, events, snapshots, end })
    }

    fn note_root(&mut self) {
        let size = self.history.head().seq;
        if self.sought.roots_at.contains(&size) {
            self.roots_at.push((size, self.history.tree().root()));
        }
    }

    fn enter(&mut self, header: &SegmentHeader) -> Result<(), VerifyError> {
        let damaged =
            |what| Err(VerifyError::damaged(header.first_seq, &segment_name(header.first_seq), what));
        if *self.ledger.get_or_insert(header.ledger) != header.ledger {
            return damaged("the segment belongs to another ledger");
        }
        if let Some(keys) = self.keys {
            let newest = self.generation.max(self.history.generation());
            self.generation = check_header(header, keys, newest)?;
        }
        if header.previous != self.history.node() {
            return damaged("it was begun after another entry than the one before it");
        }
        Ok(())
    }

    fn settled(&mut self, layer: &dyn Layer, first_seq: u64, next: u64) -> Result<(), VerifyError> {
        let (file, header) = load(layer, first_seq)?;
        self.enter(&header)?;
        let name = segment_name(first_seq);
        let mut walker = Walker::new(&file, &header, &name);
        walker.walk_settled(next, |batch| self.take(&name, &batch))?;
        // A group commit at the end that was not whole, or that the next segment carries, was superseded.
        let carried_here = header.carried_through.is_some_and(|through| through.saturating_add(1) >= next);
        if carried_here || load_header(layer, next)?.carried_through.is_some() {
            return Ok(());
        }
        match walker.step()? {
            SegmentStep::Closed(mark) => self.closed(&header, &mark).map(drop),
            SegmentStep::Batch(_) | SegmentStep::End => Ok(()),
            SegmentStep::Torn(torn) => {
                let what = format!("the closing mark is damaged: {}", torn.what);
                Err(VerifyError::damaged(torn.bad_seq, &name, &what))
            }
        }
    }

    /// The last segment may be written to while it is read: an early part may have been read before,
    /// a later part after a group commit. So a flaw counts when it is still there at a second look.
    fn last_while_written(&mut self, layer: &dyn Layer, first_seq: u64) -> Result<End, VerifyError> {
        let mut seen = None;
        loop {
            let mut attempt = self.clone();
            match attempt.last(layer, first_seq) {
                Ok(end) => {
                    *self = attempt;
                    return Ok(end);
                }
                Err(VerifyError::Damaged { seq, .. }) if seen.is_none_or(|before| before < seq) => {
                    seen = Some(seq);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn last(&mut self, layer: &dyn Layer, first_seq: u64) -> Result<End, VerifyError> {
        let (file, header) = load(layer, first_seq)?;
        self.enter(&header)?;
        let name = segment_name(first_seq);
        let mut walker = Walker::new(&file, &header, &name);
        let end = loop {
            match walker.step()? {
                SegmentStep::Batch(batch) => self.take(&name, &batch)?,
                SegmentStep::Closed(mark) => return self.closed(&header, &mark),
                SegmentStep::End => break End::Open,
                SegmentStep::Torn(torn) => break End::Unfinished(UnfinishedEnd::of(&file, &name, torn)),
            }
        };
        if (file.len() as u64) < header.bytes {
            let what = "the file is shorter than when it was created";
            return Err(VerifyError::damaged(walker.next_seq(), &name, what));
        }
        Ok(end)
    }

    fn closed(&self, header: &SegmentHeader, mark: &Entry) -> Result<End, VerifyError> {
        if let Some(keys) = self.keys {
            check_closing(mark, header, keys, self.history.generation())?;
        }
        if mark.chain.previous == self.history.node() && mark.time == self.history.head().time {
            return Ok(End::Closed);
        }
        let what = "it was closed after another entry";
        Err(VerifyError::damaged(mark.seq, &segment_name(header.first_seq), what))
    }

    fn take(&mut self, name: &str, batch: &SegmentBatch<'_>) -> Result<(), VerifyError> {
        batch.frames.iter().try_for_each(|frame| self.take_entry(name, &frame.entry))
    }

    /// Checks the entry that comes next, which `name` holds.
    pub(super) fn take_entry(&mut self, name: &str, entry: &Entry) -> Result<(), VerifyError> {
        let damaged = |what| VerifyError::damaged(entry.seq, name, what);
        let opened = match self.keys.zip(self.ledger) {
            Some((keys, ledger)) => {
                Some(keys.open(ledger, entry)?.ok_or_else(|| damaged("its seal does not match"))?)
            }
            None => None,
        };
        self.history.succession().check(entry).map_err(damaged)?;
        if let Some(opened) = opened.filter(|_| self.sought.states_of.contains(&entry.kind)) {
            let (before, delta) = (self.history.tree().root(), opened.delta().to_vec());
            self.states.push(StateSeen { seq: entry.seq, before, delta });
        }
        self.history.take(entry);
        if let Some(checked) = self.sought.checked {
            checked.store(entry.seq, Ordering::Relaxed);
        }
        self.note_root();
        self.snapshots.note(entry.seq, entry.node());
        if self.sought.events_of.contains(&entry.kind) {
            self.events.push(EventSeen { seq: entry.seq, kind: entry.kind, event: entry.event.clone() });
        }
        Ok(())
    }
}
