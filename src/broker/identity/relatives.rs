use crate::base::{CodeId, OperatorEnrolment};
use crate::broker::reading::Reading;
use crate::broker::world::Effect;
use crate::registry::{self, Instance};
use crate::revocation::{self, Subject};
use crate::store::Change;

/// Adds what is revoked together with `subject`: the other certificates of an operator's enrolment, and the open codes with
/// which a revoked instance enrolled.
pub(crate) fn with_relatives(
    mut change: Change<Effect>,
    reading: &Reading<'_>,
    subject: &Subject,
    enrolment: Option<OperatorEnrolment>,
) -> Change<Effect> {
    if let Some(enrolment) = enrolment {
        let renewals = Subject::OperatorEnrolment(enrolment);
        change = change.effect(Effect::Revocation(revocation::Effect::Kill(renewals)));
    }
    let codes = codes_of_holders(reading, subject);
    if codes.is_empty() { change } else { change.effect(Effect::Registry(registry::Effect::EndCodes(codes))) }
}

/// The open codes by which an instance under `subject` has enrolled, and can enrol again with another key.
fn codes_of_holders(reading: &Reading<'_>, subject: &Subject) -> Vec<CodeId> {
    let is_concerned = |instance: &Instance| match subject {
        Subject::Instance(id) => instance.id == *id,
        Subject::Certificate(serial) => instance.has_serial(serial),
        Subject::Network(network) => instance.enrolled_from.is_some_and(|from| network.contains(from)),
        Subject::Agent(_)
        | Subject::Token(_)
        | Subject::Operator(_)
        | Subject::Role(_)
        | Subject::Capability(_)
        | Subject::Owner(_)
        | Subject::Secret(_)
        | Subject::Lineage(_)
        | Subject::Everything
        | Subject::OperatorEnrolment(_) => false,
    };
    reading.unconditional().registry.open_codes_of(reading.now(), is_concerned).collect()
}
