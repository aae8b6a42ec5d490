//! The keys that decisions on this room's records rely on.

use crate::base::SecretName;
use crate::ledger::Key;

/// How the secret of this name is rotated, and how far that has come.
#[must_use]
pub fn rotation(secret: &SecretName) -> Key {
    Key::of("rotation", secret.as_str().as_bytes())
}
