use super::answers::{explained, page_of};
use super::caller::Operator;
use super::table::{Asked, Routes};
use crate::base::{Cancellation, SecretName, Timestamp};
use crate::broker::{
    AdminDesk, Adopting, CalendarLine, Consumer, Proof, RotationPlan, RotationUpdate, RotationView,
    UpstreamCheck,
};
use crate::http::documents::problem::Problem;
use crate::idempotency::Once;
use crate::policy::{ReadSecretNames, RotateSecrets};
use crate::rotation::{Run, Slots, UpstreamValue};
use crate::upstream::Finding;
use crate::wire::{
    self, AdoptBody, AdoptedAnswer, ConsumerAnswer, FindingAnswer, Items, Nothing, OrphanAnswer, PageAnswer,
    PageQuery, RotationAction, RotationAnswer, RotationDueAnswer, RotationPlanAnswer, RunAnswer,
    RunFailureAnswer, SteerRotationBody, SteeredRotationAnswer, UpstreamCheckAnswer,
};

type By<R, T = Nothing, I = Nothing> = Asked<Operator<R>, T, I>;

/// The routes of the rotations of secrets.
pub(crate) fn routes() -> Routes<AdminDesk> {
    Routes::new()
        .route(&wire::LIST_ROTATIONS, list)
        .route(&wire::GET_ROTATION, get)
        .once(&wire::STEER_ROTATION, steer)
        .heavy(&wire::PLAN_ROTATION, plan)
        .heavy(&wire::LIST_ROTATIONS_DUE, |desk, asked: &By<ReadSecretNames>, work| {
            let lines = desk.calendar(&asked.by, work)?;
            Ok(Items { items: lines.into_iter().map(RotationDueAnswer::from).collect() })
        })
        .once(&wire::ADOPT_VERSION, adopt)
        .route(&wire::CHECK_ROTATION, check)
}

async fn list(
    desk: AdminDesk,
    asked: By<ReadSecretNames, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<RotationAnswer>, Problem> {
    Ok(page_of(desk.rotations(&asked.by, &asked.input.into())))
}

async fn get(desk: AdminDesk, asked: By<ReadSecretNames, SecretName>) -> Result<RotationAnswer, Problem> {
    Ok(desk.rotation(&asked.by, &asked.target)?.into())
}

async fn steer(
    desk: AdminDesk,
    asked: By<RotateSecrets, SecretName, SteerRotationBody>,
    once: Option<Once>,
) -> Result<SteeredRotationAnswer, Problem> {
    let update = match asked.input.action {
        RotationAction::Rotate => {
            let rotating = desk.rotate(&asked.by, &asked.target, once.as_ref()).await?;
            let (rotation, begun) = (Some(rotating.id), Some(rotating.begun));
            return Ok(SteeredRotationAnswer { rotation, begun, seq: None });
        }
        RotationAction::Pause => RotationUpdate::Pause,
        RotationAction::Resume => RotationUpdate::Resume,
        RotationAction::Retry => RotationUpdate::Retry,
        RotationAction::RevokePrevious => RotationUpdate::RevokePrevious,
        RotationAction::ClearOrphans => RotationUpdate::ClearOrphans,
    };
    let seq = Some(desk.update_rotation(&asked.by, &asked.target, update, once.as_ref()).await?);
    Ok(SteeredRotationAnswer { seq, ..SteeredRotationAnswer::default() })
}

fn plan(
    desk: &AdminDesk,
    asked: &By<ReadSecretNames, SecretName>,
    _: &Cancellation,
) -> Result<RotationPlanAnswer, Problem> {
    let RotationPlan { rotation, sensitivity, calls, overlap_s, consumers } =
        desk.plan_rotation(&asked.by, &asked.target)?;
    let (rotation, consumers) = (rotation.into(), consumers.into_iter().map(Into::into).collect());
    Ok(RotationPlanAnswer { rotation, sensitivity, calls, overlap_s, consumers })
}

async fn adopt(
    desk: AdminDesk,
    asked: By<RotateSecrets, SecretName, AdoptBody>,
    once: Option<Once>,
) -> Result<AdoptedAnswer, Problem> {
    let proof = if asked.input.unverified { Proof::Unasked } else { Proof::Asked };
    let adopting = Adopting { version: asked.input.version, proof };
    let adopted = desk.adopt(&asked.by, &asked.target, adopting, once.as_ref()).await?;
    Ok(AdoptedAnswer { version: adopted.version, seq: adopted.seq })
}

async fn check(
    desk: AdminDesk,
    asked: By<RotateSecrets, SecretName>,
) -> Result<UpstreamCheckAnswer, Problem> {
    Ok(desk.check_rotation(&asked.by, &asked.target).await?.into())
}

impl From<RotationView> for RotationAnswer {
    fn from(view: RotationView) -> Self {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            secret: view.secret,
            upstream: view.upstream,
            schedule: view.schedule,
            overlap: view.slots == Slots::Two,
            grace_s: view.grace_s,
            paused_at: text(view.paused_at),
            next: text(view.next),
            overdue: view.overdue,
            run: view.run.map(RunAnswer::from),
            last_at: text(view.last_at),
            checked_at: text(view.checked_at),
            orphans: view.orphans.into_iter().map(OrphanAnswer::from).collect(),
        }
    }
}

impl From<(Timestamp, UpstreamValue)> for OrphanAnswer {
    fn from((at, orphan): (Timestamp, UpstreamValue)) -> Self {
        Self {
            rotation: orphan.rotation,
            at: at.to_string(),
            version: orphan.version,
            slot: orphan.slot.map(|slot| slot.to_string()),
        }
    }
}

impl From<Run> for RunAnswer {
    fn from(run: Run) -> Self {
        let trouble = run.trouble.map(|trouble| RunFailureAnswer {
            reason: explained(&trouble.code, trouble.detail.as_deref()),
            detail: trouble.detail,
            code: trouble.code,
            at: trouble.at.to_string(),
            retry_at: trouble.retry_at.map(|at| at.to_string()),
        });
        Self {
            id: run.id,
            trigger: run.trigger.as_str().into(),
            begun_at: run.begun_at.to_string(),
            stage: run.stage.as_str().into(),
            version: run.version,
            touched: run.touched,
            failures: run.failures,
            trouble,
            grace_until: run.grace_until.map(|at| at.to_string()),
        }
    }
}

impl From<Consumer> for ConsumerAnswer {
    fn from(consumer: Consumer) -> Self {
        Self {
            capability: consumer.capability,
            agents: consumer.agents,
            live_instances: consumer.live_instances,
            token_life_s: consumer.token_life_s,
            cut_off: consumer.cut_off,
        }
    }
}

impl From<CalendarLine> for RotationDueAnswer {
    fn from(line: CalendarLine) -> Self {
        Self { secret: line.secret, at: line.at.to_string(), overdue: line.overdue }
    }
}

impl From<Finding> for FindingAnswer {
    fn from(Finding { what, ok, says, fix }: Finding) -> Self {
        Self { what: what.into(), ok, says, fix }
    }
}

impl From<UpstreamCheck> for UpstreamCheckAnswer {
    fn from(check: UpstreamCheck) -> Self {
        Self {
            secret: check.secret,
            upstream: check.upstream,
            ok: check.findings.iter().all(|finding| finding.ok),
            findings: check.findings.into_iter().map(FindingAnswer::from).collect(),
        }
    }
}
