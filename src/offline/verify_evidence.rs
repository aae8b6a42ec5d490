use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::base::limits::EVIDENCE_BYTES_MAX;
use crate::base::{Timestamp, code};
use crate::console::{CommandFailure, Console};
use crate::evidence::{VerifiedEvidence, VerifiedSubject, verify};
use crate::ledger::NoteVerifier;
use crate::wire::{VerifiedEvidenceOutput, VerifiedSubjectOutput};

/// Verifies the evidence bundle in the file `bundle` with the checkpoint key `key`, without a broker.
///
/// # Errors
/// [`CommandFailure`] if it proves nothing.
pub(super) fn verify_evidence(bundle: &Path, key: &str, console: &Console) -> Result<(), CommandFailure> {
    let key = NoteVerifier::parse(key).map_err(|error| {
        let failure = CommandFailure::new(code::CHECKPOINT_INVALID).because(error.to_string());
        if Path::new(key).is_file() {
            return failure.mended_by("give the content of the file: `--key \"$(cat FILE)\"`");
        }
        failure
    })?;
    let bytes = read(bundle).map_err(|error| CommandFailure::of_file(bundle, &error))?;
    let verified = verify(&bytes, &key).map_err(|error| {
        CommandFailure::new(code::EVIDENCE_INVALID).because(format!("`{}`: {error}", bundle.display()))
    })?;
    report(&verified, console);
    Ok(())
}

/// The file, up to one byte more than a bundle may have.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(EVIDENCE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn report(verified: &VerifiedEvidence, console: &Console) {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let VerifiedEvidence { scope, entries, related, is_complete, subjects, checkpoint } = verified;
    let subjects: Vec<VerifiedSubjectOutput> = subjects.iter().map(subject_output).collect();
    let output = VerifiedEvidenceOutput {
        kind: scope.subject.kind.clone(),
        name: scope.subject.name.clone(),
        since: Timestamp::from_ms(scope.since_ms).to_string(),
        until: scope.until_ms.map(|until_ms| Timestamp::from_ms(until_ms).to_string()),
        through: scope.through,
        entries: count(*entries),
        related: count(*related),
        complete: *is_complete,
        subjects,
        ledger: checkpoint.origin.clone(),
        checkpoint: checkpoint.size,
    };
    if console.is_json() {
        console.json(&output);
        return;
    }
    let VerifiedEvidenceOutput {
        kind,
        name,
        since,
        until,
        through,
        entries,
        related,
        ledger,
        checkpoint,
        subjects,
        ..
    } = output;
    let since = if scope.since_ms == 0 { "the beginning of the ledger".to_owned() } else { since };
    let end = until.unwrap_or_else(|| format!("entry {through}"));
    console.line(&format!(
        "ok: {entries} entries about {kind} {name} from {since} to {end}, and {related} related ones, are in the ledger {ledger} of {checkpoint} entries"
    ));
    for VerifiedSubjectOutput { kind, name, complete } in &subjects {
        let proved = if *complete { "complete" } else { "not proved to be complete" };
        console.line(&format!("entries about {kind} {name}: {proved}"));
    }
    if !subjects.is_empty() {
        return;
    }
    if *is_complete {
        console.line(&format!("complete: no entry about {kind} {name} in this range is missing"));
    } else {
        console.line("not proved: whether entries of this range are missing, because entries link agents and operators only");
    }
}

fn subject_output(VerifiedSubject { subject, is_complete }: &VerifiedSubject) -> VerifiedSubjectOutput {
    let (kind, name) = (subject.kind.clone(), subject.name.clone());
    VerifiedSubjectOutput { kind, name, complete: *is_complete }
}
