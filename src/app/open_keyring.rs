use super::data_dir::keyring_path;
use crate::base::code;
use crate::config::{Config, RootKey};
use crate::console::CommandFailure;
use crate::keyring::{Keyring, KeyringError, SlotKey};

pub(crate) fn slot_key(config: &Config) -> Result<SlotKey, CommandFailure> {
    let key = match &config.root_key {
        RootKey::File(path) => SlotKey::from_file(path),
        RootKey::Credential(name) => SlotKey::from_credential(name),
        RootKey::Attended => return Err(attended()),
    };
    Ok(key?)
}

/// The failure if this machine has no unseal key.
pub(crate) fn attended() -> CommandFailure {
    CommandFailure::new(code::ROOT_KEY_UNUSABLE)
        .because("`[root_key]` has `attended = true`: this machine has no unseal key")
        .mended_by("name a key file or a passphrase; `--help` shows the options")
}

pub(crate) fn open_keyring(config: &Config) -> Result<Keyring, CommandFailure> {
    open_by(config, &slot_key(config)?)
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
