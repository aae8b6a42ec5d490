use crate::authn::AuthnError;
use crate::broker::{AdminServices, AgentServices};
use crate::pki::tls::{Gate, PeerRefusal};
use crate::pki::{PeerCertificate, SpiffeId};

/// Admission at the agents' handshake: existing instances of agents and resource servers. An expired certificate within
/// its grace period is admitted, but every route except the renewal refuses it.
#[derive(Debug)]
pub(super) struct AgentGate(pub(super) AgentServices);

/// Admission at the operators' handshake: operators of this broker.
#[derive(Debug)]
pub(super) struct AdminGate(pub(super) AdminServices);

impl Gate for AgentGate {
    fn admits(&self, peer: &PeerCertificate) -> bool {
        self.0.identify(peer).is_ok() || self.0.identify_resource_server(peer).is_ok()
    }

    fn admits_late(&self, peer: &PeerCertificate) -> bool {
        self.0.identify_renewing(peer).is_ok()
    }

    fn cause(&self, peer: &PeerCertificate) -> PeerRefusal {
        let refused = match peer.spiffe() {
            SpiffeId::ResourceServer { .. } => self.0.identify_resource_server(peer).err(),
            SpiffeId::Agent { .. } | SpiffeId::Operator { .. } => self.0.identify(peer).err(),
        };
        cause(refused)
    }

    fn refused(&self, peer: &PeerCertificate) {
        self.0.trace(peer);
    }
}

const fn cause(refused: Option<AuthnError>) -> PeerRefusal {
    match refused {
        Some(AuthnError::OutOfTime) => PeerRefusal::OutOfTime,
        Some(AuthnError::WrongKind | AuthnError::NotFromHost) => PeerRefusal::WrongKind,
        Some(AuthnError::AuthorityRevoked) => PeerRefusal::Authority,
        Some(AuthnError::Unknown) => PeerRefusal::Unknown,
        // It was resumed at this moment: the next handshake succeeds.
        Some(_) | None => PeerRefusal::Revoked,
    }
}

impl Gate for AdminGate {
    fn admits(&self, peer: &PeerCertificate) -> bool {
        self.0.identify(peer).is_ok()
    }

    fn cause(&self, peer: &PeerCertificate) -> PeerRefusal {
        cause(self.0.identify(peer).err())
    }

    fn refused(&self, peer: &PeerCertificate) {
        self.0.trace(peer);
    }
}
