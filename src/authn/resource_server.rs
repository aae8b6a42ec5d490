use super::principal::{AuthnError, holder, in_time};
use super::records::Records;
use crate::base::{AgentId, AgentName, Audience, ClockReading, Connection, InstanceId};
use crate::pki::PeerCertificate;
use crate::registry::CertificateSlot;

/// A resource server, proved like an agent. It introspects tokens and cannot get one.
#[derive(Clone, Debug)]
pub struct ResourceServerPrincipal {
    id: AgentId,
    name: AgentName,
    instance: InstanceId,
    serves: Audience,
    held: CertificateSlot,
    connection: Option<Connection>,
}

/// The resource server behind `peer` by the live records at `now`.
///
/// # Errors
/// [`AuthnError`].
pub fn resource_server(
    peer: &PeerCertificate,
    records: Records<'_>,
    now: ClockReading,
) -> Result<ResourceServerPrincipal, AuthnError> {
    in_time(peer, now)?;
    let (server, instance, held) = holder(peer, records)?;
    let serves = server.serves.clone().ok_or(AuthnError::WrongKind)?;
    Ok(ResourceServerPrincipal {
        id: server.id,
        name: server.name.clone(),
        instance: instance.id,
        serves,
        held,
        connection: peer.connection(),
    })
}

impl ResourceServerPrincipal {
    /// The connection on which the certificate was presented, if it is known.
    #[must_use]
    pub const fn connection(&self) -> Option<Connection> {
        self.connection
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> AgentId {
        self.id
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

    /// Its audience.
    #[must_use]
    pub const fn serves(&self) -> &Audience {
        &self.serves
    }

    /// Which of its certificates it presented. The first use of the next one has to be recorded before any other act.
    #[must_use]
    pub const fn held(&self) -> CertificateSlot {
        self.held
    }
}
