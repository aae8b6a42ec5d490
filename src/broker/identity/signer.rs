//! An approval by a second operator, of a change that another operator makes.

use super::introducers::{check_key_of_second_person, check_not_introduced_by_signer};
use crate::authn::{OperatorPrincipal, enrolled_operator};
use crate::base::{OperatorName, Person, Scope, code};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::crypto::Digest;
use crate::operators::{ApprovalKey, Operator, OperatorKind, OperatorRole, is_of_host};

/// What the second operator approves, as messages name it.
#[derive(Clone, Copy)]
pub(crate) struct Approved {
    /// With its article.
    pub(crate) what: &'static str,
    /// The command of an approval.
    pub(crate) command: &'static str,
}

/// A signed approval.
pub(crate) struct SignedApproval<'a> {
    pub(crate) operator: &'a OperatorName,
    pub(crate) message: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// The records about an approval by a second operator, which the change relies on.
pub(crate) struct SecondPerson {
    /// The person of the operator that makes the change.
    applying: Option<Person>,
    applying_name: OperatorName,
    signer: Option<Signer>,
    /// The refusal if the signer introduced the operator that makes the change.
    introduced: Option<Failure>,
    approved: Approved,
}

/// The operator that approved, by the records.
struct Signer {
    role: OperatorRole,
    scope: Scope,
    /// `None` if it is no person.
    person: Option<Person>,
    /// The accepted approval key.
    key: Option<ApprovalKey>,
    /// The refusal of the key if it does not show a second person.
    introduced: Option<Failure>,
    /// Whether its certificate of the enrolment that proposed the key is neither revoked nor suspended.
    is_live: bool,
}

impl Signer {
    fn of<'w>(reading: &Reading<'w>, operator: &'w Operator) -> Self {
        let key = reading.approval_keys(operator).accepted().cloned();
        let is_live = key.as_ref().is_some_and(|key| {
            enrolled_operator(operator.id, &operator.name, key.enrolled_seq(), reading.records()).is_ok()
        });
        let (role, scope, person) = (operator.role, operator.scope.clone(), person_of(operator));
        let introduced = check_key_of_second_person(operator).err();
        Self { role, scope, person, key, introduced, is_live }
    }
}

/// The person who the operator is; `None` for a program, and if the records do not say it.
fn person_of(operator: &Operator) -> Option<Person> {
    let is_human = operator.profile.kind == OperatorKind::Human && !is_of_host(&operator.name);
    operator.profile.person.clone().filter(|_| is_human)
}

impl SecondPerson {
    /// The records about the approval of a change by `applying`, which `signer` approved. The change relies on them.
    pub(crate) fn of(
        reading: &Reading<'_>,
        applying: &OperatorPrincipal,
        signer: Option<&OperatorName>,
        approved: Approved,
    ) -> Self {
        let applying_name = applying.name().clone();
        let operator = reading.acting_operator(&applying_name);
        let signing = signer.and_then(|signer| reading.acting_operator(signer));
        let introduced = operator.zip(signing).and_then(|(operator, signing)| {
            check_not_introduced_by_signer(reading, applying, operator, signing).err()
        });
        let signer = signing.map(|signing| Signer::of(reading, signing));
        Self { applying: operator.and_then(person_of), applying_name, signer, introduced, approved }
    }

    /// The key that verifies the signature. The signature comes first: without one, nobody learns whether an
    /// operator exists, and what it is.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn verified(
        &self,
        scope: &Scope,
        signed: &SignedApproval<'_>,
    ) -> Result<&ApprovalKey, Failure> {
        let Approved { what, command } = self.approved;
        let name = signed.operator;
        let key = self.signer_within(scope, name)?.key.as_ref().ok_or_else(|| {
            let why = format!("the operator `{name}`, which approved {what}, has no accepted approval key");
            Failure::new(code::APPROVAL_KEY_MISSING).because(why)
        })?;
        if key.verify(signed.message, signed.signature) {
            return Ok(key);
        }
        let why = format!(
            "the signature of {what} is not one by the accepted approval key of the operator `{name}`"
        );
        let fix = format!("have the operator approve {what} again: {command}");
        Err(Failure::new(code::APPROVAL_SIGNATURE_INVALID).because(why).mended_by(fix))
    }

    /// The person who approved with `key`, if it is another one than the person who makes the change, and could make it itself
    /// with one of these roles.
    ///
    /// # Errors
    /// [`Failure`] with the code that says why the approval does not count.
    pub(crate) fn eligible(
        &self,
        scope: &Scope,
        roles: &[OperatorRole],
        name: &OperatorName,
        key: Digest,
    ) -> Result<&Person, Failure> {
        let Approved { what, command } = self.approved;
        let signer = self.signer_within(scope, name)?;
        if signer.key.as_ref().is_none_or(|one| one.fingerprint() != key) {
            return Err(self.ineligible(name, "has another approval key now"));
        }
        let Some(applying) = &self.applying else {
            let name = &self.applying_name;
            let why = format!(
                "the records do not say which person the operator `{name}` is, so a second person cannot be told from it"
            );
            return Err(Failure::new(code::OPERATOR_WITHOUT_PERSON).because(why));
        };
        let Some(person) = &signer.person else {
            let why = format!(
                "the operator `{name}`, which approved {what}, is a program, or its record names no person"
            );
            return Err(Failure::new(code::APPROVER_WITHOUT_PERSON).because(why));
        };
        if person.is_same_as(applying) {
            let why = format!("the operator `{name}`, which approved {what}, is the person who applies it");
            let fix = format!("have another person approve {what}: {command}");
            return Err(Failure::new(code::APPROVER_IS_REQUESTER).because(why).mended_by(fix));
        }
        if let Some(refused) = signer.introduced.as_ref().or(self.introduced.as_ref()) {
            return Err(refused.clone());
        }
        if !roles.contains(&signer.role) {
            return Err(self.ineligible(name, "has a role that cannot apply it"));
        }
        if !signer.is_live {
            return Err(self.ineligible(name, "is revoked or suspended, or its certificate is"));
        }
        Ok(person)
    }

    fn signer_within(&self, scope: &Scope, name: &OperatorName) -> Result<&Signer, Failure> {
        let signer = self.signer.as_ref().filter(|signer| signer.scope == *scope);
        signer.ok_or_else(|| self.ineligible(name, "is none with your scope"))
    }

    fn ineligible(&self, name: &OperatorName, problem: &str) -> Failure {
        let Approved { what, command } = self.approved;
        let why = format!("the operator `{name}`, which approved {what}, {problem}");
        let fix = format!("have another operator approve {what}: {command}");
        Failure::new(code::APPROVER_INELIGIBLE).because(why).mended_by(fix)
    }
}
