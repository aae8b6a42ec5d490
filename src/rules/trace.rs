use super::declared::Policy;
use super::facts::Facts;
use super::model::Question;
use super::rule::{Match, PrincipalScope, ResourceScope};
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

/// A part of a rule, or of its declaration, that keeps it away from a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeadPart {
    /// The policy belongs to another owner than the capability.
    Owner,
    /// The head names another agent, or a role that the agent does not have.
    Principal,
    /// The head names other actions.
    Action,
    /// The head names another capability or environment.
    Resource,
}

impl Rules {
    /// What each policy says of a request, by name. Those that match are the ones of [`Rules::judge`].
    #[must_use]
    pub fn trace(&self, facts: &Facts<'_>) -> Vec<TracedPolicy<'_>> {
        let question = Question::of(facts);
        let traced = self.policies().map(|policy| {
            let result = match unfit(policy, facts) {
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

/// The first part of the head of a policy that excludes the request.
fn unfit(policy: &Policy, facts: &Facts<'_>) -> Option<HeadPart> {
    if policy.owner.is_some() && policy.owner.as_ref() != facts.capability.owner {
        return Some(HeadPart::Owner);
    }
    let head = policy.rule.head();
    let fits = match &head.principal {
        PrincipalScope::Any => true,
        PrincipalScope::Agent(name) => name == facts.agent.name,
        PrincipalScope::Role(name) => facts.agent.roles.contains(name),
    };
    if !fits {
        return Some(HeadPart::Principal);
    }
    if !policy.rule.concerns(facts.action) {
        return Some(HeadPart::Action);
    }
    let fits = match &head.resource {
        ResourceScope::Any => true,
        ResourceScope::Capability(name) => name == facts.capability.name,
        ResourceScope::Environment(name) => facts.capability.environment == Some(name),
    };
    (!fits).then_some(HeadPart::Resource)
}
