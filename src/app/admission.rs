use crate::authn::AuthnError;
use crate::base::Connection;
use crate::broker::{AdminServices, AgentServices};
use crate::pki::PeerCertificate;
use crate::pki::tls::{Gate, PeerRefusal, RefusedPeer};

/// Admission at the agents' handshake: existing instances of agents and resource servers. An expired certificate within
/// its grace period is admitted, but every route except the renewal refuses it.
#[derive(Debug)]
pub(super) struct AgentGate(pub(super) AgentServices);

/// Admission at the operators' handshake: operators of this broker. An expired certificate within its grace period is
/// admitted, but every route except the renewal refuses it.
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
        // The renewal admits each kind, and late certificates: what it refuses, every other route refuses too.
        cause(self.0.identify_renewing(peer).err())
    }

    /// Within the grace period, a suspension or revocation is the cause.
    fn late_cause(&self, peer: &PeerCertificate) -> PeerRefusal {
        self.cause(peer)
    }

    fn opened(&self, peer: &PeerCertificate) {
        self.0.connection_opened(peer);
    }

    fn ended(&self, peer: &PeerCertificate, is_cut: bool) {
        self.0.connection_ended(peer, is_cut);
    }

    fn connection_refused(&self, peer: &PeerCertificate) {
        if let Err(error) = self.0.identify_renewing(peer) {
            self.0.note_refused_request(peer, error);
        }
    }

    fn handshake_refused(&self, refused: &RefusedPeer, connection: Connection) {
        if let RefusedPeer::Known(peer, _) = refused {
            self.0.trace(&peer.clone().presented_on(connection));
        }
        self.0.note_refused_handshake(refused, connection);
    }
}

const fn cause(refused: Option<AuthnError>) -> PeerRefusal {
    match refused {
        Some(AuthnError::OutOfTime) => PeerRefusal::OutOfTime,
        Some(AuthnError::WrongKind | AuthnError::ResourceServer | AuthnError::NotFromHost) => {
            PeerRefusal::WrongKind
        }
        Some(AuthnError::AuthorityRevoked) => PeerRefusal::Authority,
        Some(AuthnError::Unknown) => PeerRefusal::Unknown,
        Some(AuthnError::Revoked) => PeerRefusal::Revoked,
        // Without a cause, the certificate was resumed at this moment: the next handshake succeeds.
        // The address is not known at the handshake; the certificate is good elsewhere.
        Some(AuthnError::Suspended | AuthnError::Elsewhere) | None => PeerRefusal::Suspended,
    }
}

impl Gate for AdminGate {
    /// A connection from outside the operator's networks stays open: each request is refused, with an alarm.
    fn admits(&self, peer: &PeerCertificate) -> bool {
        matches!(self.0.identify(peer), Ok(_) | Err(AuthnError::Elsewhere))
    }

    fn admits_late(&self, peer: &PeerCertificate) -> bool {
        matches!(self.0.identify_renewing(peer), Ok(_) | Err(AuthnError::Elsewhere))
    }

    fn cause(&self, peer: &PeerCertificate) -> PeerRefusal {
        // The renewal admits late certificates too: what it refuses, every other route refuses too.
        cause(self.0.identify_renewing(peer).err())
    }

    /// Within the grace period, a suspension or revocation is the cause.
    fn late_cause(&self, peer: &PeerCertificate) -> PeerRefusal {
        self.cause(peer)
    }

    fn opened(&self, peer: &PeerCertificate) {
        self.0.connection_opened(peer);
    }

    fn ended(&self, peer: &PeerCertificate, is_cut: bool) {
        self.0.connection_ended(peer, is_cut);
    }

    fn connection_refused(&self, peer: &PeerCertificate) {
        if let Err(error) = self.0.identify_renewing(peer) {
            self.0.note_refused_request(peer, error);
        }
    }

    fn handshake_refused(&self, refused: &RefusedPeer, connection: Connection) {
        if let RefusedPeer::Known(peer, _) = refused {
            self.0.trace(&peer.clone().presented_on(connection));
        }
        self.0.note_refused_handshake(refused, connection);
    }
}
