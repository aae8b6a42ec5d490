use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use zeroize::Zeroizing;

use crate::base::{Entropy, Sensitive};

/// What sealing adds to the plain text, in bytes: version, key id, nonce, tag.
pub const SEAL_OVERHEAD_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 5;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES;
const NONCE_BYTES: usize = 12;
/// Most are shorter, the ledger's among them, with what a key adds to it; longer ones cost a copy.
const USUAL_AAD_BYTES: usize = 320;
const TAG_BYTES: usize = 16;

/// Which key sealed something: a family (what the key is for) and its generation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId {
    /// The purpose of the key; the keyring assigns the numbers.
    pub family: u8,
    /// Counts up from 1 with each rotation.
    pub generation: u32,
}

impl KeyId {
    fn to_bytes(self) -> [u8; KEY_ID_BYTES] {
        let [a, b, c, d] = self.generation.to_be_bytes();
        [self.family, a, b, c, d]
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.family, self.generation)
    }
}

/// Why sealed bytes did not open. Says nothing of their content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// Not a sealed record at all, or of a format this build does not know.
    #[error("the sealed record has an unknown format")]
    Format,
    /// Sealed under another key than the one at hand.
    #[error("the record is sealed under the key `{0}`, not under this key")]
    OtherKey(KeyId),
    /// Wrong key, or the record was altered or moved: AES-GCM cannot tell them apart.
    #[error("the record does not authenticate")]
    Forged,
}

/// What a sealed record is bound to: length-prefixed fields, so that no two lists encode alike.
#[derive(Clone, Debug)]
pub struct Aad(Vec<u8>);

impl Aad {
    /// Starts with `domain`, which names the use, e.g. `keyward/secret`.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        Self(Vec::with_capacity(USUAL_AAD_BYTES)).field(domain.as_bytes())
    }

    /// Adds one field.
    #[must_use]
    pub fn field(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// The encoded fields.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds one number.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.field(&number.to_be_bytes())
    }
}

/// An expanded key, which [`AeadKey::forget`] and [`AeadWiper::wipe`] wipe for all holders.
type Cipher = RwLock<Option<Box<Aes256Gcm>>>;

/// A 256-bit AES-GCM key with its id. The expanded key is wiped on drop.
///
/// Stored bytes are `format ‖ key id ‖ nonce ‖ ciphertext ‖ tag`; format and key id are
/// authenticated together with the caller's [`Aad`].
pub struct AeadKey {
    id: KeyId,
    cipher: Arc<Cipher>,
}

/// Wipes a key wherever it is, and keeps it from nowhere.
#[derive(Debug)]
pub struct AeadWiper(Weak<Cipher>);

impl AeadWiper {
    /// Wipes it in place, if it is there still.
    pub fn wipe(&self) {
        if let Some(cipher) = self.0.upgrade() {
            wipe(&cipher);
        }
    }

    /// Whether nobody holds it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

fn wipe(cipher: &Cipher) {
    drop(cipher.write().unwrap_or_else(PoisonError::into_inner).take());
}

/// Which key a record says that it was sealed by; nobody has authenticated that.
///
/// # Errors
/// [`UnsealError::Format`].
pub fn sealed_by(sealed: &[u8]) -> Result<KeyId, UnsealError> {
    let (&format, rest) = sealed.split_first().ok_or(UnsealError::Format)?;
    let (id, _) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or(UnsealError::Format)?;
    let [family, generation @ ..] = *id;
    if format != FORMAT {
        return Err(UnsealError::Format);
    }
    Ok(KeyId { family, generation: u32::from_be_bytes(generation) })
}

impl AeadKey {
    /// Uses `key` as `id`.
    #[must_use]
    pub fn new(id: KeyId, key: &Sensitive<[u8; 32]>) -> Self {
        Self { id, cipher: Arc::new(RwLock::new(Some(Box::new(Aes256Gcm::new(key.expose().into()))))) }
    }

    /// Wipes the key in place, also for other holders: it seals and opens nothing any more.
    pub fn forget(&self) {
        wipe(&self.cipher);
    }

    /// What wipes it later, wherever it is by then.
    #[must_use]
    pub fn wiper(&self) -> AeadWiper {
        AeadWiper(Arc::downgrade(&self.cipher))
    }

    /// Whether it was wiped: what it sealed since then is nothing.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.cipher.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// The key's id, as it stands in what it seals.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Seals `plain` under a random 96-bit nonce, and counts nothing: for a key that seals one record, or a few
    /// with each write of the keyring. One that seals many is a [`CountedKey`](super::CountedKey).
    #[must_use]
    pub fn seal(&self, aad: &Aad, plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        self.seal_with(entropy.bytes(), aad.clone(), &[plain])
    }

    /// Seals the parts of `plain`, one after another, under `number` as nonce. The caller answers for no number
    /// being used twice.
    #[must_use]
    pub(super) fn seal_numbered(&self, number: u64, aad: Aad, plain: &[&[u8]]) -> Vec<u8> {
        self.seal_with(numbered(number), aad, plain)
    }

    fn seal_with(&self, nonce: [u8; NONCE_BYTES], aad: Aad, plain: &[&[u8]]) -> Vec<u8> {
        let bytes = plain.iter().fold(SEAL_OVERHEAD_BYTES, |sum, part| sum.saturating_add(part.len()));
        let mut out = Vec::with_capacity(bytes);
        out.push(FORMAT);
        out.extend_from_slice(&self.id.to_bytes());
        out.extend_from_slice(&nonce);
        for part in plain {
            out.extend_from_slice(part);
        }
        let bound = self.bound(aad);
        let (_, body) = out.split_at_mut(HEADER_BYTES.saturating_add(NONCE_BYTES));
        let cipher = self.cipher.read().unwrap_or_else(PoisonError::into_inner);
        let sealed = cipher
            .as_ref()
            .map(|cipher| cipher.encrypt_inout_detached(&Nonce::from(nonce), &bound.0, body.into()));
        match sealed {
            Some(Ok(tag)) => out.extend_from_slice(&tag),
            // Only a key that was wiped gets here, and a message beyond 64 GiB, which no caller has: limits
            // come first. Nothing, rather than plain text, is the answer that cannot leak.
            Some(Err(_)) | None => zeroize::Zeroize::zeroize(&mut out),
        }
        out
    }

    /// Opens what [`AeadKey::seal`] made under the same `aad`.
    ///
    /// # Errors
    /// [`UnsealError`]; nothing of the plain text is left behind then.
    pub fn open(&self, aad: &Aad, sealed: &[u8]) -> Result<Sensitive<Vec<u8>>, UnsealError> {
        let (nonce, body) = self.parse(sealed)?;
        self.open_with(nonce, aad, body)
    }

    /// Opens what a [`CounterKey`](super::CounterKey) sealed as its record `number` under the same `aad`.
    ///
    /// # Errors
    /// [`UnsealError`]; another number than the one it was sealed under counts as forged.
    pub fn open_numbered(
        &self,
        number: u64,
        aad: &Aad,
        sealed: &[u8],
    ) -> Result<Sensitive<Vec<u8>>, UnsealError> {
        let (nonce, body) = self.parse(sealed)?;
        if nonce != numbered(number) {
            return Err(UnsealError::Forged);
        }
        self.open_with(nonce, aad, body)
    }

    fn parse<'a>(&self, sealed: &'a [u8]) -> Result<([u8; NONCE_BYTES], &'a [u8]), UnsealError> {
        let id = sealed_by(sealed)?;
        let (_, rest) =
            sealed.split_at_checked(1_usize.saturating_add(KEY_ID_BYTES)).ok_or(UnsealError::Format)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(UnsealError::Format)?;
        if body.len() < TAG_BYTES {
            return Err(UnsealError::Format);
        }
        if id != self.id {
            return Err(UnsealError::OtherKey(id));
        }
        Ok((*nonce, body))
    }

    fn open_with(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &Aad,
        body: &[u8],
    ) -> Result<Sensitive<Vec<u8>>, UnsealError> {
        let (text, tag) = body.split_last_chunk::<TAG_BYTES>().ok_or(UnsealError::Format)?;
        let mut plain = Zeroizing::new(text.to_vec());
        let bound = self.bound(aad.clone());
        let cipher = self.cipher.read().unwrap_or_else(PoisonError::into_inner);
        cipher
            .as_ref()
            .ok_or(UnsealError::Forged)?
            .decrypt_inout_detached(
                &Nonce::from(nonce),
                &bound.0,
                plain.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| UnsealError::Forged)?;
        Ok(Sensitive::new(std::mem::take(&mut *plain)))
    }

    fn bound(&self, aad: Aad) -> Aad {
        aad.field(&[FORMAT]).field(&self.id.to_bytes())
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AeadKey({})", self.id)
    }
}

fn numbered(number: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    if let Some(low) = nonce.last_chunk_mut::<8>() {
        *low = number.to_be_bytes();
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    fn key(generation: u32) -> AeadKey {
        AeadKey::new(KeyId { family: 1, generation }, &Sensitive::new([7; 32]))
    }

    #[test]
    fn a_forgotten_key_seals_and_opens_nothing_wherever_it_is() {
        let (aad, key) =
            (Aad::new("test"), AeadKey::new(KeyId { family: 1, generation: 1 }, &Sensitive::new([7; 32])));
        let sealed = key.seal_numbered(1, aad.clone(), &[b"text"]);
        let wiper = key.wiper();
        assert!(!key.is_forgotten() && !wiper.is_over());
        wiper.wipe();
        assert!(key.is_forgotten() && key.open_numbered(1, &aad, &sealed).is_err());
        assert_eq!(key.seal_numbered(2, aad, &[b"text"]), b"", "no plain text");
        drop(key);
        assert!(wiper.is_over());
    }

    #[test]
    fn opens_what_it_sealed_and_only_under_the_same_aad() {
        let aad = Aad::new("test").field(b"record").number(1);
        let sealed = key(1).seal(&aad, b"plain", &SystemEntropy);
        assert_eq!(key(1).open(&aad, &sealed).unwrap().expose(), b"plain");
        let moved = Aad::new("test").field(b"record").number(2);
        assert_eq!(key(1).open(&moved, &sealed).unwrap_err(), UnsealError::Forged);
        assert_eq!(sealed.len(), 5 + SEAL_OVERHEAD_BYTES);
    }

    #[test]
    fn fields_cannot_be_shifted_into_one_another() {
        let sealed = key(1).seal(&Aad::new("t").field(b"ab").field(b"c"), b"x", &SystemEntropy);
        assert!(key(1).open(&Aad::new("t").field(b"a").field(b"bc"), &sealed).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let aad = Aad::new("test");
        let sealed = key(1).seal_numbered(9, aad.clone(), &[b"pl", b"ain"]);
        assert_eq!(key(1).open_numbered(9, &aad, &sealed).unwrap().expose(), b"plain");
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(key(1).open_numbered(9, &aad, &bad).is_err(), "bit {bit}");
        }
        assert!(key(1).open_numbered(8, &aad, &sealed).is_err());
    }

    #[test]
    fn another_generation_is_named() {
        let sealed = key(2).seal(&Aad::new("t"), b"x", &SystemEntropy);
        let err = key(1).open(&Aad::new("t"), &sealed).unwrap_err();
        assert_eq!(err, UnsealError::OtherKey(KeyId { family: 1, generation: 2 }));
    }

    #[test]
    fn short_or_empty_records_are_refused() {
        for len in 0..SEAL_OVERHEAD_BYTES {
            assert_eq!(key(1).open(&Aad::new("t"), &vec![1; len]).unwrap_err(), UnsealError::Format);
        }
    }

    /// NIST GCM test case 16 (256-bit key, 96-bit nonce) pins the primitive behind our framing.
    #[test]
    fn the_primitive_matches_a_published_vector() {
        let key: [u8; 32] = crate::base::encoding::from_hex(
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        )
        .unwrap()
        .try_into()
        .unwrap();
        let nonce: [u8; 12] =
            crate::base::encoding::from_hex("cafebabefacedbaddecaf888").unwrap().try_into().unwrap();
        let aad = crate::base::encoding::from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let mut text = crate::base::encoding::from_hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
             b16aedf5aa0de657ba637b39",
        )
        .unwrap();
        let tag = Aes256Gcm::new(&key.into())
            .encrypt_inout_detached(&Nonce::from(nonce), &aad, text.as_mut_slice().into())
            .unwrap();
        assert_eq!(crate::base::encoding::hex(&tag), "76fc6ece0f4e1768cddf8853bb2d551b");
    }
}
