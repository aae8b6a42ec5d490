//! The rules about operators that another operator introduced. Where a second operator is demanded, such an operator and its
//! introducer count as one person, until another admin or the broker's host accepted the approval key of the operator.

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
    if reading.operator(by.name()).is_some_and(|accepter| !operator.is_introduced_by(accepter)) {
        return Ok(());
    }
    let why = format!(
        "this broker demands a second operator, and you, with your operator `{}` or another one, or an operator that you \
         introduced, invited `{}` or named its person, or `{}` had your person before",
        by.name(),
        operator.name,
        operator.name
    );
    let fix = format!(
        "ask an admin who is another person and did neither; if there is none, accept the key on the broker's host, as root: \
         `keyward approval key accept {} --fingerprint HEX --on-host`",
        operator.name
    );
    Err(Failure::new(code::ACCEPTER_INTRODUCED_OPERATOR).because(why).mended_by(fix))
}

/// Checks that no introducer of `operator` accepted its approval key, e.g. before a second operator was demanded.
///
/// # Errors
/// [`Failure`].
pub(crate) fn check_key_of_second_person(operator: &Operator) -> Result<(), Failure> {
    if operator.has_key_of_introducer() {
        return Err(key_of_introducer(operator));
    }
    Ok(())
}

/// Checks that `operator`, which makes a change with the certificate of `by`, is another person for `signer`, which approved the
/// change. An operator that `signer` introduced is one only with an accepted approval key of the enrolment of this certificate:
/// `signer` can have enrolled as this operator itself.
///
/// # Errors
/// [`Failure`].
pub(super) fn check_not_introduced_by_signer<'w>(
    reading: &Reading<'w>,
    by: &OperatorPrincipal,
    operator: &'w Operator,
    signer: &Operator,
) -> Result<(), Failure> {
    if !operator.is_introduced_by(signer) {
        return Ok(());
    }
    let key = reading.approval_keys(operator).accepted();
    if key.is_some_and(|key| key.enrolled_seq() == by.enrolled_seq() && !key.is_of_introducer()) {
        return Ok(());
    }
    let (name, signer) = (&operator.name, &signer.name);
    let why = format!(
        "the operator `{signer}`, which approved this, or an operator that it introduced, invited your operator `{name}` or named \
         its person; your operator has no accepted approval key from the enrolment of its present certificate, which would show \
         that you are another person"
    );
    let fix = format!(
        "make an approval key on this machine, `keyward approval key create`; an admin who did neither accepts it, or root on the \
         broker's host: `keyward approval key accept {name} --fingerprint HEX --on-host`; then repeat the command; or have \
         another operator approve it"
    );
    Err(Failure::new(code::APPROVER_INTRODUCED_OPERATOR).because(why).mended_by(fix))
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
