//! The keys that decisions on this room's records rely on, and those of its index records.

use crate::base::{SecretId, SecretName};
use crate::ledger::Key;

/// The current version of the secret of this name.
#[must_use]
pub fn secret(name: &SecretName) -> Key {
    Key::of("secret", name.as_str().as_bytes())
}

/// Whether there is a secret of this name, whose it is, and how sensitive.
#[must_use]
pub fn existence(name: &SecretName) -> Key {
    Key::of("secret-existence", name.as_str().as_bytes())
}

/// The value key that wraps: a value that was sealed before its rotation is sealed again.
#[must_use]
pub fn value_key() -> Key {
    Key::of("value-key", b"")
}

/// The place of the value of this version in the index.
#[must_use]
pub fn value(id: SecretId, version: u32) -> Vec<u8> {
    [&id.as_bytes()[..], &version.to_be_bytes()].concat()
}
