use super::decision::Basis;
use crate::authn::Records;
use crate::base::{Audience, ClockReading, DecisionId, PolicyName, Timestamp};
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
    /// A policy as if it did not exist; only in trials.
    pub disregarded: Option<&'a PolicyName>,
}

impl<'a> DecisionContext<'a> {
    pub(super) fn declarations(&self) -> &'a Declarations {
        self.records.registry.declarations()
    }

    pub(super) const fn now(&self) -> Timestamp {
        self.reading.now()
    }

    /// The basis of a decision on the request with these canonical bytes. The digest is keyed, so that nobody can test
    /// guesses of the request.
    pub(super) fn basis(&self, rules: Vec<String>, canonical: &[u8]) -> Basis {
        Basis {
            decision: self.decision,
            snapshot: self.records.rules.snapshot_with(self.declarations().snapshot()),
            rules,
            request: self.digests.tag(canonical),
            life_s: None,
            is_frozen: self.records.is_frozen,
        }
    }
}
