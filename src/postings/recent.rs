use std::collections::HashMap;
use std::hash::Hash;

/// The values that were used last, up to a number of them.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    max: usize,
    uses: u64,
    values: HashMap<K, Used<V>>,
}

#[derive(Debug)]
struct Used<V> {
    value: V,
    last: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, uses: 0, values: HashMap::new() }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.uses = self.uses.saturating_add(1);
        let found = self.values.get_mut(key)?;
        found.last = self.uses;
        Some(found.value.clone())
    }

    /// Keeps `value`, in the place of the value that was used least recently when there are too many.
    pub(super) fn put(&mut self, key: K, value: V) {
        self.uses = self.uses.saturating_add(1);
        self.values.insert(key, Used { value, last: self.uses });
        if self.values.len() > self.max {
            let oldest = self.values.iter().min_by_key(|(_, used)| used.last).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.values.remove(&key));
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.values.retain(|key, _| keep(key));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_that_was_used_least_recently_goes_first() {
        let mut recent = Recent::new(2);
        recent.put("a", 1);
        recent.put("b", 2);
        assert_eq!(recent.get(&"a"), Some(1));
        recent.put("c", 3);
        assert_eq!((recent.get(&"a"), recent.get(&"b"), recent.get(&"c")), (Some(1), None, Some(3)));
        assert_eq!(recent.len(), 2);
        recent.retain(|key| *key != "a");
        assert_eq!(recent.get(&"a"), None);
    }
}
