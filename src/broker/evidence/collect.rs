use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits::{EVIDENCE_BYTES_MAX, EVIDENCE_ENTRIES_MAX, EVIDENCE_RELATED_ENTRIES_READ_MAX};
use crate::base::{Cancellation, IncidentId, Network, OperatorName, Timestamp, code};
use crate::broker::administration::entry_reads::TermSearch;
use crate::broker::administration::entry_terms::{EntryTerm, source_term, terms_of};
use crate::broker::administration::kept_entries::is_kept_from;
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::evidence::{EntryPlace, key_entry_of};
use crate::ledger::{DisclosedEntry, Entry, Key, Kind};
use crate::postings::TimeSpan;
use crate::registry::DeclarationsApplied;
use crate::rotation::{RotationBegun, RotationFailed, RotationFinished};
use crate::secrets::SecretRevealed;
use crate::store::{Event, Store};
use crate::wire::EntryField;

/// The entries that a bundle is to have.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The subjects of their links.
    pub(super) links: Vec<Key>,
    /// The incident, if the bundle is made for one.
    pub(super) incident: Option<WantedIncident>,
    pub(super) since_ms: i64,
    pub(super) until_ms: Option<i64>,
    /// The entry that records the bundle, the last one about the subject.
    pub(super) recorded: u64,
    /// The operator that makes the bundle, if it may not see steps of incidents about itself.
    pub(super) kept_from: Option<OperatorName>,
}

/// What the bundle of an incident has beside the entries that its subjects link.
#[derive(Clone, Debug)]
pub(super) struct WantedIncident {
    pub(super) id: IncidentId,
    /// The first entry of the record.
    pub(super) opened: u64,
    /// The entries of the steps that the record has.
    pub(super) steps: BTreeSet<u64>,
    /// Fields and texts by which the entries about other subjects are found.
    pub(super) terms: Vec<EntryTerm>,
    /// Networks; the sources of entries are compared with them.
    pub(super) networks: Vec<Network>,
}

/// Entries for a bundle, rising.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) entries: Vec<CollectedEntry>,
    /// The last entry about the subject.
    pub(super) through: u64,
    /// The entry before which entries without a link were not searched, if there is one.
    pub(super) searched_from: Option<u64>,
}

#[derive(Debug)]
pub(super) struct CollectedEntry {
    pub(super) entry: DisclosedEntry,
    pub(super) place: EntryPlace,
}

/// The kinds of entries about a rotation.
const ROTATION: [Kind; 3] = [RotationBegun::KIND, RotationFinished::KIND, RotationFailed::KIND];
/// Their names.
const ROTATION_NAMES: [&str; 3] = [RotationBegun::NAME, RotationFinished::NAME, RotationFailed::NAME];

/// The entries of the range that concern the subject, those beside it, and the rotations of secrets that the subject
/// read.
///
/// # Errors
/// [`Failure`] if there are too many, one of them is kept from the operator, or the ledger is damaged.
pub(super) fn collect(
    store: &Store<World>,
    wanted: &Wanted,
    work: &Cancellation,
) -> Result<Collected, Failure> {
    let mut size = BundleSize::default();
    let mut entries: BTreeMap<u64, CollectedEntry> = BTreeMap::new();
    for link in &wanted.links {
        for one in of_subject(store, wanted, link, &mut size, work)? {
            let is_bound = one.place != EntryPlace::Subject;
            // An entry that bounds the range of one subject can be in the range of none.
            if !is_bound || !entries.contains_key(&one.entry.seq) {
                entries.insert(one.entry.seq, one);
            }
        }
    }
    if let Some(incident) = &wanted.incident {
        steps(store, wanted, incident, &mut entries, &mut size)?;
    }
    let last = entries.keys().next_back().copied().unwrap_or(wanted.recorded);
    let through = if wanted.incident.is_some() { wanted.recorded } else { last };
    let first = first_of_range(&entries, wanted).unwrap_or(through);
    let mut secrets = secrets_read(entries.values());
    let terms = wanted.incident.iter().flat_map(|incident| &incident.terms);
    secrets.extend(terms.filter(|(field, _)| *field == EntryField::SecretName).map(|(_, name)| name.clone()));
    let mut searched_from = first;
    if !secrets.is_empty() || wanted.incident.is_some() {
        let related = Related { secrets, from: first, through, wanted };
        searched_from = related.read(store, &mut entries, &mut size, work)?;
    }
    accepted_keys(store, &mut entries, &mut size)?;
    if let Some(operator) = &wanted.kept_from {
        check_not_kept(store, entries.values(), operator)?;
    }
    let entries = entries.into_values().collect();
    Ok(Collected { entries, through, searched_from: (searched_from > first).then_some(searched_from) })
}

/// Adds the entries that accepted the approval keys of the signatures in `entries`.
fn accepted_keys(
    store: &Store<World>,
    entries: &mut BTreeMap<u64, CollectedEntry>,
    size: &mut BundleSize,
) -> Result<(), Failure> {
    let named = entries.values().filter_map(|one| key_entry_of(one.entry.kind.0, &one.entry.event));
    let missing: BTreeSet<u64> = named.filter(|seq| !entries.contains_key(seq)).collect();
    for seq in missing {
        let entry = store.entries(seq, 1)?.into_iter().next().filter(|entry| entry.seq == seq);
        let entry = entry.ok_or(Failure::new(code::INTERNAL))?;
        size.add(entry.event.len())?;
        let entry = DisclosedEntry::from(&entry);
        entries.insert(seq, CollectedEntry { entry, place: EntryPlace::Related });
    }
    Ok(())
}

/// Refuses a bundle with an entry that is kept from `operator`: a bundle cannot leave it out.
fn check_not_kept<'a>(
    store: &Store<World>,
    mut entries: impl Iterator<Item = &'a CollectedEntry>,
    operator: &OperatorName,
) -> Result<(), Failure> {
    let is_kept = |CollectedEntry { entry, .. }: &CollectedEntry| {
        let event = serde_json::from_slice(&entry.event).unwrap_or_default();
        store.read(|world, _| is_kept_from(world, operator, entry.cause.incident, &event))
    };
    if entries.any(is_kept) { Err(Failure::new(code::EVIDENCE_ABOUT_ONESELF)) } else { Ok(()) }
}

/// The steps of an incident by their entries, also those from before the search.
fn steps(
    store: &Store<World>,
    wanted: &Wanted,
    incident: &WantedIncident,
    entries: &mut BTreeMap<u64, CollectedEntry>,
    size: &mut BundleSize,
) -> Result<(), Failure> {
    for seq in incident.steps.iter().filter(|seq| **seq > 0) {
        let entry = store.entries(*seq, 1)?.into_iter().next().filter(|entry| entry.seq == *seq);
        let entry = entry.filter(|entry| entry.time.ms() >= wanted.since_ms && !entries.contains_key(seq));
        if let Some(entry) = entry {
            size.add(entry.event.len())?;
            let collected =
                CollectedEntry { entry: DisclosedEntry::from(&entry), place: EntryPlace::Subject };
            entries.insert(*seq, collected);
        }
    }
    Ok(())
}

/// Where the search for entries without a link begins: other subjects of an incident may have entries from the first one
/// on.
fn first_of_range(entries: &BTreeMap<u64, CollectedEntry>, wanted: &Wanted) -> Option<u64> {
    let linked = entries.keys().next().copied();
    let Some(incident) = &wanted.incident else { return linked };
    if incident.terms.is_empty() && incident.networks.is_empty() {
        return linked.map(|linked| linked.min(incident.opened));
    }
    Some(1)
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
    link: &Key,
    size: &mut BundleSize,
    work: &Cancellation,
) -> Result<Vec<CollectedEntry>, Failure> {
    let (mut found, mut next, mut after) = (Vec::new(), wanted.recorded, None);
    while next > 0 {
        work.step()?;
        let entry = store.entries(next, 1)?.into_iter().next().filter(|entry| entry.seq == next);
        let entry = entry.ok_or(Failure::new(code::INTERNAL))?;
        let previous = previous(&entry, link).filter(|previous| *previous < next);
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
fn secrets_read<'a>(entries: impl Iterator<Item = &'a CollectedEntry>) -> BTreeSet<String> {
    let read = entries.filter(|one| one.entry.kind == SecretRevealed::KIND);
    read.filter_map(|one| secret_of(&one.entry.event)).collect()
}

fn secret_of(event: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(event).ok()?;
    event.get("secret")?.as_str().map(str::to_owned)
}

/// Where entries without a link of the subjects are looked for: about rotations of secrets and, for an incident, about its
/// other subjects and declarations.
struct Related<'w> {
    secrets: BTreeSet<String>,
    from: u64,
    through: u64,
    wanted: &'w Wanted,
}

impl Related<'_> {
    /// Adds them to `found`; the entry from which on the range was searched.
    fn read(
        &self,
        store: &Store<World>,
        found: &mut BTreeMap<u64, CollectedEntry>,
        size: &mut BundleSize,
        work: &Cancellation,
    ) -> Result<u64, Failure> {
        let since = self.wanted.incident.as_ref().map(|_| Timestamp::from_ms(self.wanted.since_ms));
        let search = TermSearch {
            store,
            any: self.terms(),
            from: self.from,
            through: self.through,
            times: TimeSpan { since, until: None },
            most: EVIDENCE_RELATED_ENTRIES_READ_MAX,
        };
        search.run(work, |entries| {
            for entry in entries {
                let place = self.place_of(entry).filter(|_| !found.contains_key(&entry.seq));
                if let Some(place) = place {
                    size.add(entry.event.len())?;
                    let entry = DisclosedEntry::from(entry);
                    found.insert(entry.seq, CollectedEntry { entry, place });
                }
            }
            Ok(())
        })
    }

    /// The terms by which the search index finds them.
    fn terms(&self) -> Vec<Vec<Vec<EntryTerm>>> {
        let kind = |name: &&str| (EntryField::Kind, (*name).to_owned());
        let secret = |name: &String| (EntryField::SecretName, name.clone());
        let rotations =
            vec![ROTATION_NAMES.iter().map(kind).collect(), self.secrets.iter().map(secret).collect()];
        let Some(incident) = &self.wanted.incident else { return vec![rotations] };
        let mut any = vec![(EntryField::Incident, incident.id.to_string()), kind(&DeclarationsApplied::NAME)];
        any.extend(incident.terms.iter().cloned().chain(incident.networks.iter().filter_map(source_term)));
        vec![rotations, vec![any]]
    }

    /// Why the entry is in the bundle, if it is. In a bundle of an incident, an entry of the range is never linked by one
    /// of its subjects here: those are in the bundle already.
    fn place_of(&self, entry: &Entry) -> Option<EntryPlace> {
        let is_rotation = ROTATION.contains(&entry.kind)
            && secret_of(&entry.event).is_some_and(|secret| self.secrets.contains(&secret));
        let related = is_rotation.then_some(EntryPlace::Related);
        let Some(incident) = &self.wanted.incident else { return related };
        let is_in_range = entry.time.ms() >= self.wanted.since_ms || entry.seq == self.wanted.recorded;
        if is_in_range && (entry.cause.incident == Some(incident.id) || incident.names(entry)) {
            return Some(EntryPlace::Subject);
        }
        let is_declared = entry.kind == DeclarationsApplied::KIND && is_in_range;
        related.filter(|_| is_in_range).or(is_declared.then_some(EntryPlace::Related))
    }
}

impl WantedIncident {
    fn names(&self, entry: &Entry) -> bool {
        if self.terms.is_empty() && self.networks.is_empty() {
            return false;
        }
        let is_within = |text: &str| {
            text.parse().is_ok_and(|source| self.networks.iter().any(|network| network.contains(source)))
        };
        let is_wanted = |term: &EntryTerm| {
            self.terms.contains(term) || (term.0 == EntryField::Source && is_within(&term.1))
        };
        terms_of(entry).iter().any(is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approvals::ApprovalApproved;
    use crate::evidence::{
        APPROVAL_APPROVED, APPROVAL_KEY_ACCEPTED, APPROVAL_KEYS_REMOVED, DECLARATIONS_APPLIED,
        SENSITIVITY_LOWERED,
    };
    use crate::operators::{ApprovalKeyAccepted, ApprovalKeysRemoved};
    use crate::secrets::SensitivityLowered;

    #[test]
    fn kinds_of_signed_entries_are_those_of_their_events() {
        let signed = [
            DECLARATIONS_APPLIED,
            APPROVAL_KEY_ACCEPTED,
            APPROVAL_KEYS_REMOVED,
            SENSITIVITY_LOWERED,
            APPROVAL_APPROVED,
        ];
        let events = [
            DeclarationsApplied::KIND,
            ApprovalKeyAccepted::KIND,
            ApprovalKeysRemoved::KIND,
            SensitivityLowered::KIND,
            ApprovalApproved::KIND,
        ];
        assert_eq!(signed.map(Kind), events);
    }

    #[test]
    fn a_bundle_has_no_more_entries_than_it_may() {
        let mut size = BundleSize { entries: EVIDENCE_ENTRIES_MAX - 1, bytes: 0 };
        assert!(size.add(100).is_ok());
        assert_eq!(size.add(100).unwrap_err().code, code::EVIDENCE_TOO_LARGE);
        let mut size = BundleSize { entries: 0, bytes: EVIDENCE_BYTES_MAX - BundleSize::FIXED - 300 };
        assert!(size.add(100).is_ok());
        assert_eq!(size.add(0).unwrap_err().code, code::EVIDENCE_TOO_LARGE);
    }
}
