use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::data_dir::keyring_path;
use crate::base::code;
use crate::config::{Config, RootKey};
use crate::console::CommandFailure;
use crate::keyring::{Keyring, KeyringError, SlotKey, SlotKind, opening_kinds};

pub(crate) fn slot_key(config: &Config) -> Result<SlotKey, CommandFailure> {
    let key = match &config.root_key {
        RootKey::File(path) => SlotKey::from_file(path),
        RootKey::Credential(name) if !has_credentials() => {
            return SlotKey::from_credential(name)
                .map_err(|error| CommandFailure::from(error).mended_by(OUTSIDE_OF_SERVICE));
        }
        RootKey::Credential(name) => SlotKey::from_credential(name),
        RootKey::Attended => return Err(attended()),
    };
    Ok(key?)
}

const OUTSIDE_OF_SERVICE: &str = "outside of the service add `--root-key-file FILE`";
/// The same for `keyward serve`, which takes no key file.
const START_OUTSIDE_OF_SERVICE: &str = "start the broker by its unit, e.g. `systemctl start keyward`; without the unit: `keyward serve --sealed`, then \
     `keyward unseal --key-file FILE`";

/// Whether systemd gave credentials to this process.
fn has_credentials() -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some()
}

/// The failure if this machine has no unseal key.
pub(crate) fn attended() -> CommandFailure {
    CommandFailure::new(code::ROOT_KEY_UNUSABLE)
        .because("`[root_key]` has `attended = true`: this machine has no unseal key")
        .mended_by("name a key file or a passphrase; `--help` shows the options")
}

/// Opens the keyring with the key that `[root_key]` names.
pub(crate) fn open_keyring(config: &Config) -> Result<Keyring, CommandFailure> {
    let opened = slot_key(config).and_then(|key| open_by(config, &key));
    opened.map_err(|failure| with_other_slots(config, failure))
}

/// Opens the keyring for `keyward serve`, as [`open_keyring`] does.
pub(crate) fn open_keyring_at_start(config: &Config) -> Result<Keyring, CommandFailure> {
    let is_outside = matches!(config.root_key, RootKey::Credential(_)) && !has_credentials();
    open_keyring(config)
        .map_err(|failure| if is_outside { failure.mended_by(START_OUTSIDE_OF_SERVICE) } else { failure })
}

/// With the way out if other slots than those of key files open the keyring, and the key of `[root_key]` does not.
fn with_other_slots(config: &Config, failure: CommandFailure) -> CommandFailure {
    let of_key = [code::ROOT_KEY_UNUSABLE, code::ROOT_KEY_WRONG];
    let file = match &config.root_key {
        RootKey::File(file) => file.display().to_string(),
        // The key is not lost: systemd gives it to the service alone.
        RootKey::Credential(_) if !has_credentials() => return failure,
        RootKey::Credential(_) => "FILE".to_owned(),
        RootKey::Attended => return failure,
    };
    if !of_key.iter().any(|code| code.as_str() == failure.code()) {
        return failure;
    }
    // The key is there: no other slot is needed.
    let is_open = |file: &Path| fs::metadata(file).is_ok_and(|found| found.mode() & 0o077 != 0);
    if let RootKey::File(key) = &config.root_key
        && failure.code() == code::ROOT_KEY_UNUSABLE.as_str()
        && is_open(key)
    {
        return failure.mended_by(format!("find out who could read the file, then `chmod 600 {file}`"));
    }
    let by = |kind: &SlotKind| match kind {
        SlotKind::KeyFile => None,
        SlotKind::Passphrase => Some(format!("`keyward slot add --key-file {file} --by-passphrase`")),
        SlotKind::Shares => Some(format!("`keyward slot add --key-file {file} --by-shares`")),
    };
    let kinds = opening_kinds(&keyring_path(config)).unwrap_or_default();
    let ways: Vec<String> = kinds.iter().filter_map(by).collect();
    if ways.is_empty() {
        return failure;
    }
    let fix = format!(
        "put the right key file back; if it is lost, the keyring has another slot: stop the broker, then {}",
        ways.join(" or ")
    );
    failure.mended_by(fix)
}

pub(crate) fn open_by(config: &Config, key: &SlotKey) -> Result<Keyring, CommandFailure> {
    Keyring::open(&keyring_path(config), key).map_err(|error| not_opened(error, key))
}

pub(crate) fn not_opened(error: KeyringError, key: &SlotKey) -> CommandFailure {
    match (&error, key) {
        (KeyringError::WrongKey, SlotKey::Passphrase(_)) => CommandFailure::new(code::PASSPHRASE_WRONG),
        _ => error.into(),
    }
}
