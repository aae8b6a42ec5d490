use serde::{Deserialize, Serialize};

use super::incident::IncidentStep;
use crate::base::Timestamp;

/// Whether the broker is frozen.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Freezing {
    recorded: Option<IncidentStep>,
    /// Freezes until their entries are durable. Never stored.
    #[serde(skip)]
    unrecorded: u32,
}

impl Freezing {
    /// Whether the broker is frozen, also by a freeze that is not recorded.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.recorded.is_some() || self.unrecorded > 0
    }

    /// The recorded freeze.
    #[must_use]
    pub const fn recorded(&self) -> Option<&IncidentStep> {
        self.recorded.as_ref()
    }

    /// Whether a freeze is in force that is not recorded.
    #[must_use]
    pub const fn is_unrecorded(&self) -> bool {
        self.unrecorded > 0
    }

    pub(super) fn freeze(&mut self, step: IncidentStep) {
        self.recorded.get_or_insert(step);
    }

    pub(super) fn thaw(&mut self) {
        self.recorded = None;
    }

    /// Takes in a freeze that no entry says yet.
    pub const fn deny(&mut self) {
        self.unrecorded = self.unrecorded.saturating_add(1);
    }

    /// The entry of one such freeze has been taken in.
    pub const fn settle(&mut self) {
        self.unrecorded = self.unrecorded.saturating_sub(1);
    }

    pub(super) fn time_went_back(&mut self, now: Timestamp) {
        self.recorded.iter_mut().for_each(|step| step.at = step.at.min(now));
    }
}
