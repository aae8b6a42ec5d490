use std::collections::BTreeMap;
use std::sync::Arc;

use super::apply::{Confirmed, too_large};
use super::plan_id::plan_id;
use super::upload::{Upload, Uploaded};
use crate::base::limits::{
    LOSS_NAMES_LISTED_MAX, LOSSES_LISTED_MAX, PAGE_ENTRIES_MAX, PLAN_ENTRIES_READ_MAX, TOKEN_LIFE_MAX_S,
};
use crate::base::{AgentName, Cancellation, CapabilityName, InstanceId, Timestamp};
use crate::broker::administration::heavy::{HeavyRequest, Priority};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::ChangeRequest;
use crate::broker::declarations::losses::Loss;
use crate::broker::declarations::section::SectionPlan;
use crate::broker::declarations::widened::Widened;
use crate::broker::declarations::widening::Widening;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::ledger::{AppendError, Entry, Kind};
use crate::policy::{Authorised, PlanDeclarations};
use crate::registry::PlannedChange;
use crate::store::CommitError;
use crate::token::TokenMinted;
use crate::wire::{
    LiveCounts, LossAnswer, LossesAnswer, NewOwnerAnswer, PlanToApproveAnswer, UnchangedObject,
    WidenedAnswer, WideningAnswer,
};

/// A plan: the changes of an application, and what agents lose by them.
#[derive(Debug)]
pub struct Planned {
    /// The changes.
    pub changes: Vec<PlannedChange>,
    /// The id; an application that names it makes exactly these changes.
    pub id: String,
    /// What agents lose; `None` if they lose nothing.
    pub losses: Option<LossesAnswer>,
    /// What becomes newly reachable; `None` if that is nothing.
    pub widening: Option<WideningAnswer>,
    /// What a second operator signs, if one has to approve the plan.
    pub to_approve: Option<PlanToApproveAnswer>,
    /// The owners that nothing had before.
    pub new_owners: Vec<NewOwnerAnswer>,
    /// Declared objects with an upstream that it does not change.
    pub unchanged: Vec<UnchangedObject>,
}

impl AdminServices {
    /// The changes of [`AdminServices::apply`], without making them.
    ///
    /// # Errors
    /// [`Failure`] with the faults of the files, or when they are too much for one application.
    pub async fn plan(
        &self,
        by: &Authorised<PlanDeclarations>,
        heavy: &HeavyRequest,
        uploaded: Uploaded,
    ) -> Result<Planned, Failure> {
        let mut upload = Upload::read(by.operator(), heavy, uploaded).await?;
        (upload.names.losses, upload.names.widening) = (true, true);
        let services = Arc::clone(&self.0);
        let planned = heavy.run(Priority::Ordinary, move |work| {
            let request = ChangeRequest::by(&upload.operator, None);
            let (drawn, preconditions) = services.state.read(|reading| services.draw(&upload, reading, work));
            let mut drawn = drawn?;
            let digest = drawn.digest(&upload, work)?;
            let is_approved = services.settings.widening_second_operator && !drawn.widening.is_empty();
            let to_approve = is_approved
                .then(|| services.to_approve(digest, drawn.as_of, upload.asked.rollback.as_ref()))
                .transpose()?;
            let id = plan_id(digest);
            let losses = std::mem::take(&mut drawn.losses);
            let widening = Some(&drawn.widening).filter(|widening| !widening.is_empty()).map(widened);
            let (plan, draft) = drawn.drafted(&upload.operator, Confirmed::default())?;
            let fits = services.state.completed(request, draft, preconditions)?.0.fits::<World>();
            let is_too_large =
                |error: &CommitError| matches!(error, CommitError::Append(AppendError::TooLarge));
            if fits.as_ref().is_err_and(is_too_large) {
                return Err(too_large(plan.changes.len()));
            }
            fits?;
            let SectionPlan { changes, new_owners, upstreams, .. } = plan;
            let unchanged = upstreams.unchanged;
            let planned = Planned { changes, id, losses: None, widening, to_approve, new_owners, unchanged };
            Ok::<_, Failure>((planned, losses))
        });
        let (planned, losses) = planned.await?;
        if losses.is_empty() {
            return Ok(planned);
        }
        let services = Arc::clone(&self.0);
        let counted = heavy.run(Priority::Low, move |work| {
            let tokens = services.count_tokens(&losses, work)?;
            Ok::<_, Failure>(answer(&losses, &tokens))
        });
        Ok(Planned { losses: Some(counted.await?), ..planned })
    }
}

fn widened(widening: &Widening) -> WideningAnswer {
    let answer = |one: &Widened| {
        let (cause, what) = one.cause_text();
        WidenedAnswer {
            agent: one.agent.clone(),
            capability: one.capability.clone(),
            environment: one.environment.clone(),
            cause: cause.into(),
            what,
        }
    };
    let (further, others) = (widening.further, widening.others);
    WideningAnswer { items: widening.items.iter().map(answer).collect(), further, others }
}

/// Tokens that have not expired and end by a plan.
#[derive(Debug, Default)]
struct EndingTokens {
    of: BTreeMap<AgentName, usize>,
    /// Whether all entries of the longest life of a token were read.
    is_complete: bool,
}

/// The fields of [`TokenMinted`] that say whether a token ends.
#[derive(serde::Deserialize)]
struct Minted {
    agent: AgentName,
    instance: InstanceId,
    capabilities: Vec<CapabilityName>,
    life_s: u32,
}

impl Minted {
    /// The token of `entry`, if it has not expired at `now`.
    fn of(entry: &Entry, now: Timestamp) -> Option<Self> {
        const MINTED: Kind = <TokenMinted<'_> as crate::store::Event>::KIND;
        let minted: Self = serde_json::from_slice(&entry.event).ok().filter(|_| entry.kind == MINTED)?;
        (entry.time.plus_s(i64::from(minted.life_s)) > now).then_some(minted)
    }

    fn ends(&self, losses: &BTreeMap<AgentName, Loss>) -> bool {
        let loss = losses.get(&self.agent).filter(|loss| loss.instances.contains(&self.instance));
        loss.is_some_and(|loss| self.capabilities.iter().any(|name| loss.ends(name)))
    }
}

impl Services {
    /// The tokens that end by `losses`, as the newest entries of the ledger say.
    fn count_tokens(
        &self,
        losses: &BTreeMap<AgentName, Loss>,
        work: &Cancellation,
    ) -> Result<EndingTokens, Failure> {
        let now = self.state.clock.now();
        let oldest = now.plus_s(TOKEN_LIFE_MAX_S.saturating_neg());
        let head = self.state.store.head().seq;
        let first = first_read(head);
        let mut ending = EndingTokens { is_complete: first == 1, ..EndingTokens::default() };
        let page = u64::try_from(PAGE_ENTRIES_MAX).unwrap_or(u64::MAX);
        let mut last = head;
        while last >= first {
            work.step()?;
            let from = last.saturating_sub(page.saturating_sub(1)).max(first);
            let entries = self.state.store.entries(from, PAGE_ENTRIES_MAX)?;
            for minted in entries.iter().filter(|one| one.seq <= last).filter_map(|one| Minted::of(one, now))
            {
                if minted.ends(losses) {
                    let count = ending.of.entry(minted.agent).or_default();
                    *count = count.saturating_add(1);
                }
            }
            if entries.first().is_some_and(|entry| entry.time < oldest) {
                ending.is_complete = true;
                break;
            }
            last = from.saturating_sub(1);
        }
        Ok(ending)
    }
}

/// The first of the entries up to `head` that are read.
const fn first_read(head: u64) -> u64 {
    head.saturating_sub(PLAN_ENTRIES_READ_MAX).saturating_add(1)
}

fn answer(losses: &BTreeMap<AgentName, Loss>, tokens: &EndingTokens) -> LossesAnswer {
    let live = |name: &AgentName, loss: &Loss| LiveCounts {
        instances: loss.instances.len(),
        tokens: tokens.of.get(name).copied().unwrap_or_default(),
        leases: loss.leases,
    };
    let within = || losses.iter().filter(|(_, loss)| loss.is_within);
    let sum =
        within().map(|(name, loss)| live(name, loss)).fold(LiveCounts::default(), |sum, one| LiveCounts {
            instances: sum.instances.saturating_add(one.instances),
            tokens: sum.tokens.saturating_add(one.tokens),
            leases: sum.leases.saturating_add(one.leases),
        });
    let mut names = 0_usize;
    let listed = within().take(LOSSES_LISTED_MAX).take_while(|(_, loss)| {
        let is_first = names == 0;
        names = names.saturating_add(loss.access.names().max(1));
        is_first || names <= LOSS_NAMES_LISTED_MAX
    });
    let items = listed.map(|(name, loss)| LossAnswer {
        agent: name.clone(),
        removed: loss.is_removed,
        capabilities: loss.access.capabilities.iter().cloned().collect(),
        redelivered: loss.access.redelivered.iter().cloned().collect(),
        secrets: loss.access.secrets.iter().cloned().collect(),
        other_capabilities: loss.access.other_capabilities,
        other_secrets: loss.access.other_secrets,
        live: live(name, loss),
    });
    let agents = within().count();
    LossesAnswer {
        items: items.collect(),
        agents,
        other_agents: losses.len().saturating_sub(agents),
        live: sum,
        tokens_complete: tokens.is_complete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::declarations::losses::LostAccess;

    #[test]
    fn so_many_entries_are_read_for_tokens() {
        assert_eq!(first_read(PLAN_ENTRIES_READ_MAX), 1);
        assert_eq!(first_read(PLAN_ENTRIES_READ_MAX + 1), 2);
    }

    #[test]
    fn so_many_agents_that_lose_something_are_listed() {
        let losses = |count: usize| -> BTreeMap<AgentName, Loss> {
            let one = |number: usize| {
                (format!("a-{number}").parse().unwrap(), Loss { is_within: true, ..Loss::default() })
            };
            (0..count).map(one).collect()
        };
        for count in [LOSSES_LISTED_MAX, LOSSES_LISTED_MAX + 1] {
            let answer = answer(&losses(count), &EndingTokens::default());
            assert_eq!((answer.items.len(), answer.agents), (LOSSES_LISTED_MAX, count));
        }
    }

    #[test]
    fn so_many_lost_names_are_listed() {
        let losing = |names: usize| {
            let name = |number: usize| format!("c.n{number}").parse().unwrap();
            let capabilities = (0..names).map(name).collect();
            let mut access = LostAccess::default();
            access.capabilities = capabilities;
            Loss { is_within: true, access: Arc::new(access), ..Loss::default() }
        };
        for (second, listed) in [(1, 2), (2, 1)] {
            let losses = [("a", losing(LOSS_NAMES_LISTED_MAX - 1)), ("b", losing(second))];
            let losses = losses.into_iter().map(|(name, loss)| (name.parse().unwrap(), loss)).collect();
            let answer = answer(&losses, &EndingTokens::default());
            assert_eq!((answer.items.len(), answer.agents), (listed, 2));
        }
    }
}
