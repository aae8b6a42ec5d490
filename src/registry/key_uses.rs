use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::agent::Instance;
use crate::crypto::Digest;

/// How many certificates are for a key, by the first bytes of its digest: a million keys cost some megabytes, and a
/// key that nobody has is told from the others at once.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct KeyUses(HashMap<[u8; 8], u32>);

impl KeyUses {
    /// Whether there may be a certificate for `key`.
    pub(super) fn may_have(&self, key: &Digest) -> bool {
        self.0.contains_key(&prefix(key))
    }

    pub(super) fn add(&mut self, key: &Digest) {
        let uses = self.0.entry(prefix(key)).or_default();
        *uses = uses.saturating_add(1);
    }

    pub(super) fn subtract(&mut self, key: &Digest) {
        let Some(uses) = self.0.get_mut(&prefix(key)) else { return };
        *uses = uses.saturating_sub(1);
        if *uses == 0 {
            self.0.remove(&prefix(key));
        }
    }

    pub(super) fn forget(&mut self, instance: &Instance) {
        instance.holdings().for_each(|holding| self.subtract(&holding.key));
    }
}

fn prefix(key: &Digest) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
    [a, b, c, d, e, f, g, h]
}
