use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::claims::Claims;
use crate::base::limits::TOKENS_SEEN_MAX;
use crate::crypto::Digest;

/// Tokens whose signatures were found good, by the digest of all their bytes, the signature's included: an
/// agent presents one token many times, and its signature costs as much to verify as everything else that is
/// done for a request.
///
/// What can change is not kept but judged each time: keys, times, holders, revocations.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Ages<Digest, Good>>);

/// Where the signature of a token was found good: by whose key it is, and what it says.
#[derive(Clone, Debug)]
pub(super) struct Good {
    pub(super) kid: Arc<str>,
    pub(super) claims: Arc<Claims>,
}

/// Two halves: when the young one is full, it becomes the old one, and what nobody has presented since the
/// last time goes.
#[derive(Debug)]
pub(super) struct Ages<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Ages<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl Seen {
    pub(super) fn find(&self, token: &Digest) -> Option<Good> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).find(token)
    }

    pub(super) fn keep(&self, token: Digest, good: Good) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(token, good);
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Ages<K, V> {
    pub(super) fn find(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.keep(*key, value.clone());
        Some(value)
    }

    pub(super) fn keep(&mut self, key: K, value: V) {
        if self.young.len() >= const { TOKENS_SEEN_MAX / 2 } {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::claims;
    use super::*;
    use crate::crypto::sha256;

    fn token(number: usize) -> Digest {
        sha256(&number.to_be_bytes())
    }

    #[test]
    fn no_more_tokens_are_kept_than_the_limit_and_those_in_use_stay() {
        let seen = Seen::default();
        let good = Good { kid: "k".into(), claims: Arc::new(claims()) };
        for number in 0..TOKENS_SEEN_MAX {
            seen.keep(token(number), good.clone());
        }
        assert!(seen.find(&token(0)).is_some(), "at the limit all are there");
        for number in TOKENS_SEEN_MAX..2 * TOKENS_SEEN_MAX {
            seen.keep(token(number), good.clone());
            assert!(seen.find(&token(0)).is_some(), "presented all the time");
        }
        assert!(seen.find(&token(1)).is_none(), "beyond it, what nobody presents goes");
        let ages = seen.0.lock().unwrap();
        assert!(ages.young.len() + ages.old.len() <= TOKENS_SEEN_MAX);
    }
}
