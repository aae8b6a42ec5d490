use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Aad, AeadKey};

/// A fresh key that seals under nonces which count up: no nonce repeats, whether or not the sealed record is used.
pub struct CounterKey {
    key: AeadKey,
    next: AtomicU64,
}

impl CounterKey {
    /// Takes `key` into use, which has sealed nothing and is sealed by nowhere else.
    #[must_use]
    pub const fn new(key: AeadKey) -> Self {
        Self { key, next: AtomicU64::new(0) }
    }

    /// Seals the parts of `plain`, one after another, under the next nonce. The first one is 0.
    #[must_use]
    pub fn seal(&self, aad: Aad, plain: &[&[u8]]) -> Vec<u8> {
        self.key.seal_numbered(self.next.fetch_add(1, Ordering::Relaxed), aad, plain)
    }

    /// Whether it was wiped: what it sealed since then is nothing.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.key.is_forgotten()
    }
}

impl fmt::Debug for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CounterKey({})", self.key.id())
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyId;
    use super::*;
    use crate::base::Sensitive;

    #[test]
    fn every_seal_has_a_nonce_of_its_own() {
        let aead = || AeadKey::new(KeyId { family: 1, generation: 1 }, &Sensitive::new([7; 32]));
        let (key, aad) = (CounterKey::new(aead()), Aad::new("test"));
        for number in 0..3 {
            let sealed = key.seal(aad.clone(), &[b"x"]);
            assert_eq!(aead().open_numbered(number, &aad, &sealed).unwrap().expose(), b"x");
        }
    }
}
