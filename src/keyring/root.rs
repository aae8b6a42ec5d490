//! What is derived from the root key, and the id that a root key is known by.

use std::fmt;

use crate::base::encoding::{base64url, from_base64url, hex};
use crate::base::{Entropy, LedgerId, Sensitive};
use crate::crypto::{Aad, AeadKey, KeyId, MacKey, UnsealError, derive_key, matches};

/// By what a root key is known: derived from it one way, and no secret.
///
/// An anchor that names it is satisfied by a keyring of this root key, or of one that replaced it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RootId([u8; 32]);

impl RootId {
    /// The id in `bytes`.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// The id that wrapped keys carry; family and generation are in the associated data.
const WRAP: KeyId = KeyId { family: 0xfe, generation: 1 };
/// The id that the marks of earlier root keys carry.
const MARK: KeyId = KeyId { family: 0xfc, generation: 1 };

/// Wraps the generations of all families.
pub(super) fn wrapping(root: &Sensitive<[u8; 32]>) -> AeadKey {
    AeadKey::new(WRAP, &derive_key(root, b"", "keyward/keyring/wrap"))
}

/// Authenticates the file.
pub(super) fn mac_key(root: &Sensitive<[u8; 32]>) -> MacKey {
    MacKey::new(&derive_key(root, b"", "keyward/keyring/mac"))
}

/// The associated data of wrapped keys.
pub(super) fn bound(ledger: LedgerId, id: KeyId) -> Aad {
    Aad::new("keyward/keyring/key")
        .field(ledger.as_bytes())
        .number(u64::from(id.family))
        .number(u64::from(id.generation))
}

/// What a keyring keeps of a root key that was replaced: to have it proves to have had that root key, or
/// one that came after it. It opens nothing.
pub(super) struct RootMark(Sensitive<[u8; 32]>);

impl RootMark {
    pub(super) fn of(root: &Sensitive<[u8; 32]>) -> Self {
        Self(derive_key(root, b"", "keyward/keyring/root/mark"))
    }

    pub(super) fn id(&self) -> RootId {
        RootId(*derive_key(&self.0, b"", "keyward/keyring/root/id").expose())
    }

    pub(super) fn is_of(&self, id: RootId) -> bool {
        matches(&self.id().0, &id.0)
    }

    /// The mark, for the holder of `root` alone.
    pub(super) fn seal(&self, ledger: LedgerId, root: &Sensitive<[u8; 32]>, entropy: &dyn Entropy) -> String {
        base64url(&marking(root).seal(&marked(ledger), self.0.expose(), entropy))
    }

    pub(super) fn open(
        sealed: &str,
        ledger: LedgerId,
        root: &Sensitive<[u8; 32]>,
    ) -> Result<Self, UnsealError> {
        let sealed = from_base64url(sealed).ok_or(UnsealError::Format)?;
        let plain = marking(root).open(&marked(ledger), &sealed)?;
        let bytes: &[u8; 32] = plain.expose().as_slice().try_into().map_err(|_| UnsealError::Format)?;
        Ok(Self(Sensitive::filled(|to| to.copy_from_slice(bytes))))
    }
}

fn marking(root: &Sensitive<[u8; 32]>) -> AeadKey {
    AeadKey::new(MARK, &derive_key(root, b"", "keyward/keyring/root/marks"))
}

fn marked(ledger: LedgerId) -> Aad {
    Aad::new("keyward/keyring/root/mark").field(ledger.as_bytes())
}
