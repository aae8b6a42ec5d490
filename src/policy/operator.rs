use super::enrolment::{EnrolmentRefused, EnrolmentRequest, Maker};
use super::grant::{Basis, Grant};
use crate::authn::{Credential, HostPrincipal, OperatorPrincipal, Records, live};
use crate::base::{CodeId, DecisionId, OperatorName, Timestamp};
use crate::crypto::{Digest, MacKey, matches, sha256};
use crate::keyring::Keyring;
use crate::operators::{Operators, is_of_host};
use crate::quota::Permit;
use crate::registry::Declarations;

/// Certifying one operator on the broker's host.
#[derive(Debug)]
pub struct CertifyOperator {
    name: OperatorName,
}

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
    by: Admission,
    maker: Option<Maker>,
    repeats: Option<[u8; 16]>,
}

/// On what an operator is given a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// An enrolment code.
    Code(CodeId),
    /// Its certificate with this serial.
    Certificate([u8; 16]),
}

impl AdmitOperator {
    /// The operator's name.
    #[must_use]
    pub const fn name(&self) -> &OperatorName {
        &self.name
    }

    /// On what.
    #[must_use]
    pub const fn by(&self) -> Admission {
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

/// Why an operator gets no next certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OperatorRenewalRefused {
    /// The operator or its certificate is gone.
    Gone,
    /// The request is for the key that is in use: a renewal is for a new one.
    SameKey,
    /// The operator is the host's own: an hour is all that it has.
    OfHost,
}

/// Decides on an operator's certificate asked for on the broker's host: whoever has opened the
/// keyring holds the root key, and there is nobody above. The ledger records it.
pub fn decide_host_operator(
    _opened: &Keyring,
    declarations: &Declarations,
    name: OperatorName,
    key: &Digest,
    known_by: (DecisionId, &MacKey),
) -> Grant<CertifyOperator> {
    on_host("root key on the broker's host", declarations, name, key, known_by)
}

/// Decides on the certificate that somebody on the broker's host takes by breaking the glass: the kernel
/// has said that it is root or the broker's own user, who could do worse. An alarm records it.
pub fn decide_break_glass(
    _by: &HostPrincipal,
    declarations: &Declarations,
    name: OperatorName,
    key: &Digest,
    known_by: (DecisionId, &MacKey),
) -> Grant<CertifyOperator> {
    on_host("broken glass on the broker's host", declarations, name, key, known_by)
}

/// The grant of a certificate that is taken on the broker's host, by this rule.
fn on_host(
    rule: &str,
    declarations: &Declarations,
    name: OperatorName,
    key: &Digest,
    (decision, digests): (DecisionId, &MacKey),
) -> Grant<CertifyOperator> {
    let canonical = [name.as_str().as_bytes(), key.as_bytes()].concat();
    let basis = Basis {
        decision,
        snapshot: declarations.snapshot(),
        rules: vec![rule.to_owned()],
        request: digests.tag(&canonical),
    };
    Grant::assertion(basis, CertifyOperator { name })
}

/// Decides on the redemption of an operator's code.
///
/// # Errors
/// [`EnrolmentRefused`].
pub fn decide_operator_enrolment(
    records: Records<'_>,
    request: &EnrolmentRequest<'_>,
    _permit: &Permit,
    (decision, digests): (DecisionId, &MacKey),
    now: Timestamp,
) -> Result<Grant<AdmitOperator>, EnrolmentRefused> {
    let Records { operators, registry, .. } = records;
    // Hashed before it is known whether the code exists, and compared in constant time.
    let hash = sha256(request.secret);
    let code = operators.code(request.code).filter(|code| matches(code.hash.as_bytes(), hash.as_bytes()));
    let code = code.ok_or(EnrolmentRefused::BadCode)?;
    // Before anything else is asked of the code: a late second use is an alarm too.
    let repeats = match &code.redeemed {
        Some((serial, key)) if *key == request.key => Some(*serial),
        Some(_) => return Err(EnrolmentRefused::Reused),
        None => None,
    };
    if now >= code.expires_at {
        return Err(EnrolmentRefused::BadCode);
    }
    let operator = operators.named(&code.operator).ok_or(EnrolmentRefused::BadCode)?;
    let from = request.source;
    let due = match repeats {
        None => live(Credential::OperatorCode { code, from }, records).is_ok(),
        // Once the certificate was renewed, the code is spent.
        Some(serial) => operator.certificate(&serial).is_some_and(|certificate| {
            let from = Some(from);
            live(Credential::OperatorCertificate { operator, certificate, from }, records).is_ok()
        }),
    };
    if !due {
        return Err(EnrolmentRefused::BadCode);
    }
    let canonical = [&code.id.as_bytes()[..], request.key.as_bytes()].concat();
    let basis = Basis {
        decision,
        snapshot: registry.declarations().snapshot(),
        rules: vec![format!("enrolment code {}", code.id)],
        request: digests.tag(&canonical),
    };
    let maker = Maker::of(operators, code.id);
    let act = AdmitOperator { name: operator.name.clone(), by: Admission::Code(code.id), maker, repeats };
    Ok(Grant::assertion(basis, act))
}

/// Decides on an operator's next certificate, for `key`.
///
/// # Errors
/// [`OperatorRenewalRefused`].
pub fn decide_operator_renewal(
    (operators, declarations): (&Operators, &Declarations),
    (principal, key): (&OperatorPrincipal, Digest),
    _permit: &Permit,
    (decision, digests): (DecisionId, &MacKey),
    now: Timestamp,
) -> Result<Grant<AdmitOperator>, OperatorRenewalRefused> {
    let operator = operators.named(principal.name()).ok_or(OperatorRenewalRefused::Gone)?;
    if is_of_host(&operator.name) {
        return Err(OperatorRenewalRefused::OfHost);
    }
    let current = operator.certificate(principal.serial()).ok_or(OperatorRenewalRefused::Gone)?;
    if current.key == key {
        return Err(OperatorRenewalRefused::SameKey);
    }
    let pending = operator.next_of(&current.serial).filter(|next| next.key == key && now < next.not_after);
    let canonical = [&current.serial[..], key.as_bytes()].concat();
    let basis = Basis {
        decision,
        snapshot: declarations.snapshot(),
        rules: vec![format!("certificate of operator {}", operator.name)],
        request: digests.tag(&canonical),
    };
    let act = AdmitOperator {
        name: operator.name.clone(),
        by: Admission::Certificate(current.serial),
        maker: None,
        repeats: pending.map(|next| next.serial),
    };
    Ok(Grant::assertion(basis, act))
}
