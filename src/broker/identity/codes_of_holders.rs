use crate::base::CodeId;
use crate::broker::reading::Reading;
use crate::registry::Instance;
use crate::revocation::Subject;

/// The open codes by which an instance under `subject` has enrolled, and can enrol again with another key.
pub(crate) fn codes_of_holders(reading: &Reading<'_>, subject: &Subject) -> Vec<CodeId> {
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
