//! Values with the number of tokens that had them.

use std::collections::BTreeMap;

use crate::base::limits::APPROVAL_USUAL_MAX;

pub(super) type Counts = BTreeMap<String, u64>;

pub(super) fn count(counts: &mut Counts, value: &str) {
    let counted = counts.entry(value.to_owned()).or_default();
    *counted = counted.saturating_add(1);
}

/// The values with the most tokens.
pub(super) fn most_common(counts: &Counts) -> Vec<String> {
    let mut values: Vec<(&String, &u64)> = counts.iter().collect();
    values.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    values.into_iter().take(APPROVAL_USUAL_MAX).map(|(value, _)| value.clone()).collect()
}
