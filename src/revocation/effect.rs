use serde::{Deserialize, Serialize};

use super::containment::Containment;
use super::subject::{Subject, keys};
use crate::base::{IncidentId, Reason};
use crate::ledger::Key;

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Everything issued under the subject before this entry is dead. Never taken back.
    Kill(Subject),
    /// Nothing issued under the subject counts, until it is unblocked.
    Block(Subject),
    /// Ends a block. What was killed stays dead.
    Unblock(Subject),
    /// Why the subject was killed or blocked, as the operator says.
    Explain {
        /// The subject.
        subject: Subject,
        /// The reason.
        reason: Reason,
    },
    /// Nothing issued under the subject counts, until the incident's containment is lifted.
    Contain(Containment),
    /// Ends the containment of one incident. What was killed stays dead.
    Lift {
        /// The subject.
        subject: Subject,
        /// The incident.
        incident: IncidentId,
    },
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        keys.push(keys::subject(self.subject()));
    }

    /// The marked subject.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        match self {
            Self::Kill(subject)
            | Self::Block(subject)
            | Self::Unblock(subject)
            | Self::Contain(Containment { subject, .. })
            | Self::Lift { subject, .. }
            | Self::Explain { subject, .. } => subject,
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Kill(_) | Self::Block(_) | Self::Contain(_) => true,
            Self::Unblock(_) | Self::Explain { .. } | Self::Lift { .. } => false,
        }
    }
}
