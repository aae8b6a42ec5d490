use crate::crypto::sha256_parts;

/// The kind of an object; the record rooms assign the numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Kind(pub u16);

impl Kind {
    /// The wall clock was adopted: the only entries that may be older than the entry before them.
    pub const CLOCK_ADJUSTED: Self = Self(0x0b01);
}

/// One thing an append can rely on or advance: an opaque 128-bit name.
///
/// Names of any length are hashed, ids are masked. Two that collide can only cause a needless
/// [`AppendError::Conflict`](super::AppendError::Conflict), never a missed one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of the `noun` called `name`, e.g. `("agent", agent id)`.
    #[must_use]
    pub fn of(noun: &str, name: &[u8]) -> Self {
        let digest = sha256_parts(&[&(noun.len() as u64).to_be_bytes(), noun.as_bytes(), name]);
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(digest.as_bytes()) {
            *to = *from;
        }
        Self(key)
    }

    /// The key of the `noun` with this id: the id masked by the noun, because ids are as long as keys and differ
    /// already. Two nouns that begin alike for 16 bytes would share their keys.
    #[must_use]
    pub fn of_id(noun: &str, id: &[u8; 16]) -> Self {
        let mut key = *id;
        for (byte, mask) in key.iter_mut().zip(noun.bytes().cycle()) {
            *byte ^= mask;
        }
        Self(key)
    }

    /// Its 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key of these 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_ids_are_apart_by_noun_and_by_id() {
        let nouns = ["agent", "certificate", "revocation-agent", "revocation-instance", "revocation-token"];
        let ids = [[0; 16], [1; 16], *b"0123456789abcdef"];
        let all = nouns.iter().flat_map(|noun| ids.map(|id| Key::of_id(noun, &id)));
        let distinct: std::collections::BTreeSet<Key> = all.collect();
        assert_eq!(distinct.len(), nouns.len() * ids.len());
    }
}
