use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::archive::{ArchiveError, Files, unpack};
use super::events::EvidenceExported;
use super::manifest::{CHECKPOINT, ENTRIES, MANIFEST, SCOPE, TAKEOVERS, Takeover, hash_of, hashes};
use super::record::{EntryPlace, EvidenceRecord};
use super::scope::{EvidenceScope, EvidenceSubject};
use super::votes::{Signatures, signatures};
use crate::ledger::{Checkpoint, CheckpointError, Key, NoteVerifier, root_by_inclusion};
use crate::store::Event;

/// What a bundle proves.
#[derive(Debug)]
pub struct VerifiedEvidence {
    /// What it is about.
    pub scope: EvidenceScope,
    /// The number of entries of the subject in the range; each is in the ledger as it stands in the bundle.
    pub entries: usize,
    /// The number of other entries with a proof.
    pub related: usize,
    /// Whether no entry of the range that concerns the subject is missing; for an incident, any of its subjects. Only entries
    /// of agents and operators prove it.
    pub is_complete: bool,
    /// The subjects of an incident.
    pub subjects: Vec<VerifiedSubject>,
    /// The signatures of operators: votes for requests, and approvals of plans and of lower sensitivities.
    pub signatures: Signatures,
    /// The state of the ledger that the proofs lead to.
    pub checkpoint: Checkpoint,
}

/// A subject of an incident.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedSubject {
    /// The subject.
    pub subject: EvidenceSubject,
    /// Whether no entry of the range that concerns it is missing.
    pub is_complete: bool,
}

/// The bundle proves nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file is missing, or does not have the form that it should have.
    #[error("the file `{0}` of the bundle is missing or malformed")]
    File(&'static str),
    /// The manifest or the checkpoint is not signed by the key, or by one that took over from it.
    #[error("`{file}` of the bundle: {error}")]
    Signature {
        /// The file.
        file: &'static str,
        /// Why.
        error: CheckpointError,
    },
    /// A file is not the one that the manifest was signed for.
    #[error("the manifest was signed for other files: `{0}` was changed, added or removed")]
    Manifest(String),
    /// An entry is not in the ledger in this form.
    #[error("entry {0} of the bundle is not in the ledger in this form")]
    Entry(u64),
    /// The entries are not in rising order, or one occurs twice.
    #[error("entry {0} of the bundle is not in its place")]
    Order(u64),
    /// An entry of the subject is missing.
    #[error("entry {missing} concerns the subject, and is missing in the bundle: entry {after} names it")]
    Missing {
        /// The missing entry.
        missing: u64,
        /// The later entry that links to it.
        after: u64,
    },
    /// The bundle has no entry about its subject.
    #[error("the bundle has no entry about its subject, and proves nothing")]
    Empty,
    /// The signature of an operator does not fit its entry.
    #[error(
        "entry {0} of the bundle has an approval that its key, its signature or its request does not fit"
    )]
    Signed(u64),
    /// The entry that ends the range, or the one before its beginning, does not bound it.
    #[error("the range of the bundle is not bounded by its entries")]
    Range,
}

/// The signed checkpoint in `bytes`, which is not verified.
///
/// # Errors
/// [`EvidenceError`].
pub fn claimed_checkpoint(bytes: &[u8]) -> Result<String, EvidenceError> {
    let files = unpack(bytes)?;
    text(&files, CHECKPOINT).map(str::to_owned)
}

/// Checks `bytes` with the checkpoint key `trusted`, which must not come from the bundle.
///
/// # Errors
/// [`EvidenceError`].
pub fn verify(bytes: &[u8], trusted: &NoteVerifier) -> Result<VerifiedEvidence, EvidenceError> {
    let files = unpack(bytes)?;
    let takeovers: Vec<Takeover> = lines(&files, TAKEOVERS)?;
    let signer = signer(trusted, &takeovers);
    manifest(&files, &signer)?;
    let note = text(&files, CHECKPOINT)?;
    let checkpoint = signer.open(note);
    let checkpoint = checkpoint.map_err(|error| EvidenceError::Signature { file: CHECKPOINT, error })?;
    let scope: EvidenceScope =
        serde_json::from_slice(file(&files, SCOPE)?).map_err(|_| EvidenceError::File(SCOPE))?;
    let records: Vec<EvidenceRecord> = lines(&files, ENTRIES)?;
    included(&records, &checkpoint)?;
    let subject: Vec<&EvidenceRecord> =
        records.iter().filter(|record| record.place != EntryPlace::Related).collect();
    if subject.is_empty() {
        return Err(EvidenceError::Empty);
    }
    recorded(&scope, &subject)?;
    let subjects = of_incident(&scope, &subject)?;
    let is_complete = match scope.subject.link() {
        Some(link) => complete(&scope, &link, &subject).map(|()| true)?,
        None => !subjects.is_empty() && subjects.iter().all(|one| one.is_complete),
    };
    let signatures = signatures(&records).map_err(EvidenceError::Signed)?;
    let entries = records.iter().filter(|record| record.place == EntryPlace::Subject).count();
    let related = records.iter().filter(|record| record.place == EntryPlace::Related).count();
    Ok(VerifiedEvidence { scope, entries, related, is_complete, subjects, signatures, checkpoint })
}

fn file<'a>(files: &'a Files, name: &'static str) -> Result<&'a [u8], EvidenceError> {
    files.get(name).map(Vec::as_slice).ok_or(EvidenceError::File(name))
}

fn text<'a>(files: &'a Files, name: &'static str) -> Result<&'a str, EvidenceError> {
    std::str::from_utf8(file(files, name)?).map_err(|_| EvidenceError::File(name))
}

/// A value for each line.
fn lines<T: DeserializeOwned>(files: &Files, name: &'static str) -> Result<Vec<T>, EvidenceError> {
    let read = text(files, name)?.lines().map(|line| serde_json::from_str(line));
    read.collect::<Result<_, _>>().map_err(|_| EvidenceError::File(name))
}

/// The last key that took over from the trusted one, one after the other. A bundle with the signature of an earlier key is
/// refused. Announcements from before the trusted key lead nowhere.
fn signer(trusted: &NoteVerifier, takeovers: &[Takeover]) -> NoteVerifier {
    let mut current = trusted.clone();
    for takeover in takeovers {
        match trusted.takeover(&takeover.note) {
            Some((before, after)) if before == current => current = after,
            Some(_) | None => {}
        }
    }
    current
}

/// The manifest is signed, and is that of exactly these files.
fn manifest(files: &Files, signer: &NoteVerifier) -> Result<(), EvidenceError> {
    let signed = signer
        .manifest(text(files, MANIFEST)?)
        .map_err(|error| EvidenceError::Signature { file: MANIFEST, error })?;
    let (actual, signed) = (hashes(files), signed.lines().collect::<Vec<_>>());
    if actual == signed {
        return Ok(());
    }
    // One that is in one of them only, or is another file under its name.
    let is_other = |line: &&str| !signed.contains(line) || !actual.iter().any(|one| one == line);
    let other = actual.iter().map(String::as_str).chain(signed.iter().copied()).find(is_other);
    let name = other.map_or(MANIFEST, |line| hash_of(line).map_or(line, |(_, name)| name));
    Err(EvidenceError::Manifest(name.escape_default().to_string()))
}

/// Each entry is in the tree of the checkpoint, at its place.
fn included(records: &[EvidenceRecord], checkpoint: &Checkpoint) -> Result<(), EvidenceError> {
    let mut last = 0;
    for record in records {
        if record.seq <= last {
            return Err(EvidenceError::Order(record.seq));
        }
        last = record.seq;
        let (entry, path) = record.disclosed().ok_or(EvidenceError::Entry(record.seq))?;
        if root_by_inclusion(entry.node(), record.seq, checkpoint.size, &path) != Some(checkpoint.root) {
            return Err(EvidenceError::Entry(record.seq));
        }
    }
    Ok(())
}

/// Each entry of the subject links to the one before it in the bundle, from the entry that ends the range back to the one
/// before it.
fn complete(scope: &EvidenceScope, link: &Key, records: &[&EvidenceRecord]) -> Result<(), EvidenceError> {
    bounded(scope, records)?;
    let mut before: Option<&EvidenceRecord> = None;
    for record in records {
        let previous = record.previous(link).ok_or(EvidenceError::Range)?;
        let is_linked = match before {
            Some(before) => before.seq == previous,
            // The bundle begins here: with the first entry of all, or with one before the range.
            None => previous == 0 || record.place == EntryPlace::Before,
        };
        if !is_linked {
            return Err(EvidenceError::Missing { missing: previous, after: record.seq });
        }
        before = Some(record);
    }
    Ok(())
}

/// The parts of the entry that records a bundle.
#[derive(Deserialize)]
struct Recorded {
    subject: EvidenceSubject,
    #[serde(default)]
    subjects: Vec<EvidenceSubject>,
}

/// A range without an end ends with the entry that records the bundle, which names the same subjects: neither a subject
/// nor the end of the range can be left out.
fn recorded(scope: &EvidenceScope, records: &[&EvidenceRecord]) -> Result<(), EvidenceError> {
    if scope.until_ms.is_some() {
        return Ok(());
    }
    let last = records
        .last()
        .filter(|last| last.seq == scope.through && last.kind == <EvidenceExported<'_> as Event>::KIND.0);
    let event = last.and_then(|last| serde_json::from_str::<Recorded>(&last.event).ok());
    let is_same = |event: &Recorded| event.subject == scope.subject && event.subjects == scope.subjects;
    event.filter(is_same).map(|_| ()).ok_or(EvidenceError::Range)
}

/// The subjects of an incident, each with its own chain of links. The range of such a bundle ends with the entry that
/// records the bundle.
fn of_incident(
    scope: &EvidenceScope,
    records: &[&EvidenceRecord],
) -> Result<Vec<VerifiedSubject>, EvidenceError> {
    if scope.subjects.is_empty() {
        return Ok(Vec::new());
    }
    let is_in_range =
        |record: &EvidenceRecord| record.time_ms >= scope.since_ms || record.seq == scope.through;
    let fits = |record: &&EvidenceRecord| match record.place {
        EntryPlace::Subject => is_in_range(record),
        EntryPlace::Before => !is_in_range(record),
        EntryPlace::After | EntryPlace::Related => false,
    };
    let has_end = records.last().is_some_and(|last| last.seq == scope.through);
    if scope.until_ms.is_some() || scope.subject.link().is_some() || !has_end || !records.iter().all(fits) {
        return Err(EvidenceError::Range);
    }
    let by_seq: BTreeMap<u64, &EvidenceRecord> = records.iter().map(|record| (record.seq, *record)).collect();
    let verified = |subject: &EvidenceSubject| {
        let link = subject.link();
        link.as_ref().map(|link| linked(scope, link, &by_seq)).transpose()?;
        Ok(VerifiedSubject { subject: subject.clone(), is_complete: link.is_some() })
    };
    scope.subjects.iter().map(verified).collect()
}

/// The links of the subject lead from the last entry to the first one of all, or to one before the range.
fn linked(
    scope: &EvidenceScope,
    link: &Key,
    records: &BTreeMap<u64, &EvidenceRecord>,
) -> Result<(), EvidenceError> {
    let mut record = records.get(&scope.through).copied().ok_or(EvidenceError::Range)?;
    loop {
        let previous = record.previous(link).ok_or(EvidenceError::Range)?;
        if previous == 0 || record.place == EntryPlace::Before {
            return Ok(());
        }
        let missing = EvidenceError::Missing { missing: previous, after: record.seq };
        let before = records.get(&previous).filter(|_| previous < record.seq);
        record = before.copied().ok_or(missing)?;
    }
}

/// The range ends with its entry, or with the first one after it; only the first entry may be from before it.
fn bounded(scope: &EvidenceScope, records: &[&EvidenceRecord]) -> Result<(), EvidenceError> {
    let last = records.last().filter(|last| last.seq == scope.through).ok_or(EvidenceError::Range)?;
    let ends = match (scope.until_ms, last.place) {
        (None, EntryPlace::Subject) => true,
        (Some(until_ms), EntryPlace::After) => last.time_ms > until_ms,
        (None | Some(_), _) => false,
    };
    let (first, last) = (records.first().map(|first| first.seq), last.seq);
    let fits = |record: &&EvidenceRecord| match record.place {
        EntryPlace::Subject => true,
        EntryPlace::Before => Some(record.seq) == first && record.time_ms < scope.since_ms,
        EntryPlace::After => record.seq == last,
        EntryPlace::Related => false,
    };
    if ends && records.iter().all(fits) { Ok(()) } else { Err(EvidenceError::Range) }
}
