use crate::base::IncidentId;
use crate::broker::reading::Reading;
use crate::incidents::{Freezing, Incident, Incidents, keys};

impl<'w> Reading<'w> {
    /// Which subjects are contained by which incidents.
    pub(super) fn incidents(&self) -> &'w Incidents {
        self.under(keys::open()).incidents()
    }

    pub(super) fn freezing(&self) -> &'w Freezing {
        &self.under(keys::freezing()).incidents().freezing
    }

    pub(super) fn incident(&self, id: IncidentId) -> Option<&'w Incident> {
        self.under(keys::incident(id)).incidents().get(id)
    }
}
