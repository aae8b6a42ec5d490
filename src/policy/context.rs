use super::decision::{Basis, ReplayedFacts};
use crate::authn::Records;
use crate::base::{AgentId, Audience, ClockReading, DecisionId, PolicyName, Timestamp};
use crate::crypto::MacKey;
use crate::registry::Declarations;

/// Limits of tokens beyond their capabilities.
#[derive(Clone, Debug)]
pub struct LifeLimits {
    /// Default life of a token, in seconds.
    pub default_s: u32,
    /// The broker itself as the audience of tokens for `reveal`.
    pub broker: Audience,
}

/// The context of every decision, besides the caller and the request: the records of one state and one reading of the
/// clock.
#[derive(Clone, Copy, Debug)]
pub struct DecisionContext<'a> {
    /// The decision's id.
    pub decision: DecisionId,
    /// The records.
    pub records: Records<'a>,
    /// The reading of the clocks.
    pub reading: ClockReading,
    /// Limits of token lives.
    pub limits: &'a LifeLimits,
    /// The key of the request's digest.
    pub digests: &'a MacKey,
    /// Where facts of the past come from.
    pub past: Past,
    /// A policy as if it did not exist; only in trials.
    pub disregarded: Option<&'a PolicyName>,
}

/// Where a decision takes facts of the past from.
#[derive(Clone, Copy, Debug)]
pub enum Past {
    /// From the records.
    Recorded,
    /// From an entry or a case: a replay does not use the present records for them.
    Stated {
        /// The time since the agent last read a secret of the sensitivity `high`, in seconds.
        since_sensitive_read_s: Option<u32>,
    },
}

impl<'a> DecisionContext<'a> {
    pub(super) fn declarations(&self) -> &'a Declarations {
        self.records.registry.declarations()
    }

    pub(super) const fn now(&self) -> Timestamp {
        self.reading.now()
    }

    /// The time since `agent` last read a secret of the sensitivity `high`, in seconds, if a policy tests it.
    pub(super) fn since_sensitive_read_s(&self, agent: AgentId) -> Option<u32> {
        if !self.records.rules.test_past_reads() {
            return None;
        }
        match self.past {
            Past::Stated { since_sensitive_read_s } => since_sensitive_read_s,
            Past::Recorded => {
                let last = self.records.registry.agent(agent)?.last_sensitive_read?;
                Some(u32::try_from(self.now().seconds_since(last).max(0)).unwrap_or(u32::MAX))
            }
        }
    }

    /// The basis of a decision on a request of `agent`, with the facts that a replay needs.
    pub(super) fn basis_of(
        &self,
        agent: AgentId,
        life_s: Option<u32>,
        rules: Vec<String>,
        canonical: &[u8],
    ) -> Basis {
        let since_sensitive_read_s = self.since_sensitive_read_s(agent);
        let replayed = ReplayedFacts { life_s, since_sensitive_read_s, ..ReplayedFacts::default() };
        Basis { replayed, ..self.basis(rules, canonical) }
    }

    /// The basis of a decision on the request with these canonical bytes. The digest is keyed, so that nobody can test
    /// guesses of the request.
    pub(super) fn basis(&self, rules: Vec<String>, canonical: &[u8]) -> Basis {
        Basis {
            decision: self.decision,
            snapshot: self.records.rules.snapshot_with(self.declarations().snapshot()),
            rules,
            request: self.digests.tag(canonical),
            replayed: ReplayedFacts::default(),
            is_frozen: self.records.is_frozen,
        }
    }
}
