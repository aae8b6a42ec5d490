use serde::{Deserialize, Serialize};

use crate::ledger::Kind;
use crate::store::{At, Event};

/// The certificate authority was founded.
#[derive(Debug, Serialize)]
pub struct AuthorityFounded<'a> {
    /// Whose identities it signs.
    pub trust_domain: &'a str,
    /// SHA-256 of its public key, in hex: what enrolment codes carry.
    pub pin: String,
    /// When its certificate ends.
    pub not_after: String,
}

impl Event for AuthorityFounded<'_> {
    const KIND: Kind = Kind(0x0501);
    const NAME: &'static str = "authority.founded";
}

/// The broker is about to be given a certificate for its own listeners.
#[derive(Debug, Serialize)]
pub struct ServerCertified<'a> {
    /// The names it answers to.
    pub names: &'a [String],
    /// SHA-256 of the public key, in hex.
    pub key: String,
    /// How long it holds, in seconds.
    pub life_s: i64,
}

impl Event for ServerCertified<'_> {
    const KIND: Kind = Kind(0x0502);
    const NAME: &'static str = "server.certified";
}

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// The authority's certificate, DER.
    Found(Vec<u8>),
}

/// The certificate authority's public half, in memory.
#[derive(Debug, Default)]
pub struct Record {
    certificate: Option<Vec<u8>>,
}

impl Record {
    /// The authority's certificate, DER, once it was founded.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// Takes in one effect.
    pub fn apply(&mut self, _at: At, effect: &Effect) {
        let Effect::Found(certificate) = effect;
        self.certificate = Some(certificate.clone());
    }
}

/// The keys that decisions on this room's records rely on.
pub mod keys {
    use crate::ledger::Key;

    /// Whether there is an authority.
    #[must_use]
    pub fn authority() -> Key {
        Key::of("authority", b"")
    }
}
