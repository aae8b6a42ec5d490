use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::base::{SlotId, code};
use crate::broker;
use crate::console::{CommandFailure, own_uid};
use crate::files::{self, FileUser};
use crate::keyring::KeyringError;
use crate::ledger::{OpenError, TakeInError, VerifyError};
use crate::store::StoreError;

impl From<KeyringError> for CommandFailure {
    fn from(error: KeyringError) -> Self {
        if let Some(denied) = access_denied(&error) {
            return denied;
        }
        let code = match &error {
            KeyringError::Share(error) => return (*error).into(),
            KeyringError::Missing(path) => return missing(path),
            KeyringError::Exists(_) => code::ALREADY_INITIALISED,
            KeyringError::WrongKey => code::ROOT_KEY_WRONG,
            KeyringError::Altered(_) => code::KEYRING_ALTERED,
            KeyringError::Newer(_) => code::DATA_NEWER,
            KeyringError::SlotFile { .. } => code::ROOT_KEY_UNUSABLE,
            KeyringError::NoDirectory(directory) => {
                let fix = format!("make the directory: `install -d -m 700 {}`", directory.display());
                let failure = Self::new(code::ROOT_KEY_UNUSABLE).because(error.to_string());
                return failure.mended_by(fix);
            }
            KeyringError::Passphrase(_) => code::PASSPHRASE_REFUSED,
            KeyringError::NoSuchSlot => code::SLOT_UNKNOWN,
            KeyringError::LastSlot => code::LAST_SLOT,
            KeyringError::SameKey => code::SLOT_KEY_UNCHANGED,
            KeyringError::SlotsFull => code::SLOT_LIMIT_REACHED,
            KeyringError::Exhausted => code::KEY_EXHAUSTED,
            KeyringError::SlotsOutOfReach(slots) => return out_of_reach(slots),
            KeyringError::NoSuchKey(_)
            | KeyringError::Generate
            | KeyringError::Memory
            | KeyringError::TooLarge
            | KeyringError::Io(_) => code::KEYRING_FAILED,
        };
        CommandFailure::new(code).because(error.to_string())
    }
}

/// The failure for a data directory without a keyring: new, or with the other files of a broker.
fn missing(keyring: &Path) -> CommandFailure {
    let dir = keyring.parent().unwrap_or(keyring);
    keyring_lost(dir).unwrap_or_else(|| {
        let why = format!("`{}` contains no broker: keyring and ledger are missing", dir.display());
        CommandFailure::new(code::NOT_INITIALISED).because(why)
    })
}

/// The failure if `data_dir` has a ledger or its anchor, but no keyring.
pub(crate) fn keyring_lost(data_dir: &Path) -> Option<CommandFailure> {
    let is_there = |name: &str| data_dir.join(name).exists();
    let has_ledger = fs::read_dir(data_dir.join("ledger")).is_ok_and(|mut files| files.next().is_some());
    let found = if has_ledger { "ledger" } else { "anchor" };
    if is_there("keyring") || !(has_ledger || is_there("anchor")) {
        return None;
    }
    let dir = data_dir.display();
    let why = format!(
        "the keyring `{dir}/keyring` is missing, but `{dir}/{found}` exists, which only that keyring opens; nothing was changed"
    );
    let fix = format!(
        "restore the newest copy of `{dir}/keyring` from your backup, then start the broker; for a new broker choose another `data_dir`"
    );
    Some(CommandFailure::new(code::KEYRING_MISSING).because(why).mended_by(fix))
}

/// The failure for slots of the first format, which cannot get another root key.
fn out_of_reach(slots: &[SlotId]) -> CommandFailure {
    let named: Vec<String> = slots.iter().map(|slot| format!("`{slot}`")).collect();
    let why = format!(
        "an older version made slot {}, which has no public key for a new root key",
        named.join(", ")
    );
    CommandFailure::new(code::SLOTS_NOT_REWRAPPABLE).because(why)
}

/// The failure if `error` has the cause that this process may not open a file of the broker.
pub(crate) fn access_denied(error: &(dyn Error + 'static)) -> Option<CommandFailure> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(path) = cause.downcast_ref().and_then(files::denied_file) {
            return Some(not_opened_by_user(path));
        }
        next = cause.source();
    }
    None
}

fn not_opened_by_user(path: &Path) -> CommandFailure {
    if let Some(closed) = FileUser::of_process().closed_directory_above(path) {
        return CommandFailure::new(code::FILE_ACCESS_DENIED)
            .because(format!(
                "{}, so this process cannot open `{}`; the file itself can be intact",
                closed.why(),
                path.display()
            ))
            .mended_by(closed.fix());
    }
    let user = own_uid();
    let owner = fs::metadata(path).map_or_else(
        |_| "is in a directory that is closed to other users".to_owned(),
        |found| format!("belongs to uid {} (mode {:o})", found.uid(), found.mode() & 0o7777),
    );
    let why = format!(
        "`{}` {owner}, and this process, which runs as uid {user}, may not open it; the file itself can be intact",
        path.display()
    );
    let above = path.parent().unwrap_or(path);
    let fix = match fs::metadata(above) {
        Ok(found) if found.uid() == user => format!(
            "give the files of this directory to the broker's user, as root: `chown -R {user}:{} {}`",
            found.gid(),
            above.display()
        ),
        Ok(_) | Err(_) => {
            "run this command as root, or as the broker's user, who owns the data directory".to_owned()
        }
    };
    CommandFailure::new(code::FILE_ACCESS_DENIED).because(why).mended_by(fix)
}

/// The failure of a step that cannot read or write the broker's files, apart from what is in them.
pub(crate) fn files_failed(error: &(dyn Error + 'static)) -> CommandFailure {
    access_denied(error).unwrap_or_else(|| CommandFailure::new(code::STORE_FAILED).because(error.to_string()))
}

pub(crate) fn start_failed(error: &dyn Error) -> CommandFailure {
    CommandFailure::new(code::START_FAILED).because(error.to_string())
}

impl From<broker::Failure> for CommandFailure {
    fn from(failure: broker::Failure) -> Self {
        Self::new(failure.code).because(failure.why).mended_by(failure.fix)
    }
}

impl From<StoreError> for CommandFailure {
    fn from(error: StoreError) -> Self {
        if let Some(denied) = access_denied(&error) {
            return denied;
        }
        let code = match &error {
            StoreError::InUse | StoreError::Ledger(OpenError::InUse) => code::DATA_DIR_IN_USE,
            StoreError::Ledger(OpenError::Files(VerifyError::KeyMissing { .. })) => code::KEYRING_OUTDATED,
            StoreError::Ledger(
                OpenError::Files(VerifyError::Newer { .. })
                | OpenError::NotTakenIn { why: TakeInError::Newer, .. },
            ) => code::DATA_NEWER,
            StoreError::Ledger(OpenError::Files(VerifyError::Older { .. })) => code::DATA_OLDER,
            StoreError::Ledger(OpenError::NoSpace) => code::LEDGER_NO_SPACE,
            StoreError::Ledger(OpenError::Files(VerifyError::Io { .. })) => code::STORE_FAILED,
            StoreError::Ledger(OpenError::Files(VerifyError::Database(_))) => code::LEDGER_DATABASE_UNUSABLE,
            StoreError::Ledger(_) => code::LEDGER_DAMAGED,
            StoreError::EntriesLost { .. }
            | StoreError::EntriesReplaced { .. }
            | StoreError::LedgerMissing(_) => code::ENTRIES_LOST,
            StoreError::KeyringOlder(_) => code::KEYRING_OUTDATED,
            StoreError::AnchorAltered(_) => code::ANCHOR_ALTERED,
            StoreError::Index(_) | StoreError::Keyring(_) | StoreError::Read(_) | StoreError::Io(_) => {
                code::STORE_FAILED
            }
        };
        let failure = CommandFailure::new(code).because(error.to_string());
        if !matches!(error, StoreError::Ledger(OpenError::Files(VerifyError::KeyMissing { .. }))) {
            return failure;
        }
        failure.mended_by(
        "put the newest copy of `keyring` back: without the missing key the ledger does not open, also if a loss is \
         accepted",
    )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_later_version_is_newer_and_a_contradiction_is_damage() {
        let code_of = |why: TakeInError| {
            let failure = CommandFailure::from(StoreError::Ledger(OpenError::NotTakenIn { seq: 7, why }));
            failure.code().to_owned()
        };
        assert_eq!(code_of(TakeInError::Newer), "data_newer");
        assert_eq!(code_of(TakeInError::Contradiction("other entries".to_owned())), "ledger_damaged");
    }
}
