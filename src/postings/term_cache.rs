use std::collections::HashMap;
use std::fmt;

use super::keys::{PostingsKeys, Term};

/// Terms that were made lately. Most entries name the same agents, capabilities, kinds and networks, and a digest costs
/// more than a look into a map.
#[derive(Default)]
pub(super) struct TermCache {
    recent: HashMap<Box<[u8]>, Term>,
    /// Those before: each one that is found here is recent again, and the others are forgotten.
    earlier: HashMap<Box<[u8]>, Term>,
    /// The text of the term that is looked for; kept, so that no look allocates.
    message: Vec<u8>,
}

impl TermCache {
    /// Most recent terms.
    const TERMS_MAX: usize = 4096;
    /// Longer texts are seldom the same.
    const MESSAGE_BYTES_MAX: usize = 128;

    /// The term of `text` in the field called `field`; `None` once the keys were wiped.
    pub(super) fn term(&mut self, keys: &PostingsKeys, field: &str, text: &str) -> Option<Term> {
        PostingsKeys::write_message(&mut self.message, field, text);
        if let Some(term) = self.recent.get(self.message.as_slice()) {
            return Some(*term);
        }
        let earlier = self.earlier.get(self.message.as_slice()).copied();
        let term = earlier.or_else(|| keys.term_of(&self.message))?;
        if self.message.len() <= Self::MESSAGE_BYTES_MAX {
            if self.recent.len() >= Self::TERMS_MAX {
                self.earlier = std::mem::take(&mut self.recent);
            }
            self.recent.insert(self.message.as_slice().into(), term);
        }
        Some(term)
    }

    /// Forgets all terms.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl fmt::Debug for TermCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TermCache").field("recent", &self.recent.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Sensitive;
    use crate::crypto::KeyId;

    fn keys() -> PostingsKeys {
        PostingsKeys::derive(KeyId { family: b'I', generation: 1 }, &Sensitive::new([7; 32]))
    }

    #[test]
    fn a_kept_term_is_the_one_of_the_keys() {
        let (keys, mut cache) = (keys(), TermCache::default());
        for _ in 0..2 {
            for (field, text) in [("agent", "a"), ("agen", "ta"), ("agent", "b"), ("operator", "a")] {
                assert!(cache.term(&keys, field, text) == keys.term(field, text), "{field} {text}");
            }
        }
        assert_eq!(cache.recent.len(), 4);
    }

    #[test]
    fn the_number_of_kept_terms_is_limited_and_used_ones_stay() {
        let (keys, mut cache) = (keys(), TermCache::default());
        for number in 0..3 * TermCache::TERMS_MAX {
            cache.term(&keys, "token", &number.to_string());
            cache.term(&keys, "agent", "a");
        }
        assert!(cache.recent.len() <= TermCache::TERMS_MAX && cache.earlier.len() <= TermCache::TERMS_MAX);
        PostingsKeys::write_message(&mut cache.message, "agent", "a");
        assert!(cache.recent.contains_key(cache.message.as_slice()));
        let long = "x".repeat(TermCache::MESSAGE_BYTES_MAX);
        let before = cache.recent.len();
        assert!(cache.term(&keys, "agent", &long) == keys.term("agent", &long));
        assert_eq!(cache.recent.len(), before);
    }
}
