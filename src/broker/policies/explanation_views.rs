use super::change::AllowingChange;
use super::views::demanded;
use crate::base::limits::EXPLAINED_POLICIES_MAX;
use crate::base::{CapabilityName, RoleName, Scope};
use crate::policy::{Holding, Traced};
use crate::registry::{Owned, Registry};
use crate::rules::{HeadPart, PolicyOutcome, TraceResult, TracedPolicy};
use crate::wire::{
    AllowingChangeAnswer, ExplainedCapabilityAnswer, ExplainedPolicyAnswer, OwnExplainedCapabilityAnswer,
};

/// What an operator sees of the policies and roles that decide.
pub(super) struct Seen<'a> {
    pub(super) scope: &'a Scope,
    pub(super) registry: &'a Registry,
    /// Whether no parameter of the request is recorded.
    pub(super) lacks_parameters: bool,
}

impl Seen<'_> {
    fn role(&self, role: &RoleName) -> bool {
        self.scope.covers(self.registry.owners().of(&Owned::Role(role.clone())))
    }

    /// Whether the capability is within the scope. A name of nothing is only in the entry.
    pub(super) fn covers(&self, name: &CapabilityName) -> bool {
        let owner = self.registry.owners().of(&Owned::Capability(name.clone()));
        self.registry.declarations().capability(name).is_none() || self.scope.covers(owner)
    }

    fn roles(&self, roles: &[RoleName]) -> Vec<RoleName> {
        roles.iter().filter(|role| self.role(role)).cloned().collect()
    }

    pub(super) fn shows(&self, change: &AllowingChange) -> bool {
        match change {
            AllowingChange::HoldRole(role) => self.role(role),
            AllowingChange::ChangePolicy(_) | AllowingChange::NameFewer | AllowingChange::Declare => true,
        }
    }

    fn policy(&self, traced: &TracedPolicy<'_>) -> ExplainedPolicyAnswer {
        let answer = policy(traced);
        if self.lacks_parameters && matches!(traced.result, TraceResult::Untested) {
            return ExplainedPolicyAnswer { result: "parameters-not-recorded".into(), ..answer };
        }
        answer
    }

    pub(super) fn capability(&self, name: &CapabilityName, traced: &Traced<'_>) -> ExplainedCapabilityAnswer {
        let (declared, held_by, other_roles) = match &traced.holding {
            Holding::Held(roles) => (true, self.roles(roles), Vec::new()),
            Holding::NotHeld(roles) => (true, Vec::new(), self.roles(roles)),
            Holding::Undeclared => (false, Vec::new(), Vec::new()),
        };
        // The entry names the policies that match, those of other owners, too.
        let is_shown = |one: &&TracedPolicy<'_>| {
            matches!(one.result, TraceResult::Matched(_)) || self.scope.covers(one.policy.owner.as_ref())
        };
        let mut policies: Vec<&TracedPolicy<'_>> = traced.policies.iter().filter(is_shown).collect();
        policies.sort_by_key(|one| match one.result {
            TraceResult::Matched(_) => 0,
            TraceResult::Untested => 1,
            TraceResult::ConditionUnmet => 2,
            TraceResult::HeadUnfit(_) => 3,
        });
        let further_policies = policies.len().saturating_sub(EXPLAINED_POLICIES_MAX);
        let policies = policies.into_iter().take(EXPLAINED_POLICIES_MAX);
        let policies = policies.map(|one| match self.scope.covers(one.policy.owner.as_ref()) {
            true => self.policy(one),
            false => ExplainedPolicyAnswer { owner: None, approval: None, ..self.policy(one) },
        });
        ExplainedCapabilityAnswer {
            capability: name.clone(),
            declared,
            held_by,
            other_roles,
            policies: policies.collect(),
            further_policies,
        }
    }
}

/// A capability that the agent holds. Others are left out: the answer does not show whether they are declared.
pub(super) fn own_capability(
    name: &CapabilityName,
    traced: &Traced<'_>,
) -> Option<OwnExplainedCapabilityAnswer> {
    let Holding::Held(roles) = &traced.holding else { return None };
    let matched = traced.policies.iter().filter(|one| matches!(one.result, TraceResult::Matched(_)));
    let policies = matched.take(EXPLAINED_POLICIES_MAX).map(policy);
    let policies = policies.map(|one| ExplainedPolicyAnswer { owner: None, ..one }).collect();
    Some(OwnExplainedCapabilityAnswer { capability: name.clone(), held_by: roles.clone(), policies })
}

fn policy(traced: &TracedPolicy<'_>) -> ExplainedPolicyAnswer {
    let (result, max_life_s, approval) = match &traced.result {
        TraceResult::Matched(PolicyOutcome::Denied) => ("denies", None, None),
        TraceResult::Matched(PolicyOutcome::Failed) => ("fails", None, None),
        TraceResult::Matched(PolicyOutcome::Limited { max_s }) => ("limits-life", Some(*max_s), None),
        TraceResult::Matched(PolicyOutcome::NeedsApproval { demand, max_s }) => {
            ("needs-approval", *max_s, Some(demanded(demand)))
        }
        TraceResult::ConditionUnmet => ("condition", None, None),
        TraceResult::Untested => ("sensitive-parameter", None, None),
        TraceResult::HeadUnfit(HeadPart::Owner) => ("other-owner", None, None),
        TraceResult::HeadUnfit(HeadPart::Principal) => ("other-principal", None, None),
        TraceResult::HeadUnfit(HeadPart::Action) => ("other-action", None, None),
        TraceResult::HeadUnfit(HeadPart::Resource) => ("other-resource", None, None),
    };
    ExplainedPolicyAnswer {
        policy: traced.policy.name.clone(),
        owner: traced.policy.owner.clone(),
        result: result.into(),
        max_life_s,
        approval,
        reason: traced.policy.rule.reason().map(str::to_owned),
    }
}

const FEWER: &str =
    "the request names only capabilities of one audience, and none that is delivered as a lease";

/// The change, for an operator.
pub(super) fn change(change: &AllowingChange) -> AllowingChangeAnswer {
    let (kind, name, text) = match change {
        AllowingChange::HoldRole(role) => {
            ("hold-role", Some(role.to_string()), format!("the agent holds the role `{role}`"))
        }
        AllowingChange::ChangePolicy(policy) => (
            "change-policy",
            Some(policy.to_string()),
            format!("policy `{policy}` does not restrict the request"),
        ),
        AllowingChange::NameFewer => ("name-fewer", None, FEWER.to_owned()),
        AllowingChange::Declare => {
            let text = "the capability is declared, and a role of the agent holds it";
            ("declare", None, text.to_owned())
        }
    };
    AllowingChangeAnswer { kind: kind.into(), name, text }
}

/// The change, for the agent: without the names of roles that it does not have, and the same for a capability that is not
/// declared, one that no role holds, and one that policies would deny, too.
pub(super) fn own_change(
    allowing: Option<&AllowingChange>,
    holds_none: bool,
) -> Option<AllowingChangeAnswer> {
    if holds_none {
        return Some(AllowingChangeAnswer {
            kind: "hold-role".into(),
            name: None,
            text: "an operator gives the agent a role that holds the capability".to_owned(),
        });
    }
    match allowing? {
        allowing @ (AllowingChange::ChangePolicy(_) | AllowingChange::NameFewer) => Some(change(allowing)),
        AllowingChange::HoldRole(_) | AllowingChange::Declare => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Policy, Rule};

    #[test]
    fn so_many_policies_are_explained_and_those_that_match_come_first() {
        let policies: Vec<Policy> = (0..=EXPLAINED_POLICIES_MAX)
            .map(|number| Policy {
                name: format!("p-{number:03}").parse().unwrap(),
                rule: Rule::declared("forbid (principal, action, resource);").unwrap(),
                owner: None,
            })
            .collect();
        let traced = |count: usize| {
            let result = |at: usize| match at + 1 == count {
                true => TraceResult::Matched(PolicyOutcome::Denied),
                false => TraceResult::HeadUnfit(HeadPart::Action),
            };
            let policies = policies.iter().take(count).enumerate();
            let policies = policies.map(|(at, policy)| TracedPolicy { policy, result: result(at) });
            let traced = Traced { holding: Holding::Undeclared, policies: policies.collect() };
            let registry = Registry::default();
            let seen = Seen { scope: &Scope::Everything, registry: &registry, lacks_parameters: false };
            seen.capability(&"c.read".parse().unwrap(), &traced)
        };
        let (at_limit, beyond) = (traced(EXPLAINED_POLICIES_MAX), traced(EXPLAINED_POLICIES_MAX + 1));
        assert_eq!((at_limit.policies.len(), at_limit.further_policies), (EXPLAINED_POLICIES_MAX, 0));
        assert_eq!((beyond.policies.len(), beyond.further_policies), (EXPLAINED_POLICIES_MAX, 1));
        assert_eq!(beyond.policies[0].result, "denies");
    }
}
