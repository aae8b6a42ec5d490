use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::derive::derive_key;
use super::digest::{Digest, MacKey, matches};
use crate::base::Sensitive;

/// A keyed digest of a stored value: recognises the value when it appears elsewhere, and says nothing of it to a reader
/// without the key.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyedDigest {
    generation: u32,
    tag: Digest,
}

impl KeyedDigest {
    /// The generation of the digest key that it was made by.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }
}

/// Without the tag, which is for no log.
impl fmt::Debug for KeyedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyedDigest(generation {})", self.generation)
    }
}

/// The keys of digests of stored values, by generation. The newest one makes digests; earlier ones recognise values that
/// were stored under them.
#[derive(Debug)]
pub struct ValueDigestKeys(BTreeMap<u32, MacKey>);

impl ValueDigestKeys {
    /// The keys that these generations of the digest key give.
    pub fn derive<'a>(generations: impl IntoIterator<Item = (u32, &'a Sensitive<[u8; 32]>)>) -> Self {
        let derived = |key| MacKey::new(&derive_key(key, b"", "keyward value digest"));
        Self(generations.into_iter().map(|(generation, key)| (generation, derived(key))).collect())
    }

    /// The digest of `value` under the newest key; of no value where there is no key.
    #[must_use]
    pub fn digest(&self, value: &[u8]) -> KeyedDigest {
        let newest = self.0.last_key_value();
        let (generation, tag) = newest
            .map_or((0, Digest::from_bytes([0; 32])), |(generation, key)| (*generation, key.tag(value)));
        KeyedDigest { generation, tag }
    }

    /// Whether `digest` is that of `value`.
    #[must_use]
    pub fn recognises(&self, digest: &KeyedDigest, value: &[u8]) -> bool {
        let key = self.0.get(&digest.generation);
        key.is_some_and(|key| matches(key.tag(value).as_bytes(), digest.tag.as_bytes()))
    }

    /// Wipes the keys in place.
    pub fn forget(&self) {
        self.0.values().for_each(MacKey::forget);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(generations: &[u32]) -> ValueDigestKeys {
        let key = |generation: u32| Sensitive::new([u8::try_from(generation).unwrap(); 32]);
        let all: Vec<_> = generations.iter().map(|generation| (*generation, key(*generation))).collect();
        ValueDigestKeys::derive(all.iter().map(|(generation, key)| (*generation, key)))
    }

    #[test]
    fn only_the_value_itself_is_recognised_after_a_rotation_of_the_key() {
        let digest = keys(&[1]).digest(b"hunter2");
        let rotated = keys(&[1, 2]);
        assert!(rotated.recognises(&digest, b"hunter2") && !rotated.recognises(&digest, b"hunter3"));
        assert_eq!((digest.generation(), rotated.digest(b"hunter2").generation()), (1, 2));
        assert_ne!(digest, rotated.digest(b"hunter2"), "another key gives another digest");
        assert!(!keys(&[2]).recognises(&digest, b"hunter2"), "its key is gone");
    }

    #[test]
    fn neither_the_key_nor_the_tag_is_shown() {
        let digest = keys(&[7]).digest(b"hunter2");
        assert_eq!(format!("{digest:?}"), "KeyedDigest(generation 7)");
        // The key is not the digest key itself, which digests requests.
        let plain = MacKey::new(&Sensitive::new([7; 32])).tag(b"hunter2");
        assert_ne!(digest.tag, plain);
    }
}
