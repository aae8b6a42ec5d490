use super::admins_left::AdminsLeft;
use super::records::{incident_full, open_incident};
use super::subjects::{FoundSubject, named_as, subject_of};
use crate::authn::{Credential, OperatorPrincipal, is_under};
use crate::base::limits::INCIDENT_SUBJECTS_MAX;
use crate::base::{IncidentId, OperatorEnrolment, Reason, SubjectName, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeRequest, Initiator, OperatorRequest};
use crate::broker::denial::{MemoryRevocation, UnrecordedContainment};
use crate::broker::failure::Failure;
use crate::broker::identity::relatives::Relatives;
use crate::broker::reading::Reading;
use crate::broker::removals::{Ended, Removal, RemovalOrder, Removed};
use crate::broker::requested_object::RequestedObject;
use crate::broker::services::Services;
use crate::broker::world::{Effect, World, records};
use crate::custody::{PendingOrder, RevocationOrder};
use crate::incidents::{self, Contained, IncidentChange, IncidentContained, IncidentSubject};
use crate::policy::{Authorised, HandleIncidents};
use crate::revocation::{self, Containment};
use crate::store::Change;

/// The content of a request to contain.
#[derive(Debug)]
pub struct ContainInput {
    /// The subject.
    pub subject: SubjectName,
    /// Why.
    pub reason: Reason,
    /// The open incident that the subject joins.
    pub incident: Option<IncidentId>,
}

/// A contained subject.
#[derive(Debug)]
pub struct ContainedSubject {
    /// The incident: a new one, the one that the request names, or the one that contained the subject before.
    pub incident: IncidentId,
    /// Whether the incident is new.
    pub is_new: bool,
    /// The subject.
    pub subject: IncidentSubject,
    /// The result.
    pub ended: Ended,
    /// Whether the containment accepts the certificate of the operator that ordered it, which it would refuse otherwise.
    pub spares_operator: bool,
    /// The unrestricted admins that are left.
    pub admins_left: AdminsLeft,
}

/// A containment that is ordered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContainmentOrder<'a> {
    /// The id of a new incident, or the incident that the subject joins.
    pub(crate) incident: IncidentId,
    pub(crate) subject: &'a SubjectName,
    pub(crate) spared: Option<OperatorEnrolment>,
    /// Whether the incident has to exist, and be one that the operator may change.
    pub(crate) joins: bool,
}

impl AdminServices {
    /// Contains a subject: everything that was issued under it so far is revoked, and nothing of it is accepted until the
    /// containment is lifted. When this returns, the very next request meets it. A repeated request belongs to the same
    /// incident, and also revokes what was issued in between.
    ///
    /// # Errors
    /// [`Failure`]; a request that names an incident fails if it is not within the scope, closed, or has too many
    /// subjects.
    pub async fn contain(
        &self,
        by: &Authorised<HandleIncidents>,
        input: &ContainInput,
    ) -> Result<ContainedSubject, Failure> {
        let services = &*self.0;
        let new = || IncidentId::mint(services.state.clock.now(), &*services.state.entropy);
        let incident = input.incident.unwrap_or_else(new);
        let (operator, subject) = (by.operator(), &input.subject);
        let request = OperatorRequest { idempotency: None, reason: Some(&input.reason) };
        let request = ChangeRequest::of(operator, request);
        let (spared, joins) = (spared(operator, subject), input.incident.is_some());
        let order = ContainmentOrder { incident, subject, spared, joins };
        let (opened, ended) = services.contain_subject(request, order).await?;
        let named = services.state.read(|reading| {
            let incidents = reading.unconditional().incidents();
            let of_incident = incidents.recorded_incident(opened).into_iter();
            let mut parts = of_incident.chain(incidents.unrecorded_of(opened));
            let found = parts.find_map(|part| part.containment_of(subject));
            found.map(|containment| containment.affected.subject.clone())
        });
        let named = named.0.unwrap_or_else(|| named_as(subject));
        let contained = subject_of(&named);
        let admins_left = contained.map(|contained| services.admins_left(&contained)).unwrap_or_default();
        Ok(ContainedSubject {
            incident: opened,
            is_new: opened == incident && !joins,
            subject: named,
            ended,
            spares_operator: order.spared.is_some(),
            admins_left,
        })
    }
}

/// Containments of shared subjects (`revocation::keys::wide`) conflict with each other: of so many at the same moment each
/// succeeds.
const ATTEMPTS_MAX: usize = 64;

impl Services {
    /// Contains the subject; gives its incident. While the same containment is in force in memory only, a repetition adds
    /// nothing: its entry will revoke what was issued until then.
    pub(crate) async fn contain_subject(
        &self,
        request: ChangeRequest<'_>,
        order: ContainmentOrder<'_>,
    ) -> Result<(IncidentId, Ended), Failure> {
        let unrecorded = self.state.read(|reading| {
            let found =
                FoundSubject::find(reading.unconditional(), request.by.scope(), order.subject).ok()?;
            reading.unconditional().revocations.unrecorded_containment(&found.subject, order.spared)
        });
        if let Some(incident) = unrecorded.0 {
            let is_it = |order: &PendingOrder| matches!(order.what, RevocationOrder::Contain { incident: one, .. } if one == incident);
            let kept = self.state.kept_orders.waiting().iter().any(is_it);
            return Ok((incident, Ended::InMemory { kept }));
        }
        let mut applied = self.apply_containment(request, order).await;
        for _ in 1..ATTEMPTS_MAX {
            match applied {
                Err(failure) if failure.code == code::MODIFIED_CONCURRENTLY => {
                    applied = self.apply_containment(request, order).await;
                }
                Ok(_) | Err(_) => break,
            }
        }
        let applied = applied?;
        Ok((applied.incident.unwrap_or(order.incident), self.conclude(applied).await))
    }

    /// Like a revocation of one subject: it conflicts with no other change than a containment or lift at the same moment.
    pub(crate) async fn apply_containment(
        &self,
        request: ChangeRequest<'_>,
        order: ContainmentOrder<'_>,
    ) -> Result<Removed, Failure> {
        let grace_s = self.settings.operator_renewal_grace_s;
        let decide = |reading: &Reading<'_>| decide(reading, request, order, grace_s);
        let applied = self.state.change_revoking(request, decide).await?;
        // Connections do not depend on tokens.
        if !matches!(order.subject, SubjectName::Token(_)) {
            self.notifications.revocations_changed();
        }
        Ok(applied)
    }
}

fn decide(
    reading: &Reading<'_>,
    request: ChangeRequest<'_>,
    order: ContainmentOrder<'_>,
    grace_s: i64,
) -> Result<Removal, Failure> {
    let world = reading.unconditional();
    let found = FoundSubject::find(world, request.by.scope(), order.subject)?;
    if let (Some(operator), Initiator::Operator(_)) = (found.operator, request.by) {
        // A user of the host may also contain the last admin.
        let about = |failure: Failure| failure.about(RequestedObject::Subject(order.subject.clone()));
        reading.another_admin_than(operator, grace_s).map_err(about)?;
    }
    let (incident, spared) = (incident_for(reading, request, order, &found.named)?, order.spared);
    let by = request.by.name();
    let said = IncidentChange::new(incident, &found.named, by);
    let event = IncidentContained(said.sparing(spared.is_some()));
    let marks = Containment { subject: found.subject.clone(), incident, spared };
    let contained = Contained {
        incident,
        subject: found.named.clone(),
        owner: found.owner.clone(),
        revokes_certificates: found.subject.ends_certificates(),
        by: by.to_owned(),
        reason: request.reason.cloned(),
    };
    let repeated = repeated(world, &found, &marks);
    let subject = found.subject;
    let mut change = Change::new(&event)?
        .of_incident(incident)
        .effect(Effect::Revocation(revocation::Effect::Kill(subject.clone())))
        .effect(Effect::Revocation(revocation::Effect::Contain(marks.clone())))
        .effect(Effect::Incident(incidents::Effect::Contain(contained.clone())));
    let relatives = Relatives::of(reading, &subject, found.enrolment);
    let repeated = repeated.filter(|_| !relatives.has_codes());
    change = relatives.added_to(change);
    if let Some(reason) = request.reason.cloned() {
        change = change.effect(Effect::Revocation(revocation::Effect::Explain { subject, reason }));
    }
    if let Some(seq) = repeated {
        return Ok(Removal { change, denial: None, order: RemovalOrder::Repeated(Some(seq)), count: None });
    }
    let denied = UnrecordedContainment { at: reading.now(), marks, contained };
    let order = RevocationOrder::Contain { incident, subject: order.subject.clone(), spared };
    Ok(Removal {
        change: change.urgent(),
        denial: Some(relatives.denied_with(MemoryRevocation::Incident(Box::new(denied)))),
        order: RemovalOrder::Unconditional(Some(order)),
        count: None,
    })
}

/// The entry that contained the subject in the same way, if the ledger has it, and no enrolment code has been made under the
/// subject since: nothing else can be issued under a contained subject.
fn repeated(world: &World, found: &FoundSubject<'_>, marks: &Containment) -> Option<u64> {
    let Containment { subject, incident, .. } = marks;
    if !world.revocations.has_containment(marks) {
        return None;
    }
    let incident = world.incidents().recorded_incident(*incident)?;
    let last = incident.containment(&found.named).filter(|one| one.lifted.is_none())?.last.seq;
    let is_new = |issued: u64, code: Credential<'_>| issued > last && is_under(code, records(world), subject);
    let of_agents = world.registry.codes();
    let of_operators = world.operators.codes();
    let has_new = of_agents
        .map(|code| (code.issued_seq, Credential::Code { code, from: None }))
        .chain(of_operators.map(|code| (code.issued_seq, Credential::OperatorCode { code, from: None })))
        .any(|(issued, code)| is_new(issued, code));
    (!has_new).then_some(last)
}

/// The incident that the containment belongs to: the one that the request names, the one that has this id already, or the
/// one that contains the subject; otherwise a new one.
fn incident_for(
    reading: &Reading<'_>,
    request: ChangeRequest<'_>,
    order: ContainmentOrder<'_>,
    subject: &IncidentSubject,
) -> Result<IncidentId, Failure> {
    if !order.joins {
        if reading.incident(order.incident).is_some() {
            return Ok(order.incident);
        }
        return Ok(reading.containing(subject).map_or(order.incident, |incident| incident.id));
    }
    let incident = open_incident(reading, request.by.scope(), order.incident)?;
    let affected = &incident.affected;
    let is_new = affected.iter().all(|one| one.subject != *subject);
    if is_new && affected.len() >= INCIDENT_SUBJECTS_MAX {
        let fix = "contain the subject without `--incident`, as an incident of its own";
        return Err(incident_full("subjects", INCIDENT_SUBJECTS_MAX).mended_by(fix));
    }
    Ok(incident.id)
}

/// The enrolment of `operator`, if a containment of `subject` would refuse its certificate: the containment of a network
/// or owner must not lock out the person that orders it.
pub(super) fn spared(operator: &OperatorPrincipal, subject: &SubjectName) -> Option<OperatorEnrolment> {
    let is_concerned = match subject {
        SubjectName::Network(network) => operator.from().is_some_and(|from| network.contains(from)),
        SubjectName::Owner(owner) => operator.scope().owner() == Some(owner),
        SubjectName::Agent(_)
        | SubjectName::Instance(_)
        | SubjectName::Operator(_)
        | SubjectName::Role(_)
        | SubjectName::Capability(_)
        | SubjectName::Secret(_)
        | SubjectName::Certificate(_)
        | SubjectName::Token(_)
        | SubjectName::Everything => false,
    };
    is_concerned.then(|| OperatorEnrolment { operator: operator.id(), enrolled_seq: operator.enrolled_seq() })
}
