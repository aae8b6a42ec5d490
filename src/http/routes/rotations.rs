use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answers::{Items, PageAnswer, answer, explained};
use super::guard::{Operator, operator};
use super::input::{Wanted, name};
use crate::base::limits::BODY_BYTES_MAX;
use crate::base::{SecretName, Timestamp};
use crate::broker::{AdminDesk, CalendarLine, Consumer, Priority, RotationPlan, RotationView, Steer};
use crate::http::documents::problem::Problem;
use crate::http::route::Table;
use crate::policy::{ReadSecretNames, RotateSecrets};
use crate::rotation::{Run, Slots, UpstreamValue};

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

#[derive(JsonSchema, Serialize)]
pub(crate) struct RotationAnswer {
    secret: String,
    upstream: String,
    schedule: Option<String>,
    /// Whether the old value goes on working beside the new one, until its grace ends.
    overlap: bool,
    grace_s: u32,
    paused_at: Option<String>,
    next: Option<String>,
    overdue: bool,
    run: Option<RunAnswer>,
    last_at: Option<String>,
    checked_at: Option<String>,
    /// Values that upstream may know and nobody uses: somebody has to delete them there.
    orphans: Vec<OrphanAnswer>,
}

#[derive(JsonSchema, Serialize)]
struct OrphanAnswer {
    /// The rotation for which upstream made it, or which left it there.
    rotation: String,
    at: String,
    /// None when its value was never heard of.
    version: Option<u32>,
    /// What upstream calls its place, when that is known.
    slot: Option<String>,
}

#[derive(JsonSchema, Serialize)]
struct RunAnswer {
    id: String,
    trigger: &'static str,
    begun_at: String,
    stage: &'static str,
    version: Option<u32>,
    /// Whether upstream may know the new value.
    touched: bool,
    failures: u32,
    trouble: Option<TroubleAnswer>,
    drain_until: Option<String>,
}

#[derive(JsonSchema, Serialize)]
struct TroubleAnswer {
    code: String,
    /// An SQLSTATE, a status, or the name of what is wrong with the server's certificate.
    detail: Option<String>,
    /// What is wrong, in a sentence.
    reason: Option<String>,
    at: String,
    /// None for a dead letter, which waits for an operator.
    retry_at: Option<String>,
}

impl From<RotationView> for RotationAnswer {
    fn from(view: RotationView) -> Self {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            secret: view.secret.to_string(),
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
            rotation: orphan.rotation.to_string(),
            at: at.to_string(),
            version: orphan.version,
            slot: orphan.slot.map(|slot| slot.to_string()),
        }
    }
}

impl From<Run> for RunAnswer {
    fn from(run: Run) -> Self {
        let trouble = run.trouble.map(|trouble| TroubleAnswer {
            reason: explained(&trouble.code, trouble.detail.as_deref()),
            detail: trouble.detail,
            code: trouble.code,
            at: trouble.at.to_string(),
            retry_at: trouble.retry_at.map(|at| at.to_string()),
        });
        Self {
            id: run.id.to_string(),
            trigger: run.trigger.as_str(),
            begun_at: run.begun_at.to_string(),
            stage: run.stage.as_str(),
            version: run.version,
            touched: run.touched,
            failures: run.failures,
            trouble,
            drain_until: run.drain_until.map(|at| at.to_string()),
        }
    }
}

async fn rotations(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
    Wanted(page): Wanted,
) -> Response<Body> {
    answer(StatusCode::OK, &PageAnswer::<RotationAnswer>::of(desk.rotations(&operator.authorised, &page)))
}

async fn rotation(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
    Path(secret): Path<String>,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    Ok(answer(StatusCode::OK, &RotationAnswer::from(desk.rotation(&operator.authorised, &secret)?)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActBody {
    action: Action,
}

/// What is done about a rotation.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Action {
    Rotate,
    Pause,
    Resume,
    Retry,
    EndGrace,
    ClearOrphans,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct ActAnswer {
    /// The rotation, for `rotate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<String>,
    /// Whether this request began it, for `rotate`: it was under way already otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    begun: Option<bool>,
    /// The entry that says so, for anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

async fn act(
    State(desk): State<AdminDesk>,
    operator: Operator<RotateSecrets>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let (ActBody { action }, once) = operator.json(&desk, request, BODY_BYTES_MAX).await?;
    let steer = match action {
        Action::Rotate => {
            let rotating = desk.rotate(&operator.authorised, &secret, once.as_ref()).await?;
            let (rotation, begun) = (Some(rotating.id.to_string()), Some(rotating.begun));
            return Ok(answer(StatusCode::OK, &ActAnswer { rotation, begun, seq: None }));
        }
        Action::Pause => Steer::Pause,
        Action::Resume => Steer::Resume,
        Action::Retry => Steer::Retry,
        Action::EndGrace => Steer::EndGrace,
        Action::ClearOrphans => Steer::ClearOrphans,
    };
    let seq = Some(desk.steer(&operator.authorised, &secret, steer, once.as_ref()).await?);
    Ok(answer(StatusCode::OK, &ActAnswer { rotation: None, begun: None, seq }))
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct PlanAnswer {
    rotation: RotationAnswer,
    /// How sensitive the secret is: `ordinary` or `high`.
    sensitivity: &'static str,
    calls: Vec<String>,
    overlap_s: u32,
    consumers: Vec<ConsumerAnswer>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct ConsumerAnswer {
    capability: String,
    agents: Vec<String>,
    live_instances: usize,
    /// The longest that a token for it can still be about, in seconds.
    token_life_s: u32,
    /// Whether it does not reach the secret, because it is somebody else's.
    cut_off: bool,
}

impl From<Consumer> for ConsumerAnswer {
    fn from(consumer: Consumer) -> Self {
        Self {
            capability: consumer.capability.to_string(),
            agents: consumer.agents.iter().map(ToString::to_string).collect(),
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
        let sensitivity = sensitivity.as_str();
        Ok(answer(StatusCode::OK, &PlanAnswer { rotation, sensitivity, calls, overlap_s, consumers }))
    });
    planned.await
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct CalendarAnswer {
    secret: String,
    at: String,
    overdue: bool,
}

impl From<CalendarLine> for CalendarAnswer {
    fn from(line: CalendarLine) -> Self {
        Self { secret: line.secret.to_string(), at: line.at.to_string(), overdue: line.overdue }
    }
}

async fn calendar(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
) -> Result<Response<Body>, Problem> {
    let heavy = desk.heavy(&operator.authorised)?;
    let to_come = heavy.run(Priority::Ordinary, move |work| {
        let lines = desk.calendar(&operator.authorised, work).map_err(Problem::from)?;
        let items: Vec<_> = lines.into_iter().map(CalendarAnswer::from).collect();
        Ok(answer(StatusCode::OK, &Items { items }))
    });
    to_come.await
}
