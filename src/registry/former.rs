use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::owners::Owned;
use crate::base::limits::FORMER_NAMES_MAX;
use crate::base::{Audience, OwnerName, Scope};

/// Names and audiences that are declared no more, and whose they were: tokens, certificates and rules elsewhere may
/// still mean what bore them. They come back to their owner, or by an operator who is bound to no owner.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Former {
    names: BTreeMap<Owned, Was>,
    audiences: BTreeMap<Audience, Was>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Was {
    owner: Option<OwnerName>,
    /// The entry that took it away.
    seq: u64,
}

impl Former {
    /// Whether somebody who reaches as far as `scope` may not declare a thing of this name.
    #[must_use]
    pub fn keeps(&self, scope: &Scope, thing: &Owned) -> bool {
        self.names.get(thing).is_some_and(|was| !scope.covers(was.owner.as_ref()))
    }

    /// The same of an audience.
    #[must_use]
    pub fn keeps_audience(&self, scope: &Scope, audience: &Audience) -> bool {
        self.audiences.get(audience).is_some_and(|was| !scope.covers(was.owner.as_ref()))
    }

    pub(super) fn leave(&mut self, seq: u64, thing: Owned, owner: Option<&OwnerName>) {
        note(&mut self.names, thing, Was { owner: owner.cloned(), seq });
    }

    pub(super) fn leave_audience(&mut self, seq: u64, audience: Audience, owner: Option<&OwnerName>) {
        note(&mut self.audiences, audience, Was { owner: owner.cloned(), seq });
    }

    pub(super) fn take(&mut self, thing: &Owned) {
        self.names.remove(thing);
    }

    pub(super) fn take_audience(&mut self, audience: &Audience) {
        self.audiences.remove(audience);
    }
}

/// The oldest is forgotten when there are too many.
fn note<K: Clone + Ord>(all: &mut BTreeMap<K, Was>, key: K, was: Was) {
    if all.len() >= FORMER_NAMES_MAX
        && let Some(oldest) = all.iter().min_by_key(|(_, was)| was.seq).map(|(key, _)| key.clone())
    {
        all.remove(&oldest);
    }
    all.insert(key, was);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_names_are_kept_than_the_limit_and_the_newest_stay() {
        let mut former = Former::default();
        let thing = |number: usize| Owned::Agent(format!("a-{number}").parse().unwrap());
        let blue = Scope::Owner("blue".parse().unwrap());
        for number in 0..=FORMER_NAMES_MAX {
            former.leave(number as u64, thing(number), None);
        }
        assert!(!former.keeps(&blue, &thing(0)) && former.keeps(&blue, &thing(FORMER_NAMES_MAX)));
        assert!(!former.keeps(&Scope::Everything, &thing(1)));
    }
}
