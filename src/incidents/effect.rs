use serde::{Deserialize, Serialize};

use super::incident::{AffectedSubject, IncidentSubject};
use super::keys;
use super::times::IncidentTimes;
use crate::base::{IncidentId, OwnerName, Person, Reason};
use crate::ledger::Key;

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// An incident contains its subject, for the first time or again.
    Contain(Contained),
    /// The containments of an incident are lifted.
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
    /// The record of an incident begins without a containment.
    Open {
        /// The incident.
        incident: IncidentId,
        /// The operator.
        by: String,
        /// Why.
        reason: Option<Reason>,
        /// What operators know.
        details: IncidentDetails,
    },
    /// Adds details to the record.
    Update {
        /// The incident.
        incident: IncidentId,
        /// The new details.
        details: IncidentDetails,
    },
    /// Adds a note to the record.
    Note {
        /// The incident.
        incident: IncidentId,
        /// The operator.
        by: String,
        /// The note.
        text: Reason,
    },
    /// The incident is over.
    Close {
        /// The incident.
        incident: IncidentId,
        /// The operator.
        by: String,
        /// The cause.
        cause: Reason,
        /// The actions that follow.
        follow_ups: Vec<Reason>,
        /// The time of the recovery, if the operator stated it.
        times: IncidentTimes,
    },
}

/// Details of a record that operators state.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct IncidentDetails {
    /// Affected subjects.
    pub subjects: Vec<AffectedSubject>,
    /// People.
    pub people: Vec<Person>,
    /// Times.
    pub times: IncidentTimes,
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
            Self::Contain(Contained { incident, subject, .. }) => {
                keys.extend([keys::incident(*incident), keys::containing(subject)]);
            }
            Self::Lift { incident, .. } => keys.push(keys::incident(*incident)),
            Self::Open { incident, .. } | Self::Close { incident, .. } => {
                keys.extend([keys::incident(*incident), keys::open()])
            }
            Self::Update { incident, .. } | Self::Note { incident, .. } => {
                keys.push(keys::incident(*incident));
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
