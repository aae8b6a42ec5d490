use std::sync::Arc;

use crate::authn::OperatorPrincipal;
use crate::base::{AgentId, Cancellation, code};
use crate::broker::administration::heavy::{HeavyRequest, Priority};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, ReadOutcome};
use crate::broker::declarations::section::{Effects, NewAgent, SectionContext, SectionPlan};
use crate::broker::declarations::sections::Sections;
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::removals::{Ended, Removed};
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::config::SourceFile;
use crate::idempotency::{IdempotencyKey, Remembered};
use crate::policy::{Authorised, Declare};
use crate::registry::{DeclarationsApplied, DeclarationsNarrowed, PlannedChange, Undeclared};
use crate::store::Change;

/// The result of an application or a plan.
#[derive(Debug)]
pub struct Applied {
    /// The changes.
    pub changes: Vec<PlannedChange>,
    /// The state of the application; `None` for a plan. Only removals can be in force in memory.
    pub done: Option<Ended>,
}

/// Declaration files that an operator uploaded.
#[derive(Debug)]
pub struct Uploaded {
    /// The files.
    pub files: Vec<SourceFile>,
    /// The treatment of objects that the files do not name.
    pub unnamed: Undeclared,
}

impl AdminServices {
    /// The changes of [`AdminServices::apply`], without making them.
    ///
    /// # Errors
    /// [`Failure`] with the faults of the files, or when they are too much for one application.
    pub async fn plan(
        &self,
        by: &Authorised<Declare>,
        heavy: &HeavyRequest,
        uploaded: Uploaded,
    ) -> Result<Applied, Failure> {
        let upload = Upload::read(by, heavy, uploaded).await?;
        let services = Arc::clone(&self.0);
        let planned = heavy.run(Priority::Ordinary, move |work| {
            let request = ChangeRequest::by(&upload.operator, None);
            let (planned, preconditions) =
                services.state.read(|reading| services.draw(&upload, reading, work));
            let (drawn, effects, as_of) = planned?;
            let draft = drafted(&upload.operator, &drawn, effects, as_of)?;
            services.state.completed(request, draft, preconditions)?.0.fits::<World>()?;
            Ok(Applied { changes: drawn.changes, done: None })
        });
        planned.await
    }

    /// Brings about what `files` declare, in one append: all of it, or nothing. The request of `idempotency`
    /// does it once.
    ///
    /// # Errors
    /// [`Failure`] with the faults of the files; nothing was changed then.
    pub async fn apply(
        &self,
        by: &Authorised<Declare>,
        heavy: &HeavyRequest,
        uploaded: Uploaded,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Applied, Failure> {
        let upload = Arc::new(Upload::read(by, heavy, uploaded).await?);
        let (services, request) = (&*self.0, ChangeRequest::by(by.operator(), idempotency));
        retry_on_conflict!(async {
            let (drawing, upload, key) = (Arc::clone(&self.0), Arc::clone(&upload), idempotency.cloned());
            let drawn = heavy.run(Priority::Ordinary, move |work| {
                let request = ChangeRequest::by(&upload.operator, key.as_ref());
                let read = drawing.state.read_for(request, |reading| drawing.draw(&upload, reading, work))?;
                Ok::<_, AttemptError>(match read {
                    ReadOutcome::Now((drawn, effects, as_of), preconditions) => {
                        let draft = drafted(&upload.operator, &drawn, effects, as_of)?;
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
                return Ok(Applied { changes: Vec::new(), done: None });
            }
            let (change, ()) = services.state.completed(request, draft, preconditions)?;
            let applied = if drawn.narrowing.is_empty() {
                Removed::recorded(services.state.store.commit(change, ()).await?.seq())
            } else {
                services.apply_narrowing(request, change, drawn.narrowing).await?
            };
            services.notifications.standing_changed();
            // What was declared anew is tried at once, though it failed as it was declared before.
            drawn.places.iter().for_each(|place| services.try_again_at(place));
            services.notifications.rotations_changed();
            services.notifications.leases_changed();
            Ok(Applied { changes: drawn.changes, done: Some(services.conclude(applied).await) })
        })
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
        Ok(Applied { changes: event.changes, done: Some(Ended::Recorded(before.seq)) })
    }

    fn draw(
        &self,
        upload: &Upload,
        reading: &Reading<'_>,
        work: &Cancellation,
    ) -> Result<(SectionPlan, Vec<Effects>, u64), Failure> {
        // No other application may have come between.
        reading.declared();
        if upload.unnamed == Undeclared::Prune {
            // Objects that are not named are pruned, and no object may have been added meanwhile.
            reading.no_other_agents();
        }
        let (now, entropy) = (reading.now(), Arc::clone(&self.state.entropy));
        let new_agent: NewAgent = Arc::new(move || AgentId::mint(now, &*entropy));
        let ground = SectionContext {
            world: reading.unconditional(),
            now,
            scope: upload.operator.scope(),
            unnamed: upload.unnamed,
            files: &upload.files,
            work,
            broker: &self.settings.tokens.broker,
            new_agent: &new_agent,
        };
        let (drawn, effects) = upload.sections.plan(&ground)?;
        Ok((drawn, effects, reading.as_of()))
    }
}

/// What was drawn as one change. It advances everything that it touches, so that no mint decided before commits after.
fn drafted(
    operator: &OperatorPrincipal,
    drawn: &SectionPlan,
    effects: Vec<Effects>,
    as_of: u64,
) -> Result<ChangeDraft<()>, Failure> {
    let event = DeclarationsApplied {
        operator: operator.name(),
        changes: &drawn.changes,
        snapshot: drawn.declarations.snapshot().hex(),
    };
    let change = Change::new(&event)?;
    Ok(ChangeDraft::of(effects.into_iter().fold(change, |change, add| add(change, as_of)), ()))
}

/// Files that an operator uploaded, and what they declare.
struct Upload {
    operator: OperatorPrincipal,
    files: Vec<SourceFile>,
    sections: Sections,
    unnamed: Undeclared,
}

impl Upload {
    async fn read(
        by: &Authorised<Declare>,
        heavy: &HeavyRequest,
        Uploaded { files, unnamed }: Uploaded,
    ) -> Result<Self, Failure> {
        let operator = by.operator().clone();
        let reading = heavy.run(Priority::Low, move |work| {
            let sections = Sections::read(&files, operator.scope(), work)?;
            Ok::<_, Failure>(Self { operator, files, sections, unnamed })
        });
        reading.await
    }
}
