use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::configuration::config_opened_by;
use super::verify_evidence::verify_evidence;
use crate::app::failures::start_failed;
use crate::app::open_keyring::open_keyring;
use crate::base::{code, io_reason};
use crate::broker::{World, checkpoint_key};
use crate::cli::VerifyArgs;
use crate::config::{Config, RootKey};
use crate::console::{CommandFailure, Console};
use crate::custody::{CheckpointKeyRotated, SealingKeysRotated, SlotsChanged};
use crate::keyring::{Family, Keyring};
use crate::ledger::{
    Checkpoint, CheckpointError, CheckpointKeyTerm, DeltaKeys, End, EventSeen, HostLayer, NoteVerifier,
    SnapshotStanding, TakeInError, UnfinishedEnd, Verified, VerifyError, VerifyQuery, lock_file,
    verify as verify_ledger,
};
use crate::store::{
    Anchor, AnchorFile, AnchorFileError, AnchorKeys, Event, SnapshotTaken, delta_keys, histories,
};
use crate::wire::{UnfinishedOutput, VerifyOutput};

/// The input of `verify`.
pub(super) struct VerifyOptions<'a> {
    pub(super) config: Option<&'a Config>,
    pub(super) data_dir: Option<&'a Path>,
    /// A signed checkpoint from earlier.
    pub(super) checkpoint: Option<&'a Path>,
    /// The verifier key of the checkpoint, if the configuration does not name the keyring.
    pub(super) key: Option<&'a str>,
    /// Set to the number of each checked entry.
    pub(super) checked: Option<&'a AtomicU64>,
}

/// The result for an intact ledger.
pub(super) struct VerifiedLedger {
    verified: Verified,
    checkpoint: Option<Checkpoint>,
    /// Whether state changes were decrypted too.
    opened: bool,
    /// The bytes after the last valid entry, and the ledger's directory, unless a broker is running, which may be writing
    /// them.
    pub(super) unfinished: Option<(PathBuf, UnfinishedEnd)>,
}

impl VerifiedLedger {
    pub(super) const fn entries(&self) -> u64 {
        self.verified.entries()
    }
}

/// Verifies the ledger below a data directory without the broker, and without writing.
pub(super) fn look(options: &VerifyOptions<'_>) -> Result<VerifiedLedger, CommandFailure> {
    let (dir, ledger, keys, verifier, anchor) = match (options.config, options.data_dir) {
        (Some(Config { data_dir, root_key: RootKey::Attended, .. }), _) => {
            (data_dir.as_path(), None, None, None, None)
        }
        (Some(config), _) => {
            let keyring = open_keyring(config)?;
            let keys: DeltaKeys = delta_keys(&keyring)?;
            let verifier = own_key(config, &keyring)?;
            // Before the ledger, because a running broker continues to write to it.
            let anchor = anchor(config, &keyring)?;
            (config.data_dir.as_path(), Some(keyring.ledger()), Some(keys), verifier, anchor)
        }
        (None, Some(dir)) => (dir, None, None, None, None),
        (None, None) => {
            return Err(CommandFailure::usage(
                "no ledger is named",
                "add `--config FILE` or `--data-dir DIR`",
            ));
        }
    };
    let note = note(options, verifier)?;
    let checkpoint =
        note.as_ref().map(|(note, _)| Checkpoint::claimed(note)).transpose().map_err(unverified)?;
    let data_dir = dir;
    let dir = data_dir.join("ledger");
    if !dir.is_dir() {
        let why = format!("there is no ledger: `{}` is not a directory", dir.display());
        return Err(CommandFailure::new(code::FILE_UNUSABLE)
            .because(why)
            .mended_by("check the path of the data directory"));
    }
    let layer = HostLayer::existing(&dir);
    let sizes = [checkpoint.as_ref().map_or(0, |one| one.size), anchor.as_ref().map_or(0, Anchor::seq)];
    let sought = VerifyQuery {
        roots_at: &sizes,
        states_of: &[SlotsChanged::KIND, SealingKeysRotated::KIND],
        events_of: &[CheckpointKeyRotated::KIND, SnapshotTaken::KIND],
        checked: options.checked,
    };
    let verified = verify_ledger(&layer, ledger, keys.as_ref(), sought).map_err(|error| refused(&error))?;
    if verified.entries() == 0 {
        let why = format!("`{}` contains no ledger entry", dir.display());
        return Err(CommandFailure::new(code::LEDGER_EMPTY).because(why));
    }
    if let (Some(checkpoint), Some((note, trusted))) = (&checkpoint, note) {
        signed(&note, &trusted, &verified.events)?;
        compare(checkpoint, &verified)?;
    }
    snapshots(&verified)?;
    bound(&verified)?;
    anchored(anchor.as_ref(), &verified)?;
    let unfinished = match &verified.end {
        End::Unfinished(tail) if !is_running(data_dir) => Some((dir, tail.clone())),
        End::Unfinished(_) | End::Open | End::Closed => None,
    };
    Ok(VerifiedLedger { verified, checkpoint, opened: keys.is_some(), unfinished })
}

/// `keyward verify`
///
/// # Errors
/// [`CommandFailure`] if the ledger is not intact.
pub fn verify(args: &VerifyArgs, console: &Console) -> Result<(), CommandFailure> {
    match (&args.bundle, &args.key) {
        (Some(bundle), Some(key)) => return verify_evidence(bundle, key, console),
        (None, Some(_)) if args.checkpoint.is_none() => {
            return Err(CommandFailure::usage(
                "`--key` verifies a checkpoint or an evidence bundle, and neither is named",
                "add `--checkpoint FILE`, or name the bundle: `keyward verify FILE --key KEY`",
            ));
        }
        (Some(_) | None, Some(_) | None) => {}
    }
    let key_file = args.root_key_file.as_deref();
    let config = args.config.as_deref().map(|path| config_opened_by(path, key_file)).transpose()?;
    let progress = console.progress("verifying entries of the ledger");
    let options = VerifyOptions {
        config: config.as_ref(),
        data_dir: args.data_dir.as_deref(),
        checkpoint: args.checkpoint.as_deref(),
        key: args.key.as_deref(),
        checked: Some(progress.counted()),
    };
    let VerifiedLedger { verified, checkpoint, opened, unfinished } = look(&options)?;
    drop(progress);
    let end = match &verified.end {
        End::Closed => "closed",
        End::Open => "open",
        End::Unfinished(_) => "unfinished",
    };
    let (entries, head, root) = (verified.entries(), verified.head, verified.root.hex());
    let unfinished = unfinished.as_ref().map(|(dir, tail)| (dir.as_path(), tail));
    let ended = unfinished.map(|(dir, tail)| unfinished_end(dir, tail, entries));
    if console.is_json() {
        console.json(&VerifyOutput {
            ledger: verified.ledger,
            entries,
            head: head.seq,
            head_time: head.time.to_string(),
            root,
            end: end.into(),
            opened,
            checkpoint: checkpoint.as_ref().map(|one| one.size),
            snapshots: verified.snapshots.iter().map(|one| one.through).collect(),
            unfinished: unfinished.map(|(_, tail)| UnfinishedOutput {
                file: tail.segment.clone(),
                offset: tail.offset,
                bytes: tail.bytes,
            }),
        });
        return ended.map_or(Ok(()), Err);
    }
    let result = match ended {
        Some(_) => "the end is not whole",
        None if opened || checkpoint.is_some() => "ok",
        None => "no damage found",
    };
    console.line(&format!("{result}: {entries} entries, the last at {}, root {root}", head.time));
    if let Some(checkpoint) = &checkpoint {
        console.line(&format!("extends the checkpoint of {} entries", checkpoint.size));
    }
    if !opened {
        console.say(&unproved(checkpoint.as_ref()));
    }
    ended.map_or(Ok(()), Err)
}

/// The failure for a ledger of a stopped broker that ends with bytes of no valid entry.
pub(super) fn unfinished_end(dir: &Path, tail: &UnfinishedEnd, entries: u64) -> CommandFailure {
    let UnfinishedEnd { segment, offset, bytes, what } = tail;
    let why = format!(
        "`{}` has {bytes} bytes after entry {entries}, from byte {offset} on, that are no valid entry: {what}; entries may \
         be missing",
        dir.join(segment).display()
    );
    CommandFailure::new(code::LEDGER_UNFINISHED).because(why)
}

/// Whether a broker holds the lock of this data directory.
pub(super) fn is_running(data_dir: &Path) -> bool {
    let lock = data_dir.join("lock");
    lock.exists() && !matches!(lock_file(&lock), Ok(Some(_)))
}

/// What a verification without the unseal key does not prove.
fn unproved(checkpoint: Option<&Checkpoint>) -> String {
    let forger = "a person who can write these files can have changed them unnoticed";
    checkpoint.map_or_else(
        || {
            format!(
                "note: without a checkpoint or the unseal key only checksums and the sequence are verified: {forger}; add \
                 `--checkpoint FILE --key KEY`, or `--config FILE`, which names the unseal key"
            )
        },
        |checkpoint| {
            format!(
                "note: the checkpoint proves the first {} entries; after them, and for state changes, only checksums and \
                 the sequence are verified without the unseal key: {forger}",
                checkpoint.size
            )
        },
    )
}

/// The newest anchor in the file beside the keyring.
fn anchor(config: &Config, keyring: &Keyring) -> Result<Option<Anchor>, CommandFailure> {
    let keys = AnchorKeys::of(keyring)?;
    let code = match AnchorFile::open(Arc::new(HostLayer::existing(&config.data_dir)), &keys) {
        Ok((_, Some(anchor))) if !keys.has_keys_of(&anchor) => {
            let why = "the file `anchor` names key generations that the keyring does not have";
            return Err(CommandFailure::new(code::KEYRING_OUTDATED).because(why));
        }
        Ok((_, anchor)) => return Ok(anchor),
        Err(AnchorFileError::Io(error)) => return Err(start_failed(&error)),
        Err(error @ AnchorFileError::KeyMissing) => (code::KEYRING_OUTDATED, error),
        Err(error) => (code::ANCHOR_ALTERED, error),
    };
    Err(CommandFailure::new(code.0).because(code.1.to_string()))
}

/// Checks that the ledger contains the entry of `anchor`.
fn anchored(anchor: Option<&Anchor>, verified: &Verified) -> Result<(), CommandFailure> {
    let Some(anchor) = anchor else { return Ok(()) };
    let seq = anchor.seq();
    let why = match verified.root_at(seq) {
        Some(root) if anchor.root().is_none_or(|anchored| anchored == root) => return Ok(()),
        Some(_) => format!(
            "ledger entry {seq}, or an earlier one, differs from the one that the broker has acknowledged"
        ),
        None => {
            let entries = verified.entries();
            format!("the ledger ends at entry {entries}, but the broker has acknowledged entry {seq}")
        }
    };
    Err(CommandFailure::new(code::ENTRIES_LOST).because(why))
}

/// Checks that each rotation of the delta key follows the same entries as when it was recorded.
fn bound(verified: &Verified) -> Result<(), CommandFailure> {
    let damaged = |seq: u64, why: &str| {
        CommandFailure::new(code::LEDGER_DAMAGED).because(format!("ledger entry {seq} is not valid: {why}"))
    };
    for state in &verified.states {
        let said = histories::<World>(&state.delta).map_err(|why| match why {
            TakeInError::Newer => CommandFailure::new(code::DATA_NEWER)
                .because(format!("ledger entry {} cannot be read: {why}", state.seq)),
            TakeInError::Contradiction(_) => damaged(state.seq, &why.to_string()),
        })?;
        if said.iter().any(|said| said.contradicts(state.seq, state.before)) {
            let why = "the entries before it are not the ones that it was written after";
            return Err(damaged(state.seq, why));
        }
    }
    Ok(())
}

/// The oldest checkpoint key of the keyring: announcements lead from it to all newer ones.
fn own_key(config: &Config, keyring: &Keyring) -> Result<Option<NoteVerifier>, CommandFailure> {
    let Some(oldest) = keyring.oldest_signing(Family::Checkpoint) else { return Ok(None) };
    let notary = checkpoint_key(keyring, oldest, &config.trust_domain);
    Ok(Some(notary?.verifier().clone()))
}

/// The text of the checkpoint, and the first trusted key: the one that `--key` names, or the keyring's.
fn note(
    options: &VerifyOptions<'_>,
    own: Option<NoteVerifier>,
) -> Result<Option<(String, NoteVerifier)>, CommandFailure> {
    let Some(path) = options.checkpoint else { return Ok(None) };
    let verifier = match (options.key.map(NoteVerifier::parse).transpose().map_err(unverified)?, own) {
        (Some(named), _) => named,
        (None, Some(own)) => own,
        (None, None) => {
            return Err(CommandFailure::usage(
                "no key for the checkpoint is named",
                "add `--key KEY`, from `GET /v1/checkpoint/key`",
            ));
        }
    };
    let note = std::fs::read_to_string(path).map_err(|error| {
        let why = format!("`{}` cannot be read: {}", path.display(), io_reason(&error));
        CommandFailure::new(code::FILE_UNUSABLE).because(why)
    })?;
    Ok(Some((note, verifier)))
}

/// Checks that the trusted key signed `note`, or a key that the ledger announces under it, while that key was active.
fn signed(note: &str, trusted: &NoteVerifier, events: &[EventSeen]) -> Result<(), CommandFailure> {
    let turned = events.iter().filter(|seen| seen.kind == CheckpointKeyRotated::KIND);
    let announced: Vec<(u64, String)> =
        turned.filter_map(|seen| Some((seen.seq, announcement(&seen.event)?))).collect();
    let mut refused = CheckpointError::Signature;
    for tenure in CheckpointKeyTerm::of(trusted, &announced) {
        match tenure.open(note) {
            Ok(_) => return Ok(()),
            // A wrong signature is the least specific error.
            Err(error) if refused == CheckpointError::Signature => refused = error,
            Err(_) => {}
        }
    }
    Err(unverified(refused))
}

fn announcement(event: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(event).ok()?;
    event.get("announcement")?.as_str().map(str::to_owned)
}

/// Checks the snapshots against their ledger entries. A snapshot without an entry was taken just before a stop.
fn snapshots(verified: &Verified) -> Result<(), CommandFailure> {
    for seen in &verified.snapshots {
        let taken = verified.events.iter().filter(|seen| seen.kind == SnapshotTaken::KIND);
        let taken = taken.filter_map(|seen| serde_json::from_slice::<SnapshotTaken>(&seen.event).ok());
        let mut said =
            taken.filter(|taken| taken.through == seen.through).map(|taken| taken.sha256).peekable();
        let is_said = said.peek().is_none() || said.any(|sha256| sha256 == seen.sha256.hex());
        if seen.standing == SnapshotStanding::Altered || !is_said {
            let why = format!(
                "the snapshot file as of entry {} differs from the one that the broker wrote",
                seen.through
            );
            return Err(CommandFailure::new(code::SNAPSHOT_ALTERED).because(why));
        }
    }
    Ok(())
}

fn unverified(error: CheckpointError) -> CommandFailure {
    CommandFailure::new(code::CHECKPOINT_INVALID).because(error.to_string())
}

/// Checks that the ledger begins with the entries of the checkpoint.
fn compare(checkpoint: &Checkpoint, verified: &Verified) -> Result<(), CommandFailure> {
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

fn refused(error: &VerifyError) -> CommandFailure {
    match error {
        VerifyError::Damaged { .. } => CommandFailure::new(code::LEDGER_DAMAGED).because(error.to_string()),
        VerifyError::Newer { .. } => CommandFailure::new(code::DATA_NEWER).because(error.to_string()),
        VerifyError::Older { .. } => CommandFailure::new(code::DATA_OLDER).because(error.to_string()),
        VerifyError::KeyMissing { .. } => {
            CommandFailure::new(code::KEYRING_OUTDATED).because(error.to_string())
        }
        VerifyError::Io { .. } => start_failed(error),
    }
}
