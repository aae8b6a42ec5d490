use super::free_text::TextComparison;
use super::subjects::{FoundSubject, is_within};
use crate::base::limits::{
    INCIDENT_FOLLOW_UPS_MAX, INCIDENT_NOTES_MAX, INCIDENT_PEOPLE_MAX, INCIDENT_SUBJECTS_MAX,
    INCIDENTS_OPEN_MAX,
};
use crate::base::{IncidentId, Person, Reason, Scope, SubjectName, Timestamp, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed, OperatorRequest};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::world::Effect;
use crate::idempotency::IdempotencyKey;
use crate::incidents::{
    self, AffectedSubject, EventSubject, Incident, IncidentClosed, IncidentDetails, IncidentNoted,
    IncidentOpened, IncidentRecordChange, IncidentTimes, IncidentUpdated,
};
use crate::policy::{Authorised, HandleIncidents};

/// Details of an incident's record, as an operator states them.
#[derive(Clone, Debug, Default)]
pub struct IncidentInput {
    /// Affected subjects.
    pub subjects: Vec<SubjectName>,
    /// The people who work on the incident or know about it.
    pub people: Vec<Person>,
    /// Times that the broker cannot know.
    pub times: IncidentTimes,
}

/// The end of an incident, as an operator states it.
#[derive(Clone, Debug)]
pub struct ClosingInput {
    /// The cause.
    pub cause: Reason,
    /// The actions that follow.
    pub follow_ups: Vec<Reason>,
    /// The time of the recovery, if it is not that of the last lift.
    pub recovered: Option<Timestamp>,
}

/// A record that began.
#[derive(Clone, Copy, Debug)]
pub struct OpenedIncident {
    /// The incident.
    pub incident: IncidentId,
    /// The entry.
    pub seq: u64,
    /// How much the reason was compared with.
    pub compared: TextComparison,
}

/// A note that is recorded.
#[derive(Clone, Copy, Debug)]
pub struct NotedIncident {
    /// The entry.
    pub seq: u64,
    /// How much the text was compared with.
    pub compared: TextComparison,
}

/// A closed incident.
#[derive(Clone, Copy, Debug)]
pub struct ClosedIncident {
    /// The entry.
    pub seq: u64,
    /// All times.
    pub times: IncidentTimes,
    /// How much the texts were compared with.
    pub compared: TextComparison,
}

impl AdminServices {
    /// Begins the record of an incident, and contains nothing.
    ///
    /// # Errors
    /// [`Failure`] if no subject is named, if one does not exist within the scope, if the times contradict each other, or if
    /// there are too many open records.
    pub async fn open_incident(
        &self,
        by: &Authorised<HandleIncidents>,
        input: &IncidentInput,
        request: OperatorRequest<'_>,
    ) -> Result<OpenedIncident, Failure> {
        let state = &self.0.state;
        let (operator, reason) = (by.operator(), request.reason);
        let incident = IncidentId::mint(state.clock.now(), &*state.entropy);
        if input.subjects.is_empty() {
            return Err(
                Failure::new(code::INCIDENT_INCOMPLETE).because("the incident has no affected subject")
            );
        }
        state.read(|reading| found(reading, operator.scope(), input).map(drop)).0?;
        let compared = self.refuse_secrets(by, None, reason).await?;
        let changed = state.change(ChangeRequest::of(operator, request), |reading| {
            if reading.incidents().without_containment() >= INCIDENTS_OPEN_MAX {
                return Err(Failure::new(code::TOO_MANY_INCIDENTS));
            }
            let details = found(reading, operator.scope(), input)?;
            check_sizes(&details.subjects, &details.people)?;
            let opened = IncidentTimes { detected: Some(reading.now()), ..IncidentTimes::default() };
            check_times(details.times.or(opened), reading.now())?;
            let by = operator.name().as_str();
            let first = details.subjects.first().ok_or(Failure::new(code::INTERNAL))?;
            let others = details.subjects.iter().skip(1).map(|one| &one.subject);
            let event = IncidentOpened(IncidentRecordChange {
                incident,
                subject: EventSubject::of(&first.subject),
                subjects: others.map(EventSubject::of).collect(),
                by,
                people: &details.people,
                times: details.times.into(),
            });
            let draft = ChangeDraft::new(&event, incident)?.of_incident(incident);
            let (by, reason) = (by.to_owned(), reason.cloned());
            Ok(draft.effect(Effect::Incident(incidents::Effect::Open { incident, by, reason, details })))
        });
        let changed = changed.await?;
        let seq = changed.seq();
        let opened = match changed {
            Changed::Recorded { value, .. } => Some(value),
            Changed::Before(_) => {
                let read = |reading: &Reading<'_>| {
                    let mut all = reading.unconditional().incidents().all();
                    all.find(|incident| incident.opened.seq == seq).map(|incident| incident.id)
                };
                state.read(read).0
            }
        };
        let incident = opened.ok_or(Failure::new(code::INCIDENT_UNKNOWN))?;
        Ok(OpenedIncident { incident, seq, compared })
    }

    /// Adds details to the record of an open incident; the sequence of the entry.
    ///
    /// # Errors
    /// [`Failure`] if there is nothing to add, if the times contradict each other, or if the broker knows a time itself.
    pub async fn update_incident(
        &self,
        by: &Authorised<HandleIncidents>,
        id: IncidentId,
        input: &IncidentInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<u64, Failure> {
        let operator = by.operator();
        if input.subjects.is_empty() && input.people.is_empty() && input.times == IncidentTimes::default() {
            return Err(Failure::new(code::INCIDENT_INCOMPLETE).because("the request has no details"));
        }
        let changed = self.0.state.change(ChangeRequest::by(operator, idempotency), |reading| {
            let incident = open_record(reading, operator.scope(), id)?;
            let details = found(reading, operator.scope(), input)?;
            let (mut subjects, mut people) =
                (incident.affected.iter().collect::<Vec<_>>(), incident.people.clone());
            subjects.extend(&details.subjects);
            people.extend(details.people.iter().cloned());
            check_sizes(&subjects, &people)?;
            if let (Some(_), Some(known)) = (details.times.contained, incident.known_times().contained) {
                let why = format!("the broker contained the subjects at {known}");
                return Err(Failure::new(code::INCIDENT_TIMES_INVALID).because(why));
            }
            check_times(incident.times_with(details.times.or(incident.stated)), reading.now())?;
            let added = details.subjects.iter().map(|one| &one.subject);
            let event = IncidentUpdated(IncidentRecordChange {
                incident: id,
                subject: first_subject(incident)?,
                subjects: added.map(EventSubject::of).collect(),
                by: operator.name().as_str(),
                people: &details.people,
                times: details.times.into(),
            });
            let draft = ChangeDraft::new(&event, ())?.of_incident(id);
            Ok(draft.effect(Effect::Incident(incidents::Effect::Update { incident: id, details })))
        });
        Ok(changed.await?.seq())
    }

    /// Adds a note to the record, also of a closed incident; the sequence of the entry.
    ///
    /// # Errors
    /// [`Failure`] if the record has too many notes, or the text contains a secret.
    pub async fn note_incident(
        &self,
        by: &Authorised<HandleIncidents>,
        id: IncidentId,
        text: &Reason,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<NotedIncident, Failure> {
        let operator = by.operator();
        self.0.state.read(|reading| record(reading, operator.scope(), id).map(drop)).0?;
        let compared = self.refuse_secrets(by, Some(id), [text]).await?;
        let changed = self.0.state.change(ChangeRequest::by(operator, idempotency), |reading| {
            let incident = record(reading, operator.scope(), id)?;
            if incident.notes.len() >= INCIDENT_NOTES_MAX {
                return Err(incident_full("notes", INCIDENT_NOTES_MAX));
            }
            let by = operator.name().as_str();
            let (incident, subject, subjects) = (id, first_subject(incident)?, other_subjects(incident));
            let event = IncidentNoted { incident, subject, subjects, by, text };
            let (by, text) = (by.to_owned(), text.clone());
            let draft = ChangeDraft::new(&event, ())?.of_incident(id);
            Ok(draft.effect(Effect::Incident(incidents::Effect::Note { incident: id, by, text })))
        });
        Ok(NotedIncident { seq: changed.await?.seq(), compared })
    }

    /// Closes an incident that contains no subject any more.
    ///
    /// # Errors
    /// [`Failure`] if a containment is not lifted, or if the time of the recovery contradicts the other times.
    pub async fn close_incident(
        &self,
        by: &Authorised<HandleIncidents>,
        id: IncidentId,
        input: &ClosingInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<ClosedIncident, Failure> {
        let operator = by.operator();
        let state = &self.0.state;
        if input.follow_ups.len() > INCIDENT_FOLLOW_UPS_MAX {
            return Err(incident_full("follow-up actions", INCIDENT_FOLLOW_UPS_MAX));
        }
        state.read(|reading| open_record(reading, operator.scope(), id).map(drop)).0?;
        let texts = std::iter::once(&input.cause).chain(&input.follow_ups);
        let compared = self.refuse_secrets(by, Some(id), texts).await?;
        let changed = state.change(ChangeRequest::by(operator, idempotency), |reading| {
            let incident = open_record(reading, operator.scope(), id)?;
            let incidents = reading.incidents();
            if incidents.unrecorded_of(id).next().is_some() {
                return Err(Failure::new(code::REVOCATION_UNRECORDED));
            }
            if incident.is_containing() {
                return Err(Failure::new(code::INCIDENT_STILL_CONTAINS));
            }
            let now = reading.now();
            let ended = incident.lifted().map_or(now, |lifted| lifted.at);
            let recovered = input.recovered.or(incident.stated.recovered).or(Some(ended));
            let stated = IncidentTimes { recovered, ..IncidentTimes::default() };
            let times = incident.times_with(stated.or(incident.stated));
            check_times(times, now)?;
            let by = operator.name().as_str();
            let event = IncidentClosed {
                incident: id,
                subject: first_subject(incident)?,
                subjects: other_subjects(incident),
                by,
                cause: &input.cause,
                follow_ups: &input.follow_ups,
                times: times.into(),
            };
            let close = incidents::Effect::Close {
                incident: id,
                by: by.to_owned(),
                cause: input.cause.clone(),
                follow_ups: input.follow_ups.clone(),
                times: stated,
            };
            Ok(ChangeDraft::new(&event, times)?.of_incident(id).effect(Effect::Incident(close)))
        });
        let changed = changed.await?;
        let seq = changed.seq();
        let times = match changed {
            Changed::Recorded { value, .. } => {
                self.0.notifications.meters.incident_closed(
                    value.to_detect_s(),
                    value.to_contain_s(),
                    value.to_recover_s(),
                );
                value
            }
            Changed::Before(_) => {
                let times =
                    |reading: &Reading<'_>| reading.unconditional().incidents().get(id).map(Incident::times);
                state.read(times).0.ok_or(Failure::new(code::INCIDENT_UNKNOWN))?
            }
        };
        Ok(ClosedIncident { seq, times, compared })
    }
}

/// The incident of this id within the scope that is not closed, also if the ledger does not have it yet.
pub(super) fn open_incident<'r>(
    reading: &Reading<'r>,
    scope: &Scope,
    id: IncidentId,
) -> Result<&'r Incident, Failure> {
    let found = reading.incident(id).filter(|one| is_within(reading.unconditional(), scope, one));
    let incident = found.ok_or(Failure::new(code::INCIDENT_UNKNOWN))?;
    if incident.closed.is_some() { Err(Failure::new(code::INCIDENT_CLOSED)) } else { Ok(incident) }
}

/// The limit of `what` in one record is reached.
pub(super) fn incident_full(what: &str, limit: usize) -> Failure {
    Failure::new(code::INCIDENT_FULL).because(format!("the record of an incident has at most {limit} {what}"))
}

/// The record of this incident.
fn record<'r>(reading: &Reading<'r>, scope: &Scope, id: IncidentId) -> Result<&'r Incident, Failure> {
    let found = reading.incident(id).filter(|one| is_within(reading.unconditional(), scope, one));
    let incident = found.ok_or(Failure::new(code::INCIDENT_UNKNOWN))?;
    // The ledger has to say that it began before it can say more.
    if incident.opened.seq == 0 {
        return Err(Failure::new(code::REVOCATION_UNRECORDED));
    }
    Ok(incident)
}

fn open_record<'r>(reading: &Reading<'r>, scope: &Scope, id: IncidentId) -> Result<&'r Incident, Failure> {
    open_incident(reading, scope, id)?;
    record(reading, scope, id)
}

/// The details, with the subjects as the records have them.
fn found(reading: &Reading<'_>, scope: &Scope, input: &IncidentInput) -> Result<IncidentDetails, Failure> {
    let world = reading.unconditional();
    let find = |name: &SubjectName| {
        let found = FoundSubject::find(world, scope, name)?;
        Ok::<_, Failure>(AffectedSubject { subject: found.named, owner: found.owner })
    };
    let subjects = input.subjects.iter().map(find).collect::<Result<_, _>>()?;
    Ok(IncidentDetails { subjects, people: input.people.clone(), times: input.times })
}

fn check_sizes<S, P>(subjects: &[S], people: &[P]) -> Result<(), Failure> {
    if subjects.len() > INCIDENT_SUBJECTS_MAX {
        return Err(incident_full("subjects", INCIDENT_SUBJECTS_MAX));
    }
    if people.len() > INCIDENT_PEOPLE_MAX {
        return Err(incident_full("people", INCIDENT_PEOPLE_MAX));
    }
    Ok(())
}

fn check_times(times: IncidentTimes, now: Timestamp) -> Result<(), Failure> {
    let invalid = |error: incidents::IncidentTimesError| {
        Failure::new(code::INCIDENT_TIMES_INVALID).because(error.to_string())
    };
    times.check(now).map_err(invalid)
}

fn first_subject(incident: &Incident) -> Result<EventSubject<'_>, Failure> {
    incident.affected.first().map(|one| EventSubject::of(&one.subject)).ok_or(Failure::new(code::INTERNAL))
}

fn other_subjects(incident: &Incident) -> Vec<EventSubject<'_>> {
    incident.affected.iter().skip(1).map(|one| EventSubject::of(&one.subject)).collect()
}
