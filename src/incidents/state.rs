use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::effect::{Contained, Effect};
use super::freezing::Freezing;
use super::incident::{AffectedSubject, Incident, IncidentClosing, IncidentStep, IncidentSubject};
use crate::base::limits::INCIDENTS_LIFTED_MAX;
use crate::base::{IncidentId, Reason, Timestamp};
use crate::store::At;

/// All incidents, in memory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Incidents {
    all: BTreeMap<IncidentId, Incident>,
    /// Containments until their entries are durable, each as an incident with one subject. Never stored: a snapshot
    /// contains only recorded state.
    #[serde(skip)]
    unrecorded: Vec<Incident>,
    /// Whether the broker is frozen.
    pub freezing: Freezing,
}

impl Incidents {
    /// The incident of this id.
    #[must_use]
    pub fn get(&self, id: IncidentId) -> Option<&Incident> {
        self.recorded_incident(id).or_else(|| self.unrecorded_of(id).next())
    }

    /// The incident of this id, as the ledger has it.
    #[must_use]
    pub fn recorded_incident(&self, id: IncidentId) -> Option<&Incident> {
        self.all.get(&id)
    }

    /// The containments of this incident that the ledger does not have yet.
    pub fn unrecorded_of(&self, id: IncidentId) -> impl Iterator<Item = &Incident> {
        self.unrecorded.iter().filter(move |incident| incident.id == id)
    }

    /// The incident that contains the subject, and is not lifted.
    #[must_use]
    pub fn containing(&self, subject: &IncidentSubject) -> Option<IncidentId> {
        self.contained().find(|(contained, _)| *contained == subject).map(|(_, incident)| incident)
    }

    /// The subjects that incidents contain, with the incident.
    pub fn contained(&self) -> impl Iterator<Item = (&IncidentSubject, IncidentId)> {
        self.all.values().chain(&self.unrecorded).flat_map(|incident| {
            let open = incident.containments.iter().filter(|containment| containment.lifted.is_none());
            open.map(|containment| (&containment.affected.subject, incident.id))
        })
    }

    /// All incidents, the oldest first. Those that are not recorded come last.
    pub fn all(&self) -> impl Iterator<Item = &Incident> {
        let is_new = |incident: &&Incident| !self.all.contains_key(&incident.id);
        self.all.values().chain(self.unrecorded.iter().filter(is_new))
    }

    /// Incidents that are not closed, and never contained a subject.
    #[must_use]
    pub fn without_containment(&self) -> usize {
        let is_one = |one: &&Incident| one.closed.is_none() && one.containments.is_empty();
        self.all.values().filter(is_one).count()
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        let step = |by: &String, reason: Option<&Reason>| IncidentStep {
            at: at.time,
            seq: at.seq,
            by: by.clone(),
            reason: reason.cloned(),
        };
        match effect {
            Effect::Contain(contained) => {
                let step = contained.step(at);
                let incident = self.all.entry(contained.incident);
                let incident = incident.or_insert_with(|| Incident::new(contained.incident, step.clone()));
                incident.contain(contained.affected(), contained.revokes_certificates, step);
            }
            Effect::Lift { incident, by, reason } => {
                let step = step(by, reason.as_ref());
                self.change(*incident, |incident| incident.lift(&step));
                self.forget_ended();
            }
            Effect::Freeze { by, reason } => self.freezing.freeze(step(by, reason.as_ref())),
            Effect::Thaw => self.freezing.thaw(),
            Effect::Open { incident, by, reason, details } => {
                let mut new = Incident::new(*incident, step(by, reason.as_ref()));
                new.name(&details.subjects, &details.people);
                new.stated = details.times;
                self.all.entry(*incident).or_insert(new);
            }
            Effect::Update { incident, details } => self.change(*incident, |incident| {
                incident.name(&details.subjects, &details.people);
                incident.stated = details.times.or(incident.stated);
            }),
            Effect::Note { incident, by, text } => {
                let step = step(by, Some(text));
                self.change(*incident, |incident| incident.notes.push(step));
            }
            Effect::Close { incident, by, cause, follow_ups, times } => {
                let (cause, follow_ups) = (cause.clone(), follow_ups.clone());
                let closing = IncidentClosing { step: step(by, None), cause, follow_ups };
                self.change(*incident, |incident| {
                    incident.stated = times.or(incident.stated);
                    incident.closed = Some(closing);
                });
                self.forget_ended();
            }
        }
    }

    fn change(&mut self, id: IncidentId, change: impl FnOnce(&mut Incident)) {
        if let Some(incident) = self.all.get_mut(&id) {
            change(incident);
        }
    }

    /// Takes in a containment that no entry says yet.
    pub fn deny(&mut self, at: Timestamp, contained: &Contained) {
        let step = contained.step(At { seq: 0, time: at });
        let mut incident = Incident::new(contained.incident, step.clone());
        incident.contain(contained.affected(), contained.revokes_certificates, step);
        self.unrecorded.push(incident);
    }

    /// The entry of one such containment has been taken in.
    pub fn recorded(&mut self, contained: &Contained) {
        let is_it =
            |one: &Incident| one.id == contained.incident && one.containment(&contained.subject).is_some();
        let at = self.unrecorded.iter().position(is_it);
        at.into_iter().for_each(|at| drop(self.unrecorded.remove(at)));
    }

    /// Times that a wrong clock put into the future move back.
    pub fn time_went_back(&mut self, now: Timestamp) {
        self.all.values_mut().for_each(|incident| incident.time_went_back(now));
        self.freezing.time_went_back(now);
    }

    /// Forgets the incidents that ended first: they are closed, or their containments are lifted; the ledger has them. Others are
    /// never forgotten.
    fn forget_ended(&mut self) {
        let is_ended = |incident: &&Incident| {
            !incident.is_containing() && (incident.closed.is_some() || incident.is_lifted())
        };
        let end = |incident: &Incident| {
            let closed = incident.closed.as_ref().map(|closed| closed.step.seq);
            (closed.max(incident.lifted().map(|step| step.seq)), incident.id)
        };
        let mut ended: Vec<_> = self.all.values().filter(is_ended).map(end).collect();
        ended.sort_unstable();
        for (_, id) in ended.iter().take(ended.len().saturating_sub(INCIDENTS_LIFTED_MAX)) {
            self.all.remove(id);
        }
    }
}

impl Contained {
    fn step(&self, at: At) -> IncidentStep {
        IncidentStep { at: at.time, seq: at.seq, by: self.by.clone(), reason: self.reason.clone() }
    }

    fn affected(&self) -> AffectedSubject {
        AffectedSubject { subject: self.subject.clone(), owner: self.owner.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::effect::IncidentDetails;
    use super::super::times::IncidentTimes;
    use super::*;
    use crate::base::SystemEntropy;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn at(seq: u64) -> At {
        At { seq, time: NOW }
    }

    fn contained() -> Contained {
        Contained {
            incident: IncidentId::mint(NOW, &SystemEntropy),
            subject: IncidentSubject {
                kind: "agent".to_owned(),
                id: Some("x".to_owned()),
                name: Some("orders-bot".to_owned()),
                agent: None,
                operator: None,
            },
            owner: None,
            revokes_certificates: true,
            by: "alice".to_owned(),
            reason: None,
        }
    }

    fn lift(incident: IncidentId) -> Effect {
        Effect::Lift { incident, by: "bob".to_owned(), reason: None }
    }

    #[test]
    fn a_repeated_containment_belongs_to_the_open_incident() {
        let (mut incidents, first) = (Incidents::default(), contained());
        incidents.apply(at(3), &Effect::Contain(first.clone()));
        incidents.apply(at(5), &Effect::Contain(first.clone()));
        let open = incidents.containing(&first.subject).unwrap();
        assert_eq!(open, first.incident);
        let open = incidents.get(open).unwrap();
        assert_eq!((open.opened.seq, open.contained().unwrap().seq), (3, 5));
        assert_eq!(open.containments.len(), 1);
        incidents.apply(at(7), &lift(first.incident));
        assert!(incidents.containing(&first.subject).is_none());
        let lifted = incidents.get(first.incident).unwrap();
        assert!(lifted.is_lifted() && lifted.lifted().unwrap().by == "bob");
    }

    #[test]
    fn a_containment_in_memory_is_an_incident_until_its_entry() {
        let (mut incidents, denied) = (Incidents::default(), contained());
        incidents.deny(NOW, &denied);
        assert_eq!(incidents.containing(&denied.subject), Some(denied.incident));
        assert!(incidents.recorded_incident(denied.incident).is_none());
        incidents.apply(at(3), &Effect::Contain(denied.clone()));
        assert_eq!(incidents.all().count(), 1);
        incidents.recorded(&denied);
        assert_eq!((incidents.all().count(), incidents.get(denied.incident).unwrap().opened.seq), (1, 3));
    }

    #[test]
    fn so_many_lifted_incidents_are_remembered_and_every_open_one() {
        let (mut incidents, open) = (Incidents::default(), contained());
        incidents.apply(at(1), &Effect::Contain(open.clone()));
        for _ in 0..=INCIDENTS_LIFTED_MAX {
            let lifted = contained();
            incidents.apply(at(2), &Effect::Contain(lifted.clone()));
            incidents.apply(at(3), &lift(lifted.incident));
        }
        assert_eq!(incidents.all().count(), INCIDENTS_LIFTED_MAX + 1);
        assert!(incidents.get(open.incident).is_some());
    }

    #[test]
    fn a_freeze_is_in_force_before_its_entry_and_until_the_thaw() {
        let mut incidents = Incidents::default();
        incidents.freezing.deny();
        assert!(incidents.freezing.is_frozen() && incidents.freezing.is_unrecorded());
        let freeze = Effect::Freeze { by: "alice".to_owned(), reason: None };
        incidents.apply(at(3), &freeze);
        incidents.apply(at(4), &freeze);
        incidents.freezing.settle();
        assert_eq!(incidents.freezing.recorded().unwrap().seq, 3, "the first one");
        incidents.apply(at(5), &Effect::Thaw);
        assert!(!incidents.freezing.is_frozen());
    }

    #[test]
    fn times_of_a_wrong_clock_move_back() {
        let (mut incidents, one) = (Incidents::default(), contained());
        incidents.apply(At { seq: 1, time: NOW.plus_s(100) }, &Effect::Contain(one.clone()));
        incidents.time_went_back(NOW);
        assert_eq!(incidents.get(one.incident).unwrap().opened.at, NOW);
    }

    fn opened() -> (Incidents, IncidentId) {
        let (mut incidents, incident) = (Incidents::default(), IncidentId::mint(NOW, &SystemEntropy));
        let Contained { subject, owner, .. } = contained();
        let details = IncidentDetails {
            subjects: vec![AffectedSubject { subject, owner }],
            people: vec!["ann@corp.example".parse().unwrap()],
            times: IncidentTimes { first_sign: Some(NOW.plus_s(-60)), ..IncidentTimes::default() },
        };
        incidents.apply(at(3), &Effect::Open { incident, by: "alice".to_owned(), reason: None, details });
        (incidents, incident)
    }

    #[test]
    fn a_record_without_a_containment_ends_when_it_is_closed() {
        let (mut incidents, incident) = opened();
        assert_eq!(incidents.without_containment(), 1);
        let one = incidents.get(incident).unwrap();
        assert!(!one.is_containing() && !one.is_lifted() && one.contained().is_none());
        assert_eq!((one.times().to_detect_s(), one.times().recovered), (Some(60), None));
        let cause = "a key in a log".parse().unwrap();
        let close = Effect::Close {
            incident,
            by: "bob".to_owned(),
            cause,
            follow_ups: Vec::new(),
            times: IncidentTimes { recovered: Some(NOW.plus_s(30)), ..IncidentTimes::default() },
        };
        incidents.apply(At { seq: 4, time: NOW.plus_s(30) }, &close);
        let closed = incidents.get(incident).unwrap();
        assert_eq!(closed.times().to_recover_s(), Some(30), "until the closing");
        assert_eq!(incidents.without_containment(), 0);
        // When a stored order contains a subject of it, then it is open again, and the recovery is unknown
        incidents.apply(at(5), &Effect::Contain(Contained { incident, ..contained() }));
        let open = incidents.get(incident).unwrap();
        assert!(open.closed.is_none() && open.times().recovered.is_none());
    }

    #[test]
    fn a_subject_joins_an_incident_and_one_lift_ends_all_containments() {
        let (mut incidents, incident) = opened();
        let first = Contained { incident, ..contained() };
        let mut other = first.clone();
        other.subject.id = Some("y".to_owned());
        other.subject.name = Some("billing-bot".to_owned());
        incidents.apply(at(4), &Effect::Contain(first.clone()));
        incidents.deny(NOW, &other);
        assert_eq!(incidents.get(incident).unwrap().containments.len(), 1);
        assert_eq!(incidents.unrecorded_of(incident).count(), 1);
        incidents.apply(At { seq: 5, time: NOW.plus_s(9) }, &Effect::Contain(other.clone()));
        incidents.recorded(&other);
        assert_eq!(incidents.unrecorded_of(incident).count(), 0);
        let one = incidents.get(incident).unwrap();
        assert_eq!((one.affected.len(), one.containments.len()), (2, 2), "the named one is not repeated");
        assert_eq!(one.times().to_contain_s(), Some(9), "until the last subject is contained");
        incidents.apply(at(6), &lift(incident));
        assert!(incidents.get(incident).unwrap().is_lifted());
        assert_eq!(
            (incidents.containing(&first.subject), incidents.containing(&other.subject)),
            (None, None)
        );
    }
}
