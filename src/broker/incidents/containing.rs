//! The incidents that contain subjects, for the views of these.

use std::collections::HashMap;

use super::subjects::subject_of;
use super::views::is_shown;
use crate::authn::OperatorPrincipal;
use crate::base::IncidentId;
use crate::broker::world::World;
use crate::incidents::IncidentSubject;
use crate::revocation::Subject;
use crate::wire::ContainmentAnswer;

/// The contained subjects, each with its name and the incident that contains it.
#[derive(Debug)]
pub(crate) struct ContainingIncidents(HashMap<Subject, (String, IncidentId)>);

impl ContainingIncidents {
    /// Those of the incidents that the operator may see.
    pub(crate) fn shown_to(operator: &OperatorPrincipal, world: &World) -> Self {
        let incidents = world.incidents();
        let is_shown = |id: IncidentId| incidents.get(id).is_some_and(|one| is_shown(world, operator, one));
        let contained = incidents.contained().filter(|(_, incident)| is_shown(*incident));
        let entry = |(named, incident)| Some((subject_of(named)?, (form_of(named), incident)));
        Self(contained.filter_map(entry).collect())
    }

    /// Whether no subject is contained by an incident that the operator may see.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The incident that contains this subject itself, not another one to which it belongs.
    pub(crate) fn of_subject(&self, subject: &Subject) -> Option<IncidentId> {
        self.0.get(subject).map(|(_, incident)| *incident)
    }

    /// Adds the containments of `blocking` to `found`, each once.
    pub(crate) fn add_to(
        &self,
        found: &mut Vec<ContainmentAnswer>,
        blocking: &[Subject],
        world: &World,
        is_partial: bool,
    ) {
        for subject in blocking {
            let Some((form, incident)) = self.0.get(subject) else { continue };
            if found.iter().all(|one| one.subject != *form) {
                found.push(ContainmentAnswer {
                    subject: form.clone(),
                    incident: *incident,
                    reason: world.revocations.reason(subject).map(ToString::to_string),
                    partial: is_partial,
                });
            }
        }
    }
}

/// The subject as `keyward contain` takes it.
fn form_of(IncidentSubject { kind, id, name, .. }: &IncidentSubject) -> String {
    name.as_ref().or(id.as_ref()).map_or_else(|| kind.clone(), |which| format!("{kind}/{which}"))
}
