use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::freezing::Freezing;
use super::incident::{Incident, IncidentStep, IncidentSubject};
use crate::base::limits::INCIDENTS_LIFTED_MAX;
use crate::base::{IncidentId, OwnerName, Reason, Timestamp};
use crate::ledger::Key;
use crate::store::At;

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// An incident contains its subject, for the first time or again.
    Contain(Contained),
    /// The containment of an incident is lifted.
    Lift {
        /// The incident.
        incident: IncidentId,
        /// The operator.
        by: String,
        /// Why.
        reason: Option<Reason>,
    },
    /// The broker is frozen.
    Freeze {
        /// The operator, or `host uid N`.
        by: String,
        /// Why.
        reason: Option<Reason>,
    },
    /// The broker is thawed.
    Thaw,
}

/// The containment of a subject by an incident.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Contained {
    /// The incident.
    pub incident: IncidentId,
    /// The subject.
    pub subject: IncidentSubject,
    /// The owner of the subject.
    pub owner: Option<OwnerName>,
    /// Whether it revokes certificates for good.
    pub revokes_certificates: bool,
    /// The operator, or `host uid N`.
    pub by: String,
    /// Why.
    pub reason: Option<Reason>,
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Contain(Contained { incident, .. }) | Self::Lift { incident, .. } => {
                keys.extend([keys::incident(*incident), keys::open()]);
            }
            Self::Freeze { .. } | Self::Thaw => keys.push(keys::freezing()),
        }
    }

    /// Whether every decision on a token, a value or a login is made again.
    #[must_use]
    pub const fn concerns_all(&self) -> bool {
        matches!(self, Self::Freeze { .. } | Self::Thaw)
    }

    /// Whether it takes something away: such an entry is anchored at once. The marks beside a containment do.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        matches!(self, Self::Freeze { .. })
    }
}

/// All incidents, in memory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Incidents {
    all: BTreeMap<IncidentId, Incident>,
    /// Containments until their entries are durable. Never stored: a snapshot contains only recorded state.
    #[serde(skip)]
    unrecorded: Vec<Incident>,
    /// Whether the broker is frozen.
    pub freezing: Freezing,
}

impl Incidents {
    /// The incident of this id.
    #[must_use]
    pub fn get(&self, id: IncidentId) -> Option<&Incident> {
        self.all.get(&id).or_else(|| self.unrecorded.iter().find(|incident| incident.id == id))
    }

    /// Whether the ledger has the incident.
    #[must_use]
    pub fn is_recorded(&self, id: IncidentId) -> bool {
        self.all.contains_key(&id)
    }

    /// The incident that contains the subject, and is not lifted.
    #[must_use]
    pub fn containing(&self, subject: &IncidentSubject) -> Option<&Incident> {
        let is_open = |incident: &&Incident| incident.lifted.is_none() && incident.subject == *subject;
        self.all.values().chain(&self.unrecorded).find(is_open)
    }

    /// All incidents, the oldest first. Those that are not recorded come last.
    pub fn all(&self) -> impl Iterator<Item = &Incident> {
        let is_new = |incident: &&Incident| !self.all.contains_key(&incident.id);
        self.all.values().chain(self.unrecorded.iter().filter(is_new))
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Contain(contained) => {
                let new = contained.incident_at(at);
                let step = new.contained.clone();
                let incident = self.all.entry(contained.incident).or_insert(new);
                (incident.contained, incident.lifted) = (step, None);
            }
            Effect::Lift { incident, by, reason } => {
                let step = IncidentStep { at: at.time, seq: at.seq, by: by.clone(), reason: reason.clone() };
                if let Some(incident) = self.all.get_mut(incident) {
                    incident.lifted = Some(step);
                }
                self.forget_lifted();
            }
            Effect::Freeze { by, reason } => {
                let (by, reason) = (by.clone(), reason.clone());
                self.freezing.freeze(IncidentStep { at: at.time, seq: at.seq, by, reason });
            }
            Effect::Thaw => self.freezing.thaw(),
        }
    }

    /// Takes in a containment that no entry says yet.
    pub fn deny(&mut self, at: Timestamp, contained: &Contained) {
        self.unrecorded.push(contained.incident_at(At { seq: 0, time: at }));
    }

    /// The entry of one such containment has been taken in.
    pub fn recorded(&mut self, incident: IncidentId) {
        let at = self.unrecorded.iter().position(|one| one.id == incident);
        at.into_iter().for_each(|at| drop(self.unrecorded.remove(at)));
    }

    /// Times that a wrong clock put into the future move back.
    pub fn time_went_back(&mut self, now: Timestamp) {
        self.all.values_mut().for_each(|incident| incident.time_went_back(now));
        self.freezing.time_went_back(now);
    }

    /// Forgets the lifted incidents that are the oldest; the ledger has them. Open ones are never forgotten.
    fn forget_lifted(&mut self) {
        let lifted: Vec<IncidentId> = self
            .all
            .values()
            .filter(|incident| incident.lifted.is_some())
            .map(|incident| incident.id)
            .collect();
        for id in lifted.iter().take(lifted.len().saturating_sub(INCIDENTS_LIFTED_MAX)) {
            self.all.remove(id);
        }
    }
}

impl Contained {
    fn incident_at(&self, at: At) -> Incident {
        let step =
            IncidentStep { at: at.time, seq: at.seq, by: self.by.clone(), reason: self.reason.clone() };
        Incident {
            id: self.incident,
            subject: self.subject.clone(),
            owner: self.owner.clone(),
            revokes_certificates: self.revokes_certificates,
            opened: step.clone(),
            contained: step,
            lifted: None,
        }
    }
}

/// The keys that decisions on this room's records rely on.
pub mod keys {
    use crate::base::IncidentId;
    use crate::ledger::Key;

    /// The record of this incident.
    #[must_use]
    pub fn incident(id: IncidentId) -> Key {
        Key::of_id("incident", id.as_bytes())
    }

    /// Whether the broker is frozen.
    #[must_use]
    pub fn freezing() -> Key {
        Key::of("broker-freezing", b"")
    }

    /// Which subjects are contained by which incidents.
    #[must_use]
    pub fn open() -> Key {
        Key::of("incidents-open", b"")
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!((open.id, open.opened.seq, open.contained.seq), (first.incident, 3, 5));
        incidents.apply(at(7), &lift(first.incident));
        assert!(incidents.containing(&first.subject).is_none());
        assert_eq!(incidents.get(first.incident).unwrap().lifted.as_ref().unwrap().by, "bob");
    }

    #[test]
    fn a_containment_in_memory_is_an_incident_until_its_entry() {
        let (mut incidents, denied) = (Incidents::default(), contained());
        incidents.deny(NOW, &denied);
        assert_eq!(incidents.containing(&denied.subject).unwrap().id, denied.incident);
        assert!(!incidents.is_recorded(denied.incident));
        incidents.apply(at(3), &Effect::Contain(denied.clone()));
        assert_eq!(incidents.all().count(), 1);
        incidents.recorded(denied.incident);
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
}
