use super::contain::spared;
use super::subjects::{FoundSubject, is_within, owner_now, subject_of};
use crate::authn::OperatorPrincipal;
use crate::base::limits::PAGE_ENTRIES_MAX;
use crate::base::{Cancellation, IncidentId, OperatorName, Scope, SubjectName, Timestamp, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::incidents::{AffectedSubject, Incident, IncidentStep, IncidentSubject, IncidentTimes};
use crate::operators::OperatorRole;
use crate::policy::{Authorised, ReadIncidents};
use crate::revocation::Subject;
use crate::wire::{
    AffectedSubjectAnswer, IncidentAnswer, IncidentClosingAnswer, IncidentStepAnswer, IncidentTimesAnswer,
    PageAnswer, PreviewAnswer, RefusedCertificatesAnswer, SubjectAnswer,
};

impl AdminServices {
    /// Up to `limit` incidents within the operator's scope before `after`, the newest first.
    #[must_use]
    pub fn incidents(
        &self,
        by: &Authorised<ReadIncidents>,
        after: Option<IncidentId>,
        limit: usize,
    ) -> PageAnswer<IncidentAnswer> {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
        self.0.state.store.read(|world, _| {
            let within = world.incidents().all().filter(|one| is_shown(world, by.operator(), one));
            let mut rest: Vec<&Incident> =
                within.filter(|incident| after.is_none_or(|after| incident.id < after)).collect();
            rest.sort_unstable_by_key(|incident| std::cmp::Reverse(incident.id));
            let in_list =
                |incident: &&Incident| IncidentAnswer { notes: Vec::new(), ..answer(world, incident) };
            let items: Vec<_> = rest.iter().take(limit).map(in_list).collect();
            let next_after =
                items.last().filter(|_| rest.len() > limit).map(|last| last.incident.to_string());
            PageAnswer { items, next_after }
        })
    }

    /// One incident, with the credentials under its subjects until it is lifted or closed.
    ///
    /// # Errors
    /// [`Failure`] if no incident within the scope has this id.
    pub fn incident(
        &self,
        by: &Authorised<ReadIncidents>,
        id: IncidentId,
        work: &Cancellation,
    ) -> Result<IncidentAnswer, Failure> {
        let found = self.0.state.store.read(|world, _| {
            let found = world.incidents().get(id).filter(|one| is_shown(world, by.operator(), one));
            found.map(|incident| (incident.clone(), answer(world, incident)))
        });
        let (incident, mut answer) = found.ok_or_else(|| Failure::new(code::INCIDENT_UNKNOWN))?;
        if !incident.is_lifted() && incident.closed.is_none() {
            let named = self.0.named_subjects(by.operator(), id)?;
            let subjects: Vec<Subject> = named.iter().map(|(subject, _)| subject.clone()).collect();
            let contained = incident.contained().map_or_else(|| self.0.state.clock.now(), |step| step.at);
            let count = || self.0.count_credentials(&subjects, contained, work);
            answer.reach = (!subjects.is_empty()).then(count).transpose()?;
            if let Some(reach) = &mut answer.reach {
                reach.tokens_expire_by = self.0.tokens_expire_by(&named, contained, work)?.to_string();
            }
        }
        answer.refused = self.0.notifications.refusals.last(&id).map(|last| RefusedCertificatesAnswer {
            count: last.count,
            last_at: last.at.to_string(),
            last_source: last.source.to_string(),
        });
        Ok(answer)
    }

    /// What a containment of the subject would concern. Changes nothing.
    ///
    /// # Errors
    /// [`Failure`] if no subject within the scope has this name.
    pub fn preview_containment(
        &self,
        by: &Authorised<ReadIncidents>,
        name: &SubjectName,
        work: &Cancellation,
    ) -> Result<PreviewAnswer, Failure> {
        let scope = by.operator().scope();
        let found = self.0.state.store.read(|world, _| {
            let found = FoundSubject::find(world, scope, name)?;
            Ok::<_, Failure>((found.subject, found.named))
        });
        let (subject, named) = found?;
        let revokes_certificates = subject.ends_certificates();
        let now = self.0.state.clock.now();
        let mut reach = self.0.count_credentials(std::slice::from_ref(&subject), now, work)?;
        let spared = spared(by.operator(), name);
        let admins_left = self.0.admins_that_would_be_left(&subject, spared);
        let tokens_expire_by = self.0.tokens_expire_by(&[(subject, named.clone())], now, work)?;
        reach.tokens_expire_by = tokens_expire_by.to_string();
        Ok(PreviewAnswer {
            subject: subject_answer(&named),
            revokes_certificates,
            spares_caller: spared.is_some(),
            leaves_no_admin: admins_left.is_none,
            admins_of_unknown_address: admins_left.unknown_answer(),
            reach,
        })
    }
}

impl Services {
    /// Whether the broker is frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.state.store.read(|world, _| world.incidents().freezing.is_frozen())
    }

    /// The affected subjects of the incident, also those that are gone. While it contains subjects, only these.
    ///
    /// # Errors
    /// [`Failure`] if the operator is shown no incident of this id.
    pub(super) fn affected_subjects(
        &self,
        by: &OperatorPrincipal,
        id: IncidentId,
    ) -> Result<Vec<Subject>, Failure> {
        let named = self.named_subjects(by, id)?;
        Ok(named.into_iter().map(|(subject, _)| subject).collect())
    }

    /// The same, with their names.
    ///
    /// # Errors
    /// [`Failure`], likewise.
    pub(super) fn named_subjects(
        &self,
        by: &OperatorPrincipal,
        id: IncidentId,
    ) -> Result<Vec<(Subject, IncidentSubject)>, Failure> {
        self.state.store.read(|world, _| {
            let found = world.incidents().get(id).filter(|one| is_shown(world, by, one));
            let incident = found.ok_or_else(|| Failure::new(code::INCIDENT_UNKNOWN))?;
            let unrecorded = world.incidents().unrecorded_of(id).flat_map(|one| &one.containments);
            let open = incident.containments.iter().filter(|one| one.lifted.is_none()).chain(unrecorded);
            let mut named: Vec<&IncidentSubject> = open.map(|one| &one.affected.subject).collect();
            if named.is_empty() {
                named = incident.affected.iter().map(|one| &one.subject).collect();
            }
            let mut subjects: Vec<(Subject, IncidentSubject)> = Vec::new();
            for named in named {
                let Some(subject) = subject_of(named) else { continue };
                if subjects.iter().all(|(other, _)| *other != subject) {
                    subjects.push((subject, named.clone()));
                }
            }
            Ok(subjects)
        })
    }
}

/// Whether the operator sees the incidents about itself, too: an admin or security operator with the scope `all` could
/// contain and lift them.
pub(crate) fn sees_own_incidents(operator: &OperatorPrincipal) -> bool {
    *operator.scope() == Scope::Everything
        && matches!(operator.role(), OperatorRole::Admin | OperatorRole::Security)
}

/// Whether the incident affects this operator, or a certificate of it.
pub(crate) fn affects(incident: &Incident, operator: &OperatorName) -> bool {
    let own = Some(operator.as_str());
    incident.affected.iter().any(|one| {
        let IncidentSubject { kind, name, operator, .. } = &one.subject;
        operator.as_deref() == own || (kind == "operator" && name.as_deref() == own)
    })
}

/// Whether the incident is within the operator's scope, and not one about itself that it may not see.
pub(crate) fn is_shown(world: &World, operator: &OperatorPrincipal, incident: &Incident) -> bool {
    is_within(world, operator.scope(), incident)
        && (sees_own_incidents(operator) || !affects(incident, operator.name()))
}

/// The record of the incident, without counts.
pub(crate) fn answer(world: &World, incident: &Incident) -> IncidentAnswer {
    let is_unrecorded = has_unrecorded(world, incident.id);
    let state = if is_unrecorded {
        "unrecorded"
    } else if incident.closed.is_some() {
        "closed"
    } else if incident.is_containing() {
        "contained"
    } else if incident.is_lifted() {
        "lifted"
    } else {
        "open"
    };
    let subjects = affected(world, incident);
    let lifted = incident.lifted().filter(|_| incident.is_lifted() && !is_unrecorded);
    IncidentAnswer {
        incident: incident.id,
        subject: subjects.first().map_or_else(nothing, |first| first.subject.clone()),
        owner: subjects.first().and_then(|first| first.owner.clone()),
        state: state.into(),
        opened: step_answer(&incident.opened),
        contained: incident.contained().map(step_answer),
        lifted: lifted.map(step_answer),
        subjects,
        people: incident.people.iter().map(ToString::to_string).collect(),
        times: times_answer(&incident.times()),
        notes: incident.notes.iter().map(step_answer).collect(),
        closed: incident.closed.as_ref().map(|closed| IncidentClosingAnswer {
            at: closed.step.at.to_string(),
            by: closed.step.by.clone(),
            seq: closed.step.seq,
            cause: closed.cause.to_string(),
            follow_ups: closed.follow_ups.iter().map(ToString::to_string).collect(),
        }),
        reach: None,
        refused: None,
    }
}

/// Whether the incident contains a subject of which the ledger does not say so. A repetition that the ledger does not have
/// yet takes nothing from the containment that it has.
fn has_unrecorded(world: &World, id: IncidentId) -> bool {
    let recorded = world.incidents().recorded_incident(id);
    let is_recorded = |subject: &IncidentSubject| {
        let containment = recorded.and_then(|incident| incident.containment(subject));
        containment.is_some_and(|one| one.lifted.is_none())
    };
    let mut unrecorded = world.incidents().unrecorded_of(id).flat_map(|one| &one.containments);
    unrecorded.any(|one| !is_recorded(&one.affected.subject))
}

/// The affected subjects, with their containments, also those that the ledger does not have yet.
fn affected(world: &World, incident: &Incident) -> Vec<AffectedSubjectAnswer> {
    let unrecorded: Vec<&Incident> = world.incidents().unrecorded_of(incident.id).collect();
    let parts = || std::iter::once(incident).chain(unrecorded.iter().copied());
    let mut all: Vec<&AffectedSubject> = Vec::new();
    for one in parts().flat_map(|part| &part.affected) {
        if all.iter().all(|other| other.subject != one.subject) {
            all.push(one);
        }
    }
    let answered = all.into_iter().map(|one| {
        // The last one: a containment that is not recorded comes after a recorded one.
        let containment = parts().filter_map(|part| part.containment(&one.subject)).next_back();
        AffectedSubjectAnswer {
            subject: subject_answer(&one.subject),
            owner: owner_now(world, one).cloned(),
            contained: containment.map(|one| step_answer(&one.last)),
            lifted: containment.and_then(|one| one.lifted.as_ref()).map(step_answer),
        }
    });
    answered.collect()
}

/// The times of an incident, for answers.
#[must_use]
pub fn times_answer(times: &IncidentTimes) -> IncidentTimesAnswer {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    IncidentTimesAnswer {
        first_sign: text(times.first_sign),
        detected: text(times.detected),
        contained: text(times.contained),
        recovered: text(times.recovered),
        to_detect_s: times.to_detect_s(),
        to_contain_s: times.to_contain_s(),
        to_recover_s: times.to_recover_s(),
    }
}

fn step_answer(step: &IncidentStep) -> IncidentStepAnswer {
    IncidentStepAnswer {
        at: step.at.to_string(),
        by: step.by.clone(),
        seq: Some(step.seq).filter(|seq| *seq > 0),
        reason: step.reason.as_ref().map(ToString::to_string),
    }
}

/// An incident always has a subject.
fn nothing() -> SubjectAnswer {
    subject_answer(&IncidentSubject {
        kind: String::new(),
        id: None,
        name: None,
        agent: None,
        operator: None,
    })
}

/// The subject of an incident, for answers.
#[must_use]
pub fn subject_answer(subject: &IncidentSubject) -> SubjectAnswer {
    let IncidentSubject { kind, id, name, agent, operator } = subject.clone();
    SubjectAnswer { kind, name, id, agent, operator }
}
