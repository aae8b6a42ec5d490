use std::collections::BTreeSet;

use crate::base::limits::{
    EVIDENCE_BYTES_MAX, EVIDENCE_ENTRIES_MAX, EVIDENCE_RELATED_ENTRIES_READ_MAX, PAGE_ENTRIES_MAX,
};
use crate::base::{Cancellation, code};
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::evidence::EntryPlace;
use crate::ledger::{DisclosedEntry, Entry, Key, Kind};
use crate::rotation::{RotationBegun, RotationFailed, RotationFinished};
use crate::secrets::SecretRevealed;
use crate::store::{Event, Store};

/// The entries that a bundle is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The subject of their links.
    pub(super) link: Key,
    pub(super) since_ms: i64,
    pub(super) until_ms: Option<i64>,
    /// The entry that records the bundle, the last one about the subject.
    pub(super) recorded: u64,
}

/// Entries for a bundle, rising.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) entries: Vec<CollectedEntry>,
    /// The last entry about the subject.
    pub(super) through: u64,
    /// Whether the range was too long to look for all related entries.
    pub(super) is_related_cut: bool,
}

#[derive(Debug)]
pub(super) struct CollectedEntry {
    pub(super) entry: DisclosedEntry,
    pub(super) place: EntryPlace,
}

/// The kinds of entries about a rotation.
const ROTATION: [Kind; 3] = [RotationBegun::KIND, RotationFinished::KIND, RotationFailed::KIND];

/// The entries of the range that concern the subject, those beside it, and the rotations of secrets that the subject
/// read.
///
/// # Errors
/// [`Failure`] if there are too many, or the ledger is damaged.
pub(super) fn collect(
    store: &Store<World>,
    wanted: &Wanted,
    work: &Cancellation,
) -> Result<Collected, Failure> {
    let mut size = BundleSize::default();
    let mut entries = of_subject(store, wanted, &mut size, work)?;
    let through = entries.last().map_or(wanted.recorded, |last| last.entry.seq);
    let first = entries.first().map_or(through, |one| one.entry.seq);
    let from = related_from(first, through);
    let secrets = secrets_read(&entries);
    if !secrets.is_empty() {
        let related = Related { secrets, from, through };
        entries.extend(related.read(store, &wanted.link, &mut size, work)?);
        entries.sort_by_key(|one| one.entry.seq);
    }
    Ok(Collected { entries, through, is_related_cut: from > first })
}

/// The first entry of a range that is looked at for related ones.
fn related_from(first: u64, through: u64) -> u64 {
    through.saturating_sub(EVIDENCE_RELATED_ENTRIES_READ_MAX).max(first)
}

/// The expected size of a bundle.
#[derive(Debug, Default)]
struct BundleSize {
    entries: usize,
    bytes: usize,
}

impl BundleSize {
    /// Bytes of an entry beside its event: the proof, links, hashes and the markup of a row.
    const FIXED: usize = 2600;

    /// Adds an entry whose event has so many bytes. An event is in the entries, escaped, and on the page.
    fn add(&mut self, event: usize) -> Result<(), Failure> {
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(event.saturating_mul(3)).saturating_add(Self::FIXED);
        if self.entries <= EVIDENCE_ENTRIES_MAX && self.bytes <= EVIDENCE_BYTES_MAX {
            return Ok(());
        }
        let why = format!("the range has more than {} entries, or events of too many bytes", self.entries);
        Err(Failure::new(code::EVIDENCE_TOO_LARGE).because(why))
    }
}

/// From the entry that records the bundle back to the beginning of the range, by the links of the entries.
fn of_subject(
    store: &Store<World>,
    wanted: &Wanted,
    size: &mut BundleSize,
    work: &Cancellation,
) -> Result<Vec<CollectedEntry>, Failure> {
    let (mut found, mut next, mut after) = (Vec::new(), wanted.recorded, None);
    while next > 0 {
        work.step()?;
        let entry = store.entries(next, 1)?.into_iter().next().filter(|entry| entry.seq == next);
        let entry = entry.ok_or(Failure::new(code::INTERNAL))?;
        let previous = previous(&entry, &wanted.link).filter(|previous| *previous < next);
        let previous = previous.ok_or(Failure::new(code::INTERNAL))?;
        next = previous;
        if wanted.until_ms.is_some_and(|until_ms| entry.time.ms() > until_ms) {
            after = Some(entry);
            continue;
        }
        // The entry that records the bundle is in the range, also if that begins later.
        let is_before = entry.time.ms() < wanted.since_ms && entry.seq != wanted.recorded;
        if let Some(after) = after.take() {
            size.add(after.event.len())?;
            found.push(CollectedEntry { entry: DisclosedEntry::from(&after), place: EntryPlace::After });
        }
        let place = if is_before { EntryPlace::Before } else { EntryPlace::Subject };
        size.add(entry.event.len())?;
        found.push(CollectedEntry { entry: DisclosedEntry::from(&entry), place });
        if is_before {
            break;
        }
    }
    if let Some(after) = after {
        found.push(CollectedEntry { entry: DisclosedEntry::from(&after), place: EntryPlace::After });
    }
    found.reverse();
    Ok(found)
}

fn previous(entry: &Entry, link: &Key) -> Option<u64> {
    entry.chain.links.iter().find(|one| one.subject == *link).map(|one| one.previous)
}

/// The secrets whose values left the broker in these entries.
fn secrets_read(entries: &[CollectedEntry]) -> BTreeSet<String> {
    let read = entries.iter().filter(|one| one.entry.kind == SecretRevealed::KIND);
    read.filter_map(|one| secret_of(&one.entry.event)).collect()
}

fn secret_of(event: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(event).ok()?;
    event.get("secret")?.as_str().map(str::to_owned)
}

/// Where entries about the rotations of secrets are looked for.
struct Related {
    secrets: BTreeSet<String>,
    from: u64,
    through: u64,
}

impl Related {
    fn read(
        &self,
        store: &Store<World>,
        link: &Key,
        size: &mut BundleSize,
        work: &Cancellation,
    ) -> Result<Vec<CollectedEntry>, Failure> {
        let (mut found, mut next) = (Vec::new(), self.from);
        while next <= self.through {
            work.step()?;
            let entries = store.entries(next, PAGE_ENTRIES_MAX)?;
            let Some(last) = entries.last().map(|entry| entry.seq) else { break };
            for entry in entries.iter().filter(|entry| self.has(entry, link)) {
                size.add(entry.event.len())?;
                found.push(CollectedEntry { entry: DisclosedEntry::from(entry), place: EntryPlace::Related });
            }
            next = last.saturating_add(1);
        }
        Ok(found)
    }

    fn has(&self, entry: &Entry, link: &Key) -> bool {
        entry.seq <= self.through
            && ROTATION.contains(&entry.kind)
            && previous(entry, link).is_none()
            && secret_of(&entry.event).is_some_and(|secret| self.secrets.contains(&secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_no_more_entries_than_it_may() {
        let mut size = BundleSize { entries: EVIDENCE_ENTRIES_MAX - 1, bytes: 0 };
        assert!(size.add(100).is_ok());
        assert_eq!(size.add(100).unwrap_err().code, code::EVIDENCE_TOO_LARGE);
        let mut size = BundleSize { entries: 0, bytes: EVIDENCE_BYTES_MAX - BundleSize::FIXED - 300 };
        assert!(size.add(100).is_ok());
        assert_eq!(size.add(0).unwrap_err().code, code::EVIDENCE_TOO_LARGE);
    }

    #[test]
    fn related_entries_of_a_long_range_are_those_of_its_end() {
        let long = 3 * EVIDENCE_RELATED_ENTRIES_READ_MAX;
        assert_eq!(related_from(7, 7 + EVIDENCE_RELATED_ENTRIES_READ_MAX), 7);
        assert_eq!(related_from(7, long), 2 * EVIDENCE_RELATED_ENTRIES_READ_MAX);
    }
}
