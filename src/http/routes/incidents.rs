use super::table::{AdminRequest, Routes};
use super::target::reason;
use crate::base::{Cancellation, IncidentId, Reason, SubjectName, SubjectNameError, code};
use crate::broker::{AdminServices, ContainInput, ContainedSubject, subject_answer};
use crate::http::documents::problem::Problem;
use crate::policy::{FreezeBroker, HandleIncidents, ReadIncidents};
use crate::wire::{
    self, ChangedAnswer, ContainBody, ContainedAnswer, EndedAnswer, FreezeBody, IncidentAnswer, LiftBody,
    LiftedAnswer, Nothing, PageAnswer, PageQuery, PreviewAnswer, PreviewBody, SubjectBody,
    TouchedSecretsAnswer,
};

/// The routes of incidents.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::CONTAIN, contain)
        .without_waiting()
        .route(&wire::LIST_INCIDENTS, list)
        .heavy(&wire::GET_INCIDENT, get)
        .route(&wire::LIFT, lift)
        .heavy(&wire::LIST_TOUCHED_SECRETS, touched)
        .heavy(&wire::PREVIEW_CONTAINMENT, preview)
        .route(&wire::FREEZE, freeze)
        .without_waiting()
        .route(&wire::THAW, thaw)
}

async fn contain(
    services: AdminServices,
    call: AdminRequest<HandleIncidents, Nothing, ContainBody>,
) -> Result<ContainedAnswer, Problem> {
    let contained = services.contain(&call.by, &contain_input(&call.input)?).await?;
    let ContainedSubject { incident, is_new, subject, ended, spares_operator } = contained;
    let subject = subject_answer(&subject);
    let ended = ended.into();
    Ok(ContainedAnswer { incident, subject, new: is_new, ended, spares_caller: spares_operator })
}

async fn list(
    services: AdminServices,
    call: AdminRequest<ReadIncidents, Nothing, PageQuery<IncidentId>>,
) -> Result<PageAnswer<IncidentAnswer>, Problem> {
    Ok(services.incidents(&call.by, call.input.after, call.input.limit))
}

fn get(
    services: &AdminServices,
    call: &AdminRequest<ReadIncidents, IncidentId>,
    work: &Cancellation,
) -> Result<IncidentAnswer, Problem> {
    Ok(services.incident(&call.by, call.target, work)?)
}

async fn lift(
    services: AdminServices,
    call: AdminRequest<HandleIncidents, IncidentId, LiftBody>,
) -> Result<LiftedAnswer, Problem> {
    let lifted = services.lift(&call.by, call.target, &required(&call.input.reason)?).await?;
    Ok(LiftedAnswer {
        incident: call.target,
        subject: subject_answer(&lifted.subject),
        seq: lifted.seq,
        revoked_before: lifted.revoked_before,
        revoked_certificates: lifted.revokes_certificates,
        contained_by: lifted.contained_by,
    })
}

fn touched(
    services: &AdminServices,
    call: &AdminRequest<ReadIncidents, IncidentId>,
    work: &Cancellation,
) -> Result<TouchedSecretsAnswer, Problem> {
    Ok(services.touched_secrets(&call.by, call.target, work)?)
}

fn preview(
    services: &AdminServices,
    call: &AdminRequest<ReadIncidents, Nothing, PreviewBody>,
    work: &Cancellation,
) -> Result<PreviewAnswer, Problem> {
    Ok(services.preview_containment(&call.by, &subject(&call.input.subject)?, work)?)
}

async fn freeze(
    services: AdminServices,
    call: AdminRequest<FreezeBroker, Nothing, FreezeBody>,
) -> Result<EndedAnswer, Problem> {
    Ok(services.freeze(&call.by, &required(&call.input.reason)?).await?.into())
}

async fn thaw(
    services: AdminServices,
    call: AdminRequest<FreezeBroker, Nothing, FreezeBody>,
) -> Result<ChangedAnswer, Problem> {
    Ok(ChangedAnswer { seq: services.thaw(&call.by, &required(&call.input.reason)?).await? })
}

/// The content of a request to contain.
pub(super) fn contain_input(body: &ContainBody) -> Result<ContainInput, Problem> {
    Ok(ContainInput { subject: subject(&body.subject)?, reason: required(&body.reason)? })
}

pub(super) fn required(text: &str) -> Result<Reason, Problem> {
    reason(Some(text))?.ok_or_else(|| Problem::new(code::REASON_INVALID))
}

fn subject(SubjectBody { kind, name, id }: &SubjectBody) -> Result<SubjectName, Problem> {
    let unknown = || Problem::new(code::SUBJECT_FORM_UNKNOWN);
    let which = match (name, id) {
        (Some(which), None) | (None, Some(which)) => Some(which.as_str()),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(unknown()),
    };
    let found = SubjectName::of(kind, which).map_err(|error| match error {
        SubjectNameError::Form => unknown(),
        SubjectNameError::Name(error) => Problem::new(code::NAME_NOT_CANONICAL)
            .because(error.to_string())
            .mended_by(format!("use {}", error.rule())),
        SubjectNameError::Id(_) | SubjectNameError::Serial(_) => {
            Problem::new(code::ID_NOT_CANONICAL).because(error.to_string())
        }
    })?;
    // A name where an id belongs would be read as one.
    if found.name().is_some() == name.is_some() && found.id().is_some() == id.is_some() {
        Ok(found)
    } else {
        Err(unknown())
    }
}
