use super::change::AllowingChange;
use super::declared_as_of::DeclaredAsOf;
use super::explanation_views::{Seen, change, own_capability, own_change};
use super::recorded_request::{Part, RecordedRequest};
use super::replay::Replay;
use crate::authn::{AgentPrincipal, Records};
use crate::base::limits::DECISION_ENTRIES_READ_MAX;
use crate::base::{AgentName, Cancellation, CapabilityName, DecisionId, RecordedParameters, code};
use crate::broker::administration::entry_reads::TermSearch;
use crate::broker::caller_services::{AdminServices, AgentServices};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::{World, records};
use crate::ledger::Entry;
use crate::policy::{Authorised, ReadLedger, Traced, TrialOutcome, TrialRequest, trace_request, try_request};
use crate::postings::TimeSpan;
use crate::rules::Action;
use crate::wire::{
    DecidedAnswer, DecidedNowAnswer, EntryField, ExplainedThenAnswer, ExplanationAnswer, OwnExplanationAnswer,
};

/// The outcome of a request that cannot be decided again.
const UNKNOWN: &str = "unknown";

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
        let (then, then_left_out) = match self.0.declared_at_decision(&recorded, work)? {
            DecidedBy::Present => (None, None),
            DecidedBy::Earlier(then) => (Some(then), None),
            DecidedBy::Unknown(why) => (None, Some(why.to_owned())),
        };
        Ok(self.0.state.store.read(|world, _| {
            let lacks_parameters = recorded.not_recorded().is_some_and(|one| one.part == Part::Parameters);
            let seen = Seen { scope: by.operator().scope(), registry: &world.registry, lacks_parameters };
            let then = then.as_ref().map(|then| explained_then(&self.0, world, &recorded, then, &seen));
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
                then,
                then_left_out,
                capabilities,
                change,
            }
        }))
    }
}

/// What each rule of then says of the request, by the roles of then. The agent's owner and person and the sensitivity of
/// secrets are the present ones.
fn explained_then(
    services: &Services,
    world: &World,
    recorded: &RecordedRequest,
    then: &DeclaredAsOf,
    seen: &Seen<'_>,
) -> ExplainedThenAnswer {
    let registry = world.registry.reduced_to([&recorded.event.agent]).declaring(&then.declarations);
    let records = Records { registry: &registry, rules: &then.rules, ..records(world) };
    let roles = recorded.roles(world);
    let Replay { context, by } = Replay::of(services, records, recorded, recorded.agent_id(world), &roles);
    let asked = recorded.request(&then.declarations, &roles);
    let traced = trace_request(&context, &by, &asked);
    let capabilities = traced.iter().filter(|(name, _)| seen.covers(name));
    let capabilities = capabilities.map(|(name, traced)| seen.capability(name, traced)).collect();
    ExplainedThenAnswer { seq: then.seq, capabilities }
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

    /// The declarations that decided.
    fn declared_at_decision(
        &self,
        recorded: &RecordedRequest,
        work: &Cancellation,
    ) -> Result<DecidedBy, Failure> {
        let is_present = |world: &World| snapshot_of(records(world)) == recorded.event.snapshot;
        if self.state.store.read(|world, _| is_present(world)) {
            return Ok(DecidedBy::Present);
        }
        Ok(match self.declared_as_of(recorded.seq, work)? {
            None => DecidedBy::Unknown("more ledger entries made them than one request reads"),
            Some(then) if then.snapshot().hex() == recorded.event.snapshot => DecidedBy::Earlier(then),
            // An entry that is not read has the hash of other declarations.
            Some(_) => DecidedBy::Unknown("the ledger entries that made them cannot all be read"),
        })
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

/// The declarations that decided on a recorded request.
enum DecidedBy {
    /// The present ones.
    Present,
    /// Earlier ones.
    Earlier(DeclaredAsOf),
    /// Earlier ones that cannot be made again, and why.
    Unknown(&'static str),
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
        let roles = recorded.roles(world);
        let agent = recorded.agent_id(world);
        let Replay { context, by } = Replay::of(services, records(world), recorded, agent, &roles);
        let asked: TrialRequest = recorded.request(world.registry.declarations(), &roles);
        let traced = trace_request(&context, &by, &asked);
        let trial = try_request(&context, &by, &asked);
        let same_declarations = snapshot_of(context.records) == recorded.event.snapshot;
        let outcome = trial.outcome.kind().as_str().into();
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
        // A denial for another reason holds for any parameters, audience and actions.
        let not_recorded = recorded.not_recorded().filter(|_| !is_denied);
        let (outcome, code, reasons) = if let Some(missing) = not_recorded {
            (UNKNOWN.into(), None, missing.reasons())
        } else if trial.is_untested && !is_denied {
            let reason = "a policy tests a sensitive parameter, of which the entry has only a digest: the request cannot be decided again";
            (UNKNOWN.into(), None, vec![reason.to_owned()])
        } else if recorded.used_approval() && matches!(trial.outcome, TrialOutcome::NeedsApproval(_)) {
            (recorded.outcome.as_str().into(), None, vec!["with the approval that it used".to_owned()])
        } else {
            (outcome, code, reasons)
        };
        let now = DecidedNowAnswer { same_declarations, outcome, code, reasons };
        (answer(&Explained { traced: &traced, change }), now)
    }
}

/// The hash of the policy snapshot.
fn snapshot_of(records: Records<'_>) -> String {
    records.rules.snapshot_with(records.registry.declarations().snapshot()).hex()
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
