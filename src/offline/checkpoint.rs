//! The checkpoints that `keyward verify` compares a ledger with.

use std::path::Path;

use crate::base::{code, io_reason};
use crate::broker::checkpoint_key;
use crate::config::Config;
use crate::console::CommandFailure;
use crate::custody::CheckpointKeyRotated;
use crate::keyring::{Family, Keyring};
use crate::ledger::{Checkpoint, CheckpointError, CheckpointKeyTerm, EventSeen, NoteVerifier, Verified};
use crate::store::Event;

/// The oldest checkpoint key of the keyring: announcements lead from it to all newer ones.
pub(super) fn own_key(config: &Config, keyring: &Keyring) -> Result<Option<NoteVerifier>, CommandFailure> {
    let Some(oldest) = keyring.oldest_signing(Family::Checkpoint) else { return Ok(None) };
    let notary = checkpoint_key(keyring, oldest, &config.trust_domain);
    Ok(Some(notary?.verifier().clone()))
}

/// The text of the checkpoint, and the first trusted key: the one that `--key` names, or the keyring's.
pub(super) fn note<'a>(
    checkpoint: Option<&'a str>,
    key: Option<&str>,
    own: Option<NoteVerifier>,
) -> Result<Option<(&'a str, NoteVerifier)>, CommandFailure> {
    let Some(note) = checkpoint else { return Ok(None) };
    let verifier = match (key.map(NoteVerifier::parse).transpose().map_err(unverified)?, own) {
        (Some(named), _) => named,
        (None, Some(own)) => own,
        (None, None) => {
            return Err(CommandFailure::usage(
                "no key for the checkpoint is named",
                "add `--key KEY`, from `GET /v1/checkpoint/key`",
            ));
        }
    };
    Ok(Some((note, verifier)))
}

/// The text of the checkpoint in the file at `path`.
pub(super) fn read_note(path: &Path) -> Result<String, CommandFailure> {
    std::fs::read_to_string(path).map_err(|error| {
        let why = format!("`{}` cannot be read: {}", path.display(), io_reason(&error));
        CommandFailure::new(code::FILE_UNUSABLE).because(why)
    })
}

/// Checks that the trusted key signed `note`, or a key that the ledger announces under it, while that key was active.
pub(super) fn signed(
    note: &str,
    checkpoint: &Checkpoint,
    trusted: &NoteVerifier,
    verified: &Verified,
) -> Result<(), CommandFailure> {
    let mut refused = None;
    for term in CheckpointKeyTerm::of(trusted, &announcements(&verified.events)) {
        match (term.open(note), refused) {
            (Ok(_), _) => return Ok(()),
            // Each key but the signing one says that it is another one: the trusted key is tried first.
            (Err(error), None | Some(CheckpointError::OtherKey { .. }))
                if refused.is_none() || !matches!(error, CheckpointError::OtherKey { .. }) =>
            {
                refused = Some(error);
            }
            (Err(_), _) => {}
        }
    }
    let refused = refused.unwrap_or(CheckpointError::Signature);
    if !matches!(refused, CheckpointError::OtherKey { .. }) {
        return Err(unverified(refused));
    }
    let (claimed, entries) = (checkpoint.size, verified.entries());
    let cut = if claimed > entries {
        format!(
            "; the checkpoint has {claimed} entries, and the ledger only {entries}: the entry `checkpoint-key.rotated` may be \
             one of the missing ones"
        )
    } else {
        String::new()
    };
    Err(unverified(refused).because(format!("the checkpoint cannot be verified: {refused}{cut}")))
}

/// The announcements of checkpoint keys, with their entries.
pub(super) fn announcements(events: &[EventSeen]) -> Vec<(u64, String)> {
    let rotated = events.iter().filter(|seen| seen.kind == CheckpointKeyRotated::KIND);
    rotated.filter_map(|seen| Some((seen.seq, announcement(&seen.event)?))).collect()
}

fn announcement(event: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(event).ok()?;
    event.get("announcement")?.as_str().map(str::to_owned)
}

pub(super) fn unverified(error: CheckpointError) -> CommandFailure {
    let is_other_key = matches!(error, CheckpointError::OtherKey { .. });
    let code = if is_other_key { code::CHECKPOINT_KEY_DIFFERS } else { code::CHECKPOINT_INVALID };
    CommandFailure::new(code).because(format!("the checkpoint cannot be verified: {error}"))
}

/// Checks that the ledger begins with the entries of the checkpoint.
pub(super) fn compare(checkpoint: &Checkpoint, verified: &Verified) -> Result<(), CommandFailure> {
    match verified.root_at(checkpoint.size) {
        Some(root) if root == checkpoint.root => Ok(()),
        Some(_) => {
            let why = format!("the first {} entries differ from those of the checkpoint", checkpoint.size);
            Err(CommandFailure::new(code::LEDGER_FORKED).because(why))
        }
        None => {
            let why = format!(
                "the checkpoint has {} entries, and the ledger only {}",
                checkpoint.size,
                verified.entries()
            );
            Err(CommandFailure::new(code::LEDGER_CUT).because(why))
        }
    }
}
