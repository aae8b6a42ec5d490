use super::context::DecisionContext;
use super::decision::{Act, Certifying, Decision};
use super::enrolment::{EnrolmentRequest, Maker};
use crate::authn::{Credential, HostPrincipal, RenewingOperator, Timeliness, live};
use crate::base::{CodeId, OperatorName, code};
use crate::crypto::{Digest, matches, sha256};
use crate::keyring::Keyring;
use crate::operators::is_of_host;
use crate::quota::Permit;

/// Certifying one operator on the broker's host.
#[derive(Debug)]
pub struct CertifyOperator {
    name: OperatorName,
}

impl Act for CertifyOperator {
    const HANDS_OUT: bool = false;
}

impl Certifying for CertifyOperator {}

impl CertifyOperator {
    /// The operator's name.
    #[must_use]
    pub const fn name(&self) -> &OperatorName {
        &self.name
    }
}

/// Issuing an operator's first certificate by its code, or its next one.
#[derive(Debug)]
pub struct AdmitOperator {
    name: OperatorName,
    by: OperatorAdmission,
    maker: Option<Maker>,
    repeats: Option<[u8; 16]>,
}

/// The reason to issue a certificate to an operator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OperatorAdmission {
    /// An enrolment code.
    Code(CodeId),
    /// Its present certificate.
    Certificate {
        /// The serial of the certificate.
        serial: [u8; 16],
        /// Whether the certificate is still valid.
        timeliness: Timeliness,
    },
}

impl Act for AdmitOperator {
    const HANDS_OUT: bool = false;
}

impl Certifying for AdmitOperator {}

impl AdmitOperator {
    /// The operator's name.
    #[must_use]
    pub const fn name(&self) -> &OperatorName {
        &self.name
    }

    /// The reason.
    #[must_use]
    pub const fn by(&self) -> OperatorAdmission {
        self.by
    }

    /// The maker of the code, if there is one: the code is valid while its maker has the right to make it.
    #[must_use]
    pub const fn maker(&self) -> Option<&Maker> {
        self.maker.as_ref()
    }

    /// For a repeated request: the serial of the certificate that was planned for this key. The response was lost, and the
    /// same certificate is issued.
    #[must_use]
    pub const fn repeats(&self) -> Option<[u8; 16]> {
        self.repeats
    }
}

/// Decides on an operator's certificate that is requested on the broker's host. A caller that can open the keyring has
/// the root key, and needs no operator's permission. The ledger records it.
pub fn decide_host_operator(
    context: &DecisionContext<'_>,
    _opened: &Keyring,
    name: OperatorName,
    key: &Digest,
) -> Decision<CertifyOperator> {
    on_host(context, "root key on the broker's host", name, key)
}

/// Decides on a certificate of break-glass access. The kernel has identified the process as root's or the broker user's,
/// who have the keys anyway. An alarm records it.
pub fn decide_break_glass(
    context: &DecisionContext<'_>,
    _by: &HostPrincipal,
    name: OperatorName,
    key: &Digest,
) -> Decision<CertifyOperator> {
    on_host(context, "break-glass access on the broker's host", name, key)
}

fn on_host(
    context: &DecisionContext<'_>,
    rule: &str,
    name: OperatorName,
    key: &Digest,
) -> Decision<CertifyOperator> {
    let canonical = [name.as_str().as_bytes(), key.as_bytes()].concat();
    Decision::allow(context.basis(vec![rule.to_owned()], &canonical), CertifyOperator { name })
}

/// Decides on the redemption of an operator's code, like [`decide_enrolment`](super::decide_enrolment) for an agent's.
pub fn decide_operator_enrolment(
    context: &DecisionContext<'_>,
    request: &EnrolmentRequest<'_>,
    _permit: Permit,
) -> Decision<AdmitOperator> {
    let operators = context.records.operators;
    let basis = request.basis(context);
    // Hashed before the code is looked up, and compared in constant time.
    let hash = sha256(request.secret);
    let code = operators.code(request.code).filter(|code| matches(code.hash.as_bytes(), hash.as_bytes()));
    let Some((code, operator)) = code.and_then(|code| Some((code, operators.named(&code.operator)?))) else {
        return Decision::deny(basis, request.invalid(context));
    };
    // Before any other check: a late second use is an alarm too.
    let repeats = match &code.redeemed {
        Some((serial, key)) if *key == request.key => Some(*serial),
        Some(_) => return Decision::deny(basis, code::ENROLMENT_CODE_USED),
        None => None,
    };
    let from = request.source;
    let counts = match repeats {
        None => live(Credential::OperatorCode { code, from: Some(from) }, context.records).is_ok(),
        // After a renewal the code is used up.
        Some(serial) => operator.certificate(&serial).is_some_and(|certificate| {
            let from = Some(from);
            live(Credential::OperatorCertificate { operator, certificate, from }, context.records).is_ok()
        }),
    };
    if context.reading.latest() >= code.expires_at || !counts {
        return Decision::deny(basis, request.invalid(context));
    }
    let maker = Maker::of(operators, code.id);
    let act =
        AdmitOperator { name: operator.name.clone(), by: OperatorAdmission::Code(code.id), maker, repeats };
    Decision::allow(basis, act)
}

/// Decides on an operator's next certificate, for `key`.
pub fn decide_operator_renewal(
    context: &DecisionContext<'_>,
    renewing: &RenewingOperator,
    key: Digest,
    _permit: Permit,
) -> Decision<AdmitOperator> {
    let serial = renewing.certificate().serial();
    let canonical = [&serial.as_bytes()[..], key.as_bytes()].concat();
    let basis = context.basis(vec![format!("certificate of operator {}", renewing.name())], &canonical);
    if is_of_host(renewing.name()) {
        return Decision::deny(basis, code::OPERATOR_IS_BREAK_GLASS);
    }
    let operator = context.records.operators.named(renewing.name());
    let found = operator.and_then(|operator| Some((operator, operator.certificate(serial.as_bytes())?)));
    let Some((operator, current)) = found else {
        return Decision::deny(basis, code::CERTIFICATE_UNKNOWN);
    };
    if current.key == key {
        return Decision::deny(basis, code::RENEWAL_SAME_KEY);
    }
    let now = context.reading.latest();
    let pending = operator.next_of(&current.serial).filter(|next| next.key == key && now < next.not_after);
    let act = AdmitOperator {
        name: operator.name.clone(),
        by: OperatorAdmission::Certificate { serial: current.serial, timeliness: renewing.timeliness() },
        maker: None,
        repeats: pending.map(|next| next.serial),
    };
    Decision::allow(basis, act)
}
