use crate::authn::OperatorPrincipal;
use crate::base::{Person, code};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::operators::Operator;

/// Checks that `by` neither invited `operator` nor named its person, itself or by operators that it introduced: else one
/// admin alone is also the second operator, with an operator that it made for this.
///
/// # Errors
/// [`Failure`].
pub(super) fn check_not_introducer(
    reading: &Reading<'_>,
    by: &OperatorPrincipal,
    operator: &Operator,
) -> Result<(), Failure> {
    let operators = &reading.unconditional().operators;
    let person = operators.with(by.id()).and_then(|accepter| accepter.profile.person.as_ref());
    let is_accepter = |one: &Operator| {
        let other = one.profile.person.as_ref();
        one.id == by.id() || (person.is_some() && Person::are_same(person, other))
    };
    let mut introducers = operator.introduced_by.iter().filter_map(|id| operators.with(*id));
    if !introducers.any(is_accepter) {
        return Ok(());
    }
    let why = format!(
        "your operator `{}`, or an operator that it invited, invited `{}` or named its person: where changes need a second \
         operator, the key needs another admin",
        by.name(),
        operator.name
    );
    let fix = format!(
        "ask an admin who did neither, or accept the key on the broker's host: `keyward approval key accept {} --fingerprint \
         HEX --on-host`",
        operator.name
    );
    Err(Failure::new(code::APPROVAL_KEY_OF_ACCEPTER).because(why).mended_by(fix))
}
