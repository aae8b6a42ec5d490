use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::base::limits::OFFERS_KEPT_MAX;
use crate::base::{AgentId, CapabilityName, DecisionId, GivenParameters};
use crate::policy::MintRequest;

/// The smaller requests that the latest denials named, until the broker ends.
#[derive(Debug, Default)]
pub(crate) struct Offers(Mutex<VecDeque<Offer>>);

#[derive(Debug)]
struct Offer {
    denied: DecisionId,
    agent: AgentId,
    requested: OfferedRequest,
}

/// What a smaller request names. It has no sensitive parameter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct OfferedRequest {
    pub(crate) scope: BTreeSet<CapabilityName>,
    pub(crate) parameters: BTreeMap<CapabilityName, GivenParameters>,
}

impl OfferedRequest {
    pub(crate) fn of(request: &MintRequest) -> Self {
        Self { scope: request.scope.clone(), parameters: request.parameters.clone() }
    }
}

impl Offers {
    /// The denial `denied` named the request `requested` to `agent`.
    pub(crate) fn note(&self, denied: DecisionId, agent: AgentId, requested: OfferedRequest) {
        let mut offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if offers.len() >= OFFERS_KEPT_MAX {
            offers.pop_front();
        }
        offers.push_back(Offer { denied, agent, requested });
    }

    /// Whether the denial `denied` named the request `requested` to `agent`.
    pub(crate) fn have(&self, denied: DecisionId, agent: AgentId, requested: &OfferedRequest) -> bool {
        let offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offers.iter().any(|one| one.denied == denied && one.agent == agent && one.requested == *requested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    #[test]
    fn so_many_offers_are_kept() {
        let now = Timestamp::from_s(1_800_000_000);
        let (agent, asked) = (AgentId::mint(now, &SystemEntropy), OfferedRequest::default());
        let denied: Vec<DecisionId> =
            (0..=OFFERS_KEPT_MAX).map(|_| DecisionId::mint(now, &SystemEntropy)).collect();
        let offers = Offers::default();
        for denied in &denied {
            offers.note(*denied, agent, asked.clone());
        }
        assert!(!offers.have(denied[0], agent, &asked) && offers.have(denied[1], agent, &asked));
        assert!(!offers.have(denied[1], AgentId::mint(now, &SystemEntropy), &asked));
        let mut parameters = BTreeMap::new();
        parameters.insert("c.read".parse().unwrap(), GivenParameters::default());
        assert!(!offers.have(denied[1], agent, &OfferedRequest { parameters, ..asked }), "other parameters");
    }
}
