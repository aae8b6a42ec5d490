//! The check of a ledger without a broker, which reads and does not write.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::checkpoint::{announcements, compare, note, own_key, signed, unverified};
use super::configuration::config_opened_by;
use crate::app::data_dir::is_running;
use crate::app::failures::files_failed;
use crate::app::ledger_place::database_target;
use crate::app::open_keyring::open_keyring;
use crate::base::{Clock, LedgerId, SystemClock, code};
use crate::broker::World;
use crate::cli::VerifyArgs;
use crate::config::{Config, DatabaseSettings, LedgerEngine, RootKey};
use crate::console::CommandFailure;
use crate::custody::{CheckpointKeyRotated, SealingKeysRotated, SlotsChanged};
use crate::database::DatabaseEntries;
use crate::keyring::Keyring;
use crate::ledger::{
    Checkpoint, CheckpointKeyTerm, DeltaKeys, End, ExpectedLedger, HostLayer, NoteVerifier, SnapshotStanding,
    TakeInError, UnfinishedEnd, Verified, VerifyError, VerifyQuery, verify as verify_ledger, verify_rows,
};
use crate::store::{
    Anchor, AnchorFile, AnchorFileError, AnchorKeys, Event, SnapshotTaken, delta_keys, histories,
};

/// The input of `verify`.
pub(super) struct VerifyOptions<'a> {
    pub(super) config: Option<&'a Config>,
    pub(super) data_dir: Option<&'a Path>,
    /// The text of a signed checkpoint from earlier.
    pub(super) checkpoint: Option<&'a str>,
    /// The verifier key of the checkpoint, if the configuration does not name the keyring.
    pub(super) key: Option<&'a str>,
    /// Set to the number of each checked entry.
    pub(super) checked: Option<&'a AtomicU64>,
}

/// The result for an intact ledger.
pub(super) struct VerifiedLedger {
    pub(super) verified: Verified,
    pub(super) checkpoint: Option<Checkpoint>,
    /// Whether state changes were decrypted too.
    pub(super) opened: bool,
    /// The bytes after the last valid entry, and the ledger's directory, unless a broker is running, which may be writing
    /// them.
    pub(super) unfinished: Option<(PathBuf, UnfinishedEnd)>,
}

impl VerifiedLedger {
    /// The checkpoint keys that the ledger's announcements connect with the `trusted` one.
    pub(super) fn checkpoint_keys(&self, trusted: &NoteVerifier) -> Vec<CheckpointKeyTerm> {
        CheckpointKeyTerm::of(trusted, &announcements(&self.verified.events))
    }

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
    let note = note(options.checkpoint, options.key, verifier)?;
    let checkpoint =
        note.as_ref().map(|(note, _)| Checkpoint::claimed(note)).transpose().map_err(unverified)?;
    let data_dir = dir;
    let dir = data_dir.join("ledger");
    let sizes = [checkpoint.as_ref().map_or(0, |one| one.size), anchor.as_ref().map_or(0, Anchor::seq)];
    let sought = VerifyQuery {
        roots_at: &sizes,
        states_of: &[SlotsChanged::KIND, SealingKeysRotated::KIND],
        events_of: &[CheckpointKeyRotated::KIND, SnapshotTaken::KIND],
        checked: options.checked,
    };
    let verified = match options.config.map(|config| &config.ledger.engine) {
        Some(LedgerEngine::Postgresql(settings)) => {
            let keys = ledger.zip(keys.as_ref());
            in_database(settings, &dir, keys.map(|(ledger, keys)| ExpectedLedger { ledger, keys }), sought)?
        }
        Some(LedgerEngine::Files) | None => in_files(&dir, ledger, keys.as_ref(), sought)?,
    };
    if verified.entries() == 0 {
        let place = match options.config.map(|config| &config.ledger.engine) {
            Some(LedgerEngine::Postgresql(settings)) => format!("the database `{}`", settings.database),
            Some(LedgerEngine::Files) | None => format!("`{}`", dir.display()),
        };
        let why = format!("{place} contains no ledger entry");
        return Err(CommandFailure::new(code::LEDGER_EMPTY).because(why));
    }
    if let (Some(checkpoint), Some((note, trusted))) = (&checkpoint, note) {
        signed(note, checkpoint, &trusted, &verified)?;
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

/// Verifies the files in `dir`.
fn in_files(
    dir: &Path,
    ledger: Option<LedgerId>,
    keys: Option<&DeltaKeys>,
    sought: VerifyQuery<'_>,
) -> Result<Verified, CommandFailure> {
    if !dir.is_dir() {
        let why = format!("there is no ledger: `{}` is not a directory", dir.display());
        return Err(CommandFailure::new(code::FILE_UNUSABLE)
            .because(why)
            .mended_by("check the path of the data directory"));
    }
    verify_ledger(&HostLayer::existing(dir), ledger, keys, sought).map_err(|error| refused(&error))
}

/// Verifies the entries in the database; the snapshots are in `dir`.
fn in_database(
    settings: &DatabaseSettings,
    dir: &Path,
    expected: Option<ExpectedLedger<'_>>,
    sought: VerifyQuery<'_>,
) -> Result<Verified, CommandFailure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entries = DatabaseEntries::open(database_target(settings, &clock)?);
    let entries = entries.map_err(|fault| refused(&VerifyError::Database(fault.to_string())))?;
    verify_rows(entries.reader().as_ref(), entries.head(), &HostLayer::existing(dir), expected, sought)
        .map_err(|error| refused(&error))
}

/// The configuration of the ledger, if the command names one.
pub(super) fn config_of(args: &VerifyArgs) -> Result<Option<Config>, CommandFailure> {
    let key_file = args.root_key_file.as_deref();
    args.config.as_deref().map(|path| config_opened_by(path, key_file)).transpose()
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

/// The newest anchor in the file beside the keyring.
fn anchor(config: &Config, keyring: &Keyring) -> Result<Option<Anchor>, CommandFailure> {
    let keys = AnchorKeys::of(keyring)?;
    let code = match AnchorFile::open(Arc::new(HostLayer::existing(&config.data_dir)), &keys) {
        Ok((_, Some(anchor))) if !keys.has_keys_of(&anchor) => {
            let why = "the file `anchor` names key generations that the keyring does not have";
            return Err(CommandFailure::new(code::KEYRING_OUTDATED).because(why));
        }
        Ok((_, anchor)) => return Ok(anchor),
        Err(AnchorFileError::Io(error)) => return Err(files_failed(&error)),
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

fn refused(error: &VerifyError) -> CommandFailure {
    match error {
        VerifyError::Damaged { .. } => CommandFailure::new(code::LEDGER_DAMAGED).because(error.to_string()),
        VerifyError::Newer { .. } => CommandFailure::new(code::DATA_NEWER).because(error.to_string()),
        VerifyError::Older { .. } => CommandFailure::new(code::DATA_OLDER).because(error.to_string()),
        VerifyError::KeyMissing { .. } => {
            CommandFailure::new(code::KEYRING_OUTDATED).because(error.to_string())
        }
        VerifyError::Database(_) => {
            CommandFailure::new(code::LEDGER_DATABASE_UNUSABLE).because(error.to_string())
        }
        VerifyError::Io { .. } => files_failed(error),
    }
}
