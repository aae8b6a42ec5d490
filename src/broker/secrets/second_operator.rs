//! The approval of another sensitivity by a second operator.

use crate::authn::OperatorPrincipal;
use crate::base::encoding::base64url;
use crate::base::limits::PLAN_APPROVAL_S;
use crate::base::{OperatorName, OwnerName, SecretName, Sensitivity, Timestamp, code};
use crate::broker::failure::Failure;
use crate::broker::identity::signer::{Approved, SecondPerson, SignedApproval};
use crate::broker::reading::Reading;
use crate::broker::services::Services;
use crate::operators::ApprovalKey;
use crate::policy::{Right as _, StoreSecrets};
use crate::secrets::{ApprovedSensitivity, Secret};
use crate::wire::SensitivityBallot;

/// The approval of another sensitivity, as a request has it.
#[derive(Clone, Debug)]
pub struct SensitivityApproval {
    /// The operator that approved.
    pub operator: OperatorName,
    /// The secret that the approval names.
    pub secret: SecretName,
    /// The sensitivity that the approval names.
    pub to: Sensitivity,
    /// The entry that set the present sensitivity; 0 if none did.
    pub classified_seq: u64,
    /// The end of the approval, as it was signed.
    pub expires_at: Timestamp,
    /// The signature.
    pub signature: Vec<u8>,
}

/// An approval whose signature is verified.
pub(super) struct VerifiedApproval<'a> {
    approval: &'a SensitivityApproval,
    key: ApprovalKey,
}

/// The change to the sensitivity `to`, as messages name it.
const fn change_to(to: Sensitivity) -> Approved {
    match to {
        Sensitivity::Ordinary => Approved {
            what: "the lower sensitivity",
            command: "`keyward secret classify NAME ordinary --approve --out FILE`",
        },
        Sensitivity::High => Approved {
            what: "the higher sensitivity",
            command: "`keyward secret classify NAME high --approve --out FILE`",
        },
    }
}

impl Services {
    /// Verifies the signature of `approval` of the sensitivity `to` of the secret `name`, outside of the state's lock.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn verified_sensitivity<'a>(
        &self,
        by: &OperatorPrincipal,
        name: &SecretName,
        to: Sensitivity,
        approval: &'a SensitivityApproval,
    ) -> Result<VerifiedApproval<'a>, Failure> {
        if approval.secret != *name || approval.to != to {
            return Err(outdated(name, to, "the approval names another secret or another sensitivity"));
        }
        let SensitivityApproval { operator, classified_seq, signature, .. } = approval;
        let expires_at = approval.expires_at.to_string();
        let ballot = SensitivityBallot::approve(operator, name, to, *classified_seq, &expires_at);
        let message = &ballot.canonical().map_err(|error| Failure::internal(code::INTERNAL, &error))?;
        let of = |reading: &Reading<'_>| SecondPerson::of(reading, by, Some(operator), change_to(to));
        let (second, _) = self.state.read(of);
        let key = second.verified(by.scope(), &SignedApproval { operator, message, signature })?.clone();
        Ok(VerifiedApproval { approval, key })
    }
}

impl VerifiedApproval<'_> {
    /// Checks that the approval counts now for the change of `secret` by `by`.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn check(
        &self,
        reading: &Reading<'_>,
        by: &OperatorPrincipal,
        secret: &Secret,
    ) -> Result<ApprovedSensitivity, Failure> {
        let (approval, name, now) = (self.approval, &secret.name, reading.now());
        let (to, expires_at) = (approval.to, approval.expires_at);
        if now >= expires_at {
            return Err(expired(name, to, &format!("expired at {expires_at}")));
        }
        if expires_at > now.plus_s(PLAN_APPROVAL_S) {
            let problem = format!(
                "counts until {expires_at}, which is more than 24 hours ahead: the clock of the machine that signed it may be wrong"
            );
            return Err(expired(name, to, &problem));
        }
        if secret.classified_seq.unwrap_or_default() != approval.classified_seq {
            return Err(outdated(name, to, "the sensitivity of the secret was changed since the approval"));
        }
        let operator = &approval.operator;
        let second = SecondPerson::of(reading, by, Some(operator), change_to(to));
        let person =
            second.eligible(by.scope(), StoreSecrets::NEED.roles, operator, self.key.fingerprint())?;
        Ok(ApprovedSensitivity {
            operator: operator.clone(),
            person: person.clone(),
            approval_key: self.key.fingerprint().hex(),
            public_key: base64url(&self.key.public_der()),
            key_seq: self.key.accepted_seq(),
            classified_seq: approval.classified_seq,
            expires_at: approval.expires_at.to_string(),
            signature: base64url(&approval.signature),
        })
    }
}

fn again(name: &SecretName, to: Sensitivity) -> String {
    format!(
        "have the second operator approve again: `keyward secret classify {name} {} --approve --out FILE`",
        to.as_str()
    )
}

fn expired(name: &SecretName, to: Sensitivity, problem: &str) -> Failure {
    let what = change_to(to).what;
    let why = format!("the approval of {what} of secret `{name}` {problem}; nothing was changed");
    Failure::new(code::PLAN_APPROVAL_EXPIRED).because(why).mended_by(again(name, to))
}

fn outdated(name: &SecretName, to: Sensitivity, problem: &str) -> Failure {
    let why = format!("{problem}; nothing was changed");
    Failure::new(code::PLAN_APPROVAL_OUTDATED).because(why).mended_by(again(name, to))
}

/// The refusal of another owner of a secret of high sensitivity, whose capabilities then deliver it: no approval of that exists.
pub(super) fn unapproved_owner(name: &SecretName, owner: &OwnerName) -> Failure {
    let why = format!(
        "with the owner `{owner}`, capabilities deliver secret `{name}` of the sensitivity `high` that do not deliver it now, and \
         this broker demands a second operator for that; nothing was stored"
    );
    let fix = format!(
        "lower the sensitivity first: another person with the role `admin` runs `keyward secret classify {name} ordinary --approve \
         --out approval.json`; then: `keyward secret classify {name} ordinary --widen --approved approval.json`"
    );
    Failure::new(code::WIDENING_NEEDS_SECOND_OPERATOR).because(why).mended_by(fix)
}

/// The refusal of another sensitivity without an approval.
pub(super) fn unapproved(name: &SecretName, to: Sensitivity) -> Failure {
    let (change, to) = match to {
        Sensitivity::Ordinary => ("lower", to.as_str()),
        Sensitivity::High => ("higher", to.as_str()),
    };
    let why = format!(
        "a {change} sensitivity of secret `{name}` can restrict less what delivers it now or later, and this broker demands the \
         approval of a second operator for that; nothing was changed"
    );
    let fix = format!(
        "another person with the role `admin` runs `keyward secret classify {name} {to} --approve --out approval.json`; then: \
         `keyward secret classify {name} {to} --widen --approved approval.json`"
    );
    Failure::new(code::WIDENING_NEEDS_SECOND_OPERATOR).because(why).mended_by(fix)
}
