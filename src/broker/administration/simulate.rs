//! Replays of recorded requests against declarations that are not applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::entry_filter::{moment, refused};
use super::entry_reads::TermSearch;
use super::upload::{Upload, Uploaded};
use crate::authn::Records;
use crate::base::limits::{SIMULATED_CHANGES_MAX, SIMULATED_ENTRIES_READ_MAX, SIMULATED_REQUESTS_MAX};
use crate::base::{AgentName, Cancellation, CapabilityName, DecisionId, RoleName, Timestamp};
use crate::broker::administration::heavy::{HeavyRequest, Priority};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::policies::recorded_request::{Part, RecordedRequest, decision_names};
use crate::broker::policies::replay::Replay;
use crate::broker::services::Services;
use crate::broker::world::{Effect, World, records};
use crate::policy::{Authorised, SimulateDeclarations, Trial, TrialOutcome, try_request};
use crate::postings::TimeSpan;
use crate::registry::Registry;
use crate::rules::Rules;
use crate::store::At;
use crate::wire::{EntryField, NotReplayedAnswer, SimulatedChangeAnswer, SimulationAnswer};

/// Which recorded requests are replayed.
#[derive(Clone, Debug)]
pub struct ReplayedSpan {
    /// The earliest time, in RFC 3339, or a length of time before now.
    pub since: String,
    /// Only requests of entries before this one.
    pub before: Option<u64>,
}

/// Requests that are replayed under one hold of the state's lock.
const REPLAYED_AT_ONCE: usize = 32;
/// With more policies, fewer requests are replayed at once.
const POLICIES_AT_ONCE: usize = 256;

impl AdminServices {
    /// Replays recorded requests on the present declarations and on those that the files would make of them, and compares.
    /// Agents have their present roles, or those of the files. Nothing is changed.
    ///
    /// # Errors
    /// [`Failure`] with the faults of the files, or if the ledger is damaged there.
    pub async fn simulate(
        &self,
        by: &Authorised<SimulateDeclarations>,
        heavy: &HeavyRequest,
        uploaded: Uploaded,
        span: &ReplayedSpan,
    ) -> Result<SimulationAnswer, Failure> {
        let mut upload = Upload::read(by.operator(), heavy, uploaded).await?;
        upload.names.widening = false;
        let now = self.0.state.clock.now();
        let since = moment("since", Some(&span.since), now)?;
        if since.is_some_and(|since| since > now) {
            // No request is that new: an empty answer would say that the files change no decision.
            let future = refused("since", "is in the future");
            return Err(future.mended_by("name a past time, or a length of time before now, e.g. `7d`"));
        }
        let (services, before) = (Arc::clone(&self.0), span.before);
        heavy.run(Priority::Ordinary, move |work| services.simulate(&upload, since, before, work)).await
    }
}

impl Services {
    fn simulate(
        &self,
        upload: &Upload,
        since: Option<Timestamp>,
        before: Option<u64>,
        work: &Cancellation,
    ) -> Result<SimulationAnswer, Failure> {
        let (requests, next_before) = self.recorded_requests(since, before, work)?;
        let agents: BTreeSet<&AgentName> = requests.iter().map(|one| &one.event.agent).collect();
        let draft = self.draft(upload, &agents, work)?;
        let mut found = Differences::default();
        let policies = draft.rules.policies().count();
        let share = policies.saturating_div(POLICIES_AT_ONCE).saturating_add(1);
        let at_once = REPLAYED_AT_ONCE.checked_div(share).unwrap_or(1).max(1);
        for batch in requests.chunks(at_once) {
            work.step()?;
            self.state.store.read(|world, _| {
                for request in batch {
                    match request.not_recorded() {
                        Some(missing) => found.note_not_replayed(missing.part.into()),
                        None => found.note(request, &self.replays(world, &draft, request)),
                    }
                }
            });
        }
        let count = u64::try_from(requests.len()).unwrap_or(u64::MAX);
        Ok(found.answer(count, next_before))
    }

    /// The recorded requests, the newest first, and the entry before which the next ones are.
    fn recorded_requests(
        &self,
        since: Option<Timestamp>,
        before: Option<u64>,
        work: &Cancellation,
    ) -> Result<(Vec<RecordedRequest>, Option<u64>), Failure> {
        let kinds = decision_names().map(|name| (EntryField::Kind, name.to_owned())).collect();
        let head = self.state.store.head().seq;
        let search = TermSearch {
            store: &self.state.store,
            any: vec![vec![kinds]],
            from: 1,
            through: before.map_or(head, |before| before.saturating_sub(1).min(head)),
            times: TimeSpan { since, until: None },
            most: SIMULATED_ENTRIES_READ_MAX,
        };
        let mut requests: Vec<RecordedRequest> = Vec::new();
        let searched_from = search.run(work, |entries| {
            let in_time = entries.iter().filter(|entry| since.is_none_or(|since| entry.time >= since));
            requests.extend(in_time.filter_map(RecordedRequest::of));
            Ok(())
        })?;
        Ok(part(requests, searched_from))
    }

    /// The records that decisions read, as the files would make them.
    fn draft(
        &self,
        upload: &Upload,
        agents: &BTreeSet<&AgentName>,
        work: &Cancellation,
    ) -> Result<Draft, Failure> {
        let (drawn, _) = self.state.read(|reading| {
            let registry = reading.unconditional().registry.reduced_to(agents.iter().copied());
            Ok::<_, Failure>((self.draw(upload, reading, work)?, registry))
        });
        let (drawn, mut registry) = drawn?;
        let (plan, effects) = drawn.into_effects(&upload.operator)?;
        let at = At { seq: 0, time: self.state.clock.now() };
        for effect in &effects {
            if let Effect::Registry(effect) = effect {
                registry.apply(at, effect);
            }
        }
        Ok(Draft { registry, rules: plan.after.rules })
    }

    /// The decisions on a recorded request: by the present records, and by the draft.
    fn replays(&self, world: &World, draft: &Draft, request: &RecordedRequest) -> Replays {
        let present = records(world);
        let drafted = Records { registry: &draft.registry, rules: &draft.rules, ..present };
        Replays {
            present: self.replay(world, present, request),
            drafted: self.replay(world, drafted, request),
        }
    }

    fn replay(&self, world: &World, records: Records<'_>, request: &RecordedRequest) -> Option<Trial> {
        let agent = records.registry.agent_named(&request.event.agent)?;
        let roles: &BTreeSet<RoleName> = &agent.roles;
        let Replay { context, by } = Replay::of(self, records, request, agent.id, roles);
        Some(try_request(&context, &by, &request.request(world.registry.declarations(), roles)))
    }
}

/// The requests of one part of a simulation, the newest first, and the entry before which the next ones are.
fn part(mut requests: Vec<RecordedRequest>, searched_from: u64) -> (Vec<RecordedRequest>, Option<u64>) {
    requests.sort_by_key(|one| std::cmp::Reverse(one.seq));
    let mut next = Some(searched_from).filter(|from| *from > 1);
    if let Some(further) = requests.get(SIMULATED_REQUESTS_MAX) {
        next = Some(further.seq.saturating_add(1));
        requests.truncate(SIMULATED_REQUESTS_MAX);
    }
    (requests, next)
}

/// Records as the files would make them.
struct Draft {
    registry: Registry,
    rules: Rules,
}

/// What one capability of a request gets.
enum Replayed {
    Granted,
    Approval,
    Denied,
}

/// The decisions on one request; `None` if the agent does not exist.
struct Replays {
    present: Option<Trial>,
    drafted: Option<Trial>,
}

/// How a capability of a request is decided otherwise.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Difference {
    NewlyAllowed,
    NewlyDenied,
    NewlyApproval,
    ShorterLife,
    LongerLife,
}

impl Difference {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NewlyAllowed => "newly-allowed",
            Self::NewlyDenied => "newly-denied",
            Self::NewlyApproval => "newly-needing-approval",
            Self::ShorterLife => "shorter-life",
            Self::LongerLife => "longer-life",
        }
    }

    /// The difference for one capability. A request that used an approval has it in both.
    fn of(
        present: Option<&Trial>,
        drafted: Option<&Trial>,
        name: &CapabilityName,
        used_approval: bool,
    ) -> Option<Self> {
        let result = |trial: Option<&Trial>| match trial {
            Some(trial) if !trial.granted.contains(name) => Replayed::Denied,
            Some(Trial { outcome: TrialOutcome::NeedsApproval(_), .. }) if !used_approval => {
                Replayed::Approval
            }
            Some(_) => Replayed::Granted,
            None => Replayed::Denied,
        };
        match (result(present), result(drafted)) {
            (Replayed::Denied, Replayed::Denied) | (Replayed::Approval, Replayed::Approval) => None,
            (Replayed::Denied | Replayed::Approval, Replayed::Granted) => Some(Self::NewlyAllowed),
            (Replayed::Denied | Replayed::Granted, Replayed::Approval) => Some(Self::NewlyApproval),
            (Replayed::Granted | Replayed::Approval, Replayed::Denied) => Some(Self::NewlyDenied),
            (Replayed::Granted, Replayed::Granted) => {
                let life = |trial: Option<&Trial>| trial.and_then(|trial| trial.outcome.life_s());
                let (before, after) = (life(present)?, life(drafted)?);
                match after.cmp(&before) {
                    std::cmp::Ordering::Less => Some(Self::ShorterLife),
                    std::cmp::Ordering::Equal => None,
                    std::cmp::Ordering::Greater => Some(Self::LongerLife),
                }
            }
        }
    }
}

/// The requests that are decided otherwise, by agent, capability and difference.
#[derive(Default)]
struct Differences {
    found: BTreeMap<(AgentName, CapabilityName, Difference), Counted>,
    /// Requests whose entries do not have what decides.
    not_replayed: NotReplayedAnswer,
}

/// The part of a request that decides and is not in its entry.
#[derive(Clone, Copy, Debug)]
enum NotReplayed {
    SensitiveParameter,
    RefusedParameters,
    Target,
}

impl From<Part> for NotReplayed {
    fn from(part: Part) -> Self {
        match part {
            Part::Parameters => Self::RefusedParameters,
            Part::Target => Self::Target,
        }
    }
}

struct Counted {
    requests: u64,
    decision: DecisionId,
    rules: Vec<String>,
}

impl Differences {
    fn note_not_replayed(&mut self, cause: NotReplayed) {
        let NotReplayedAnswer { sensitive_parameter, refused_parameters, target } = &mut self.not_replayed;
        let count = match cause {
            NotReplayed::SensitiveParameter => sensitive_parameter,
            NotReplayed::RefusedParameters => refused_parameters,
            NotReplayed::Target => target,
        };
        *count = count.saturating_add(1);
    }

    /// The newest requests come first.
    fn note(&mut self, request: &RecordedRequest, Replays { present, drafted }: &Replays) {
        if present.iter().chain(drafted).any(|trial| trial.is_untested) {
            self.note_not_replayed(NotReplayed::SensitiveParameter);
            return;
        }
        let granted = |trial: &Option<Trial>| trial.iter().flat_map(|one| one.granted.clone()).collect();
        let (before, after): (BTreeSet<CapabilityName>, BTreeSet<CapabilityName>) =
            (granted(present), granted(drafted));
        for name in before.union(&after) {
            let used_approval = request.used_approval();
            let difference = Difference::of(present.as_ref(), drafted.as_ref(), name, used_approval);
            let Some(difference) = difference else { continue };
            let key = (request.event.agent.clone(), name.clone(), difference);
            let counted = self.found.entry(key).or_insert_with(|| Counted {
                requests: 0,
                decision: request.event.decision,
                rules: drafted.as_ref().map(|trial| trial.rules.clone()).unwrap_or_default(),
            });
            counted.requests = counted.requests.saturating_add(1);
        }
    }

    fn answer(self, requests: u64, next_before: Option<u64>) -> SimulationAnswer {
        let (not_replayed, not_replayed_causes) = (self.not_replayed.total(), self.not_replayed);
        let further = self.found.len().saturating_sub(SIMULATED_CHANGES_MAX);
        let changes = self.found.into_iter().take(SIMULATED_CHANGES_MAX);
        let change = |((agent, capability, difference), counted): (_, Counted)| SimulatedChangeAnswer {
            agent,
            capability,
            change: Difference::as_str(difference).into(),
            requests: counted.requests,
            decision: counted.decision,
            rules: counted.rules,
        };
        SimulationAnswer {
            requests,
            not_replayed,
            not_replayed_causes,
            changes: changes.map(change).collect(),
            further,
            next_before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn so_many_requests_are_replayed_at_once() {
        let requests = |count: usize| -> Vec<RecordedRequest> {
            (1..=count).map(|seq| RecordedRequest::example(u64::try_from(seq).unwrap())).collect()
        };
        let (whole, next) = part(requests(SIMULATED_REQUESTS_MAX), 1);
        assert_eq!((whole.len(), whole[0].seq, next), (SIMULATED_REQUESTS_MAX, 5_000, None));
        let (first, next) = part(requests(SIMULATED_REQUESTS_MAX + 1), 1);
        assert_eq!((first.len(), first[0].seq, next), (SIMULATED_REQUESTS_MAX, 5_001, Some(2)));
        assert_eq!(part(requests(1), 7).1, Some(7), "not all entries were searched");
    }

    #[test]
    fn so_many_changes_are_listed() {
        let of = |count: usize| {
            let mut found = Differences::default();
            for number in 0..count {
                let agent: AgentName = format!("a-{number}").parse().unwrap();
                let key = (agent, "c.read".parse().unwrap(), Difference::NewlyDenied);
                let decision = DecisionId::mint(Timestamp::from_s(1_800_000_000), &SystemEntropy);
                found.found.insert(key, Counted { requests: 1, decision, rules: Vec::new() });
            }
            let answer = found.answer(0, None);
            (answer.changes.len(), answer.further)
        };
        assert_eq!(of(SIMULATED_CHANGES_MAX), (SIMULATED_CHANGES_MAX, 0));
        assert_eq!(of(SIMULATED_CHANGES_MAX + 1), (SIMULATED_CHANGES_MAX, 1));
    }
}
