use super::change::AllowingChange;
use super::recorded_request::{RecordedOutcome, RecordedRequest};
use super::views::demanded;
use crate::authn::AgentPrincipal;
use crate::base::limits::{DECISION_ENTRIES_READ_MAX, EXPLAINED_POLICIES_MAX};
use crate::base::{
    AgentName, Cancellation, CapabilityName, ClockReading, DecisionId, RecordedParameters, RoleName, Scope,
    code,
};
use crate::broker::administration::entry_reads::TermSearch;
use crate::broker::caller_services::{AdminServices, AgentServices};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::{World, records};
use crate::ledger::Entry;
use crate::policy::{
    Authorised, DecisionContext, Holding, ReadLedger, Requester, Traced, TrialOutcome, TrialRequest,
    trace_request, try_request,
};
use crate::postings::TimeSpan;
use crate::registry::{Owned, Registry};
use crate::rules::{Action, HeadPart, PolicyOutcome, TraceResult, TracedPolicy};
use crate::wire::{
    AllowingChangeAnswer, DecidedAnswer, DecidedNowAnswer, EntryField, ExplainedCapabilityAnswer,
    ExplainedPolicyAnswer, ExplanationAnswer, OwnExplainedCapabilityAnswer, OwnExplanationAnswer,
};

/// Time between a decision and its entry, at most, in seconds: the clock may have been adjusted meanwhile.
const ENTRY_DELAY_S: i64 = 3600;

impl AdminServices {
    /// The explanation of a decision that the operator may see.
    ///
    /// # Errors
    /// [`Failure`] if there is none.
    pub fn explain(
        &self,
        by: &Authorised<ReadLedger>,
        id: DecisionId,
        work: &Cancellation,
    ) -> Result<ExplanationAnswer, Failure> {
        let unknown = || Failure::new(code::DECISION_UNKNOWN);
        let (entry, recorded) = self.0.recorded_decision(id, work)?.ok_or_else(unknown)?;
        // Rules and capabilities of other owners are not for an operator with an owner.
        if !self.shows_whole(by.operator(), &entry) {
            return Err(unknown());
        }
        Ok(self.0.state.store.read(|world, _| {
            let seen = Seen { scope: by.operator().scope(), registry: &world.registry };
            let explained = Explained::of(&self.0, world, &recorded, |explanation| {
                let capabilities = explanation.traced.iter().filter(|(name, _)| seen.covers(name));
                let capabilities = capabilities.map(|(name, traced)| seen.capability(name, traced));
                let allowing = explanation.change.as_ref().filter(|change| seen.shows(change));
                (capabilities.collect(), allowing.map(change))
            });
            let ((capabilities, change), now) = explained;
            let mut decided = decided(&recorded);
            decided.parameters.retain(|name, _| seen.covers(name));
            ExplanationAnswer {
                decided,
                seq: recorded.seq,
                agent: recorded.event.agent.clone(),
                rules: recorded.event.rules.clone(),
                now,
                capabilities,
                change,
            }
        }))
    }
}

impl AgentServices {
    /// The explanation of a decision on a request of `principal`, without rules that do not match it.
    ///
    /// # Errors
    /// [`Failure`] if there is none, or its requests are too many.
    pub async fn explain(
        &self,
        principal: &AgentPrincipal,
        id: DecisionId,
    ) -> Result<OwnExplanationAnswer, Failure> {
        let _permit = self.0.limits.explanations.admit(&principal.agent())?;
        let (services, name) = (self.0.clone(), principal.name().clone());
        let explain = move || services.explain_own(&name, id);
        tokio::task::spawn_blocking(explain).await.map_err(|_| Failure::new(code::INTERNAL))?
    }
}

impl Services {
    fn explain_own(&self, agent: &AgentName, id: DecisionId) -> Result<OwnExplanationAnswer, Failure> {
        let found = self.recorded_decision(id, &Cancellation::new())?;
        let found = found.filter(|(_, recorded)| recorded.event.agent == *agent);
        let (_, recorded) = found.ok_or_else(|| Failure::new(code::DECISION_UNKNOWN))?;
        Ok(self.state.store.read(|world, _| {
            let explained = Explained::of(self, world, &recorded, |explanation| {
                let held = explanation.traced.iter();
                let held: Vec<_> = held.filter_map(|(name, traced)| own_capability(name, traced)).collect();
                let change = own_change(explanation.change.as_ref(), held.is_empty());
                (held, change)
            });
            let ((capabilities, change), now) = explained;
            let is_held = |name: &CapabilityName| capabilities.iter().any(|one| one.capability == *name);
            let decided = own_parameters(decided(&recorded), is_held);
            OwnExplanationAnswer { decided, now, capabilities, change }
        }))
    }

    /// The entry of a decision on a request of an agent.
    fn recorded_decision(
        &self,
        id: DecisionId,
        work: &Cancellation,
    ) -> Result<Option<(Entry, RecordedRequest)>, Failure> {
        let made = id.minted_at();
        let search = TermSearch {
            store: &self.state.store,
            any: vec![vec![vec![(EntryField::Decision, id.to_string())]]],
            from: 1,
            through: self.state.store.head().seq,
            times: TimeSpan {
                since: Some(made.plus_s(ENTRY_DELAY_S.saturating_neg())),
                until: Some(made.plus_s(ENTRY_DELAY_S)),
            },
            most: DECISION_ENTRIES_READ_MAX,
        };
        let mut found = None;
        search.run(work, |entries| {
            for entry in entries {
                if let Some(recorded) = RecordedRequest::of(entry).filter(|one| one.event.decision == id) {
                    found = Some((entry.clone(), recorded));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// What decides on a recorded request now.
struct Explained<'a> {
    traced: &'a [(&'a CapabilityName, Traced<'a>)],
    change: Option<AllowingChange>,
}

impl Explained<'_> {
    /// What `answer` makes of the explanation, and the decision on the present declarations.
    fn of<T>(
        services: &Services,
        world: &World,
        recorded: &RecordedRequest,
        answer: impl FnOnce(&Explained<'_>) -> T,
    ) -> (T, DecidedNowAnswer) {
        let context = DecisionContext {
            decision: recorded.event.decision,
            records: records(world),
            reading: ClockReading::at(recorded.at()),
            limits: &services.settings.tokens,
            digests: &services.state.digests,
            past: recorded.past(),
            disregarded: None,
        };
        let roles = recorded.roles(world);
        let by = Requester {
            agent: recorded.agent_id(world),
            instance: recorded.event.instance,
            name: &recorded.event.agent,
            roles: &roles,
            source: recorded.source(),
            // The entry does not say when the certificate expired.
            not_after: recorded.at().plus_s(services.settings.agent_life_s),
        };
        let asked: TrialRequest = recorded.request(world, &roles);
        let traced = trace_request(&context, &by, &asked);
        let trial = try_request(&context, &by, &asked);
        let snapshot = context.records.rules.snapshot_with(world.registry.declarations().snapshot()).hex();
        let same_declarations = snapshot == recorded.event.snapshot;
        let outcome = trial.outcome.as_str().into();
        let (change, now) = match &trial.outcome {
            TrialOutcome::Allowed { .. } => (None, (None, Vec::new())),
            TrialOutcome::Constrained { reasons, .. } => (None, (None, reasons.clone())),
            TrialOutcome::NeedsApproval(policies) => {
                let reason = |policy| format!("policy `{policy}` demands an approval");
                let code = code::APPROVAL_REQUIRED.as_str().to_owned();
                (None, (Some(code), policies.iter().map(reason).collect()))
            }
            TrialOutcome::Denied(refusal) => {
                let all: Vec<&Traced<'_>> = traced.iter().map(|(_, traced)| traced).collect();
                let change = AllowingChange::of(&context, &by, &asked, refusal, &all);
                let policy = refusal.policy.as_ref().map(|policy| policy.why.clone());
                let parameter = || refusal.parameter.as_ref().map(|fault| fault.why.clone());
                let reason = policy.or_else(parameter).unwrap_or_else(|| refusal.code.meaning().to_owned());
                (change, (Some(refusal.code.as_str().to_owned()), vec![reason]))
            }
        };
        let (code, reasons) = now;
        let is_denied = matches!(trial.outcome, TrialOutcome::Denied(_));
        let (outcome, code, reasons) = if recorded.lacks_what_decided() && !is_denied {
            let reason =
                "the entry does not have the resource, the actions and the parameters that the request named";
            (RecordedOutcome::Deny.as_str().into(), recorded.event.code.clone(), vec![reason.to_owned()])
        } else if trial.is_untested && !is_denied {
            let reason = "a policy tests a sensitive parameter, of which the entry has only a digest: the request cannot be decided again";
            ("unknown".into(), None, vec![reason.to_owned()])
        } else if recorded.used_approval() && matches!(trial.outcome, TrialOutcome::NeedsApproval(_)) {
            (recorded.outcome.as_str().into(), None, vec!["with the approval that it used".to_owned()])
        } else {
            (outcome, code, reasons)
        };
        let now = DecidedNowAnswer { same_declarations, outcome, code, reasons };
        (answer(&Explained { traced: &traced, change }), now)
    }
}

fn decided(recorded: &RecordedRequest) -> DecidedAnswer {
    DecidedAnswer {
        decision: recorded.event.decision,
        at: recorded.at().to_string(),
        action: Action::as_str(recorded.action).into(),
        outcome: recorded.outcome.as_str().into(),
        code: recorded.event.code.clone(),
        source: recorded.event.source.clone(),
        life_s: recorded.life_s(),
        approval: recorded.approval(),
        parameters: recorded.parameters().clone(),
    }
}

/// The decision as its agent sees it: without parameters of capabilities that the agent does not hold, which would show whether
/// they are declared, and without digests.
fn own_parameters(mut decided: DecidedAnswer, is_held: impl Fn(&CapabilityName) -> bool) -> DecidedAnswer {
    decided.parameters.retain(|name, _| is_held(name));
    decided.parameters.values_mut().for_each(RecordedParameters::forget_digests);
    decided
}

/// What an operator sees of the policies and roles that decide.
struct Seen<'a> {
    scope: &'a Scope,
    registry: &'a Registry,
}

impl Seen<'_> {
    fn role(&self, role: &RoleName) -> bool {
        self.scope.covers(self.registry.owners().of(&Owned::Role(role.clone())))
    }

    /// Whether the capability is within the scope. A name of nothing is only in the entry.
    fn covers(&self, name: &CapabilityName) -> bool {
        let owner = self.registry.owners().of(&Owned::Capability(name.clone()));
        self.registry.declarations().capability(name).is_none() || self.scope.covers(owner)
    }

    fn roles(&self, roles: &[RoleName]) -> Vec<RoleName> {
        roles.iter().filter(|role| self.role(role)).cloned().collect()
    }

    fn shows(&self, change: &AllowingChange) -> bool {
        match change {
            AllowingChange::HoldRole(role) => self.role(role),
            AllowingChange::ChangePolicy(_) | AllowingChange::NameFewer | AllowingChange::Declare => true,
        }
    }

    fn capability(&self, name: &CapabilityName, traced: &Traced<'_>) -> ExplainedCapabilityAnswer {
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
            TraceResult::ConditionUnmet => 1,
            TraceResult::Untested => 2,
            TraceResult::HeadUnfit(_) => 3,
        });
        let further_policies = policies.len().saturating_sub(EXPLAINED_POLICIES_MAX);
        let policies = policies.into_iter().take(EXPLAINED_POLICIES_MAX);
        let policies = policies.map(|one| match self.scope.covers(one.policy.owner.as_ref()) {
            true => policy(one),
            false => ExplainedPolicyAnswer { owner: None, approval: None, ..policy(one) },
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
fn own_capability(name: &CapabilityName, traced: &Traced<'_>) -> Option<OwnExplainedCapabilityAnswer> {
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
fn change(change: &AllowingChange) -> AllowingChangeAnswer {
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
fn own_change(allowing: Option<&AllowingChange>, holds_none: bool) -> Option<AllowingChangeAnswer> {
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
            let seen = Seen { scope: &Scope::Everything, registry: &registry };
            seen.capability(&"c.read".parse().unwrap(), &traced)
        };
        let (at_limit, beyond) = (traced(EXPLAINED_POLICIES_MAX), traced(EXPLAINED_POLICIES_MAX + 1));
        assert_eq!((at_limit.policies.len(), at_limit.further_policies), (EXPLAINED_POLICIES_MAX, 0));
        assert_eq!((beyond.policies.len(), beyond.further_policies), (EXPLAINED_POLICIES_MAX, 1));
        assert_eq!(beyond.policies[0].result, "denies");
    }
}
