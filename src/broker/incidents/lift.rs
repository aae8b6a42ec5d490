use crate::base::{IncidentId, Reason, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, OperatorRequest};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::world::Effect;
use crate::incidents::{self, Incident, IncidentChange, IncidentLifted, IncidentSubject};
use crate::operators::is_of_host;
use crate::policy::{Authorised, HandleIncidents};
use crate::revocation::{self, Subject};

/// The end of a containment.
#[derive(Debug)]
pub struct Lifted {
    /// The subject.
    pub subject: IncidentSubject,
    /// The entry.
    pub seq: u64,
    /// Everything issued under the subject before this entry stays revoked.
    pub revoked_before: u64,
    /// Whether the certificates stay revoked too.
    pub revokes_certificates: bool,
    /// Other incidents that contain the same subject.
    pub contained_by: Vec<IncidentId>,
}

impl AdminServices {
    /// Lifts the containment of an incident. What the containment revoked stays revoked. Repeating it does no harm.
    ///
    /// # Errors
    /// [`Failure`]; break-glass access cannot lift.
    pub async fn lift(
        &self,
        by: &Authorised<HandleIncidents>,
        id: IncidentId,
        reason: &Reason,
    ) -> Result<Lifted, Failure> {
        let operator = by.operator();
        if is_of_host(operator.name()) {
            return Err(Failure::new(code::NOT_BY_BREAK_GLASS));
        }
        if let Some(before) = self.0.state.read(|reading| lifted(reading, by, id)).0 {
            return Ok(before);
        }
        let request = OperatorRequest { idempotency: None, reason: Some(reason) };
        let changed = self.0.state.change(ChangeRequest::of(operator, request), |reading| {
            let (incident, subject) = contained(reading, by, id)?;
            let by = operator.name().as_str();
            let event = IncidentLifted(IncidentChange::new(id, &incident.subject, by));
            let lift = revocation::Effect::Lift { subject: subject.clone(), incident: id };
            let record =
                incidents::Effect::Lift { incident: id, by: by.to_owned(), reason: Some(reason.clone()) };
            let lifted = outcome(reading, incident, subject);
            let draft = ChangeDraft::new(&event, lifted)?.of_incident(id);
            Ok(draft.effect(Effect::Revocation(lift)).effect(Effect::Incident(record)))
        });
        let changed = changed.await?;
        let seq = changed.seq();
        let lifted = changed.new_value()?;
        self.0.notifications.revocations_changed();
        Ok(Lifted { seq, ..lifted })
    }
}

/// The incident within the operator's scope, with the subject that it contains.
fn contained<'r>(
    reading: &Reading<'r>,
    by: &Authorised<HandleIncidents>,
    id: IncidentId,
) -> Result<(&'r Incident, &'r Subject), Failure> {
    let scope = by.operator().scope();
    let found = reading.incident(id).filter(|incident| scope.covers(incident.owner.as_ref()));
    let incident = found.ok_or_else(|| Failure::new(code::INCIDENT_UNKNOWN))?;
    if incident.lifted.is_some() {
        return Err(Failure::new(code::MODIFIED_CONCURRENTLY));
    }
    // The ledger has to say so before it can say the opposite.
    let subject = reading.unconditional().revocations.contained_by(id);
    let subject = subject.ok_or_else(|| Failure::new(code::REVOCATION_UNRECORDED))?;
    if reading.subject(subject).revocations.is_unrecorded(subject) {
        return Err(Failure::new(code::REVOCATION_UNRECORDED));
    }
    Ok((incident, subject))
}

/// The result of an earlier lift.
fn lifted(reading: &Reading<'_>, by: &Authorised<HandleIncidents>, id: IncidentId) -> Option<Lifted> {
    let scope = by.operator().scope();
    let found = reading.incident(id).filter(|incident| scope.covers(incident.owner.as_ref()))?;
    let step = found.lifted.as_ref()?;
    Some(Lifted {
        subject: found.subject.clone(),
        seq: step.seq,
        revoked_before: found.contained.seq,
        revokes_certificates: found.revokes_certificates,
        contained_by: Vec::new(),
    })
}

fn outcome(reading: &Reading<'_>, incident: &Incident, subject: &Subject) -> Lifted {
    let mut contained_by = reading.unconditional().revocations.containing(subject);
    contained_by.retain(|other| *other != incident.id);
    Lifted {
        subject: incident.subject.clone(),
        seq: 0,
        revoked_before: incident.contained.seq,
        revokes_certificates: incident.revokes_certificates,
        contained_by,
    }
}
