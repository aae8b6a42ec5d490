use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Aad, AeadKey, AeadWiper, KeyId, UnsealError};
use crate::base::limits::SEALS_MAX;
use crate::base::{Entropy, Sensitive};

/// A key that seals many records under random nonces, and counts them: at [`SEALS_MAX`] it seals no more.
pub struct CountedKey {
    key: AeadKey,
    seals: AtomicU64,
}

/// The key has sealed as many records under random nonces as one key may (NIST SP 800-38D §8.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key has sealed {SEALS_MAX} records, its limit")]
pub struct Exhausted;

impl CountedKey {
    /// Takes `key`, which has sealed nothing, into use.
    #[must_use]
    pub const fn new(key: AeadKey) -> Self {
        Self { key, seals: AtomicU64::new(0) }
    }

    /// The key has sealed `seals` records before it was taken into use here.
    pub fn count_from(&self, seals: u64) {
        self.seals.fetch_max(seals, Ordering::AcqRel);
    }

    /// The number of records that it has sealed.
    #[must_use]
    pub fn seals(&self) -> u64 {
        self.seals.load(Ordering::Acquire)
    }

    /// Seals `plain` under a random 96-bit nonce.
    ///
    /// # Errors
    /// [`Exhausted`]; nothing was sealed.
    pub fn seal(&self, aad: &Aad, plain: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, Exhausted> {
        let next = |seals: u64| (seals < SEALS_MAX).then(|| seals.saturating_add(1));
        self.seals.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).map_err(|_| Exhausted)?;
        Ok(self.key.seal(aad, plain, entropy))
    }

    /// Opens what [`CountedKey::seal`] made under the same `aad`.
    ///
    /// # Errors
    /// [`UnsealError`]; nothing of the plain text is left behind then.
    pub fn open(&self, aad: &Aad, sealed: &[u8]) -> Result<Sensitive<Vec<u8>>, UnsealError> {
        self.key.open(aad, sealed)
    }

    /// The key's id, as it stands in what it seals.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.key.id()
    }

    /// What wipes it later, wherever it is by then.
    #[must_use]
    pub fn wiper(&self) -> AeadWiper {
        self.key.wiper()
    }
}

impl fmt::Debug for CountedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountedKey({})", self.key.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn a_key_seals_up_to_its_limit_and_not_beyond() {
        let key = CountedKey::new(AeadKey::new(KeyId { family: 1, generation: 1 }, &Sensitive::new([7; 32])));
        let (aad, seal) =
            (Aad::new("test"), |key: &CountedKey| key.seal(&Aad::new("test"), b"x", &SystemEntropy));
        assert!(seal(&key).is_ok());
        assert_eq!(key.seals(), 1);
        key.count_from(SEALS_MAX - 1);
        let last = seal(&key).unwrap();
        assert_eq!(seal(&key), Err(Exhausted));
        assert_eq!(key.seals(), SEALS_MAX);
        key.count_from(0);
        assert_eq!(seal(&key), Err(Exhausted), "a count never goes back");
        assert_eq!(key.open(&aad, &last).unwrap().expose(), b"x", "it opens all the same");
    }
}
