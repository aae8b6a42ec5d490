use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The signing keys of one kind that count, by generation. One of them signs; the others are there
/// for what they are to sign later, or have signed before.
#[derive(Debug)]
pub struct Keys<K> {
    active: Arc<K>,
    all: BTreeMap<u32, Arc<K>>,
}

impl<K> Keys<K> {
    /// These keys, of which `active` signs. `None` when it is not among them.
    #[must_use]
    pub fn new(all: BTreeMap<u32, K>, active: u32) -> Option<Self> {
        let all: BTreeMap<u32, Arc<K>> =
            all.into_iter().map(|(number, key)| (number, Arc::new(key))).collect();
        Some(Self { active: Arc::clone(all.get(&active)?), all })
    }
}

/// Keys in use, changed while they are.
#[derive(Debug)]
pub(super) struct InUse<K>(RwLock<Keys<K>>);

impl<K> InUse<K> {
    pub(super) const fn new(keys: Keys<K>) -> Self {
        Self(RwLock::new(keys))
    }

    /// The key that signs.
    pub(super) fn active(&self) -> Arc<K> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).active)
    }

    /// The key of this generation, when it counts.
    pub(super) fn of(&self, generation: u32) -> Option<Arc<K>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).all.get(&generation).cloned()
    }

    /// All keys that count, the one that signs first.
    pub(super) fn all(&self) -> Vec<Arc<K>> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let others = keys.all.values().filter(|one| !Arc::ptr_eq(one, &keys.active));
        std::iter::once(&keys.active).chain(others).map(Arc::clone).collect()
    }

    /// Does `forget` to each of them, where it is.
    pub(super) fn each(&self, forget: impl Fn(&K)) {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        forget(&keys.active);
        keys.all.values().for_each(|key| forget(key));
    }

    /// The key of this generation counts no more.
    pub(super) fn withdraw(&self, generation: u32) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).all.remove(&generation);
    }

    /// Signs with these from here on.
    pub(super) fn replace(&self, keys: Keys<K>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}
