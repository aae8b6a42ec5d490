use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::base::limits::OPERATOR_USE_ENTRY_S;
use crate::base::{OperatorId, Timestamp};
use crate::operators::{Operator, OperatorUse};

/// The last use of each operator's certificates since the start.
#[derive(Debug, Default)]
pub struct OperatorUses(Mutex<HashMap<OperatorId, Seen>>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    last: OperatorUse,
    /// The last use that has an entry.
    recorded_at: Option<Timestamp>,
}

impl OperatorUses {
    /// Notes a use; `recorded` is the time of the last use that the ledger has. Returns whether the use needs an entry: then
    /// the next one needs none for a day.
    pub(crate) fn note(&self, id: OperatorId, now: OperatorUse, recorded: Option<Timestamp>) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recorded_at = recorded.max(seen.get(&id).and_then(|seen| seen.recorded_at));
        let is_due = recorded_at.is_none_or(|at| now.at >= at.plus_s(OPERATOR_USE_ENTRY_S));
        let recorded_at = if is_due { Some(now.at) } else { recorded_at };
        seen.insert(id, Seen { last: now, recorded_at });
        is_due
    }

    /// The last use of the certificates of `operator`: since the start, or the last one that the ledger has.
    pub(crate) fn last(&self, operator: &Operator) -> Option<OperatorUse> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&operator.id).map(|seen| seen.last).or(operator.last_use)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn one_use_a_day_needs_an_entry() {
        let (begin, uses) = (Timestamp::from_s(1_800_000_000), OperatorUses::default());
        let id = OperatorId::mint(begin, &SystemEntropy);
        let at = |after_s| OperatorUse { at: begin.plus_s(after_s), from: None };
        assert!(uses.note(id, at(0), None));
        assert!(!uses.note(id, at(1), None));
        assert!(!uses.note(id, at(OPERATOR_USE_ENTRY_S - 1), Some(begin)));
        assert!(uses.note(id, at(OPERATOR_USE_ENTRY_S), Some(begin)));
        assert!(!uses.note(id, at(OPERATOR_USE_ENTRY_S + 1), Some(begin)));
        let other = OperatorId::mint(begin, &SystemEntropy);
        assert!(!uses.note(other, at(10), Some(begin)), "the ledger has one of today");
    }
}
