use super::collect::WantedIncident;
use crate::base::IncidentId;
use crate::broker::administration::entry_terms::EntryTerm;
use crate::broker::incidents::views::answer;
use crate::broker::services::Services;
use crate::evidence::EvidenceSubject;
use crate::incidents::IncidentSubject;
use crate::wire::EntryField;

/// What the bundle of an incident is about.
pub(super) struct IncidentEvidence {
    /// The affected subjects, each once. An instance or a certificate stands for its agent or operator, whose entries are
    /// linked.
    pub(super) subjects: Vec<EvidenceSubject>,
    pub(super) wanted: WantedIncident,
    /// The record, for the file of the bundle.
    pub(super) record: serde_json::Value,
}

impl Services {
    /// `None` if the ledger has no such incident.
    pub(super) fn incident_evidence(&self, id: IncidentId) -> Option<IncidentEvidence> {
        self.state.store.read(|world, _| {
            let incident = world.incidents().recorded_incident(id)?;
            let (mut subjects, mut terms): (Vec<EvidenceSubject>, Vec<EntryTerm>) = (Vec::new(), Vec::new());
            for affected in &incident.affected {
                let subject = evidence_subject(&affected.subject);
                if subject.link().is_none() {
                    terms.extend(term(&affected.subject));
                }
                if !subjects.contains(&subject) {
                    subjects.push(subject);
                }
            }
            let record = serde_json::json!({
                "record": answer(world, incident),
                "declarations_snapshot": world.rules().snapshot_with(world.registry.declarations().snapshot()).hex(),
            });
            let networks = incident.affected.iter().filter(|one| one.subject.kind == "network");
            let networks = networks.filter_map(|one| one.subject.name.as_ref()?.parse().ok()).collect();
            let of_containments = incident.containments.iter().flat_map(|one| {
                [Some(&one.first), Some(&one.last), one.lifted.as_ref()].into_iter().flatten()
            });
            let closed = incident.closed.iter().map(|closed| &closed.step);
            let steps = std::iter::once(&incident.opened).chain(of_containments).chain(&incident.notes);
            let steps = steps.chain(closed).map(|step| step.seq).collect();
            let wanted = WantedIncident { id, opened: incident.opened.seq, steps, terms, networks };
            Some(IncidentEvidence { subjects, wanted, record })
        })
    }
}

fn evidence_subject(subject: &IncidentSubject) -> EvidenceSubject {
    let (kind, name) = match (&subject.agent, &subject.operator) {
        (Some(agent), _) => ("agent", agent.clone()),
        (None, Some(operator)) => ("operator", operator.clone()),
        (None, None) => {
            let name = subject.name.clone().or_else(|| subject.id.clone());
            (subject.kind.as_str(), name.unwrap_or_default())
        }
    };
    EvidenceSubject { kind: kind.to_owned(), name }
}

/// The field and the text by which entries about a subject without links are found.
fn term(subject: &IncidentSubject) -> Option<EntryTerm> {
    let field = match subject.kind.as_str() {
        "secret" => EntryField::SecretName,
        "capability" => EntryField::Capability,
        "token" => EntryField::Token,
        _ => return None,
    };
    Some((field, subject.name.clone().or_else(|| subject.id.clone())?))
}
