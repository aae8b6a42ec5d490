use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::base::limits::OFFERS_KEPT_MAX;
use crate::base::{AgentId, CapabilityName, DecisionId};

/// The smaller requests that the latest denials named, until the broker ends.
#[derive(Debug, Default)]
pub(crate) struct Offers(Mutex<VecDeque<Offer>>);

#[derive(Debug)]
struct Offer {
    denied: DecisionId,
    agent: AgentId,
    scope: BTreeSet<CapabilityName>,
}

impl Offers {
    /// The denial `denied` named a request for `scope` to `agent`.
    pub(crate) fn note(&self, denied: DecisionId, agent: AgentId, scope: BTreeSet<CapabilityName>) {
        let mut offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if offers.len() >= OFFERS_KEPT_MAX {
            offers.pop_front();
        }
        offers.push_back(Offer { denied, agent, scope });
    }

    /// Whether the denial `denied` named a request for `scope` to `agent`.
    pub(crate) fn have(&self, denied: DecisionId, agent: AgentId, scope: &BTreeSet<CapabilityName>) -> bool {
        let offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offers.iter().any(|one| one.denied == denied && one.agent == agent && one.scope == *scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    #[test]
    fn so_many_offers_are_kept() {
        let now = Timestamp::from_s(1_800_000_000);
        let (agent, scope) = (AgentId::mint(now, &SystemEntropy), BTreeSet::new());
        let denied: Vec<DecisionId> =
            (0..=OFFERS_KEPT_MAX).map(|_| DecisionId::mint(now, &SystemEntropy)).collect();
        let offers = Offers::default();
        for denied in &denied {
            offers.note(*denied, agent, scope.clone());
        }
        assert!(!offers.have(denied[0], agent, &scope) && offers.have(denied[1], agent, &scope));
        assert!(!offers.have(denied[1], AgentId::mint(now, &SystemEntropy), &scope));
    }
}
