use axum::extract::Request;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::answer::{Answer, IntoAnswer};
use super::caller::{AuthorisedOperator, Identify, Repeats};
use super::input::{Input, parse_json};
use super::refusals::within;
use super::table::{AdminRequest, RequestHead, Routes, body_of, described, success};
use super::target::{FromPath, name};
use crate::base::code;
use crate::base::encoding::from_base64url;
use crate::base::limits::{DECLARATION_FILES_MAX, FILE_NAME_BYTES_MAX};
use crate::base::{CapabilityName, SecretName, Timestamp};
use crate::broker::{
    AdminServices, Applied, Ended, ExportFilter, HeavyRequest, PlanApproval, Planned, Priority, ReplayedSpan,
    RollbackTarget, Uploaded,
};
use crate::config::SourceFile;
use crate::http::documents::problem::Problem;
use crate::http::route::Repetition;
use crate::idempotency::IdempotencyKey;
use crate::policy::{
    CheckPlanned, Declare, ExportDeclarations, PlanDeclarations, Right, SimulateDeclarations,
};
use crate::registry::Undeclared;
use crate::wire::{
    self, AppliedAnswer, ApplyBody, DeclareBody, Endpoint, ExportBody, LeaseCheckAnswer, Nothing, Optional,
    PlanApprovalBody, PlanBallot, RollbackBody, SimulateBody, SimulationAnswer, UpstreamCheckAnswer,
};

/// The routes of declarations.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .declaring(&wire::PLAN_DECLARATIONS, Repetition::Harmless, plan)
        .declaring(&wire::APPLY_DECLARATIONS, Repetition::Once, apply)
        .declaring(&wire::CHECK_PLANNED_ROTATION, Repetition::Harmless, check)
        .declaring(&wire::CHECK_PLANNED_LEASE, Repetition::Harmless, check_lease)
        .declaring(&wire::SIMULATE_DECLARATIONS, Repetition::Harmless, simulate)
        .heavy(
            &wire::EXPORT_DECLARATIONS,
            |services, call: &AdminRequest<ExportDeclarations, Nothing, Optional<ExportBody>>, work| {
                let ExportBody { kinds, owner } = &call.input;
                let owner = owner.as_deref().map(name).transpose()?;
                let filter = ExportFilter { kinds: kinds.clone(), owner };
                Ok(services.export(&call.by, &filter, work)?)
            },
        )
}

/// Declarations of an operator, and the heavy request that processes them.
struct Declaring<R, T, M = ()> {
    by: AuthorisedOperator<R>,
    target: T,
    uploaded: Uploaded,
    /// What the body has beyond declarations.
    more: M,
    idempotency: Option<IdempotencyKey>,
    heavy: HeavyRequest,
}

impl Routes<AdminServices> {
    /// A route for declarations, which are parsed on threads for heavy requests.
    fn declaring<R: Right, T: FromPath, B: Upload, A: Answer + IntoAnswer<A> + Send, F>(
        self,
        endpoint: &Endpoint<T, B, A>,
        repetition: Repetition,
        handler: impl Fn(AdminServices, Declaring<R, T, B::More>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<A, Problem>> + Send + 'static,
    {
        let route = described::<_, AuthorisedOperator<R>, T, _, A>(endpoint, repetition);
        let (status, body_bytes_max) = (success(endpoint), endpoint.body_bytes_max);
        self.with(route, move |services: AdminServices, request: Request| {
            let handler = handler.clone();
            async move {
                let (parts, body) = request.into_parts();
                let RequestHead { by, target, idempotency, .. } =
                    RequestHead::<AuthorisedOperator<R>, T, B>::of(&parts, &services, &route).await?;
                drop(parts);
                // Before the body is read, so that few bodies are in memory.
                let heavy = services.heavy(&by)?;
                let body = body_of::<B>(body, body_bytes_max).await?;
                let own = services.clone();
                let parsed = heavy.run(Priority::Low, move |_| {
                    let idempotency = match repetition {
                        Repetition::Once => by.idempotency_key(&own, idempotency, B::digested(&body)),
                        Repetition::Harmless => None,
                    };
                    let (uploaded, more) = uploaded(parse_json::<B>(&body)?)?;
                    Ok::<_, Problem>((by, uploaded, more, idempotency))
                });
                let (by, uploaded, more, idempotency) = parsed.await?;
                let owner = by.owner().cloned();
                let declaring = Declaring { by, target, uploaded, more, idempotency, heavy: heavy.clone() };
                let answer = handler(services, declaring).await;
                let answer = answer.map_err(|problem| within(problem, owner.as_ref()))?;
                heavy.run(Priority::Low, move |_| Ok(answer.give(status))).await
            }
        })
    }
}

/// The body of a request with declaration files.
trait Upload: DeserializeOwned + JsonSchema + Send + 'static {
    /// What the body has beyond declarations.
    type More: Send + 'static;

    /// The same with the id of a plan.
    fn planned(self) -> (ApplyBody, Self::More);
}

impl Upload for ApplyBody {
    type More = ();

    fn planned(self) -> (ApplyBody, ()) {
        (self, ())
    }
}

impl Upload for DeclareBody {
    type More = ();

    fn planned(self) -> (ApplyBody, ()) {
        (ApplyBody::of(self), ())
    }
}

impl Upload for SimulateBody {
    type More = ReplayedSpan;

    fn planned(self) -> (ApplyBody, ReplayedSpan) {
        let Self { files, prune, since, before } = self;
        (ApplyBody::of(DeclareBody { files, prune, rollback: None }), ReplayedSpan { since, before })
    }
}

fn uploaded<B: Upload>(body: B) -> Result<(Uploaded, B::More), Problem> {
    let (body, more) = body.planned();
    if body.files.is_empty() || body.files.len() > DECLARATION_FILES_MAX {
        let why = format!("an upload has 1 to {DECLARATION_FILES_MAX} files");
        return Err(Problem::new(code::FILE_COUNT_INVALID).because(why));
    }
    if body.files.iter().any(|file| file.name.len() > FILE_NAME_BYTES_MAX) {
        return Err(Problem::new(code::FILE_NAME_TOO_LONG));
    }
    let unnamed = if body.prune { Undeclared::Prune } else { Undeclared::Keep };
    let ApplyBody { files, plan, widen, approval, rollback, .. } = body;
    let files = files.into_iter().map(|file| SourceFile::new(file.name, file.text)).collect();
    let approval = approval.map(plan_approval).transpose()?;
    let rollback = rollback.map(|RollbackBody { policy, to }| RollbackTarget { policy, to });
    Ok((Uploaded { files, unnamed, plan, widen, approval, rollback }, more))
}

fn plan_approval(body: PlanApprovalBody) -> Result<PlanApproval, Problem> {
    let PlanApprovalBody { kind, operator, digest, seq, expires_at, signature } = body;
    let expires_at = Timestamp::parse(&expires_at).filter(|_| kind == PlanBallot::KIND);
    let signature = from_base64url(&signature);
    let (Some(expires_at), Some(signature)) = (expires_at, signature) else {
        return Err(Problem::new(code::PLAN_APPROVAL_MALFORMED));
    };
    Ok(PlanApproval { operator, digest, seq, expires_at, signature })
}

async fn plan(
    services: AdminServices,
    call: Declaring<PlanDeclarations, Nothing>,
) -> Result<AppliedAnswer, Problem> {
    let planned = services.plan(&call.by, &call.heavy, call.uploaded).await?;
    let Planned { changes, id, losses, widening, to_approve, new_owners, unchanged } = planned;
    let unapplied = AppliedAnswer::unapplied(changes);
    Ok(AppliedAnswer { plan: Some(id), losses, widening, to_approve, new_owners, unchanged, ..unapplied })
}

async fn simulate(
    services: AdminServices,
    call: Declaring<SimulateDeclarations, Nothing, ReplayedSpan>,
) -> Result<SimulationAnswer, Problem> {
    Ok(services.simulate(&call.by, &call.heavy, call.uploaded, &call.more).await?)
}

async fn apply(services: AdminServices, call: Declaring<Declare, Nothing>) -> Result<AppliedAnswer, Problem> {
    Ok(services.apply(&call.by, &call.heavy, call.uploaded, call.idempotency.as_ref()).await?.into())
}

async fn check(
    services: AdminServices,
    call: Declaring<CheckPlanned, SecretName>,
) -> Result<UpstreamCheckAnswer, Problem> {
    Ok(services.check_planned(&call.by, &call.heavy, call.uploaded.files, &call.target).await?)
}

async fn check_lease(
    services: AdminServices,
    call: Declaring<CheckPlanned, CapabilityName>,
) -> Result<LeaseCheckAnswer, Problem> {
    Ok(services.check_planned_lease(&call.by, &call.heavy, call.uploaded.files, &call.target).await?)
}

impl From<Applied> for AppliedAnswer {
    fn from(Applied { changes, new_owners, done }: Applied) -> Self {
        let unapplied = Self { new_owners, ..Self::unapplied(changes) };
        match done {
            None => unapplied,
            Some(Ended::Recorded(seq)) => {
                Self { applied: true, seq: Some(seq), durable: Some(true), ..unapplied }
            }
            Some(Ended::InMemory { kept }) => Self { durable: Some(false), kept, ..unapplied },
        }
    }
}
