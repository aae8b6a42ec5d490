use crate::base::limits::{EVIDENCE_ENTRIES_MAX, EVIDENCE_RELATED_ENTRIES_READ_MAX, PAGE_ENTRIES_MAX};
use crate::base::{Cancellation, code};
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::evidence::{EntryPlace, EvidenceScope};
use crate::ledger::{DisclosedEntry, Entry, Key, Kind};
use crate::registry::DeclarationsApplied;
use crate::rotation::{RotationBegun, RotationFailed, RotationFinished};
use crate::store::{Event, Store};

/// Entries for a bundle, rising.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) entries: Vec<CollectedEntry>,
    /// Whether the range was too long to look for all related entries.
    pub(super) is_related_cut: bool,
}

#[derive(Debug)]
pub(super) struct CollectedEntry {
    pub(super) entry: DisclosedEntry,
    pub(super) place: EntryPlace,
}

/// The kinds of entries about what a subject uses: declarations, and the rotations of secrets.
const RELATED: [Kind; 4] =
    [DeclarationsApplied::KIND, RotationBegun::KIND, RotationFinished::KIND, RotationFailed::KIND];

/// The entries of the range of `scope` that concern `link`, the one before, and related ones.
///
/// # Errors
/// [`Failure`] if there are too many, or the ledger is damaged.
pub(super) fn collect(
    store: &Store<World>,
    scope: &EvidenceScope,
    link: &Key,
    work: &Cancellation,
) -> Result<Collected, Failure> {
    let mut entries = of_subject(store, scope, link, work)?;
    let first = entries.first().map_or(scope.through, |one| one.entry.seq);
    let from = related_from(first, scope.through);
    let related = related(store, from, scope.through, link, work)?;
    entries.extend(related);
    entries.sort_by_key(|one| one.entry.seq);
    within(entries.len())?;
    Ok(Collected { entries, is_related_cut: from > first })
}

/// The first entry of a range that is looked at for related ones.
fn related_from(first: u64, through: u64) -> u64 {
    through.saturating_sub(EVIDENCE_RELATED_ENTRIES_READ_MAX).max(first)
}

fn within(count: usize) -> Result<(), Failure> {
    if count <= EVIDENCE_ENTRIES_MAX {
        return Ok(());
    }
    let why = format!("the range has more than {EVIDENCE_ENTRIES_MAX} entries");
    Err(Failure::new(code::EVIDENCE_TOO_LARGE).because(why))
}

/// From the last entry of the range back to its beginning, by the links of the entries.
fn of_subject(
    store: &Store<World>,
    scope: &EvidenceScope,
    link: &Key,
    work: &Cancellation,
) -> Result<Vec<CollectedEntry>, Failure> {
    let mut found = Vec::new();
    let mut next = scope.through;
    while next > 0 {
        work.step()?;
        let entry = store.entries(next, 1)?.into_iter().next().filter(|entry| entry.seq == next);
        let entry = entry.ok_or(Failure::new(code::INTERNAL))?;
        let previous =
            previous(&entry, link).filter(|previous| *previous < next).ok_or(Failure::new(code::INTERNAL))?;
        // The entry that records the bundle ends the range, also if that begins later.
        let is_before = entry.time.ms() < scope.since_ms && next != scope.through;
        let place = if is_before { EntryPlace::Before } else { EntryPlace::Subject };
        found.push(CollectedEntry { entry: DisclosedEntry::from(&entry), place });
        within(found.len())?;
        next = if is_before { 0 } else { previous };
    }
    found.reverse();
    Ok(found)
}

fn previous(entry: &Entry, link: &Key) -> Option<u64> {
    entry.chain.links.iter().find(|one| one.subject == *link).map(|one| one.previous)
}

fn related(
    store: &Store<World>,
    from: u64,
    through: u64,
    link: &Key,
    work: &Cancellation,
) -> Result<Vec<CollectedEntry>, Failure> {
    let (mut found, mut next) = (Vec::new(), from);
    while next <= through {
        work.step()?;
        let entries = store.entries(next, PAGE_ENTRIES_MAX)?;
        let Some(last) = entries.last().map(|entry| entry.seq) else { break };
        for entry in entries.iter().filter(|entry| entry.seq <= through && RELATED.contains(&entry.kind)) {
            if previous(entry, link).is_none() {
                found.push(CollectedEntry { entry: DisclosedEntry::from(entry), place: EntryPlace::Related });
            }
        }
        within(found.len())?;
        next = last.saturating_add(1);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_no_more_entries_than_it_may() {
        assert!(within(EVIDENCE_ENTRIES_MAX).is_ok());
        let refused = within(EVIDENCE_ENTRIES_MAX + 1).unwrap_err();
        assert_eq!(refused.code, code::EVIDENCE_TOO_LARGE);
    }

    #[test]
    fn related_entries_of_a_long_range_are_those_of_its_end() {
        let long = 3 * EVIDENCE_RELATED_ENTRIES_READ_MAX;
        assert_eq!(related_from(7, 7 + EVIDENCE_RELATED_ENTRIES_READ_MAX), 7);
        assert_eq!(related_from(7, long), 2 * EVIDENCE_RELATED_ENTRIES_READ_MAX);
    }
}
