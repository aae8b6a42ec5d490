use crate::base::code;
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::revocation::Subject;

/// Refuses to resume or to invite a subject that incidents contain: only a lift ends a containment.
///
/// # Errors
/// [`Failure`].
pub(crate) fn check_not_contained(reading: &Reading<'_>, subject: &Subject) -> Result<(), Failure> {
    let Some(incident) = reading.unconditional().revocations.containing(subject).pop() else { return Ok(()) };
    let why =
        format!("the incident {incident} contains the {} until the containment is lifted", subject.kind());
    let fix = format!("lift the containment: `keyward lift {incident} --reason TEXT`");
    Err(Failure::new(code::SUBJECT_CONTAINED).because(why).mended_by(fix))
}
