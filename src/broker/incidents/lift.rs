use super::subjects::{is_within, subject_of};
use crate::base::{IncidentId, Reason, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, OperatorRequest};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::world::Effect;
use crate::incidents::{self, Incident, IncidentChange, IncidentLifted, IncidentSubject, SubjectContainment};
use crate::operators::is_of_host;
use crate::policy::{Authorised, HandleIncidents};
use crate::revocation::{self, Subject};

/// The end of the containments of an incident.
#[derive(Debug)]
pub struct Lifted {
    /// The subjects; the first one first.
    pub subjects: Vec<IncidentSubject>,
    /// The entry.
    pub seq: u64,
    /// Everything issued under the subjects before this entry stays revoked. With several subjects, each of them was
    /// contained in this entry or before.
    pub revoked_before: u64,
    /// Whether certificates stay revoked too.
    pub revokes_certificates: bool,
    /// Other incidents that contain one of the subjects.
    pub contained_by: Vec<IncidentId>,
    /// Whether an earlier lift had the same result: nothing has changed.
    pub unchanged: bool,
}

impl AdminServices {
    /// Lifts the containments of an incident. What the containments revoked stays revoked. Repeating it does no harm.
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
            let (incident, subjects) = contained(reading, by, id)?;
            let by = operator.name().as_str();
            let open = incident.containments.iter().filter(|one| one.lifted.is_none()).collect();
            let lifted = outcome(reading, incident, open);
            let first = lifted.subjects.first().ok_or(Failure::new(code::INTERNAL))?;
            let change = IncidentChange::new(id, first, by).and(lifted.subjects.iter().skip(1));
            let record =
                incidents::Effect::Lift { incident: id, by: by.to_owned(), reason: Some(reason.clone()) };
            let event = IncidentLifted(change);
            let mut draft = ChangeDraft::new(&event, ())?.of_incident(id);
            for subject in subjects {
                let lift = revocation::Effect::Lift { subject: subject.clone(), incident: id };
                draft = draft.effect(Effect::Revocation(lift));
            }
            Ok(draft.effect(Effect::Incident(record)).carrying(lifted))
        });
        let changed = changed.await?;
        let seq = changed.seq();
        let lifted = changed.new_value()?;
        self.0.notifications.revocations_changed();
        Ok(Lifted { seq, ..lifted })
    }
}

/// The incident within the operator's scope, with the subjects that it contains.
fn contained<'r>(
    reading: &Reading<'r>,
    by: &Authorised<HandleIncidents>,
    id: IncidentId,
) -> Result<(&'r Incident, &'r [Subject]), Failure> {
    let scope = by.operator().scope();
    let found = reading.incident(id).filter(|one| is_within(reading.unconditional(), scope, one));
    let incident = found.ok_or_else(|| Failure::new(code::INCIDENT_UNKNOWN))?;
    if incident.is_lifted() {
        return Err(Failure::new(code::MODIFIED_CONCURRENTLY));
    }
    let world = reading.unconditional();
    // The ledger has to say so before it can say the opposite.
    if world.incidents().unrecorded_of(id).next().is_some() {
        return Err(Failure::new(code::REVOCATION_UNRECORDED));
    }
    let subjects = world.revocations.contained_by(id);
    if subjects.is_empty() {
        return Err(Failure::new(code::INCIDENT_CONTAINS_NOTHING));
    }
    for subject in subjects {
        if reading.subject(subject).revocations.is_unrecorded(subject) {
            return Err(Failure::new(code::REVOCATION_UNRECORDED));
        }
    }
    Ok((incident, subjects))
}

/// The result of an earlier lift.
fn lifted(reading: &Reading<'_>, by: &Authorised<HandleIncidents>, id: IncidentId) -> Option<Lifted> {
    let scope = by.operator().scope();
    let found = reading.incident(id).filter(|one| is_within(reading.unconditional(), scope, one))?;
    let is_unrecorded = reading.unconditional().incidents().unrecorded_of(id).next().is_some();
    let step = found.lifted().filter(|_| found.is_lifted() && !is_unrecorded)?;
    let containments: Vec<_> = found.containments.iter().collect();
    Some(Lifted { seq: step.seq, unchanged: true, ..outcome(reading, found, containments) })
}

/// The result of a lift of these containments, without its entry. A later revocation, or another incident, can have revoked
/// more.
fn outcome(reading: &Reading<'_>, incident: &Incident, containments: Vec<&SubjectContainment>) -> Lifted {
    let revocations = &reading.unconditional().revocations;
    let subjects: Vec<Subject> =
        containments.iter().filter_map(|one| subject_of(&one.affected.subject)).collect();
    let mut contained_by: Vec<IncidentId> =
        subjects.iter().flat_map(|subject| revocations.containing(subject)).collect();
    contained_by.retain(|other| *other != incident.id);
    contained_by.sort_unstable();
    contained_by.dedup();
    let contained = containments.iter().map(|one| one.last.seq);
    let revoked = subjects.iter().map(|subject| revocations.dead_before(subject));
    Lifted {
        seq: 0,
        revoked_before: contained.chain(revoked).max().unwrap_or_default(),
        revokes_certificates: containments.iter().any(|one| one.revokes_certificates),
        subjects: containments.into_iter().map(|one| one.affected.subject.clone()).collect(),
        contained_by,
        unchanged: false,
    }
}
