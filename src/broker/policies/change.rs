use std::collections::BTreeSet;

use crate::base::{PolicyName, RoleName, code};
use crate::policy::{
    DecisionContext, Holding, Refusal, Requester, Traced, TrialOutcome, TrialRequest, try_request,
};
use crate::rules::{PolicyOutcome, TraceResult};

/// The single change that would allow a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum AllowingChange {
    /// The agent holds this role.
    HoldRole(RoleName),
    /// This policy does not deny the request.
    ChangePolicy(PolicyName),
    /// The request names capabilities of one audience, and none that is delivered as a lease.
    NameFewer,
    /// A capability is declared, and held by a role of the agent.
    Declare,
}

/// Roles that are tried; with more, the first ones by name are.
const ROLES_TRIED_MAX: usize = 16;

impl AllowingChange {
    /// The change that would allow the request that `refusal` refuses, found by trying it.
    pub(super) fn of(
        context: &DecisionContext<'_>,
        by: &Requester<'_>,
        asked: &TrialRequest,
        refusal: &Refusal,
        traced: &[&Traced<'_>],
    ) -> Option<Self> {
        if refusal.code == code::CAPABILITY_DELIVERED_AS_LEASE || refusal.code == code::AUDIENCE_MISMATCH {
            return Some(Self::NameFewer);
        }
        if refusal.policy.is_some() {
            return policy_in_the_way(context, by, asked, traced).map(Self::ChangePolicy);
        }
        if traced.iter().all(|one| one.holding == Holding::Undeclared) {
            return Some(Self::Declare);
        }
        role_to_hold(context, by, asked, traced).map(Self::HoldRole)
    }
}

fn is_allowed(context: &DecisionContext<'_>, by: &Requester<'_>, asked: &TrialRequest) -> bool {
    !matches!(try_request(context, by, asked).outcome, TrialOutcome::Denied(_))
}

/// The only policy that denies the request, or the one whose limit does.
fn policy_in_the_way(
    context: &DecisionContext<'_>,
    by: &Requester<'_>,
    asked: &TrialRequest,
    traced: &[&Traced<'_>],
) -> Option<PolicyName> {
    let held = traced.iter().filter(|one| matches!(one.holding, Holding::Held(_)));
    let policies = held.flat_map(|one| &one.policies);
    let matched = policies.filter_map(|one| match &one.result {
        TraceResult::Matched(outcome) => Some((outcome, &one.policy.name)),
        TraceResult::ConditionUnmet | TraceResult::HeadUnfit(_) | TraceResult::Untested => None,
    });
    let (mut denying, mut limiting) = (BTreeSet::new(), BTreeSet::new());
    for (outcome, name) in matched {
        match outcome {
            PolicyOutcome::Denied | PolicyOutcome::Failed => denying.insert(name),
            PolicyOutcome::Limited { .. } | PolicyOutcome::NeedsApproval { .. } => limiting.insert(name),
        };
    }
    let candidates = if denying.is_empty() { limiting } else { denying };
    let only = candidates.first().filter(|_| candidates.len() == 1)?;
    let without = DecisionContext { disregarded: Some(only), ..*context };
    is_allowed(&without, by, asked).then(|| (*only).clone())
}

/// The first role, by name, with which the request would be allowed.
fn role_to_hold(
    context: &DecisionContext<'_>,
    by: &Requester<'_>,
    asked: &TrialRequest,
    traced: &[&Traced<'_>],
) -> Option<RoleName> {
    let roles: BTreeSet<&RoleName> = traced
        .iter()
        .flat_map(|one| match &one.holding {
            Holding::NotHeld(roles) => roles.as_slice(),
            Holding::Held(_) | Holding::Undeclared => &[],
        })
        .collect();
    let would_allow = |role: &&&RoleName| {
        let with: BTreeSet<RoleName> = by.roles.iter().chain([**role]).cloned().collect();
        is_allowed(context, &Requester { roles: &with, ..*by }, asked)
    };
    roles.iter().take(ROLES_TRIED_MAX).find(would_allow).map(|role| (*role).clone())
}
