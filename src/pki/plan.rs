use super::request::PublicKey;
use super::spiffe::SpiffeId;

use crate::base::limits::BACKDATE_S;
use crate::base::{Entropy, Serial, Timestamp};
use crate::crypto::Digest;

/// The plan of a certificate, recorded before it is signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificatePlan {
    /// The identity.
    pub spiffe: SpiffeId,
    /// Its serial.
    pub serial: Serial,
    /// SHA-256 of its public key, DER `SubjectPublicKeyInfo`.
    pub key: Digest,
    /// When it begins to hold; whole seconds.
    pub not_before: Timestamp,
    /// When it ends; whole seconds.
    pub not_after: Timestamp,
}

impl CertificatePlan {
    /// Plans a certificate for `key` that holds `life_s` seconds from `now`, backdated by
    /// `BACKDATE_S`, and never beyond its issuer.
    #[must_use]
    pub fn draw(
        spiffe: SpiffeId,
        key: &PublicKey,
        now: Timestamp,
        life_s: i64,
        issuer_not_after: Timestamp,
        entropy: &dyn Entropy,
    ) -> Self {
        let now = Timestamp::from_s(now.s());
        Self {
            spiffe,
            serial: Serial::draw(entropy),
            key: key.digest(),
            not_before: now.plus_s(BACKDATE_S.saturating_neg()),
            not_after: now.plus_s(life_s).min(issuer_not_after),
        }
    }
}
