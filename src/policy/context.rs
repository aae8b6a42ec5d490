use super::decision::Basis;
use crate::authn::Records;
use crate::base::{Audience, ClockReading, DecisionId, Timestamp};
use crate::crypto::MacKey;
use crate::registry::Declarations;

/// What tokens are limited by beyond their capabilities.
#[derive(Clone, Debug)]
pub struct LifeLimits {
    /// Life of a token when the request names none, in seconds.
    pub default_s: u32,
    /// The broker itself as an audience: tokens for `reveal` are for it.
    pub broker: Audience,
}

/// What every decision is made with, besides the caller, its permit and the request: the records of one state and
/// one reading of the clock.
#[derive(Clone, Copy, Debug)]
pub struct DecisionContext<'a> {
    /// The decision's id.
    pub decision: DecisionId,
    /// The records.
    pub records: Records<'a>,
    /// What the clocks say.
    pub reading: ClockReading,
    /// Limits of token lives.
    pub limits: &'a LifeLimits,
    /// The key of the request's digest.
    pub digests: &'a MacKey,
}

impl<'a> DecisionContext<'a> {
    pub(super) fn declarations(&self) -> &'a Declarations {
        self.records.registry.declarations()
    }

    pub(super) const fn now(&self) -> Timestamp {
        self.reading.now()
    }

    /// The basis of a decision on the request with these canonical bytes. Its keyed digest names the request without
    /// being a dictionary of guesses.
    pub(super) fn basis(&self, rules: Vec<String>, canonical: &[u8]) -> Basis {
        Basis {
            decision: self.decision,
            snapshot: self.declarations().snapshot(),
            rules,
            request: self.digests.tag(canonical),
        }
    }
}
