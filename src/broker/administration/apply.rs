use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::plan_approval::{ApprovedDigests, ApprovedPlan, SecondOperator};
use super::plan_id::{is_plan_id, plan_digest, plan_id};
use super::upload::{Upload, Uploaded};
use crate::authn::OperatorPrincipal;
use crate::base::limits::EVENT_BYTES_MAX;
use crate::base::{AgentId, AgentName, Cancellation, Cancelled, Scope, code};
use crate::broker::administration::heavy::{HeavyRequest, Priority};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, ReadOutcome};
use crate::broker::declarations::losses::{Loss, losses};
use crate::broker::declarations::section::{Effects, NewAgent, PlanRules, SectionContext, SectionPlan};
use crate::broker::declarations::widening::Widening;
use crate::broker::failure::Failure;
use crate::broker::policies::rolled_back::RolledBack;
use crate::broker::reading::Reading;
use crate::broker::removals::{Ended, Removed};
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::crypto::Digest;
use crate::idempotency::{IdempotencyKey, Remembered};
use crate::ledger::AppendError;
use crate::policy::{Authorised, Declare, Right};
use crate::registry::{
    Action, DeclarationsApplied, DeclarationsNarrowed, ForeignNames, PlannedChange, RollbackText, Undeclared,
};
use crate::store::{Change, CommitError};
use crate::wire::NewOwnerAnswer;

/// The result of an application.
#[derive(Debug)]
pub struct Applied {
    /// The changes.
    pub changes: Vec<PlannedChange>,
    /// The owners that nothing had before.
    pub new_owners: Vec<NewOwnerAnswer>,
    /// The state of the application; `None` if there was nothing to change. Only removals can be in force in memory.
    pub done: Option<Ended>,
}

impl AdminServices {
    /// Brings about what `files` declare, in one append: all of it, or nothing. The request of `idempotency`
    /// does it once.
    ///
    /// # Errors
    /// [`Failure`] with the faults of the files, or when the changes are not those of the plan that is named; nothing was
    /// changed then.
    pub async fn apply(
        &self,
        by: &Authorised<Declare>,
        heavy: &HeavyRequest,
        uploaded: Uploaded,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Applied, Failure> {
        let mut upload = Upload::read(by.operator(), heavy, uploaded).await?;
        let (services, request) = (&*self.0, ChangeRequest::by(by.operator(), idempotency));
        upload.names.widening |= services.settings.widening_second_operator;
        let upload = Arc::new(upload);
        let rolled_back = Arc::new(self.rolled_back(heavy, &upload).await?);
        self.0.check_forms(by.operator(), heavy, &upload).await?;
        retry_on_conflict!(async {
            let (drawing, upload, key) = (Arc::clone(&self.0), Arc::clone(&upload), idempotency.cloned());
            let rolled_back = Arc::clone(&rolled_back);
            let drawn = heavy.run(Priority::Ordinary, move |work| {
                let request = ChangeRequest::by(&upload.operator, key.as_ref());
                let read = drawing.state.read_for(request, |reading| {
                    let drawn = drawing.draw(&upload, reading, work)?;
                    let demands = drawing.settings.widening_second_operator;
                    Ok((drawn, demands.then(|| SecondOperator::of(reading, &upload))))
                })?;
                Ok::<_, AttemptError>(match read {
                    ReadOutcome::Now((drawn, second), preconditions) => {
                        drawn.check(&upload, work)?;
                        let approved = drawn.approved(&drawing, &upload, second.as_ref(), work)?;
                        let rollback = drawn.rollback(&upload, (*rolled_back).as_ref())?;
                        let confirmed = Confirmed { rollback, approved: approved.as_ref() };
                        let (drawn, draft) = drawn.drafted(&upload.operator, confirmed)?;
                        ReadOutcome::Now((drawn, draft), preconditions)
                    }
                    ReadOutcome::Before(before) => ReadOutcome::Before(before),
                })
            });
            let ((drawn, draft), preconditions) = match drawn.await? {
                ReadOutcome::Now(drawn, preconditions) => (drawn, preconditions),
                ReadOutcome::Before(before) => return Ok(services.applied_before(&before)?),
            };
            // A request with a key has its entry even then: the same one later finds the same outcome.
            if drawn.changes.is_empty() && idempotency.is_none() {
                return Ok(Applied { changes: Vec::new(), new_owners: Vec::new(), done: None });
            }
            let (change, ()) = services.state.completed(request, draft, preconditions)?;
            let removed_agents = drawn.removals.removed_agents.clone();
            let applied = if drawn.removals.is_empty() {
                let committed = services.state.store.commit(change, ()).await;
                Removed::recorded(committed.map_err(|error| not_applied(error, drawn.changes.len()))?.seq())
            } else {
                services.apply_removals(request, change, drawn.removals).await?
            };
            services.notifications.revocations_changed();
            removed_agents.iter().for_each(|name| services.notifications.connections.forget(name));
            // The failures under the previous declaration say nothing about the corrected one.
            drawn.upstreams.places.iter().for_each(|place| services.close_circuit_of(place));
            services.notifications.rotations_changed();
            services.notifications.leases_changed();
            let done = Some(services.conclude(applied).await);
            Ok(Applied { changes: drawn.changes, new_owners: drawn.new_owners, done })
        })
    }

    /// The earlier version that `upload` names, by the ledger.
    async fn rolled_back(
        &self,
        heavy: &HeavyRequest,
        upload: &Arc<Upload>,
    ) -> Result<Option<RolledBack>, Failure> {
        if upload.asked.rollback.is_none() {
            return Ok(None);
        }
        let (services, upload) = (Arc::clone(&self.0), Arc::clone(upload));
        let search = heavy.run(Priority::Low, move |work| {
            let target = upload.asked.rollback.as_ref();
            let found = target.map(|target| services.rolled_back(upload.operator.scope(), target, work));
            found.transpose()
        });
        search.await
    }
}

/// A plan of an operator that does not declare tells it no names of other owners.
fn foreign_names(operator: &OperatorPrincipal) -> ForeignNames {
    let may_declare = Declare::NEED.roles.contains(&operator.role());
    if may_declare || *operator.scope() == Scope::Everything {
        ForeignNames::Told
    } else {
        ForeignNames::Hidden
    }
}

impl Services {
    /// What an application did before, as its entry says it.
    fn applied_before(&self, before: &Remembered) -> Result<Applied, Failure> {
        #[derive(serde::Deserialize)]
        struct Event {
            changes: Vec<PlannedChange>,
        }
        let entries = self.state.store.entries(before.seq, 1)?;
        if entries
            .first()
            .is_some_and(|entry| entry.kind == <DeclarationsNarrowed<'_> as crate::store::Event>::KIND)
        {
            return Err(Failure::new(code::MODIFIED_CONCURRENTLY)
                .because(format!(
                    "the declarations were changed while the data disk did not answer: ledger entry {} has only the \
                     removals of this application",
                    before.seq
                ))
                .mended_by("apply the files again, with a new Idempotency-Key"));
        }
        let event: Event = self.state.said(before)?;
        let done = Some(Ended::Recorded(before.seq));
        Ok(Applied { changes: event.changes, new_owners: Vec::new(), done })
    }

    pub(super) fn draw(
        &self,
        upload: &Upload,
        reading: &Reading<'_>,
        work: &Cancellation,
    ) -> Result<Drawn, Failure> {
        // No other application may have come between.
        reading.declared();
        if upload.unnamed == Undeclared::Prune || upload.names.losses || upload.names.widening {
            // Objects that are not named are pruned, and a plan names all agents that lose or get something: no object may
            // have been added meanwhile.
            reading.no_other_agents();
        }
        let (now, entropy) = (reading.now(), Arc::clone(&self.state.entropy));
        let new_agent: NewAgent = Arc::new(move || AgentId::mint(now, &*entropy));
        let ground = SectionContext {
            world: reading.unconditional(),
            now,
            scope: upload.operator.scope(),
            rules: PlanRules { unnamed: upload.unnamed, foreign_names: foreign_names(&upload.operator) },
            files: &upload.files,
            work,
            broker: &self.settings.tokens.broker,
            new_agent: &new_agent,
        };
        let (plan, effects) = upload.sections.plan(&ground)?;
        let losses = if upload.names.losses { losses(&ground, &plan)? } else { BTreeMap::new() };
        let widening =
            if upload.names.widening { Widening::of(&ground, &plan)? } else { Widening::default() };
        Ok(Drawn { plan, effects, as_of: reading.as_of(), losses, widening })
    }
}

/// A plan of an upload on the records as of an entry.
pub(super) struct Drawn {
    pub(super) plan: SectionPlan,
    effects: Vec<Effects>,
    pub(super) as_of: u64,
    pub(super) losses: BTreeMap<AgentName, Loss>,
    pub(super) widening: Widening,
}

impl Drawn {
    /// Its digest. This takes time, and needs no records.
    pub(super) fn digest(&self, upload: &Upload, work: &Cancellation) -> Result<Digest, Cancelled> {
        plan_digest(upload, &self.plan, &self.losses, &self.widening, work)
    }

    /// Checks that the request confirms what becomes newly reachable, and that a second operator approved it, if this broker
    /// demands that. Gives the approval.
    fn approved(
        &self,
        services: &Services,
        upload: &Upload,
        second: Option<&SecondOperator>,
        work: &Cancellation,
    ) -> Result<Option<ApprovedPlan>, Failure> {
        let is_wider = !self.widening.is_empty();
        if is_wider && !upload.asked.widen {
            return Err(self.widening.unconfirmed());
        }
        let Some(second) = second.filter(|_| is_wider) else {
            return match upload.asked.approval {
                Some(_) => Err(Failure::new(code::PLAN_APPROVAL_NOT_NEEDED)),
                None => Ok(None),
            };
        };
        let Some(approval) = &upload.asked.approval else {
            return Err(Failure::new(code::WIDENING_NEEDS_SECOND_OPERATOR));
        };
        let plan = self.digest(upload, work)?;
        let signed = services.approved_digest(&upload.asked, approval, plan, self.as_of, work)?;
        let digests = ApprovedDigests { plan, signed };
        second.check(upload, approval, &digests, services.state.clock.now()).map(Some)
    }

    /// Checks that it makes the earlier version that `upload` names.
    fn rollback<'a>(
        &self,
        upload: &'a Upload,
        rolled_back: Option<&RolledBack>,
    ) -> Result<Option<RollbackText<'a>>, Failure> {
        let Some((target, version)) = upload.asked.rollback.as_ref().zip(rolled_back) else {
            return Ok(None);
        };
        let changes = &self.plan.changes;
        if let Some(other) = version.other_change(changes) {
            let why = format!(
                "the application also changes the {} `{}`, which is no part of the version; nothing was changed",
                other.kind, other.name
            );
            let fix = "repeat `keyward policy rollback`: another operator may have applied declarations after the command read \
                       the present ones";
            return Err(Failure::new(code::ROLLBACK_DIFFERS).because(why).mended_by(fix));
        }
        if !version.is_made_by(&self.plan.after.rules) {
            return Err(Failure::new(code::ROLLBACK_DIFFERS));
        }
        // The version is the present one already: nothing is brought back.
        if changes.is_empty() {
            return Ok(None);
        }
        Ok(Some(RollbackText { policy: target.policy.as_ref(), to: version.hash() }))
    }

    /// Checks that it is the plan that `upload` names.
    fn check(&self, upload: &Upload, work: &Cancellation) -> Result<(), Failure> {
        let Some(named) = &upload.asked.plan else { return Ok(()) };
        if *named == plan_id(self.digest(upload, work)?) {
            return Ok(());
        }
        let outdated = Failure::new(code::PLAN_OUTDATED);
        if !is_plan_id(named) {
            return Err(outdated
                .because("the id of the plan is not complete: it has 32 characters, 0-9 and a-f; nothing was changed")
                .mended_by("copy the id from the last line of `keyward plan -f FILE`"));
        }
        let (made, fix) = match upload.unnamed {
            Undeclared::Keep => ("with `--prune`", "add `--prune`"),
            Undeclared::Prune => ("without `--prune`", "leave `--prune` out"),
        };
        Err(outdated.mended_by(format!(
            "if the plan was made {made}, {fix}; otherwise plan again with the same files (`keyward plan -f FILE`), read the \
             changes, then apply the plan of the new id"
        )))
    }

    /// The plan, and the effects of its application, for a state that no ledger records.
    pub(super) fn into_effects(
        self,
        operator: &OperatorPrincipal,
    ) -> Result<(SectionPlan, Vec<Effect>), Failure> {
        let (values_left_out, snapshot) = (0, self.plan.after.snapshot().hex());
        let event = DeclarationsApplied {
            operator: operator.name(),
            changes: &[],
            values_left_out,
            snapshot,
            rollback: None,
            approved: None,
        };
        let change = Change::new(&event)?;
        let change = self.effects.into_iter().fold(change, |change, add| add(change, self.as_of));
        Ok((self.plan, change.into_effects()))
    }

    /// The plan as one change. It advances everything that it touches, so that no mint decided before commits after.
    pub(super) fn drafted(
        self,
        operator: &OperatorPrincipal,
        confirmed: Confirmed<'_>,
    ) -> Result<(SectionPlan, ChangeDraft<()>), Failure> {
        let (recorded, values_left_out) = recorded(&self.plan.changes);
        let event = DeclarationsApplied {
            operator: operator.name(),
            changes: &recorded,
            values_left_out,
            snapshot: self.plan.after.snapshot().hex(),
            rollback: confirmed.rollback,
            approved: confirmed.approved.map(ApprovedPlan::text),
        };
        let change = Change::new(&event)?;
        let change = self.effects.into_iter().fold(change, |change, add| add(change, self.as_of));
        Ok((self.plan, ChangeDraft::of(change, ())))
    }
}

/// What an entry says of an application beside its changes.
#[derive(Default)]
pub(super) struct Confirmed<'a> {
    rollback: Option<RollbackText<'a>>,
    approved: Option<&'a ApprovedPlan>,
}

/// The failure to record so many changes: those that are too many for one entry have to be divided.
fn not_applied(error: CommitError, changes: usize) -> AttemptError {
    if matches!(error, CommitError::Append(AppendError::TooLarge)) {
        return too_large(changes).into();
    }
    error.into()
}

pub(super) fn too_large(changes: usize) -> Failure {
    let why = format!(
        "the {changes} changes do not fit into one ledger entry, which holds about 10,000; nothing was changed"
    );
    let fix = "divide the declarations into several files, capabilities and roles first, and apply one file after the other, \
               without `--prune`";
    Failure::new(code::ENTRY_TOO_LARGE).because(why).mended_by(fix)
}

/// The changes as the entry says them, and the number of those without their values. If all values are too long for one
/// entry, the values of objects that exist come first, then those of as many new objects as fit.
fn recorded(changes: &[PlannedChange]) -> (Cow<'_, [PlannedChange]>, usize) {
    // With the comma after it.
    let bytes =
        |one: &PlannedChange| serde_json::to_vec(one).map_or(usize::MAX, |text| text.len()).saturating_add(1);
    let sum = |all: &[PlannedChange]| all.iter().map(bytes).fold(0, usize::saturating_add);
    if sum(changes) <= CHANGES_BYTES_MAX {
        return (Cow::Borrowed(changes), 0);
    }
    let bare = |one: &PlannedChange| PlannedChange { values: Vec::new(), ..one.clone() };
    let mut shortened: Vec<PlannedChange> = changes.iter().map(bare).collect();
    let (mut used, mut left_out) = (sum(&shortened), 0_usize);
    for of_new in [false, true] {
        let is_next = |one: &PlannedChange| (one.action == Action::Create.as_str()) == of_new;
        for (short, whole) in shortened.iter_mut().zip(changes).filter(|(_, whole)| is_next(whole)) {
            let with = used.saturating_add(bytes(whole).saturating_sub(bytes(short)));
            if with <= CHANGES_BYTES_MAX {
                (*short, used) = (whole.clone(), with);
            } else {
                left_out = left_out.saturating_add(1);
            }
        }
    }
    (Cow::Owned(shortened), left_out)
}

/// Most bytes of changes in an entry, which has other fields too.
const CHANGES_BYTES_MAX: usize = EVENT_BYTES_MAX.saturating_sub(4096);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{ChangedValue, Noun};

    #[test]
    fn values_of_new_objects_give_way_to_those_of_changed_objects() {
        let text = "x".repeat(EVENT_BYTES_MAX / 4);
        let change = |action: Action, name: &str| PlannedChange {
            values: ChangedValue::single("audience", None, Some(&text)).into_iter().collect(),
            ..PlannedChange::new(action, Noun::Capability, name)
        };
        let [a, b, c, d] = [
            change(Action::Create, "a"),
            change(Action::Update, "b"),
            change(Action::Create, "c"),
            change(Action::Update, "d"),
        ];
        assert_eq!(recorded(&[a.clone(), b.clone()]).1, 0);
        let all = [a, b, c, d];
        let (changes, left_out) = recorded(&all);
        let with: Vec<&str> =
            changes.iter().filter(|one| !one.values.is_empty()).map(|one| &*one.name).collect();
        assert_eq!((with.as_slice(), changes.len(), left_out), (&["a", "b", "d"][..], 4, 1));
        assert!(serde_json::to_vec(&*changes).unwrap().len() <= CHANGES_BYTES_MAX);
    }
}
