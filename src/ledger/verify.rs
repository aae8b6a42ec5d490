//! Checking a ledger's files from outside, without writing and without stopping whoever writes.

use super::append::Head;
use super::entry::{Kind, leaf};
use super::flaw::VerifyError;
use super::keys::{DeltaKeys, SegmentKeys};
use super::layer::Layer;
use super::recovery::{load, segments};
use super::segment::{Header, segment_name};
use super::snapshot_check::{SnapshotSeen, Snapshots};
use super::tree::Tree;
use super::walk::{Batch, Step, Walker};
use crate::base::{LedgerId, Timestamp};
use crate::crypto::Digest;

/// What was found in files that check out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// Which ledger it is; `None` when there is not a single segment.
    pub ledger: Option<LedgerId>,
    /// How many entries there are.
    pub entries: u64,
    /// The newest of them.
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
    /// How the last segment ends.
    pub end: End,
}

/// An event that was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventSeen {
    /// Its entry.
    pub seq: u64,
    /// What sort of thing happened.
    pub kind: Kind,
    /// What happened, JSON.
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
    /// The root at `size`, which was asked for; `None` when there are fewer entries.
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        self.roots_at.iter().find(|(at, _)| *at == size).map(|(_, root)| *root)
    }
}

/// What is to be told of a ledger besides whether it checks out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sought<'a> {
    /// The roots as they were when there were so many entries: what checkpoints and anchors speak of.
    pub roots_at: &'a [u64],
    /// The state changes of these kinds; there are none without keys. Not for kinds that hold secret values.
    pub states_of: &'a [Kind],
    /// The events of these kinds.
    pub events_of: &'a [Kind],
}

/// How a ledger ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Closed in good order: no entry can be missing at the end.
    Closed,
    /// Not closed: the broker runs, or was stopped at once.
    Open,
    /// With a group commit that is not whole: the broker is writing it, or was stopped while it was.
    Unfinished,
}

/// Checks the ledger in `layer`: every checksum, sequence and time, and with `keys` every seal too.
/// Without keys, bytes that were altered together with their checksum pass; compare the root hash.
///
/// # Errors
/// [`VerifyError::Damaged`] names the first entry that is not there as it was written.
pub fn verify(
    layer: &dyn Layer,
    ledger: Option<LedgerId>,
    keys: Option<&DeltaKeys>,
    sought: Sought<'_>,
) -> Result<Verified, VerifyError> {
    let looked_at = Snapshots::list(layer)?;
    let firsts = segments(layer)?;
    let mut check = Check {
        keys,
        ledger,
        tree: Tree::new(),
        head: Head { seq: 0, time: Timestamp::from_ms(0) },
        sought,
        generation: 0,
        roots_at: Vec::new(),
        states: Vec::new(),
        events: Vec::new(),
        snapshots: looked_at,
    };
    check.note_root();
    let mut end = End::Closed;
    for (at, &first_seq) in firsts.iter().enumerate() {
        match firsts.get(at.saturating_add(1)) {
            Some(&next) => check.settled(layer, first_seq, next)?,
            None => end = check.last_while_written(layer, first_seq)?,
        }
    }
    let (entries, root) = (check.tree.size(), check.tree.root());
    let ledger = if firsts.is_empty() { None } else { check.ledger };
    let Check { head, roots_at, states, events, snapshots, .. } = check;
    let snapshots = snapshots.look(layer, ledger, keys)?;
    Ok(Verified { ledger, entries, head, root, roots_at, states, events, snapshots, end })
}

#[derive(Clone)]
struct Check<'k> {
    keys: Option<&'k DeltaKeys>,
    ledger: Option<LedgerId>,
    tree: Tree,
    head: Head,
    sought: Sought<'k>,
    /// The delta key of the segment before.
    generation: u32,
    roots_at: Vec<(u64, Digest)>,
    states: Vec<StateSeen>,
    events: Vec<EventSeen>,
    snapshots: Snapshots,
}

impl Check<'_> {
    fn note_root(&mut self) {
        let size = self.tree.size();
        if self.sought.roots_at.contains(&size) {
            self.roots_at.push((size, self.tree.root()));
        }
    }

    fn enter(&mut self, header: &Header) -> Result<Option<SegmentKeys>, VerifyError> {
        if *self.ledger.get_or_insert(header.ledger) != header.ledger {
            let name = segment_name(header.first_seq);
            return Err(VerifyError::damaged(
                header.first_seq,
                &name,
                "the segment belongs to another ledger",
            ));
        }
        if header.sealing.generation < self.generation {
            let what = "it is sealed under an earlier delta key than the segment before it";
            return Err(VerifyError::damaged(header.first_seq, &segment_name(header.first_seq), what));
        }
        self.generation = header.sealing.generation;
        self.keys.map(|keys| SegmentKeys::new(keys, header)).transpose()
    }

    fn settled(&mut self, layer: &dyn Layer, first_seq: u64, next: u64) -> Result<(), VerifyError> {
        let (file, header) = load(layer, first_seq)?;
        let keys = self.enter(&header)?;
        let name = segment_name(first_seq);
        Walker::new(&file, &header, &name).walk_settled(next, |batch| self.take(&name, keys.as_ref(), &batch))
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
        let keys = self.enter(&header)?;
        let name = segment_name(first_seq);
        let mut walker = Walker::new(&file, &header, &name);
        let end = loop {
            match walker.step()? {
                Step::Batch(batch) => self.take(&name, keys.as_ref(), &batch)?,
                Step::Closed => return Ok(End::Closed),
                Step::End => break End::Open,
                Step::Torn(_) => break End::Unfinished,
            }
        };
        if (file.len() as u64) < header.bytes {
            let what = "the file is shorter than it was made";
            return Err(VerifyError::damaged(walker.next_seq(), &name, what));
        }
        Ok(end)
    }

    fn take(&mut self, name: &str, keys: Option<&SegmentKeys>, batch: &Batch<'_>) -> Result<(), VerifyError> {
        for frame in &batch.frames {
            let damaged = |what| VerifyError::damaged(frame.seq, name, what);
            let opened = keys.map(|keys| keys.open(frame).ok_or_else(|| damaged("its seal does not match")));
            let opened = opened.transpose()?;
            if frame.time < self.head.time && frame.kind != Kind::CLOCK_ADJUSTED {
                return Err(damaged("it is older than the entry before it"));
            }
            if let Some(opened) = opened.filter(|_| self.sought.states_of.contains(&frame.kind)) {
                let (before, delta) = (self.tree.root(), opened.delta().to_vec());
                self.states.push(StateSeen { seq: frame.seq, before, delta });
            }
            let leaf = leaf(frame.kind, &frame.salt, frame.event, frame.sealed);
            self.tree.append(&leaf);
            self.note_root();
            self.snapshots.note(frame.seq, &leaf);
            if self.sought.events_of.contains(&frame.kind) {
                self.events.push(EventSeen { seq: frame.seq, kind: frame.kind, event: frame.event.to_vec() });
            }
            self.head = Head { seq: frame.seq, time: frame.time };
        }
        Ok(())
    }
}
