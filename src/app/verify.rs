use std::path::Path;

use serde_json::json;

use super::assemble::{broken, keyring_failure, notary, open_keyring};
use crate::base::code;
use crate::cli::{Console, Failure};
use crate::config::Config;
use crate::ledger::{
    Checkpoint, CheckpointError, DeltaKeys, End, HostLayer, NoteVerifier, Verified, VerifyError,
    verify as verify_ledger,
};
use crate::store::delta_keys;

/// What `verify` is to look at.
pub(super) struct Wanted<'a> {
    pub(super) config: Option<&'a Config>,
    pub(super) data_dir: Option<&'a Path>,
    /// A signed checkpoint from earlier.
    pub(super) checkpoint: Option<&'a Path>,
    /// Its verifier key, when the configuration does not name the keyring.
    pub(super) key: Option<&'a str>,
}

/// Checks the ledger below a data directory without the broker, and without writing anything.
pub(super) fn verify(wanted: &Wanted<'_>, console: &Console) -> Result<(), Failure> {
    let (dir, ledger, keys, verifier) = match (wanted.config, wanted.data_dir) {
        (Some(config), _) => {
            let keyring = open_keyring(config)?;
            let keys: DeltaKeys = delta_keys(&keyring).map_err(|error| keyring_failure(&error))?;
            let verifier = notary(config, &keyring)?.verifier().clone();
            (config.data_dir.as_path(), Some(keyring.ledger()), Some(keys), Some(verifier))
        }
        (None, Some(dir)) => (dir, None, None, None),
        (None, None) => {
            return Err(Failure::usage("nothing says which ledger", "name --config or --data-dir"));
        }
    };
    let checkpoint = checkpoint(wanted, verifier)?;
    let layer = HostLayer::existing(&dir.join("ledger"));
    let verified =
        verify_ledger(&layer, ledger, keys.as_ref(), checkpoint.as_ref().map_or(0, |one| one.size))
            .map_err(|error| refused(&error))?;
    let end = match verified.end {
        End::Closed => "closed",
        End::Open => "open",
        End::Unfinished => "unfinished",
    };
    if verified.entries == 0 {
        let why = format!("there is no ledger entry below `{}`", dir.display());
        return Err(Failure::new(code::LEDGER_EMPTY).because(why));
    }
    if let Some(checkpoint) = &checkpoint {
        compare(checkpoint, &verified)?;
    }
    let (entries, head, root) = (verified.entries, verified.head, verified.root.hex());
    if console.is_json() {
        console.json(&json!({
            "ledger": verified.ledger, "entries": entries, "head": head.seq,
            "head_time": head.time.to_string(), "root": root, "end": end, "opened": keys.is_some(),
            "checkpoint": checkpoint.as_ref().map(|one| one.size),
        }));
        return Ok(());
    }
    console.line(&format!("ok: {entries} entries, the last at {}, root {root}", head.time));
    if let Some(checkpoint) = &checkpoint {
        console.line(&format!("extends the checkpoint of {} entries", checkpoint.size));
    }
    if keys.is_none() {
        console.say(
            "state changes stayed closed: without the root key only checksums and sequence were checked",
        );
    }
    Ok(())
}

/// The checkpoint to compare with, opened with the ledger's own key or the one that was named.
fn checkpoint(wanted: &Wanted<'_>, own: Option<NoteVerifier>) -> Result<Option<Checkpoint>, Failure> {
    let Some(path) = wanted.checkpoint else { return Ok(None) };
    let unverified =
        |error: CheckpointError| Failure::new(code::CHECKPOINT_REFUSED).because(error.to_string());
    let verifier = match (wanted.key.map(NoteVerifier::parse).transpose().map_err(unverified)?, own) {
        (Some(named), _) => named,
        (None, Some(own)) => own,
        (None, None) => return Err(Failure::usage("nothing says whose checkpoint it is", "name its --key")),
    };
    let note = std::fs::read_to_string(path).map_err(|error| {
        let why = format!("`{}` cannot be read: {}", path.display(), error.kind());
        Failure::new(code::FILE_UNUSABLE).because(why)
    })?;
    verifier.open(&note).map(Some).map_err(unverified)
}

/// Whether the ledger still begins with what the checkpoint was signed over.
fn compare(checkpoint: &Checkpoint, verified: &Verified) -> Result<(), Failure> {
    match verified.root_at {
        Some(root) if root == checkpoint.root => Ok(()),
        Some(_) => {
            let why = format!(
                "the first {} entries are not those that the checkpoint was signed over",
                checkpoint.size
            );
            Err(Failure::new(code::LEDGER_FORKED).because(why))
        }
        None => {
            let why = format!(
                "the checkpoint knows {} entries, and only {} are left",
                checkpoint.size, verified.entries
            );
            Err(Failure::new(code::LEDGER_CUT).because(why))
        }
    }
}

fn refused(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Damaged { .. } | VerifyError::KeyMissing { .. } => {
            Failure::new(code::LEDGER_DAMAGED).because(error.to_string())
        }
        VerifyError::Io { .. } => broken(error),
    }
}
