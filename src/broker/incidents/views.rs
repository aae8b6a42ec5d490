use super::subjects::FoundSubject;
use crate::base::limits::PAGE_ENTRIES_MAX;
use crate::base::{Cancellation, IncidentId, SubjectName, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::incidents::{Incident, IncidentStep, IncidentSubject};
use crate::policy::{Authorised, ReadIncidents};
use crate::wire::{IncidentAnswer, IncidentStepAnswer, PageAnswer, PreviewAnswer, SubjectAnswer};

impl AdminServices {
    /// Up to `limit` incidents within the operator's scope before `after`, the newest first.
    #[must_use]
    pub fn incidents(
        &self,
        by: &Authorised<ReadIncidents>,
        after: Option<IncidentId>,
        limit: usize,
    ) -> PageAnswer<IncidentAnswer> {
        let (scope, limit) = (by.operator().scope(), limit.clamp(1, PAGE_ENTRIES_MAX));
        self.0.state.store.read(|world, _| {
            let within = world.incidents().all().filter(|incident| scope.covers(incident.owner.as_ref()));
            let mut rest: Vec<&Incident> =
                within.filter(|incident| after.is_none_or(|after| incident.id < after)).collect();
            rest.sort_unstable_by_key(|incident| std::cmp::Reverse(incident.id));
            let items: Vec<_> = rest.iter().take(limit).map(|incident| answer(world, incident)).collect();
            let next_after =
                items.last().filter(|_| rest.len() > limit).map(|last| last.incident.to_string());
            PageAnswer { items, next_after }
        })
    }

    /// One incident, with the credentials under its subject while it is contained.
    ///
    /// # Errors
    /// [`Failure`] if no incident within the scope has this id.
    pub fn incident(
        &self,
        by: &Authorised<ReadIncidents>,
        id: IncidentId,
        work: &Cancellation,
    ) -> Result<IncidentAnswer, Failure> {
        let scope = by.operator().scope();
        let found = self.0.state.store.read(|world, _| {
            let found = world.incidents().get(id).filter(|incident| scope.covers(incident.owner.as_ref()));
            found.map(|incident| (incident.clone(), answer(world, incident)))
        });
        let (incident, mut answer) = found.ok_or_else(|| Failure::new(code::INCIDENT_UNKNOWN))?;
        if incident.lifted.is_none() {
            let subject = name_of(&incident.subject).and_then(|name| self.0.present_subject(&name));
            let reach =
                subject.map(|subject| self.0.count_credentials(&subject, incident.contained.at, work));
            answer.reach = reach.transpose()?;
        }
        Ok(answer)
    }

    /// What a containment of the subject would concern. Changes nothing.
    ///
    /// # Errors
    /// [`Failure`] if no subject within the scope has this name.
    pub fn preview_containment(
        &self,
        by: &Authorised<ReadIncidents>,
        subject: &SubjectName,
        work: &Cancellation,
    ) -> Result<PreviewAnswer, Failure> {
        let scope = by.operator().scope();
        let found = self.0.state.store.read(|world, _| {
            let found = FoundSubject::find(world, scope, subject)?;
            Ok::<_, Failure>((found.subject, found.named))
        });
        let (subject, named) = found?;
        let reach = self.0.count_credentials(&subject, self.0.state.clock.now(), work)?;
        let revokes_certificates = subject.ends_certificates();
        Ok(PreviewAnswer { subject: subject_answer(&named), revokes_certificates, reach })
    }
}

impl Services {
    /// Whether the broker is frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.state.store.read(|world, _| world.incidents().freezing.is_frozen())
    }
}

fn answer(world: &World, incident: &Incident) -> IncidentAnswer {
    let state = match &incident.lifted {
        Some(_) => "lifted",
        None if world.incidents().is_recorded(incident.id) => "contained",
        None => "unrecorded",
    };
    IncidentAnswer {
        incident: incident.id,
        subject: subject_answer(&incident.subject),
        owner: incident.owner.clone(),
        state: state.into(),
        opened: step_answer(&incident.opened),
        contained: step_answer(&incident.contained),
        lifted: incident.lifted.as_ref().map(step_answer),
        reach: None,
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

/// The subject of an incident, for answers.
#[must_use]
pub fn subject_answer(subject: &IncidentSubject) -> SubjectAnswer {
    let IncidentSubject { kind, id, name, agent, operator } = subject.clone();
    SubjectAnswer { kind, name, id, agent, operator }
}

/// The name by which the subject is found again.
pub(super) fn name_of(subject: &IncidentSubject) -> Option<SubjectName> {
    let which = match subject.kind.as_str() {
        "instance" | "certificate" | "token" => subject.id.as_deref(),
        _ => subject.name.as_deref(),
    };
    SubjectName::of(&subject.kind, which).ok()
}
