use std::collections::BTreeMap;

use super::declared::Policy;
use super::rule::Match;
use crate::base::{ApprovalDemand, PolicyName};
use crate::crypto::{Digest, Sha256Stream};

/// The policies that match a request, by name. Without any, the policies do not restrict the request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    matched: Vec<MatchedPolicy>,
    /// Whether a policy tests a parameter of a recorded request whose value is not known: it was not evaluated.
    is_untested: bool,
}

/// A policy that matches a request, or that cannot be evaluated for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MatchedPolicy {
    /// The name.
    pub name: PolicyName,
    /// The reason of its annotation.
    pub reason: Option<String>,
    /// The effect on the request.
    pub outcome: PolicyOutcome,
    /// SHA-256 of the text of its rule.
    pub rule: Digest,
}

/// The effect of a policy on a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PolicyOutcome {
    /// The request is denied.
    Denied,
    /// The policy cannot be evaluated: the request is denied.
    Failed,
    /// The life is limited.
    Limited {
        /// To so many seconds.
        max_s: u32,
    },
    /// The request needs approval.
    NeedsApproval {
        /// By whom.
        demand: ApprovalDemand,
        /// The longest life with the approval, in seconds.
        max_s: Option<u32>,
    },
}

/// The policies that matched a request, with the digests of their rules.
pub type MatchedRules = BTreeMap<PolicyName, Digest>;

/// The hash of the policies that matched a request: of their names and the texts of their rules.
#[must_use]
pub fn rules_hash(matched: &MatchedRules) -> Digest {
    let mut hasher = Sha256Stream::new();
    for (name, rule) in matched {
        // No name contains a line break, and each digest has the same length.
        hasher.update(name.as_str().as_bytes());
        hasher.update(b"\n");
        hasher.update(rule.as_bytes());
    }
    hasher.finish()
}

impl Verdict {
    /// Results in any order make the same verdict.
    pub(super) fn of<'a>(results: impl Iterator<Item = (&'a Policy, Match)>) -> Self {
        let matched = results.filter_map(|(policy, result)| {
            let outcome = match result {
                Match::No => return None,
                Match::Failed => PolicyOutcome::Failed,
                Match::Yes => policy.rule.outcome(),
            };
            let reason = policy.rule.reason().map(str::to_owned);
            Some(MatchedPolicy { name: policy.name.clone(), reason, outcome, rule: policy.rule.digest() })
        });
        let mut matched: Vec<_> = matched.collect();
        matched.sort_by(|one, other| one.name.cmp(&other.name));
        Self { matched, is_untested: false }
    }

    /// The verdict, if further policies cannot be evaluated because they test a value that is not known.
    pub(super) const fn untested(mut self, is_untested: bool) -> Self {
        self.is_untested = is_untested;
        self
    }

    /// Whether a policy was not evaluated because it tests a sensitive parameter of a recorded request.
    #[must_use]
    pub const fn is_untested(&self) -> bool {
        self.is_untested
    }

    /// All policies that match or fail.
    #[must_use]
    pub fn matched(&self) -> &[MatchedPolicy] {
        &self.matched
    }

    /// The policy that denies the request, if one does: one that matches before one that cannot be evaluated.
    #[must_use]
    pub fn refusal(&self) -> Option<&MatchedPolicy> {
        let with = |outcome| self.matched.iter().find(move |one| one.outcome == outcome);
        with(PolicyOutcome::Denied).or_else(|| with(PolicyOutcome::Failed))
    }

    /// The policies that demand approval, with their demands.
    pub fn demands(&self) -> impl Iterator<Item = (&MatchedPolicy, &ApprovalDemand)> {
        self.matched.iter().filter_map(|one| match &one.outcome {
            PolicyOutcome::NeedsApproval { demand, .. } => Some((one, demand)),
            PolicyOutcome::Denied | PolicyOutcome::Failed | PolicyOutcome::Limited { .. } => None,
        })
    }

    /// The strictest limit of the life in seconds, with its policy.
    #[must_use]
    pub fn limit(&self) -> Option<(u32, &MatchedPolicy)> {
        let limits = self.matched.iter().filter_map(|one| match &one.outcome {
            PolicyOutcome::Limited { max_s } => Some((*max_s, one)),
            PolicyOutcome::NeedsApproval { max_s, .. } => max_s.map(|max_s| (max_s, one)),
            PolicyOutcome::Denied | PolicyOutcome::Failed => None,
        });
        limits.min_by_key(|(max_s, _)| *max_s)
    }
}
