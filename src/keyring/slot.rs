use serde::{Deserialize, Serialize};

use super::error::KeyringError;
use super::error::ShareError;
use super::recipient::{Recipient, RecipientPlace};
use super::share::{ShareSplit, Sharing};
use super::slot_key::SlotKey;
use super::slot_kind::SlotKind;
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{Entropy, LedgerId, Sensitive, SlotId};
use crate::crypto::{AeadKey, KeyId, StretchCost, StretchError, derive_key, stretch};

/// One independent way to the root key, as it stands in the keyring file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySlot {
    pub(super) id: SlotId,
    pub(super) kind: SlotKind,
    wrapped_root: String,
    /// To whom a new root key is sealed; a slot of the first format has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recipient: Option<Recipient>,
    /// How a passphrase becomes a key; a slot of that kind has it, no other does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    argon2id: Option<Stretching>,
    /// What is known of the shares; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shares: Option<Sharing>,
}

/// What a slot of shares is until they were handed back: it holds no root key, and so opens nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PendingSlot {
    pub(super) id: SlotId,
    pub(super) shares: Sharing,
    /// The slot in whose place it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<SlotId>,
}

impl PendingSlot {
    pub(super) fn check(&self) -> Result<(), KeyringError> {
        self.shares.split().map(drop).map_err(|_| BAD_SHARES)
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

impl KeySlot {
    /// A slot of `key`'s, which opens `root`. One of shares is made by handing them back.
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
            SlotKey::Shares(_) => return Err(ShareError::NothingWaits.into()),
        };
        let (kind, wrapped_root) = (key.kind(), String::new());
        let slot = Self { id, kind, wrapped_root, recipient: None, argon2id, shares: None };
        slot.holding(key, ledger, root, entropy)
    }

    /// The slot that `pending` becomes when `shares` are those that were handed out.
    pub(super) fn confirm(
        pending: PendingSlot,
        shares: &SlotKey,
        ledger: LedgerId,
        root: &Sensitive<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyringError> {
        let PendingSlot { id, shares: sharing, .. } = pending;
        let (kind, wrapped_root, argon2id) = (SlotKind::Shares, String::new(), None);
        let slot = Self { id, kind, wrapped_root, recipient: None, argon2id, shares: Some(sharing) };
        slot.holding(shares, ledger, root, entropy)
    }

    /// The slot with `root` in it, and a new key pair.
    pub(super) fn holding(
        mut self,
        key: &SlotKey,
        ledger: LedgerId,
        root: &Sensitive<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyringError> {
        let wrapping = self.wrapping(key)?.ok_or(KeyringError::WrongKey)?;
        let recipient = Recipient::make(self.place(ledger), &wrapping, root, entropy)?;
        self.wrapped_root = recipient.seal(self.place(ledger), root, entropy)?;
        self.recipient = Some(recipient);
        Ok(self)
    }

    /// The slot with the root key `next` in the place of `root`, without its own key at hand.
    pub(super) fn moved(
        &self,
        ledger: LedgerId,
        root: &Sensitive<[u8; 32]>,
        next: &Sensitive<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyringError> {
        let recipient =
            self.recipient.as_ref().ok_or_else(|| KeyringError::SlotsOutOfReach(vec![self.id]))?;
        let recipient = recipient.moved(self.place(ledger), root, next, entropy)?;
        let wrapped_root = recipient.seal(self.place(ledger), next, entropy)?;
        Ok(Self { wrapped_root, recipient: Some(recipient), ..self.clone() })
    }

    /// Whether it takes a new root key without its own key.
    pub(super) const fn is_in_reach(&self) -> bool {
        self.recipient.is_some()
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
        let opened = match &self.recipient {
            Some(recipient) => recipient.open(self.place(ledger), &wrapping, &wrapped),
            None => wrapping.open(&self.place(ledger).bound(FIRST_FORMAT), &wrapped).ok(),
        };
        let Some(root) = opened else { return Ok(None) };
        let root = root.expose().as_slice().try_into().ok();
        Ok(root.map(|root: &[u8; 32]| Sensitive::filled(|to| to.copy_from_slice(root))))
    }

    /// Whether it asks for what slots of its kind ask for, and not for all of the machine's memory:
    /// to be known before anything in it is done.
    pub(super) fn check(&self) -> Result<(), KeyringError> {
        match (self.kind, &self.argon2id, &self.shares) {
            (SlotKind::KeyFile, None, None) => Ok(()),
            (SlotKind::Passphrase, Some(how), None) => how.cost.check().map_err(|_| BAD_COST),
            (SlotKind::Shares, None, Some(shares)) => shares.split().map(drop).map_err(|_| BAD_SHARES),
            (SlotKind::KeyFile | SlotKind::Passphrase | SlotKind::Shares, _, _) => {
                Err(KeyringError::Altered("the fields of a slot do not fit its kind"))
            }
        }
    }

    /// What one try at it costs, in KiB of memory times passes over it; nothing but a passphrase does.
    pub(super) fn cost(&self) -> u64 {
        let cost = self.argon2id.as_ref().map(|how| how.cost);
        cost.map_or(0, |cost| u64::from(cost.memory_kib).saturating_mul(u64::from(cost.passes)))
    }

    /// Number of shares and threshold; `None` for another kind of slot.
    pub(super) fn split(&self) -> Option<ShareSplit> {
        self.shares.as_ref().and_then(|shares| shares.split().ok())
    }

    /// The key that wraps the root key in this slot; `None` for another kind of key.
    fn wrapping(&self, key: &SlotKey) -> Result<Option<AeadKey>, KeyringError> {
        let key = match (key, &self.argon2id, &self.shares) {
            (SlotKey::File(key), None, None) => derive_key(key, b"", FILE),
            (SlotKey::Passphrase(passphrase), Some(how), _) => {
                let salt = from_base64url(&how.salt).and_then(|salt| <[u8; 16]>::try_from(salt).ok());
                let salt = salt.ok_or(KeyringError::Altered("a slot's salt has another length"))?;
                let stretched = stretch(passphrase.bytes().expose(), &salt, how.cost);
                let stretched = stretched.map_err(|error| match error {
                    StretchError::Memory => KeyringError::Memory,
                    StretchError::Cost => BAD_COST,
                })?;
                derive_key(&stretched, b"", PASSPHRASE)
            }
            (SlotKey::Shares(shares), _, Some(sharing)) if shares.slot() == self.id => {
                derive_key(shares.key(sharing)?, b"", SHARES)
            }
            (SlotKey::File(_) | SlotKey::Passphrase(_) | SlotKey::Shares(_), _, _) => return Ok(None),
        };
        Ok(Some(AeadKey::new(WRAP, &key)))
    }

    /// The slot as the first format had it, with its key around the root key itself.
    #[cfg(test)]
    pub(super) fn of_first_format(
        &self,
        key: &SlotKey,
        ledger: LedgerId,
        root: &Sensitive<[u8; 32]>,
    ) -> Self {
        let place = self.place(ledger).bound(FIRST_FORMAT);
        let wrapping = self.wrapping(key).unwrap().unwrap();
        let wrapped = wrapping.seal(&place, root.expose(), &crate::base::SystemEntropy);
        Self { wrapped_root: base64url(&wrapped), recipient: None, ..self.clone() }
    }

    const fn place(&self, ledger: LedgerId) -> RecipientPlace<'_> {
        RecipientPlace { ledger, slot: self.id, kind: self.kind.as_str() }
    }
}

/// What a slot of the first format is bound to: its key wraps the root key itself.
const FIRST_FORMAT: &str = "keyward/keyring/slot";
const FILE: &str = "keyward/keyring/slot/key-file";
const PASSPHRASE: &str = "keyward/keyring/slot/passphrase";
const SHARES: &str = "keyward/keyring/slot/shares";
const BAD_COST: KeyringError = KeyringError::Altered("a slot asks for a cost that no passphrase is given");
const BAD_SHARES: KeyringError = KeyringError::Altered("a slot has shares as no key is split into");
