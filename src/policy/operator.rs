use super::context::DecisionContext;
use super::decision::{Certifying, Decision};
use super::enrolment::{EnrolmentRequest, Maker};
use crate::authn::{Credential, HostPrincipal, OperatorPrincipal, live};
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

impl Certifying for CertifyOperator {}

impl CertifyOperator {
    /// The operator's name.
    #[must_use]
    pub const fn name(&self) -> &OperatorName {
        &self.name
    }
}

/// Giving one operator the certificate that its code is for, or its next one.
#[derive(Debug)]
pub struct AdmitOperator {
    name: OperatorName,
    by: OperatorAdmission,
    maker: Option<Maker>,
    repeats: Option<[u8; 16]>,
}

/// On what an operator is given a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OperatorAdmission {
    /// An enrolment code.
    Code(CodeId),
    /// Its certificate with this serial.
    Certificate([u8; 16]),
}

impl Certifying for AdmitOperator {}

impl AdmitOperator {
    /// The operator's name.
    #[must_use]
    pub const fn name(&self) -> &OperatorName {
        &self.name
    }

    /// On what.
    #[must_use]
    pub const fn by(&self) -> OperatorAdmission {
        self.by
    }

    /// Who made the code, where it is one: it counts while its maker could make it.
    #[must_use]
    pub const fn maker(&self) -> Option<&Maker> {
        self.maker.as_ref()
    }

    /// The serial of the certificate that was planned for this very key before: its answer was lost,
    /// and the same certificate is due.
    #[must_use]
    pub const fn repeats(&self) -> Option<[u8; 16]> {
        self.repeats
    }
}

/// Decides on an operator's certificate asked for on the broker's host. A caller that has opened the keyring has the
/// root key, and needs no operator's leave. The ledger records it.
pub fn decide_host_operator(
    context: &DecisionContext<'_>,
    _opened: &Keyring,
    name: OperatorName,
    key: &Digest,
) -> Decision<CertifyOperator> {
    on_host(context, "root key on the broker's host", name, key)
}

/// Decides on the certificate that a process on the broker's host takes by break-glass access: the kernel
/// has said that it is root's or the broker's own user's, who could do worse. An alarm records it.
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

/// Decides on the redemption of an operator's code, as [`decide_enrolment`](super::decide_enrolment) does on an agent's.
pub fn decide_operator_enrolment(
    context: &DecisionContext<'_>,
    request: &EnrolmentRequest<'_>,
    _permit: Permit,
) -> Decision<AdmitOperator> {
    let operators = context.records.operators;
    let basis = request.basis(context);
    // Hashed before it is known whether the code exists, and compared in constant time.
    let hash = sha256(request.secret);
    let code = operators.code(request.code).filter(|code| matches(code.hash.as_bytes(), hash.as_bytes()));
    let Some((code, operator)) = code.and_then(|code| Some((code, operators.named(&code.operator)?))) else {
        return Decision::deny(basis, code::ENROLMENT_CODE_INVALID);
    };
    // Before anything else is asked of the code: a late second use is an alarm too.
    let repeats = match &code.redeemed {
        Some((serial, key)) if *key == request.key => Some(*serial),
        Some(_) => return Decision::deny(basis, code::ENROLMENT_CODE_USED),
        None => None,
    };
    let from = request.source;
    let counts = match repeats {
        None => live(Credential::OperatorCode { code, from }, context.records).is_ok(),
        // Once the certificate was renewed, the code is spent.
        Some(serial) => operator.certificate(&serial).is_some_and(|certificate| {
            let from = Some(from);
            live(Credential::OperatorCertificate { operator, certificate, from }, context.records).is_ok()
        }),
    };
    if context.reading.latest() >= code.expires_at || !counts {
        return Decision::deny(basis, code::ENROLMENT_CODE_INVALID);
    }
    let maker = Maker::of(operators, code.id);
    let act =
        AdmitOperator { name: operator.name.clone(), by: OperatorAdmission::Code(code.id), maker, repeats };
    Decision::allow(basis, act)
}

/// Decides on an operator's next certificate, for `key`.
pub fn decide_operator_renewal(
    context: &DecisionContext<'_>,
    principal: &OperatorPrincipal,
    key: Digest,
    _permit: Permit,
) -> Decision<AdmitOperator> {
    let canonical = [&principal.serial()[..], key.as_bytes()].concat();
    let basis = context.basis(vec![format!("certificate of operator {}", principal.name())], &canonical);
    if is_of_host(principal.name()) {
        return Decision::deny(basis, code::OPERATOR_IS_BREAK_GLASS);
    }
    let operator = context.records.operators.named(principal.name());
    let found = operator.and_then(|operator| Some((operator, operator.certificate(principal.serial())?)));
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
        by: OperatorAdmission::Certificate(current.serial),
        maker: None,
        repeats: pending.map(|next| next.serial),
    };
    Decision::allow(basis, act)
}
