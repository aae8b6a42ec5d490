use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};

use super::answers::{answer, explained, page_of};
use super::guard::{Operator, operator};
use super::input::{Wanted, name};
use crate::base::limits::BODY_BYTES_MAX;
use crate::base::{SecretName, Timestamp};
use crate::broker::{
    AdminDesk, CalendarLine, Consumer, Priority, RotationPlan, RotationUpdate, RotationView,
};
use crate::http::documents::problem::Problem;
use crate::http::route::Table;
use crate::policy::{ReadSecretNames, RotateSecrets};
use crate::rotation::{Run, Slots, UpstreamValue};
use crate::wire::{
    ConsumerAnswer, Items, OrphanAnswer, RotationAction, RotationAnswer, RotationDueAnswer,
    RotationPlanAnswer, RunAnswer, RunFailureAnswer, SteerRotationBody, SteeredRotationAnswer,
};

/// The routes of the rotations of secrets.
pub(crate) fn table() -> Table<AdminDesk> {
    vec![
        operator("GET", "/v1/rotations", rotations),
        operator("GET", "/v1/rotations/{*name}", rotation),
        operator("POST", "/v1/rotations/{*name}", act),
        operator("GET", "/v1/rotation-plans/{*name}", plan),
        operator("GET", "/v1/rotation-calendar", calendar),
    ]
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

async fn rotations(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
    Wanted(page): Wanted,
) -> Response<Body> {
    answer(StatusCode::OK, &page_of::<_, RotationAnswer>(desk.rotations(&operator.authorised, &page)))
}

async fn rotation(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
    Path(secret): Path<String>,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    Ok(answer(StatusCode::OK, &RotationAnswer::from(desk.rotation(&operator.authorised, &secret)?)))
}

async fn act(
    State(desk): State<AdminDesk>,
    operator: Operator<RotateSecrets>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let (SteerRotationBody { action }, once) = operator.json(&desk, request, BODY_BYTES_MAX).await?;
    let update = match action {
        RotationAction::Rotate => {
            let rotating = desk.rotate(&operator.authorised, &secret, once.as_ref()).await?;
            let (rotation, begun) = (Some(rotating.id), Some(rotating.begun));
            return Ok(answer(StatusCode::OK, &SteeredRotationAnswer { rotation, begun, seq: None }));
        }
        RotationAction::Pause => RotationUpdate::Pause,
        RotationAction::Resume => RotationUpdate::Resume,
        RotationAction::Retry => RotationUpdate::Retry,
        RotationAction::RevokePrevious => RotationUpdate::RevokePrevious,
        RotationAction::ClearOrphans => RotationUpdate::ClearOrphans,
    };
    let seq = Some(desk.update_rotation(&operator.authorised, &secret, update, once.as_ref()).await?);
    Ok(answer(StatusCode::OK, &SteeredRotationAnswer { rotation: None, begun: None, seq }))
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

async fn plan(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
    Path(secret): Path<String>,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let heavy = desk.heavy(&operator.authorised)?;
    let planned = heavy.run(Priority::Ordinary, move |_| {
        let planned = desk.plan_rotation(&operator.authorised, &secret).map_err(Problem::from)?;
        let RotationPlan { rotation, sensitivity, calls, overlap_s, consumers } = planned;
        let (rotation, consumers) = (rotation.into(), consumers.into_iter().map(Into::into).collect());
        Ok(answer(StatusCode::OK, &RotationPlanAnswer { rotation, sensitivity, calls, overlap_s, consumers }))
    });
    planned.await
}

impl From<CalendarLine> for RotationDueAnswer {
    fn from(line: CalendarLine) -> Self {
        Self { secret: line.secret, at: line.at.to_string(), overdue: line.overdue }
    }
}

async fn calendar(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
) -> Result<Response<Body>, Problem> {
    let heavy = desk.heavy(&operator.authorised)?;
    let to_come = heavy.run(Priority::Ordinary, move |work| {
        let lines = desk.calendar(&operator.authorised, work).map_err(Problem::from)?;
        let items: Vec<_> = lines.into_iter().map(RotationDueAnswer::from).collect();
        Ok(answer(StatusCode::OK, &Items { items }))
    });
    to_come.await
}
