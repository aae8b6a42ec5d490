use serde::{Deserialize, Serialize};

use super::file::KeyringError;
use super::slot_key::SlotKey;
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{Entropy, LedgerId, Sensitive, SlotId};
use crate::crypto::{Aad, AeadKey, KeyId, StretchCost, StretchError, derive_key, stretch};

/// One independent way to the root key, as it stands in the keyring file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) kind: SlotKind,
    wrapped_root: String,
    /// How a passphrase becomes a key; a slot of that kind has it, no other does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    argon2id: Option<Stretching>,
}

/// What a slot is opened by. Shares join here.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SlotKind {
    /// A 256-bit key in a file, or in a systemd credential.
    #[serde(rename = "key-file")]
    KeyFile,
    /// A passphrase.
    #[serde(rename = "passphrase")]
    Passphrase,
}

impl SlotKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyFile => "key-file",
            Self::Passphrase => "passphrase",
        }
    }
}

/// Salt and cost, as they stand in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stretching {
    salt: String,
    cost: StretchCost,
}

/// The id that wrapped root keys carry; the slot's own id is in the associated data.
const WRAP: KeyId = KeyId { family: 0xff, generation: 1 };

impl Slot {
    /// A slot of `key`'s, which opens `root`.
    pub(super) fn wrap(
        id: SlotId,
        key: &SlotKey,
        ledger: LedgerId,
        root: &Sensitive<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyringError> {
        let argon2id = match key {
            SlotKey::File(_) => None,
            SlotKey::Passphrase(passphrase) => {
                passphrase.check_length()?;
                let salt = base64url(&entropy.bytes::<16>());
                Some(Stretching { salt, cost: StretchCost::RECOMMENDED })
            }
        };
        let mut slot = Self { id, kind: key.kind(), wrapped_root: String::new(), argon2id };
        let wrapping = slot.wrapping(key)?.ok_or(BAD_COST)?;
        slot.wrapped_root = base64url(&wrapping.seal(&slot.bound(ledger), root.expose(), entropy));
        Ok(slot)
    }

    /// The root key, if `key` is this slot's.
    pub(super) fn unwrap(
        &self,
        key: &SlotKey,
        ledger: LedgerId,
    ) -> Result<Option<Sensitive<[u8; 32]>>, KeyringError> {
        let (Some(wrapping), Some(wrapped)) = (self.wrapping(key)?, from_base64url(&self.wrapped_root))
        else {
            return Ok(None);
        };
        let Ok(root) = wrapping.open(&self.bound(ledger), &wrapped) else { return Ok(None) };
        let root = root.expose().as_slice().try_into().ok();
        Ok(root.map(|root: &[u8; 32]| Sensitive::filled(|to| to.copy_from_slice(root))))
    }

    /// Whether it asks for what slots of its kind ask for, and not for all of the machine's memory:
    /// to be known before anything in it is done.
    pub(super) fn check(&self) -> Result<(), KeyringError> {
        match (self.kind, &self.argon2id) {
            (SlotKind::KeyFile, None) => Ok(()),
            (SlotKind::Passphrase, Some(how)) => how.cost.check().map_err(|_| BAD_COST),
            (SlotKind::KeyFile, Some(_)) | (SlotKind::Passphrase, None) => {
                Err(KeyringError::Altered("a slot is not of its kind"))
            }
        }
    }

    /// What wraps the root key in this slot; none for a key of another kind.
    fn wrapping(&self, key: &SlotKey) -> Result<Option<AeadKey>, KeyringError> {
        let key = match (key, &self.argon2id) {
            (SlotKey::File(key), None) => derive_key(key, b"", FILE),
            (SlotKey::Passphrase(passphrase), Some(how)) => {
                let salt = from_base64url(&how.salt).and_then(|salt| <[u8; 16]>::try_from(salt).ok());
                let salt = salt.ok_or(KeyringError::Altered("a slot's salt has another length"))?;
                let stretched = stretch(passphrase.bytes().expose(), &salt, how.cost);
                let stretched = stretched.map_err(|error| match error {
                    StretchError::Memory => KeyringError::Memory,
                    StretchError::Cost => BAD_COST,
                })?;
                derive_key(&stretched, b"", PASSPHRASE)
            }
            (SlotKey::File(_), Some(_)) | (SlotKey::Passphrase(_), None) => return Ok(None),
        };
        Ok(Some(AeadKey::new(WRAP, &key)))
    }

    fn bound(&self, ledger: LedgerId) -> Aad {
        Aad::new("keyward/keyring/slot")
            .field(ledger.as_bytes())
            .field(self.id.as_bytes())
            .field(self.kind.as_str().as_bytes())
    }
}

const FILE: &str = "keyward/keyring/slot/key-file";
const PASSPHRASE: &str = "keyward/keyring/slot/passphrase";
const BAD_COST: KeyringError = KeyringError::Altered("a slot asks for a cost that no passphrase is given");
