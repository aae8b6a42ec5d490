use super::declared::Policy;
use super::facts::Facts;
use super::head_match::HeadPart;
use super::model::Question;
use super::rule::Match;
use super::state::Rules;
use super::verdict::PolicyOutcome;

/// A policy, and what its rule says of one request.
#[derive(Clone, Debug)]
pub struct TracedPolicy<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The result.
    pub result: TraceResult,
}

/// What a rule says of one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TraceResult {
    /// It matches, or cannot be evaluated.
    Matched(PolicyOutcome),
    /// The head fits, and the conditions in `when` and `unless` do not match.
    ConditionUnmet,
    /// This part of the head does not fit.
    HeadUnfit(HeadPart),
    /// The head fits, and the rule tests a sensitive parameter of a recorded request: its value is not known.
    Untested,
}

impl Rules {
    /// What each policy says of a request, by name. Those that match are the ones of [`Rules::judge`].
    #[must_use]
    pub fn trace(&self, facts: &Facts<'_>) -> Vec<TracedPolicy<'_>> {
        let question = Question::of(facts);
        let traced = self.policies().map(|policy| {
            let result = match policy.unfit(&facts.agent, &facts.capability, Some(facts.action)) {
                Some(part) => TraceResult::HeadUnfit(part),
                None if policy.rule.tests_hidden(facts) => TraceResult::Untested,
                None => match policy.rule.evaluate(question.as_ref()) {
                    Match::No => TraceResult::ConditionUnmet,
                    Match::Failed => TraceResult::Matched(PolicyOutcome::Failed),
                    Match::Yes => TraceResult::Matched(policy.rule.outcome()),
                },
            };
            TracedPolicy { policy, result }
        });
        traced.collect()
    }
}
