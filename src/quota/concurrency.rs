use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bounds how many requests are under way at a time, of one key and of all keys.
#[derive(Debug)]
pub struct Concurrency<K: Eq + Hash> {
    per_key_max: usize,
    max: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// One request under way, until this is dropped.
#[derive(Debug)]
pub struct ConcurrencyPermit<K: Eq + Hash> {
    of: Arc<Concurrency<K>>,
    key: K,
}

/// No further request is taken on now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AtCapacity {
    /// The key has as many under way as one may.
    #[error("{0} requests of this caller are under way")]
    Key(usize),
    /// All keys together have.
    #[error("{0} requests are under way")]
    All(usize),
}

impl<K: Clone + Eq + Hash> Concurrency<K> {
    /// At most `per_key_max` of one key, and `max` of all keys.
    #[must_use]
    pub fn new(per_key_max: usize, max: usize) -> Self {
        Self { per_key_max, max, held: Mutex::default() }
    }

    /// Accepts one request of `key`.
    ///
    /// # Errors
    /// [`AtCapacity`].
    pub fn enter(self: &Arc<Self>, key: &K) -> Result<ConcurrencyPermit<K>, AtCapacity> {
        let mut held = self.lock();
        if held.values().sum::<usize>() >= self.max {
            return Err(AtCapacity::All(self.max));
        }
        let own = held.entry(key.clone()).or_insert(0);
        if *own >= self.per_key_max {
            return Err(AtCapacity::Key(self.per_key_max));
        }
        *own = own.saturating_add(1);
        Ok(ConcurrencyPermit { of: Arc::clone(self), key: key.clone() })
    }
}

impl<K: Eq + Hash> Concurrency<K> {
    /// Requests under way, of all keys.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for ConcurrencyPermit<K> {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        if let Some(count) = held.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_on_up_to_both_limits_and_one_beyond_is_not() {
        let concurrency = Arc::new(Concurrency::new(2, 3));
        let first = concurrency.enter(&"a").unwrap();
        let _second = concurrency.enter(&"a").unwrap();
        assert_eq!(concurrency.enter(&"a").unwrap_err(), AtCapacity::Key(2));
        let _third = concurrency.enter(&"b").unwrap();
        assert_eq!(concurrency.enter(&"c").unwrap_err(), AtCapacity::All(3));
        drop(first);
        assert!(concurrency.enter(&"c").is_ok());
        assert_eq!(concurrency.lock().len(), 2, "a key without requests is forgotten");
    }
}
