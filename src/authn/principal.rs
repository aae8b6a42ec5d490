use std::collections::BTreeSet;

use crate::base::{AgentId, AgentName, InstanceId, OperatorId, OperatorName, RoleName, Timestamp};
use crate::crypto::Digest;
use crate::operators::Operators;
use crate::pki::{PeerCertificate, SpiffeId};
use crate::registry::Registry;
use crate::revocation::{Liveness, Revocations, Subject};

/// Why a certificate proves nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthnError {
    /// It has ended, or does not hold yet.
    #[error("the certificate does not hold at this time")]
    OutOfTime,
    /// It names another kind of caller than is asked for here.
    #[error("the certificate is for another kind of caller")]
    WrongKind,
    /// It, its instance or its agent was revoked or suspended.
    #[error("the certificate's holder is revoked or suspended")]
    Revoked,
    /// Nobody holds it any more: the agent or operator is gone, or this instance is.
    #[error("no agent or operator of this broker holds this certificate")]
    Unknown,
}

/// An agent, proved by the certificate of its connection and found in the registry just now.
#[derive(Clone, Debug)]
pub struct AgentPrincipal {
    agent: AgentId,
    name: AgentName,
    instance: InstanceId,
    spiffe: SpiffeId,
    roles: BTreeSet<RoleName>,
    thumbprint: Digest,
    not_after: Timestamp,
    as_of: u64,
}

/// An operator, proved likewise.
#[derive(Clone, Debug)]
pub struct OperatorPrincipal {
    id: OperatorId,
    name: OperatorName,
    not_after: Timestamp,
}

/// The agent behind `peer`, as the live records know it at `now`; `as_of` is the sequence of that state.
///
/// # Errors
/// [`AuthnError`].
pub fn agent(
    peer: &PeerCertificate,
    (registry, revocations): (&Registry, &Revocations),
    as_of: u64,
    now: Timestamp,
) -> Result<AgentPrincipal, AuthnError> {
    in_time(peer, now)?;
    let SpiffeId::Agent { name, .. } = peer.spiffe() else { return Err(AuthnError::WrongKind) };
    let agent = registry.agent_named(name).ok_or(AuthnError::Unknown)?;
    let instance = agent.instance_of(peer.serial().as_bytes(), &peer.key()).ok_or(AuthnError::Unknown)?;
    let subjects = [Subject::Agent(agent.id), Subject::Instance(instance.id)];
    if revocations.judge(instance.enrolled_seq, &subjects) == Liveness::Dead {
        return Err(AuthnError::Revoked);
    }
    Ok(AgentPrincipal {
        agent: agent.id,
        name: agent.name.clone(),
        instance: instance.id,
        spiffe: peer.spiffe().clone(),
        roles: agent.roles.clone(),
        thumbprint: peer.thumbprint(),
        not_after: peer.not_after(),
        as_of,
    })
}

/// The operator behind `peer`, as `operators` knows it at `now`.
///
/// # Errors
/// [`AuthnError`].
pub fn operator(
    peer: &PeerCertificate,
    operators: &Operators,
    now: Timestamp,
) -> Result<OperatorPrincipal, AuthnError> {
    in_time(peer, now)?;
    let SpiffeId::Operator { name, .. } = peer.spiffe() else { return Err(AuthnError::WrongKind) };
    let operator = operators.named(name).ok_or(AuthnError::Unknown)?;
    if !operator.holds(peer.serial().as_bytes(), &peer.key()) {
        return Err(AuthnError::Unknown);
    }
    Ok(OperatorPrincipal { id: operator.id, name: operator.name.clone(), not_after: peer.not_after() })
}

/// A connection outlives the moment of its handshake: the certificate's times are judged again.
fn in_time(peer: &PeerCertificate, now: Timestamp) -> Result<(), AuthnError> {
    if now < peer.not_before() || now >= peer.not_after() { Err(AuthnError::OutOfTime) } else { Ok(()) }
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

    /// The identity in the certificate.
    #[must_use]
    pub const fn spiffe(&self) -> &SpiffeId {
        &self.spiffe
    }

    /// The roles it holds as of [`AgentPrincipal::as_of`].
    #[must_use]
    pub const fn roles(&self) -> &BTreeSet<RoleName> {
        &self.roles
    }

    /// SHA-256 of the certificate in DER: what tokens are bound to.
    #[must_use]
    pub const fn thumbprint(&self) -> Digest {
        self.thumbprint
    }

    /// When the certificate ends.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The sequence of the state in which it was found.
    #[must_use]
    pub const fn as_of(&self) -> u64 {
        self.as_of
    }
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

    /// When the certificate ends.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}
