use serde::{Deserialize, Serialize};

use super::times::IncidentTimes;
use crate::base::{IncidentId, OwnerName, Person, Reason, SubjectName, Timestamp};

/// The subject of an incident, as it was named then. This is the stored form: no field is left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IncidentSubject {
    /// The word for its kind, e.g. `agent`.
    pub kind: String,
    /// The id of an agent, instance, operator or token, or the serial number of a certificate.
    pub id: Option<String>,
    /// The name of any other subject, also of an agent or operator; the text of a network.
    pub name: Option<String>,
    /// The agent of an instance or certificate.
    pub agent: Option<String>,
    /// The operator of a certificate.
    pub operator: Option<String>,
}

/// A step of an incident.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IncidentStep {
    /// When.
    pub at: Timestamp,
    /// The entry; 0 while there is none.
    pub seq: u64,
    /// The operator, or `host uid N`.
    pub by: String,
    /// Why.
    pub reason: Option<Reason>,
}

/// A subject that an incident affects.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AffectedSubject {
    /// The subject.
    pub subject: IncidentSubject,
    /// The owner of the subject at that time.
    pub owner: Option<OwnerName>,
}

/// The containment of a subject by an incident.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SubjectContainment {
    /// The subject.
    pub affected: AffectedSubject,
    /// Whether the containment revoked certificates for good; otherwise they were refused until the lift.
    pub revokes_certificates: bool,
    /// The first containment.
    pub first: IncidentStep,
    /// The last containment; a repetition also revokes what was issued since the one before.
    pub last: IncidentStep,
    /// The end of the containment.
    pub lifted: Option<IncidentStep>,
}

/// The end of an incident.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct IncidentClosing {
    /// When, and by whom.
    pub step: IncidentStep,
    /// The cause.
    pub cause: Reason,
    /// The actions that follow.
    pub follow_ups: Vec<Reason>,
}

/// An incident.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// The beginning of the record.
    pub opened: IncidentStep,
    /// The affected subjects, each once, in the order in which operators contained or named them.
    pub affected: Vec<AffectedSubject>,
    /// Subjects that it contains or contained.
    pub containments: Vec<SubjectContainment>,
    /// The people who work on it or know about it.
    pub people: Vec<Person>,
    /// Times that operators stated.
    pub stated: IncidentTimes,
    /// Notes, the oldest first; the text of a note is the reason of its step.
    pub notes: Vec<IncidentStep>,
    /// The end.
    pub closed: Option<IncidentClosing>,
}

impl Incident {
    /// A record that begins with `opened`.
    pub(super) const fn new(id: IncidentId, opened: IncidentStep) -> Self {
        Self {
            id,
            opened,
            affected: Vec::new(),
            containments: Vec::new(),
            people: Vec::new(),
            stated: IncidentTimes { first_sign: None, detected: None, contained: None, recovered: None },
            notes: Vec::new(),
            closed: None,
        }
    }

    /// The containment of this subject, in force or lifted.
    #[must_use]
    pub fn containment(&self, subject: &IncidentSubject) -> Option<&SubjectContainment> {
        self.containments.iter().find(|one| one.affected.subject == *subject)
    }

    /// The containment of the subject of this name, in force or lifted.
    #[must_use]
    pub fn containment_of(&self, name: &SubjectName) -> Option<&SubjectContainment> {
        let (kind, text, id) = (name.kind(), name.name(), name.id());
        self.containments.iter().find(|one| {
            let subject = &one.affected.subject;
            let is_same = if text.is_some() { subject.name == text } else { subject.id == id };
            subject.kind == kind && is_same
        })
    }

    /// Whether it contains a subject.
    #[must_use]
    pub fn is_containing(&self) -> bool {
        self.containments.iter().any(|one| one.lifted.is_none())
    }

    /// Whether every containment is lifted, and there was one.
    #[must_use]
    pub fn is_lifted(&self) -> bool {
        !self.containments.is_empty() && !self.is_containing()
    }

    /// The last containment.
    #[must_use]
    pub fn contained(&self) -> Option<&IncidentStep> {
        self.containments.iter().map(|one| &one.last).max_by_key(|step| (step.at, step.seq))
    }

    /// The last lift.
    #[must_use]
    pub fn lifted(&self) -> Option<&IncidentStep> {
        let lifts = self.containments.iter().filter_map(|one| one.lifted.as_ref());
        lifts.max_by_key(|step| (step.at, step.seq))
    }

    /// The times that the broker knows: the detection is at the latest the beginning of the record, and all subjects are
    /// contained when the last one is contained for the first time.
    #[must_use]
    pub fn known_times(&self) -> IncidentTimes {
        let contained = self.containments.iter().map(|one| one.first.at).max();
        IncidentTimes { contained, ..IncidentTimes::default() }
    }

    /// All times. Without a statement, the detection is the beginning of the record, and the recovery of a closed incident
    /// is the last lift, or the closing if nothing was contained.
    #[must_use]
    pub fn times(&self) -> IncidentTimes {
        self.times_with(self.stated)
    }

    /// All times, if operators had stated `stated`.
    #[must_use]
    pub fn times_with(&self, stated: IncidentTimes) -> IncidentTimes {
        let recovered = self.closed.as_ref().map(|closed| self.lifted().unwrap_or(&closed.step).at);
        let derived =
            IncidentTimes { first_sign: None, detected: Some(self.opened.at), contained: None, recovered };
        self.known_times().or(stated).or(derived)
    }

    pub(super) fn contain(
        &mut self,
        affected: AffectedSubject,
        revokes_certificates: bool,
        step: IncidentStep,
    ) {
        // A containment is never without an open record, and an incident that contains a subject is not recovered.
        (self.closed, self.stated.recovered) = (None, None);
        self.name(std::slice::from_ref(&affected), &[]);
        match self.containments.iter_mut().find(|one| one.affected.subject == affected.subject) {
            Some(before) => (before.last, before.lifted) = (step, None),
            None => self.containments.push(SubjectContainment {
                affected,
                revokes_certificates,
                first: step.clone(),
                last: step,
                lifted: None,
            }),
        }
    }

    pub(super) fn lift(&mut self, step: &IncidentStep) {
        for one in self.containments.iter_mut().filter(|one| one.lifted.is_none()) {
            one.lifted = Some(step.clone());
        }
    }

    pub(super) fn name(&mut self, subjects: &[AffectedSubject], people: &[Person]) {
        for one in subjects {
            if self.affected.iter().all(|other| other.subject != one.subject) {
                self.affected.push(one.clone());
            }
        }
        for person in people {
            if !self.people.contains(person) {
                self.people.push(person.clone());
            }
        }
    }

    /// Times in the future move back to `now`.
    pub(super) fn time_went_back(&mut self, now: Timestamp) {
        let closed = self.closed.iter_mut().map(|closed| &mut closed.step);
        let contained = self
            .containments
            .iter_mut()
            .flat_map(|one| [&mut one.first, &mut one.last].into_iter().chain(&mut one.lifted));
        for step in [&mut self.opened].into_iter().chain(&mut self.notes).chain(closed).chain(contained) {
            step.at = step.at.min(now);
        }
        self.stated.time_went_back(now);
    }
}
