//! The incidents that contain subjects, for the views of these.

use std::collections::HashMap;

use super::subjects::subject_of;
use super::views::is_shown;
use crate::authn::OperatorPrincipal;
use crate::base::IncidentId;
use crate::broker::world::World;
use crate::revocation::Subject;

/// The contained subjects, each with the incident that contains it.
#[derive(Debug)]
pub(crate) struct ContainingIncidents(HashMap<Subject, IncidentId>);

impl ContainingIncidents {
    /// Those of the incidents that the operator may see.
    pub(crate) fn shown_to(operator: &OperatorPrincipal, world: &World) -> Self {
        let incidents = world.incidents();
        let is_shown = |id: IncidentId| incidents.get(id).is_some_and(|one| is_shown(world, operator, one));
        let contained = incidents.contained().filter(|(_, incident)| is_shown(*incident));
        Self(contained.filter_map(|(named, incident)| Some((subject_of(named)?, incident))).collect())
    }

    /// The incident that contains this subject itself, not another one to which it belongs.
    pub(crate) fn of_subject(&self, subject: &Subject) -> Option<IncidentId> {
        self.0.get(subject).copied()
    }
}
