use crate::base::IncidentId;
use crate::broker::reading::Reading;
use crate::incidents::{Freezing, Incident, IncidentSubject, Incidents, keys};

impl<'w> Reading<'w> {
    /// The open incident that contains the subject.
    pub(super) fn containing(&self, subject: &IncidentSubject) -> Option<&'w Incident> {
        let open = self.under(keys::containing(subject)).incidents().containing(subject)?;
        self.incident(open)
    }

    /// Which incidents are open.
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
