//! How a slot is given a root key without its own key at hand.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::KeyringError;
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{Entropy, LedgerId, Sensitive, SlotId};
use crate::crypto::{Aad, AeadKey, KeyId, RecipientKey, derive_key};

/// A slot's key pair, as it stands in the file. The root key is sealed to the public key (HPKE), which the
/// slot's own key is not needed for.
///
/// Anybody can seal to a public key. So the slot has a secret as well, and a root key counts that was
/// sealed by it too: no slot opens a keyring that was forged without a root key of this one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipient {
    public_key: String,
    /// Secret and private key, sealed under the slot's key.
    private_key: String,
    /// The secret, sealed under the root key.
    secret: String,
}

/// Which slot of which ledger: what is sealed for one opens for no other.
#[derive(Clone, Copy)]
pub(super) struct RecipientPlace<'a> {
    pub(super) ledger: LedgerId,
    pub(super) slot: SlotId,
    pub(super) kind: &'a str,
}

impl RecipientPlace<'_> {
    pub(super) fn bound(self, domain: &str) -> Aad {
        Aad::new(domain).field(self.ledger.as_bytes()).field(self.slot.as_bytes()).field(self.kind.as_bytes())
    }
}

/// The id that a slot's secret carries, and what is sealed by it.
const SECRET: KeyId = KeyId { family: 0xfd, generation: 1 };
const SECRET_BYTES: usize = 32;

impl Recipient {
    /// A new key pair, which `slot_key` opens.
    pub(super) fn make(
        place: RecipientPlace<'_>,
        slot_key: &AeadKey,
        root: &Sensitive<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyringError> {
        let (public, private) = RecipientKey::generate().map_err(|_| KeyringError::Generate)?;
        let secret = Sensitive::<[u8; SECRET_BYTES]>::filled(|secret| entropy.fill(secret));
        let mut both = Zeroizing::new(Vec::with_capacity(64));
        both.extend_from_slice(secret.expose());
        both.extend_from_slice(private.expose());
        let public_key = base64url(public.as_bytes());
        let private_key = slot_key.seal(&place.bound(PRIVATE).field(public.as_bytes()), &both, entropy);
        let mut made = Self { public_key, private_key: base64url(&private_key), secret: String::new() };
        made.secret = made.kept(place, &secret, root, entropy);
        Ok(made)
    }

    /// `root`, sealed so that the slot's key alone opens it.
    pub(super) fn seal(
        &self,
        place: RecipientPlace<'_>,
        root: &Sensitive<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Result<String, KeyringError> {
        let secret = self.secret_by(place, root).ok_or(SECRET_LOST)?;
        let sealed = self.public_key()?.seal(&place.bound(ROOT), root.expose());
        let sealed = sealed.map_err(|_| KeyringError::Generate)?;
        Ok(base64url(&sealing(&secret).seal(&place.bound(ROOT), &sealed, entropy)))
    }

    /// The root key in `wrapped`, if `slot_key` is the slot's.
    pub(super) fn open(
        &self,
        place: RecipientPlace<'_>,
        slot_key: &AeadKey,
        wrapped: &[u8],
    ) -> Option<Sensitive<Vec<u8>>> {
        let public = self.public_key().ok()?;
        let sealed = from_base64url(&self.private_key)?;
        let both = slot_key.open(&place.bound(PRIVATE).field(public.as_bytes()), &sealed).ok()?;
        let (secret, private) = both.expose().split_first_chunk::<SECRET_BYTES>()?;
        let secret = Sensitive::filled(|to: &mut [u8; SECRET_BYTES]| to.copy_from_slice(secret));
        let private = Sensitive::new(private.to_vec());
        let sealed = sealing(&secret).open(&place.bound(ROOT), wrapped).ok()?;
        RecipientKey::open(&private, &place.bound(ROOT), sealed.expose()).ok()
    }

    /// The same key pair, for a slot that `next` replaces the root key `root` of.
    pub(super) fn moved(
        &self,
        place: RecipientPlace<'_>,
        root: &Sensitive<[u8; 32]>,
        next: &Sensitive<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyringError> {
        let secret = self.secret_by(place, root).ok_or(SECRET_LOST)?;
        Ok(Self { secret: self.kept(place, &secret, next, entropy), ..self.clone() })
    }

    fn kept(
        &self,
        place: RecipientPlace<'_>,
        secret: &Sensitive<[u8; SECRET_BYTES]>,
        root: &Sensitive<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> String {
        let bound = place.bound(KEPT).field(self.public_key.as_bytes());
        base64url(&keeping(root).seal(&bound, secret.expose(), entropy))
    }

    fn secret_by(
        &self,
        place: RecipientPlace<'_>,
        root: &Sensitive<[u8; 32]>,
    ) -> Option<Sensitive<[u8; SECRET_BYTES]>> {
        let bound = place.bound(KEPT).field(self.public_key.as_bytes());
        let plain = keeping(root).open(&bound, &from_base64url(&self.secret)?).ok()?;
        let bytes: &[u8; SECRET_BYTES] = plain.expose().as_slice().try_into().ok()?;
        Some(Sensitive::filled(|to| to.copy_from_slice(bytes)))
    }

    fn public_key(&self) -> Result<RecipientKey, KeyringError> {
        let bytes = from_base64url(&self.public_key);
        let key = bytes.and_then(|bytes| RecipientKey::from_bytes(&bytes));
        key.ok_or(KeyringError::Altered("a slot's public key is malformed"))
    }
}

fn sealing(secret: &Sensitive<[u8; SECRET_BYTES]>) -> AeadKey {
    AeadKey::new(SECRET, &derive_key(secret, b"", "keyward/keyring/slot/secret/root"))
}

fn keeping(root: &Sensitive<[u8; 32]>) -> AeadKey {
    AeadKey::new(SECRET, &derive_key(root, b"", "keyward/keyring/slot/secrets"))
}

const PRIVATE: &str = "keyward/keyring/slot/private";
const ROOT: &str = "keyward/keyring/slot/root";
const KEPT: &str = "keyward/keyring/slot/secret";
const SECRET_LOST: KeyringError = KeyringError::Altered("a slot's secret does not open");
