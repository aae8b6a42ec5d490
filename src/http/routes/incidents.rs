use super::answer::{IntoAnswer, ReadyResponse};
use super::table::{AdminRequest, Routes, success};
use super::target::{line, person, reason};
use crate::base::{Cancellation, IncidentId, Reason, SubjectName, SubjectNameError, Timestamp, code};
use crate::broker::{
    AdminServices, ClosingInput, ContainInput, ContainedSubject, IncidentInput, OpenedIncident,
    OperatorRequest, Priority, subject_answer, times_answer,
};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::incidents::IncidentTimes;
use crate::policy::{CheckValues, FreezeBroker, HandleIncidents, ReadIncidents, ReadLedger};
use crate::wire::{
    self, ChangedAnswer, CloseIncidentBody, ClosedIncidentAnswer, ContainBody, ContainedAnswer, EndedAnswer,
    FreezeBody, IncidentAnswer, IncidentDetailsBody, IncidentEffectsAnswer, IncidentNoteBody,
    IncidentTimesBody, LiftBody, LiftedAnswer, NotedIncidentAnswer, Nothing, OpenIncidentBody,
    OpenedIncidentAnswer, PageAnswer, PageQuery, PreviewAnswer, PreviewBody, SubjectBody, SubjectReportBody,
    TouchedSecretsAnswer, ValueCheckAnswer, ValueCheckBody,
};

/// The routes of incidents.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::CONTAIN, contain)
        .without_waiting()
        .route(&wire::LIST_INCIDENTS, list)
        .heavy(&wire::GET_INCIDENT, get)
        .idempotent(&wire::OPEN_INCIDENT, open)
        .idempotent(&wire::NOTE_INCIDENT, note)
        .idempotent(&wire::UPDATE_INCIDENT, update)
        .idempotent(&wire::CLOSE_INCIDENT, close)
        .route(&wire::LIFT, lift)
        .heavy(&wire::LIST_TOUCHED_SECRETS, touched)
        .heavy(&wire::LIST_INCIDENT_EFFECTS, effects)
        .heavy(&wire::PREVIEW_CONTAINMENT, preview)
        .route(&wire::REPORT_SUBJECT, report)
        .route(&wire::CHECK_VALUE, check_value)
        .route(&wire::FREEZE, freeze)
        .without_waiting()
        .route(&wire::THAW, thaw)
}

async fn contain(
    services: AdminServices,
    call: AdminRequest<HandleIncidents, Nothing, ContainBody>,
) -> Result<ContainedAnswer, Problem> {
    let contained = services.contain(&call.by, &contain_input(&call.input)?).await?;
    let ContainedSubject { incident, is_new, subject, ended, spares_operator, admins_left } = contained;
    Ok(ContainedAnswer {
        incident,
        subject: subject_answer(&subject),
        new: is_new,
        ended: ended.into(),
        spares_caller: spares_operator,
        leaves_no_admin: admins_left.is_none,
        admins_of_unknown_address: admins_left.unknown_answer(),
    })
}

type ByHandler<T, I> = AdminRequest<HandleIncidents, T, I>;

async fn open(
    services: AdminServices,
    call: ByHandler<Nothing, OpenIncidentBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<OpenedIncidentAnswer, Problem> {
    let OpenIncidentBody { subjects, reason, people, times } = &call.input;
    let (input, reason) = (incident_input(subjects, people, times)?, line(reason)?);
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: Some(&reason) };
    let OpenedIncident { incident, seq, compared } =
        services.open_incident(&call.by, &input, request).await?;
    Ok(OpenedIncidentAnswer { incident, seq, partly_compared: compared.is_part() })
}

async fn note(
    services: AdminServices,
    call: ByHandler<IncidentId, IncidentNoteBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<NotedIncidentAnswer, Problem> {
    let text = line(&call.input.text)?;
    let noted = services.note_incident(&call.by, call.target, &text, idempotency.as_ref()).await?;
    Ok(NotedIncidentAnswer { seq: noted.seq, partly_compared: noted.compared.is_part() })
}

async fn update(
    services: AdminServices,
    call: ByHandler<IncidentId, IncidentDetailsBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<ChangedAnswer, Problem> {
    let IncidentDetailsBody { subjects, people, times } = &call.input;
    let input = incident_input(subjects, people, times)?;
    let seq = services.update_incident(&call.by, call.target, &input, idempotency.as_ref()).await?;
    Ok(ChangedAnswer { seq })
}

async fn close(
    services: AdminServices,
    call: ByHandler<IncidentId, CloseIncidentBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<ClosedIncidentAnswer, Problem> {
    let CloseIncidentBody { cause, follow_ups, recovered } = &call.input;
    let input = ClosingInput {
        cause: line(cause)?,
        follow_ups: follow_ups.iter().map(|text| line(text)).collect::<Result<_, _>>()?,
        recovered: time(recovered.as_deref())?,
    };
    let closed = services.close_incident(&call.by, call.target, &input, idempotency.as_ref()).await?;
    let times = times_answer(&closed.times);
    let partly_compared = closed.compared.is_part();
    Ok(ClosedIncidentAnswer { incident: call.target, seq: closed.seq, times, partly_compared })
}

fn incident_input(
    subjects: &[SubjectBody],
    people: &[String],
    times: &IncidentTimesBody,
) -> Result<IncidentInput, Problem> {
    let IncidentTimesBody { first_sign, detected, contained, recovered } = times;
    let one = |text: &String| person(Some(text))?.ok_or_else(|| Problem::new(code::PERSON_INVALID));
    Ok(IncidentInput {
        subjects: subjects.iter().map(subject).collect::<Result<_, _>>()?,
        people: people.iter().map(one).collect::<Result<_, _>>()?,
        times: IncidentTimes {
            first_sign: time(first_sign.as_deref())?,
            detected: time(detected.as_deref())?,
            contained: time(contained.as_deref())?,
            recovered: time(recovered.as_deref())?,
        },
    })
}

fn time(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let invalid = || Problem::new(code::INCIDENT_TIMES_INVALID).because("a time is not in RFC 3339");
    text.map(|text| Timestamp::parse(text).ok_or_else(invalid)).transpose()
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
    let mut subjects = lifted.subjects.iter().map(subject_answer);
    Ok(LiftedAnswer {
        incident: call.target,
        subject: subjects.next().ok_or_else(|| Problem::new(code::INTERNAL))?,
        subjects: subjects.collect(),
        seq: lifted.seq,
        revoked_before: lifted.revoked_before,
        revoked_certificates: lifted.revokes_certificates,
        contained_by: lifted.contained_by,
        unchanged: lifted.unchanged,
    })
}

fn touched(
    services: &AdminServices,
    call: &AdminRequest<ReadIncidents, IncidentId>,
    work: &Cancellation,
) -> Result<TouchedSecretsAnswer, Problem> {
    Ok(services.touched_secrets(&call.by, call.target, work)?)
}

fn effects(
    services: &AdminServices,
    call: &AdminRequest<ReadIncidents, IncidentId, PageQuery<u64>>,
    work: &Cancellation,
) -> Result<IncidentEffectsAnswer, Problem> {
    Ok(services.incident_effects(&call.by, call.target, call.input.after, work)?)
}

fn preview(
    services: &AdminServices,
    call: &AdminRequest<ReadIncidents, Nothing, PreviewBody>,
    work: &Cancellation,
) -> Result<PreviewAnswer, Problem> {
    Ok(services.preview_containment(&call.by, &subject(&call.input.subject)?, work)?)
}

/// A heavy request. Its entry is written first, so that nobody waits for a thread with it.
async fn report(
    services: AdminServices,
    call: AdminRequest<ReadLedger, Nothing, SubjectReportBody>,
) -> Result<ReadyResponse, Problem> {
    let heavy = services.heavy(&call.by)?;
    let wanted = services.wanted_report(&call.by, &subject(&call.input.subject)?, &call.input.since)?;
    services.note_ledger_reading(&call.by, &wanted.query).await;
    let status = success(&wire::REPORT_SUBJECT);
    let read = move |work: &Cancellation| {
        Ok::<_, Problem>(services.subject_report(&call.by, &wanted, work)?.give(status))
    };
    heavy.run(Priority::Ordinary, read).await.map(ReadyResponse)
}

async fn check_value(
    services: AdminServices,
    call: AdminRequest<CheckValues, Nothing, ValueCheckBody>,
) -> Result<ValueCheckAnswer, Problem> {
    Ok(services.check_value(&call.by, call.input.value.value()).await?)
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
fn contain_input(body: &ContainBody) -> Result<ContainInput, Problem> {
    let (subject, reason) = (subject(&body.subject)?, required(&body.reason)?);
    Ok(ContainInput { subject, reason, incident: body.incident })
}

pub(super) fn required(text: &str) -> Result<Reason, Problem> {
    reason(Some(text))?.ok_or_else(|| Problem::new(code::REASON_INVALID))
}

pub(super) fn subject(SubjectBody { kind, name, id }: &SubjectBody) -> Result<SubjectName, Problem> {
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
