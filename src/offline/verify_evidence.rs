use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::ledger_check::{VerifyOptions, config_of, look};
use crate::base::limits::EVIDENCE_BYTES_MAX;
use crate::base::{Timestamp, code};
use crate::cli::VerifyArgs;
use crate::console::{CommandFailure, Console};
use crate::evidence::{EvidenceError, VerifiedEvidence, VerifiedSubject, claimed_checkpoint, verify};
use crate::ledger::{CheckpointError, NoteVerifier};
use crate::wire::{VerifiedEvidenceOutput, VerifiedSubjectOutput};

/// Verifies the evidence bundle in the file `bundle` with the checkpoint key `key`, without a broker. If `args` name a ledger,
/// its announcements lead from this key to the one that signed the bundle, and the ledger must have the bundle's checkpoint.
///
/// # Errors
/// [`CommandFailure`] if it proves nothing.
pub(super) fn verify_evidence(
    bundle: &Path,
    key: &str,
    args: &VerifyArgs,
    console: &Console,
) -> Result<(), CommandFailure> {
    let trusted = NoteVerifier::parse(key)
        .map_err(|error| CommandFailure::new(code::CHECKPOINT_INVALID).because(error.to_string()))?;
    let bytes = read(bundle).map_err(|error| CommandFailure::of_file(bundle, &error))?;
    let keys = match config_of(args)? {
        None if args.data_dir.is_none() => vec![trusted],
        config => {
            let note = claimed_checkpoint(&bytes).map_err(|error| refused(bundle, &error))?;
            let options = VerifyOptions {
                config: config.as_ref(),
                data_dir: args.data_dir.as_deref(),
                checkpoint: Some(&note),
                key: Some(key),
                checked: None,
            };
            look(&options)?.checkpoint_keys(&trusted).into_iter().map(|term| term.key).collect()
        }
    };
    let verified = verified_by(&keys, &bytes).map_err(|error| refused(bundle, &error))?;
    report(&verified, console);
    Ok(())
}

/// What the bundle proves by the first of `keys` that signed it.
fn verified_by(keys: &[NoteVerifier], bytes: &[u8]) -> Result<VerifiedEvidence, EvidenceError> {
    let mut failed = None;
    for key in keys {
        match verify(bytes, key) {
            Ok(verified) => return Ok(verified),
            Err(error) if failed.as_ref().is_none_or(is_of_other_key) && !is_of_other_key(&error) => {
                failed = Some(error);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.unwrap_or(EvidenceError::Range))
}

const fn is_of_other_key(error: &EvidenceError) -> bool {
    matches!(error, EvidenceError::Signature { error: CheckpointError::OtherKey { .. }, .. })
}

fn refused(bundle: &Path, error: &EvidenceError) -> CommandFailure {
    let code = if is_of_other_key(error) { code::CHECKPOINT_KEY_DIFFERS } else { code::EVIDENCE_INVALID };
    CommandFailure::new(code).because(format!("`{}`: {error}", bundle.display()))
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
    let VerifiedEvidence { scope, entries, related, is_complete, subjects, signatures, checkpoint } =
        verified;
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
        signatures: count(signatures.verified),
        signatures_without_key: count(signatures.without_key),
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
    if signatures.verified > 0 {
        console.line(&format!("verified approvals by operators: {}", signatures.verified));
    }
    if signatures.without_key > 0 {
        console.line(&format!(
            "not verified: {} approvals by operators, because their entries are of a version that did not record the public key",
            signatures.without_key
        ));
    }
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
