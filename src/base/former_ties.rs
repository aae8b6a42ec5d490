use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::limits::{CODE_LIFE_MAX_S, LEASE_LIFE_MAX_S};
use super::timestamp::Timestamp;

/// Ties are forgotten when every enrolment code and every lease of their time has expired, a day later.
const MEMORY_S: i64 = {
    let lease_s = LEASE_LIFE_MAX_S as i64;
    let longest_s = if CODE_LIFE_MAX_S > lease_s { CODE_LIFE_MAX_S } else { lease_s };
    longest_s + 24 * 3600
};

/// What objects were tied to before their declarations changed, e.g. agents to roles and owners. What was issued before
/// the change is judged by these ties, too.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FormerTies<K: Ord, T> {
    ties: BTreeMap<K, VecDeque<Former<T>>>,
    /// The time of each tie's end, the earliest first.
    ends: VecDeque<(Timestamp, K)>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Former<T> {
    tie: T,
    /// The entry that ended it.
    until: u64,
}

impl<K: Ord, T> Default for FormerTies<K, T> {
    fn default() -> Self {
        Self { ties: BTreeMap::new(), ends: VecDeque::new() }
    }
}

impl<K: Clone + Ord, T> FormerTies<K, T> {
    /// Entry `seq` at `now` ended this tie. An entry 0 is none.
    pub fn add(&mut self, seq: u64, now: Timestamp, object: K, tie: T) {
        self.forget(now);
        if seq > 0 {
            self.ends.push_back((now, object.clone()));
            self.ties.entry(object).or_default().push_back(Former { tie, until: seq });
        }
    }

    /// The ties of `object` that ended after entry `issued`.
    pub fn of<'a>(&'a self, object: &K, issued: u64) -> impl Iterator<Item = &'a T> + use<'a, K, T> {
        let all = self.ties.get(object).into_iter().flatten();
        all.filter(move |former| issued < former.until).map(|former| &former.tie)
    }

    /// Times in the future move back to `now`.
    pub fn time_went_back(&mut self, now: Timestamp) {
        self.ends.iter_mut().for_each(|(at, _)| *at = (*at).min(now));
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((at, object)) = self.ends.front() {
            if at.plus_s(MEMORY_S) > now {
                break;
            }
            if let Some(ties) = self.ties.get_mut(object) {
                ties.pop_front();
                if ties.is_empty() {
                    self.ties.remove(object);
                }
            }
            self.ends.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn of(ties: &FormerTies<&str, &'static str>, issued: u64) -> Vec<&'static str> {
        ties.of(&"bot", issued).copied().collect()
    }

    #[test]
    fn a_tie_counts_for_what_was_issued_before_its_end() {
        let mut ties = FormerTies::default();
        ties.add(5, NOW, "bot", "red");
        ties.add(9, NOW, "bot", "blue");
        assert_eq!((of(&ties, 4), of(&ties, 5), of(&ties, 9)), (vec!["red", "blue"], vec!["blue"], vec![]));
    }

    #[test]
    fn a_tie_is_forgotten_after_the_longest_life() {
        let mut ties = FormerTies::default();
        ties.add(5, NOW, "bot", "red");
        ties.add(6, NOW.plus_s(MEMORY_S - 1), "other", "red");
        assert_eq!(of(&ties, 1), ["red"]);
        ties.add(7, NOW.plus_s(MEMORY_S), "other", "blue");
        assert_eq!((of(&ties, 1).len(), ties.ends.len(), ties.ties.len()), (0, 2, 1));
    }

    #[test]
    fn an_end_in_the_future_is_brought_back() {
        let mut ties = FormerTies::default();
        ties.add(5, NOW.plus_s(1_000_000_000), "bot", "red");
        ties.time_went_back(NOW);
        ties.add(6, NOW.plus_s(MEMORY_S), "other", "red");
        assert_eq!(of(&ties, 1).len(), 0);
    }
}
