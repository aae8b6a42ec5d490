use crate::broker::{AdminDesk, AgentDesk};
use crate::pki::PeerCertificate;
use crate::pki::tls::Gate;

/// At the agents' handshake: agents and resource servers of this broker whose instance is there. A certificate within the
/// grace may come in too: every route but the renewal refuses it.
#[derive(Debug)]
pub(super) struct AgentGate(pub(super) AgentDesk);

/// At the operators' handshake: operators of this broker.
#[derive(Debug)]
pub(super) struct AdminGate(pub(super) AdminDesk);

impl Gate for AgentGate {
    fn admits(&self, peer: &PeerCertificate) -> bool {
        self.0.identify(peer).is_ok() || self.0.identify_resource_server(peer).is_ok()
    }

    fn admits_late(&self, peer: &PeerCertificate) -> bool {
        self.0.identify_renewing(peer).is_ok()
    }

    fn refused(&self, peer: &PeerCertificate) {
        self.0.trace(peer);
    }
}

impl Gate for AdminGate {
    fn admits(&self, peer: &PeerCertificate) -> bool {
        self.0.identify(peer).is_ok()
    }

    fn refused(&self, peer: &PeerCertificate) {
        self.0.trace(peer);
    }
}
