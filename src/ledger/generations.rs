use std::collections::HashMap;

use super::draft::Expectation;
use super::key::Key;
use crate::base::limits::GENERATIONS_KEPT_MAX;

/// Which entry last advanced which key, as far back as any decision under way can reach.
///
/// What nobody can have read any more need not be known key by key: below [`KeyAdvances::floor`] every
/// expectation counts as broken, and its holder decides again on the present state. So an open needs
/// no history, and memory is bounded for every ledger.
#[derive(Debug)]
pub(super) struct KeyAdvances {
    /// Expectations as of an earlier entry are broken, for every key.
    floor: u64,
    recent: HashMap<Key, u64>,
    /// Everything in `recent` comes after this entry.
    since: u64,
    /// What `recent` was before; everything in it comes after `floor`.
    before: HashMap<Key, u64>,
    /// No key was advanced after this entry: what relies on a state that was read since is not broken. Nearly
    /// all of it does, so that keys are seldom looked up.
    newest: u64,
}

impl KeyAdvances {
    /// Nobody has read a state before entry `head`.
    pub(super) fn since(head: u64) -> Self {
        Self { floor: head, recent: HashMap::new(), since: head, before: HashMap::new(), newest: head }
    }

    /// Whether `expectation` holds no more.
    pub(super) fn is_broken(&self, expectation: &Expectation) -> bool {
        if expectation.as_of >= self.newest {
            return false;
        }
        let last = |of: &HashMap<Key, u64>| of.get(&expectation.key).copied().unwrap_or_default();
        expectation.as_of < self.floor || last(&self.recent).max(last(&self.before)) > expectation.as_of
    }

    /// Entry `seq` advances `key`.
    pub(super) fn advance(&mut self, key: Key, seq: u64) {
        if self.recent.len() >= GENERATIONS_KEPT_MAX {
            self.before = std::mem::take(&mut self.recent);
            // An entry may advance several keys: what is in `before` ends with the entry before this one,
            // or with this one, and `since` says no more than is true of `recent`.
            self.floor = std::mem::replace(&mut self.since, seq.saturating_sub(1));
        }
        self.recent.insert(key, seq);
        self.newest = self.newest.max(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key::of("test", &n.to_be_bytes())
    }

    fn broken(generations: &KeyAdvances, n: u64, as_of: u64) -> bool {
        generations.is_broken(&Expectation { key: key(n), as_of })
    }

    #[test]
    fn a_key_is_relied_upon_until_it_is_advanced() {
        let mut generations = KeyAdvances::since(10);
        assert!(broken(&generations, 1, 9), "nobody has read what was before the open");
        assert!(!broken(&generations, 1, 10));
        generations.advance(key(1), 12);
        assert!(broken(&generations, 1, 11) && !broken(&generations, 1, 12) && !broken(&generations, 2, 10));
    }

    #[test]
    fn no_advance_is_ever_forgotten_by_those_who_could_rely_on_it() {
        let count = 3 * GENERATIONS_KEPT_MAX as u64 + 7;
        let mut generations = KeyAdvances::since(0);
        for seq in 1..=count {
            generations.advance(key(seq), seq);
        }
        assert!(generations.recent.len() <= GENERATIONS_KEPT_MAX);
        assert!(generations.before.len() <= GENERATIONS_KEPT_MAX);
        for seq in 1..=count {
            assert!(broken(&generations, seq, seq - 1), "{seq}");
        }
        let reach = count - GENERATIONS_KEPT_MAX as u64;
        assert!((reach..=count).all(|seq| !broken(&generations, seq, seq)), "who is near decides once");
        assert!(broken(&generations, count + 1, 1), "who is far decides again");
    }
}
