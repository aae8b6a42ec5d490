use std::collections::BTreeSet;
use std::sync::Arc;

use super::live::{Credential, CredentialFault, live};
use super::records::Records;
use crate::base::{AgentId, AgentName, ClockReading, Connection, InstanceId, RoleName, Timestamp};
use crate::crypto::Digest;
use crate::pki::{PeerCertificate, Record, SpiffeId};
use crate::registry::{Agent, AgentKind, CertificateSlot, Instance};

/// The reason to refuse a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthnError {
    /// It has expired, or is not valid yet.
    #[error("the certificate is not valid at this time")]
    OutOfTime,
    /// It names another kind of caller.
    #[error("the certificate is for another kind of caller")]
    WrongKind,
    /// It names a resource server, and the request is for agents.
    #[error("the certificate is a resource server's: a resource server gets no tokens, secrets or leases")]
    ResourceServer,
    /// It, its instance, its agent or operator, or an owner was revoked.
    #[error("the certificate, or its agent, operator or owner, was revoked")]
    Revoked,
    /// It, its instance, its agent or operator, or an owner is suspended.
    #[error("the certificate, or its agent, operator or owner, is suspended or contained")]
    Suspended,
    /// The authority that signed it was revoked.
    #[error("the authority that signed the certificate was revoked")]
    AuthorityRevoked,
    /// No subject holds it any more: the agent, operator or instance was removed.
    #[error("no agent or operator of this broker holds this certificate")]
    Unknown,
    /// It is presented from outside the networks that its operator is bound to.
    #[error("the certificate is bound to networks, and the request comes from another one")]
    Elsewhere,
    /// The process at the host socket is neither root's nor the broker user's.
    #[error("the socket on the broker's host is only for root and the broker's own user")]
    NotFromHost,
}

/// An agent, proved by the certificate of its connection and by the registry.
#[derive(Clone, Debug)]
pub struct AgentPrincipal {
    agent: AgentId,
    name: AgentName,
    instance: InstanceId,
    roles: Arc<BTreeSet<RoleName>>,
    certificate: PeerCertificate,
    held: CertificateSlot,
    as_of: u64,
}

/// An agent or a resource server that may renew, and do nothing else: its certificate may have expired within the grace
/// period.
#[derive(Clone, Debug)]
pub struct RenewingAgent {
    agent: AgentId,
    instance: InstanceId,
    certificate: PeerCertificate,
    held: CertificateSlot,
    timeliness: Timeliness,
    as_of: u64,
}

/// The validity of a certificate that requests its renewal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timeliness {
    /// It is valid.
    InTime,
    /// It has expired within the grace period.
    Late,
}

/// The agent behind `peer` by the live records at `now`; `as_of` is the sequence of that state.
///
/// # Errors
/// [`AuthnError`].
pub fn agent(
    peer: &PeerCertificate,
    records: Records<'_>,
    as_of: u64,
    now: ClockReading,
) -> Result<AgentPrincipal, AuthnError> {
    in_time(peer, now)?;
    let (agent, instance, held) = holder(peer, records)?;
    if agent.kind() != AgentKind::Agent {
        return Err(AuthnError::ResourceServer);
    }
    Ok(AgentPrincipal {
        agent: agent.id,
        name: agent.name.clone(),
        instance: instance.id,
        roles: Arc::clone(&agent.roles),
        certificate: peer.clone(),
        held,
        as_of,
    })
}

/// The agent or resource server behind `peer`, if it may renew: its certificate is valid at `now`, or expired less than
/// `grace_s` seconds ago.
///
/// # Errors
/// [`AuthnError`].
pub fn renewing(
    peer: &PeerCertificate,
    records: Records<'_>,
    as_of: u64,
    grace_s: i64,
    now: ClockReading,
) -> Result<RenewingAgent, AuthnError> {
    if !now.is_within(peer.not_before(), peer.not_after().plus_s(grace_s)) {
        return Err(AuthnError::OutOfTime);
    }
    let timeliness = if now.latest() < peer.not_after() { Timeliness::InTime } else { Timeliness::Late };
    let (agent, instance, held) = holder(peer, records)?;
    let certificate = peer.clone();
    Ok(RenewingAgent { agent: agent.id, instance: instance.id, certificate, held, timeliness, as_of })
}

/// The agent or resource server with this certificate, unless it is revoked or suspended.
pub(super) fn holder<'r>(
    peer: &PeerCertificate,
    records: Records<'r>,
) -> Result<(&'r Agent, &'r Instance, CertificateSlot), AuthnError> {
    let Records { registry, authorities, .. } = records;
    signed(peer, authorities)?;
    let (name, kind) = match peer.spiffe() {
        SpiffeId::Agent { name, .. } => (name, AgentKind::Agent),
        SpiffeId::ResourceServer { name, .. } => (name, AgentKind::ResourceServer),
        SpiffeId::Operator { .. } => return Err(AuthnError::WrongKind),
    };
    let agent = registry.agent_named(name).filter(|agent| agent.kind() == kind);
    let agent = agent.ok_or(AuthnError::Unknown)?;
    let found = agent.instance_of(peer.serial().as_bytes(), &peer.key());
    let (instance, held) = found.ok_or(AuthnError::Unknown)?;
    let holding = instance.holding(held).ok_or(AuthnError::Unknown)?;
    same(peer, authorities, holding.not_after, holding.signed.map(|signed| signed.thumbprint))?;
    live(Credential::Certificate { agent, instance, holding, from: peer.from() }, records)?;
    Ok((agent, instance, held))
}

/// A connection can outlive the authority.
pub(super) fn signed(peer: &PeerCertificate, authorities: &Record) -> Result<(), AuthnError> {
    match peer.authority().and_then(|key| authorities.stage_of(key)) {
        Some(stage) if stage.counts() => Ok(()),
        Some(_) => Err(AuthnError::AuthorityRevoked),
        None => Err(AuthnError::Unknown),
    }
}

/// Whether a certificate is the recorded one, byte for byte: the same authority can sign another one with the same serial
/// and key.
pub(super) fn same(
    peer: &PeerCertificate,
    authorities: &Record,
    not_after: Timestamp,
    thumbprint: Option<Digest>,
) -> Result<(), AuthnError> {
    let is_ours = authorities.trust_domain() == Some(peer.spiffe().trust_domain());
    let is_recorded = thumbprint.is_none_or(|thumbprint| thumbprint == peer.thumbprint());
    if is_ours && is_recorded && peer.not_after() == not_after { Ok(()) } else { Err(AuthnError::Unknown) }
}

impl From<CredentialFault> for AuthnError {
    fn from(dead: CredentialFault) -> Self {
        match dead {
            CredentialFault::Revoked => Self::Revoked,
            CredentialFault::Suspended => Self::Suspended,
            CredentialFault::AuthorityRevoked => Self::AuthorityRevoked,
            CredentialFault::Elsewhere => Self::Elsewhere,
            CredentialFault::HolderGone
            | CredentialFault::Replaced
            | CredentialFault::NotIssued
            | CredentialFault::MakerGone
            | CredentialFault::NotGranted => Self::Unknown,
        }
    }
}

/// A connection can outlive its certificate: the times are checked again.
pub(super) fn in_time(peer: &PeerCertificate, now: ClockReading) -> Result<(), AuthnError> {
    if now.is_within(peer.not_before(), peer.not_after()) { Ok(()) } else { Err(AuthnError::OutOfTime) }
}

impl AgentPrincipal {
    /// The agent's id.
    #[must_use]
    pub const fn agent(&self) -> AgentId {
        self.agent
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &AgentName {
        &self.name
    }

    /// The instance that calls.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// The certificate of its connection.
    #[must_use]
    pub const fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }

    /// The connection of the request, if known.
    #[must_use]
    pub const fn connection(&self) -> Option<Connection> {
        self.certificate.connection()
    }

    /// The identity in the certificate.
    #[must_use]
    pub const fn spiffe(&self) -> &SpiffeId {
        self.certificate.spiffe()
    }

    /// Its roles as of [`AgentPrincipal::as_of`].
    #[must_use]
    pub fn roles(&self) -> &BTreeSet<RoleName> {
        &self.roles
    }

    /// SHA-256 of the certificate in DER, to which tokens are bound.
    #[must_use]
    pub const fn thumbprint(&self) -> Digest {
        self.certificate.thumbprint()
    }

    /// The end of the certificate.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.certificate.not_after()
    }

    /// Which of its certificates it presented. The first use of the next one has to be recorded before any other act.
    #[must_use]
    pub const fn held(&self) -> CertificateSlot {
        self.held
    }

    /// The sequence of the state of the proof.
    #[must_use]
    pub const fn as_of(&self) -> u64 {
        self.as_of
    }
}

impl RenewingAgent {
    /// The certificate of its connection.
    #[must_use]
    pub const fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }

    /// The agent's id.
    #[must_use]
    pub const fn agent(&self) -> AgentId {
        self.agent
    }

    /// The instance that calls.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Which of its certificates it presented.
    #[must_use]
    pub const fn held(&self) -> CertificateSlot {
        self.held
    }

    /// Whether this certificate is still valid.
    #[must_use]
    pub const fn timeliness(&self) -> Timeliness {
        self.timeliness
    }

    /// The sequence of the state of the proof.
    #[must_use]
    pub const fn as_of(&self) -> u64 {
        self.as_of
    }
}
