use std::net::IpAddr;

use super::live::{Credential, live};
use super::principal::{AuthnError, Timeliness, in_time, same, signed};
use super::records::Records;
use crate::base::{ClockReading, Connection, OperatorId, OperatorName, Scope, Timestamp};
use crate::keyring::KeyStage;
use crate::operators::{Certificate, Operator, OperatorKind, OperatorRole, Serving};
use crate::pki::{PeerCertificate, Record, SpiffeId};

/// An operator, proved by the certificate of its connection and by the records.
#[derive(Clone, Debug)]
pub struct OperatorPrincipal {
    id: OperatorId,
    name: OperatorName,
    kind: OperatorKind,
    role: OperatorRole,
    scope: Scope,
    serial: [u8; 16],
    not_after: Timestamp,
    serving: Serving,
    enrolled_seq: u64,
    enrolled_from: Option<IpAddr>,
    connection: Option<Connection>,
    as_of: u64,
}

/// An operator that may renew, and do nothing else: its certificate may have expired within the grace period.
#[derive(Clone, Debug)]
pub struct RenewingOperator {
    id: OperatorId,
    name: OperatorName,
    certificate: PeerCertificate,
    serving: Serving,
    timeliness: Timeliness,
    renewable_until: Timestamp,
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
    in_time(peer, now)?;
    let (operator, held) = holder(peer, records)?;
    live_operator(operator, held, peer.connection(), records, as_of)
}

/// The operator behind `peer`, if it may renew: its certificate is valid at `now`, or in its grace period, which is at most
/// `grace_s` seconds ([`Operator::renewable_until`]). A certificate of a tainted authority has no grace period: a thief of
/// this authority's key can make expired certificates too.
///
/// # Errors
/// [`AuthnError`].
pub fn renewing_operator(
    peer: &PeerCertificate,
    records: Records<'_>,
    as_of: u64,
    grace_s: i64,
    now: ClockReading,
) -> Result<RenewingOperator, AuthnError> {
    if !now.is_within(peer.not_before(), peer.not_after().plus_s(grace_s)) {
        return Err(AuthnError::OutOfTime);
    }
    let (operator, held) = holder(peer, records)?;
    let is_tainted = is_of_tainted(peer, records.authorities);
    let renewable_until = operator.renewable_until(held, if is_tainted { 0 } else { grace_s });
    if !now.is_within(peer.not_before(), renewable_until) {
        return Err(AuthnError::OutOfTime);
    }
    let OperatorPrincipal { id, name, serving, .. } =
        live_operator(operator, held, peer.connection(), records, as_of)?;
    let timeliness = if now.latest() < peer.not_after() { Timeliness::InTime } else { Timeliness::Late };
    Ok(RenewingOperator { id, name, certificate: peer.clone(), serving, timeliness, renewable_until })
}

fn is_of_tainted(peer: &PeerCertificate, authorities: &Record) -> bool {
    let stage = peer.authority().and_then(|key| authorities.stage_of(key));
    stage == Some(KeyStage::Tainted)
}

/// The operator that the records give the certificate of `peer`.
fn holder<'r>(
    peer: &PeerCertificate,
    Records { operators, authorities, .. }: Records<'r>,
) -> Result<(&'r Operator, &'r Certificate), AuthnError> {
    signed(peer, authorities)?;
    let SpiffeId::Operator { name, .. } = peer.spiffe() else { return Err(AuthnError::WrongKind) };
    let operator = operators.named(name).ok_or(AuthnError::Unknown)?;
    let held = operator.holding(peer.serial().as_bytes(), &peer.key()).ok_or(AuthnError::Unknown)?;
    same(peer, authorities, held.not_after, held.signed.and_then(|signed| signed.thumbprint))?;
    Ok((operator, held))
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
    live_operator(operator, held, known.connection, records, as_of)
}

/// The operator that enrolled by entry `enrolled_seq`, by the live records, if its certificate of then, or a renewed one,
/// is neither revoked nor suspended; it may have expired. For an order that the operator gave earlier; it proves no caller.
///
/// # Errors
/// [`AuthnError`].
pub fn enrolled_operator<'r>(
    id: OperatorId,
    name: &OperatorName,
    enrolled_seq: u64,
    records: Records<'r>,
) -> Result<&'r Operator, AuthnError> {
    let operator = records.operators.named(name).filter(|operator| operator.id == id);
    let operator = operator.ok_or(AuthnError::Unknown)?;
    let mut fault = AuthnError::Unknown;
    let is_held = |one: &&Certificate| one.enrolled_seq == enrolled_seq && one.signed.is_some();
    for certificate in operator.certificates.iter().filter(is_held) {
        match live(Credential::OperatorCertificate { operator, certificate, from: None }, records) {
            Ok(()) => return Ok(operator),
            Err(not_live) => fault = not_live.into(),
        }
    }
    Err(fault)
}

/// The proof of an operator with a valid certificate.
fn live_operator(
    operator: &Operator,
    certificate: &Certificate,
    connection: Option<Connection>,
    records: Records<'_>,
    as_of: u64,
) -> Result<OperatorPrincipal, AuthnError> {
    let from = connection.map(|connection| connection.source);
    live(Credential::OperatorCertificate { operator, certificate, from }, records)?;
    Ok(OperatorPrincipal {
        id: operator.id,
        name: operator.name.clone(),
        kind: operator.profile.kind,
        role: operator.role,
        scope: operator.scope.clone(),
        serial: certificate.serial,
        not_after: certificate.not_after,
        serving: certificate.serving,
        enrolled_seq: certificate.enrolled_seq,
        enrolled_from: certificate.enrolled_from.address(),
        connection,
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

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> OperatorKind {
        self.kind
    }

    /// The address of the caller, if known.
    #[must_use]
    pub fn from(&self) -> Option<IpAddr> {
        self.connection.map(|connection| connection.source)
    }

    /// The connection of the request, if known.
    #[must_use]
    pub const fn connection(&self) -> Option<Connection> {
        self.connection
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

    /// The addresses of the enrolment and of the connection, as far as they are known.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.enrolled_from.into_iter().chain(self.from())
    }

    /// The entry by which the operator enrolled. Its renewed certificates have the same.
    #[must_use]
    pub const fn enrolled_seq(&self) -> u64 {
        self.enrolled_seq
    }

    /// The sequence of the state of the proof.
    #[must_use]
    pub const fn as_of(&self) -> u64 {
        self.as_of
    }
}

impl RenewingOperator {
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

    /// The certificate of its connection.
    #[must_use]
    pub const fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }

    /// Whether this certificate is in use. The first use of the next one has to be recorded before any other act.
    #[must_use]
    pub const fn serving(&self) -> Serving {
        self.serving
    }

    /// Whether this certificate is still valid.
    #[must_use]
    pub const fn timeliness(&self) -> Timeliness {
        self.timeliness
    }

    /// The end of the time in which this certificate can be renewed.
    #[must_use]
    pub const fn renewable_until(&self) -> Timestamp {
        self.renewable_until
    }
}
