use std::net::IpAddr;

use super::live::{Credential, live};
use super::principal::{AuthnError, in_time, same, signed};
use super::records::Records;
use crate::base::{ClockReading, OperatorId, OperatorName, Scope, Timestamp};
use crate::operators::{Certificate, Operator, OperatorRole, Serving};
use crate::pki::{PeerCertificate, SpiffeId};

/// An operator, proved by the certificate of its connection and by the records.
#[derive(Clone, Debug)]
pub struct OperatorPrincipal {
    id: OperatorId,
    name: OperatorName,
    role: OperatorRole,
    scope: Scope,
    serial: [u8; 16],
    not_after: Timestamp,
    serving: Serving,
    from: Option<IpAddr>,
    as_of: u64,
}

/// The operator behind `peer` by the live records at `now`; `as_of` is the sequence of that state.
///
/// # Errors
/// [`AuthnError`].
pub fn operator(
    peer: &PeerCertificate,
    records: Records<'_>,
    as_of: u64,
    now: ClockReading,
) -> Result<OperatorPrincipal, AuthnError> {
    let Records { operators, authorities, .. } = records;
    in_time(peer, now)?;
    signed(peer, authorities)?;
    let SpiffeId::Operator { name, .. } = peer.spiffe() else { return Err(AuthnError::WrongKind) };
    let operator = operators.named(name).ok_or(AuthnError::Unknown)?;
    let held = operator.holding(peer.serial().as_bytes(), &peer.key()).ok_or(AuthnError::Unknown)?;
    same(peer, authorities, held.not_after, held.signed.and_then(|signed| signed.thumbprint))?;
    live_operator(operator, held, peer.from(), records, as_of)
}

/// The operator `known` by the live records now; `as_of` is the sequence of that state. Its role and scope may have
/// changed.
///
/// # Errors
/// [`AuthnError`].
pub fn operator_again(
    known: &OperatorPrincipal,
    records: Records<'_>,
    as_of: u64,
) -> Result<OperatorPrincipal, AuthnError> {
    let operator = records.operators.named(&known.name).filter(|operator| operator.id == known.id);
    let operator = operator.ok_or(AuthnError::Unknown)?;
    let held = operator.certificate(&known.serial).ok_or(AuthnError::Unknown)?;
    live_operator(operator, held, known.from, records, as_of)
}

/// The proof of an operator with a valid certificate.
fn live_operator(
    operator: &Operator,
    certificate: &Certificate,
    from: Option<IpAddr>,
    records: Records<'_>,
    as_of: u64,
) -> Result<OperatorPrincipal, AuthnError> {
    live(Credential::OperatorCertificate { operator, certificate, from }, records)?;
    Ok(OperatorPrincipal {
        id: operator.id,
        name: operator.name.clone(),
        role: operator.role,
        scope: operator.scope.clone(),
        serial: certificate.serial,
        not_after: certificate.not_after,
        serving: certificate.serving,
        from,
        as_of,
    })
}

impl OperatorPrincipal {
    /// The operator's id.
    #[must_use]
    pub const fn id(&self) -> OperatorId {
        self.id
    }

    /// The operator's name.
    #[must_use]
    pub const fn name(&self) -> &OperatorName {
        &self.name
    }

    /// Its role.
    #[must_use]
    pub const fn role(&self) -> OperatorRole {
        self.role
    }

    /// Its scope.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The serial of the certificate that it presented.
    #[must_use]
    pub const fn serial(&self) -> &[u8; 16] {
        &self.serial
    }

    /// The end of this certificate.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether this certificate is in use. The first use of the next one has to be recorded before any other act.
    #[must_use]
    pub const fn serving(&self) -> Serving {
        self.serving
    }

    /// The sequence of the state of the proof.
    #[must_use]
    pub const fn as_of(&self) -> u64 {
        self.as_of
    }
}
