use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::error::KeyringError;
use super::file::{self, KEYRING_FORMAT, KeyringBody, WrappedKey};
use super::root::{RootId, RootMark, bound, wrapping};
use super::slot::KeySlot;
use super::slot_key::SlotKey;
use super::view::{SlotView, unwrapped};
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{Entropy, LedgerId, Sensitive, SlotId, Timestamp};
use crate::crypto::{AeadKey, EcdsaKey, Ed25519Key, KeyId, UnsealError};

/// The purpose of a key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// Wraps the data keys of secret values.
    Value,
    /// Seals the ledger's state changes, by way of a key per segment.
    Delta,
    /// Seals the index.
    Index,
    /// Digests requests.
    Digest,
    /// Signs access tokens.
    Token,
    /// Signs certificates.
    Authority,
    /// Signs checkpoints of the ledger.
    Checkpoint,
}

impl Family {
    const ALL: [Self; 7] =
        [Self::Value, Self::Delta, Self::Index, Self::Digest, Self::Token, Self::Authority, Self::Checkpoint];

    /// Its number in key ids; never given to another family.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Value => 1,
            Self::Delta => 2,
            Self::Index => 3,
            Self::Digest => 4,
            Self::Token => 5,
            Self::Authority => 6,
            Self::Checkpoint => 7,
        }
    }

    pub(super) const fn is_signing(self) -> bool {
        match self {
            Self::Token | Self::Authority | Self::Checkpoint => true,
            Self::Value | Self::Delta | Self::Index | Self::Digest => false,
        }
    }

    /// A new private key of a signing family, PKCS#8.
    pub(super) fn signing_key(self) -> Result<Sensitive<Vec<u8>>, KeyringError> {
        let made = if self == Self::Checkpoint { Ed25519Key::generate() } else { EcdsaKey::generate() };
        made.map_err(|_| KeyringError::Generate)
    }
}

/// All keys, unwrapped. Wiped on drop.
pub struct Keyring {
    pub(super) ledger: LedgerId,
    pub(super) created_at: Timestamp,
    /// Of the file that it was read from or written to last.
    pub(super) revision: u64,
    /// Kept, so that a running broker can add generations without anybody at its side.
    pub(super) root: Sensitive<[u8; 32]>,
    /// The slot that it was opened by; after [`Keyring::create`], the first.
    pub(super) opened_by: Option<SlotId>,
    /// Of the root keys before this one, oldest first.
    pub(super) earlier: Vec<RootMark>,
    pub(super) symmetric: BTreeMap<(Family, u32), Sensitive<[u8; 32]>>,
    pub(super) signing: BTreeMap<(Family, u32), Sensitive<Vec<u8>>>,
}

impl Keyring {
    /// Makes a root key with a slot for each of `slots`, and the first generation of every family, and
    /// writes them to `path`, wrapped.
    ///
    /// # Errors
    /// [`KeyringError`]; a keyring that is there already is left alone.
    pub fn create(
        path: &Path,
        slots: &[SlotKey],
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyringError> {
        let ledger = LedgerId::mint(now, entropy);
        let root = Sensitive::<[u8; 32]>::filled(|root| entropy.fill(root));
        let (symmetric, signing) = (BTreeMap::new(), BTreeMap::new());
        let (opened_by, earlier) = (None, Vec::new());
        let mut ring =
            Self { ledger, created_at: now, revision: 1, root, opened_by, earlier, symmetric, signing };
        let mut keys = Vec::new();
        for family in Family::ALL {
            let id = KeyId { family: family.number(), generation: 1 };
            let wrapped = if family.is_signing() {
                ring.new_signing(family, id, entropy)?
            } else {
                ring.new_symmetric(family, id, entropy)
            };
            keys.push(wrapped);
        }
        let slot = |key| KeySlot::wrap(SlotId::mint(now, entropy), key, ledger, &ring.root, entropy);
        let slots: Vec<KeySlot> = slots.iter().map(slot).collect::<Result<_, _>>()?;
        if slots.is_empty() {
            return Err(KeyringError::LastSlot);
        }
        let (version, revision) = (KEYRING_FORMAT, ring.revision);
        ring.opened_by = slots.first().map(|slot| slot.id);
        let (earlier_roots, pending) = (Vec::new(), None);
        let body = KeyringBody {
            version,
            ledger,
            created_at_ms: now,
            revision,
            earlier_roots,
            slots,
            pending,
            keys,
        };
        file::create(path, &body, &ring.root)?;
        Ok(ring)
    }

    /// Puts `body` in the place of the file at `path`, as its next revision.
    pub(super) fn write(
        &mut self,
        path: &Path,
        body: KeyringBody,
        proof: &dyn Fn(&KeyringBody) -> Result<(), KeyringError>,
    ) -> Result<(), KeyringError> {
        self.revision = file::replace(path, body, &self.root, proof)?;
        Ok(())
    }

    /// A new key of a symmetric family, taken in and wrapped.
    pub(super) fn new_symmetric(&mut self, family: Family, id: KeyId, entropy: &dyn Entropy) -> WrappedKey {
        let key = Sensitive::<[u8; 32]>::filled(|key| entropy.fill(key));
        let wrapped = wrapping(&self.root).seal(&bound(self.ledger, id), key.expose(), entropy);
        self.symmetric.insert((family, id.generation), key);
        WrappedKey { family: id.family, generation: id.generation, wrapped: base64url(&wrapped) }
    }

    /// A new key of a signing family, taken in and wrapped.
    fn new_signing(
        &mut self,
        family: Family,
        id: KeyId,
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey, KeyringError> {
        let key = family.signing_key()?;
        let wrapped = wrapping(&self.root).seal(&bound(self.ledger, id), key.expose(), entropy);
        self.signing.insert((family, id.generation), key);
        Ok(WrappedKey { family: id.family, generation: id.generation, wrapped: base64url(&wrapped) })
    }

    /// Opens the keyring at `path` by one of its slots.
    ///
    /// # Errors
    /// [`KeyringError`]; nothing was touched.
    pub fn open(path: &Path, key: &SlotKey) -> Result<Self, KeyringError> {
        Self::open_by(path, key).map(|(ring, _)| ring)
    }

    /// Opens the keyring, and returns the slot.
    ///
    /// # Errors
    /// [`KeyringError`]; nothing was touched.
    pub fn open_by(path: &Path, key: &SlotKey) -> Result<(Self, SlotView), KeyringError> {
        let unverified = file::read(path)?;
        let ledger = unverified.body.ledger;
        let (root, slot) = unwrapped(&unverified.body, key)?;
        let body = unverified.verify(&root)?;
        let (symmetric, signing) = (BTreeMap::new(), BTreeMap::new());
        let (created_at, revision) = (body.created_at_ms, body.revision);
        let marks = body.earlier_roots.iter().map(|sealed| RootMark::open(sealed, ledger, &root));
        let earlier: Result<_, _> = marks.collect();
        let earlier =
            earlier.map_err(|_| KeyringError::Altered("a mark of an earlier root key does not open"))?;
        let opened_by = Some(slot.id);
        let mut ring = Self { ledger, created_at, revision, root, opened_by, earlier, symmetric, signing };
        for key in &body.keys {
            ring.take(key).map_err(|_| KeyringError::Altered("one of its keys does not open"))?;
        }
        Ok((ring, slot))
    }

    pub(super) fn take(&mut self, key: &WrappedKey) -> Result<(), UnsealError> {
        let plain = self.unwrapped_key(key)?;
        self.hold(key, plain)
    }

    /// Takes in a key of `before`, and wraps it under this root key.
    pub(super) fn take_again(
        &mut self,
        before: &Self,
        key: &WrappedKey,
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey, UnsealError> {
        let plain = before.unwrapped_key(key)?;
        let id = KeyId { family: key.family, generation: key.generation };
        let wrapped = wrapping(&self.root).seal(&bound(self.ledger, id), plain.expose(), entropy);
        self.hold(key, plain)?;
        Ok(WrappedKey { wrapped: base64url(&wrapped), ..key.clone() })
    }

    /// A key, by the root key.
    pub(super) fn unwrapped_key(&self, key: &WrappedKey) -> Result<Sensitive<Vec<u8>>, UnsealError> {
        let id = KeyId { family: key.family, generation: key.generation };
        let wrapped = from_base64url(&key.wrapped).ok_or(UnsealError::Format)?;
        wrapping(&self.root).open(&bound(self.ledger, id), &wrapped)
    }

    fn hold(&mut self, key: &WrappedKey, plain: Sensitive<Vec<u8>>) -> Result<(), UnsealError> {
        let family = Family::ALL.into_iter().find(|family| family.number() == key.family);
        let family = family.ok_or(UnsealError::Format)?;
        if family.is_signing() {
            self.signing.insert((family, key.generation), plain);
        } else {
            let bytes: &[u8; 32] = plain.expose().as_slice().try_into().map_err(|_| UnsealError::Format)?;
            let key_bytes = Sensitive::filled(|to: &mut [u8; 32]| to.copy_from_slice(bytes));
            self.symmetric.insert((family, key.generation), key_bytes);
        }
        Ok(())
    }

    /// Wipes every key in place: it opens, wraps and signs nothing any more, and its file is left alone.
    pub fn forget(&mut self) {
        self.root = Sensitive::new([0; 32]);
        self.symmetric.clear();
        self.signing.clear();
    }

    /// When the keyring was made.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// How often the file had been written when this was read from it or written to it: the file that
    /// is there is never older, unless an older copy was put in its place. 0 for a file of format 1.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The id of its root key.
    #[must_use]
    pub fn root_id(&self) -> RootId {
        RootMark::of(&self.root).id()
    }

    /// Whether its root key is the one of `id`, or replaced it: nobody without that root key, or a later
    /// one, can make such a keyring. Of root keys that were replaced, the newest
    /// [`ROOT_MARKS_MAX`](crate::base::limits::ROOT_MARKS_MAX) are known.
    #[must_use]
    pub fn descends_from(&self, id: RootId) -> bool {
        self.root_id() == id || self.earlier.iter().any(|mark| mark.is_of(id))
    }

    /// The ledger that this keyring belongs to.
    #[must_use]
    pub const fn ledger(&self) -> LedgerId {
        self.ledger
    }

    /// The newest generation of a symmetric family.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchKey`].
    pub fn current(&self, family: Family) -> Result<(KeyId, &Sensitive<[u8; 32]>), KeyringError> {
        let newest = self.generations(family).last();
        let (generation, key) = newest.ok_or(KeyringError::NoSuchKey(family.number()))?;
        Ok((KeyId { family: family.number(), generation }, key))
    }

    /// All generations of a symmetric family, oldest first.
    pub fn generations(&self, family: Family) -> impl Iterator<Item = (u32, &Sensitive<[u8; 32]>)> {
        self.symmetric
            .range((family, 0)..=(family, u32::MAX))
            .map(|((_, generation), key)| (*generation, key))
    }

    /// The newest generation of a symmetric family, ready to seal with.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchKey`].
    pub fn aead(&self, family: Family) -> Result<AeadKey, KeyringError> {
        let (id, key) = self.current(family)?;
        Ok(AeadKey::new(id, key))
    }

    /// One generation of a symmetric family, to open what was sealed under it.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchKey`].
    pub fn aead_of(&self, family: Family, generation: u32) -> Result<AeadKey, KeyringError> {
        let key = self.symmetric.get(&(family, generation));
        let key = key.ok_or(KeyringError::NoSuchKey(family.number()))?;
        Ok(AeadKey::new(KeyId { family: family.number(), generation }, key))
    }

    /// The oldest generation of a signing family that is left.
    #[must_use]
    pub fn oldest_signing(&self, family: Family) -> Option<u32> {
        let mut all = self.signing.range((family, 0)..=(family, u32::MAX));
        all.next().map(|((_, generation), _)| *generation)
    }

    /// One generation of a signing family, PKCS#8.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchKey`].
    pub fn signing(&self, family: Family, generation: u32) -> Result<&Sensitive<Vec<u8>>, KeyringError> {
        self.signing.get(&(family, generation)).ok_or(KeyringError::NoSuchKey(family.number()))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.ledger)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
#[path = "vectors_tests.rs"]
mod vectors_tests;
