//! The rule about operators that an admin introduced: where a second operator is demanded, none of them is the second operator of
//! this admin, until another admin or the broker's host accepted its approval key.

use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::operators::Operator;

/// Checks that `by` did not introduce `operator`: else one admin alone is also the second operator, with an operator that it
/// made for this.
///
/// # Errors
/// [`Failure`].
pub(super) fn check_not_introducer(
    reading: &Reading<'_>,
    by: &OperatorPrincipal,
    operator: &Operator,
) -> Result<(), Failure> {
    let operators = &reading.unconditional().operators;
    let accepter = operators.named(by.name());
    if accepter.is_some_and(|accepter| !operators.has_introduced(accepter, operator)) {
        return Ok(());
    }
    let why = format!(
        "this broker demands a second operator, and your operator `{}`, or an operator that you introduced, invited `{}` or named \
         its person",
        by.name(),
        operator.name
    );
    let fix = format!(
        "ask an admin who did neither; if there is none, accept the key on the broker's host, as root: `keyward approval key \
         accept {} --fingerprint HEX --on-host`",
        operator.name
    );
    Err(Failure::new(code::ACCEPTER_INTRODUCED_OPERATOR).because(why).mended_by(fix))
}

/// Checks that no introducer of `operator` accepted its approval key, e.g. before a second operator was demanded.
///
/// # Errors
/// [`Failure`].
pub(crate) fn check_key_of_second_person(reading: &Reading<'_>, operator: &Operator) -> Result<(), Failure> {
    if reading.unconditional().operators.is_key_of_introducer(operator) {
        return Err(key_of_introducer(operator));
    }
    Ok(())
}

fn key_of_introducer(operator: &Operator) -> Failure {
    let (name, keys) = (&operator.name, &operator.approval_keys);
    let by = keys.accepted().map(|key| key.accepted_by().to_owned()).unwrap_or_default();
    let why = format!(
        "this broker demands a second operator, and the approval key of the operator `{name}` was accepted by `{by}`, who invited \
         this operator or named its person"
    );
    let fix = format!(
        "`{name}` makes another key, `keyward approval key create --replace`; an admin who did neither accepts it, or root on the \
         broker's host: `keyward approval key accept {name} --fingerprint HEX --on-host`"
    );
    Failure::new(code::APPROVAL_KEY_OF_INTRODUCER).because(why).mended_by(fix)
}
