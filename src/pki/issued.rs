use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::authority_certificate::AuthorityCertificate;
use super::client::key_pin;
use super::peer::PeerCertificate;
use super::spiffe::SpiffeId;
use crate::base::{Timestamp, TrustDomain};
use crate::crypto::Digest;

/// Why an answer to a certificate request is not used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuedError {
    /// Not a certificate of the broker's profile.
    #[error("the response contains no certificate of an agent, operator or resource server")]
    Certificate,
    /// For another public key than the one that was sent.
    #[error("the certificate is for another key than the requested one")]
    Key,
    /// Names another identity.
    #[error("the certificate names {given}, not {expected}")]
    Identity {
        /// Named by the certificate.
        given: SpiffeId,
        /// Asked for.
        expected: SpiffeId,
    },
    /// Outside its time by this machine's clock.
    #[error("the certificate expired at {0} by this machine's clock")]
    Ended(Timestamp),
    /// Not one certificate of an authority, or of another trust domain.
    #[error("the authorities in the response are not of the trust domain {0}")]
    Authorities(TrustDomain),
    /// No authority that was trusted before.
    #[error("the response contains no authority that this machine trusts already")]
    Unrelated,
    /// Signed by none of the authorities.
    #[error("no authority in the response signed the certificate")]
    Signature,
}

/// The expectations of a response to a certificate request.
#[derive(Debug)]
pub struct Requested<'a> {
    /// SHA-256 of the public key that was sent, DER `SubjectPublicKeyInfo`.
    pub key: Digest,
    /// The identity that was asked for.
    pub spiffe: &'a SpiffeId,
    /// SHA-256 of the public keys of the authorities that were trusted before.
    pub trusted: &'a [Digest],
}

impl Requested<'_> {
    /// Checks `certificate` and the authorities that came with it, all DER.
    ///
    /// # Errors
    /// [`IssuedError`].
    pub fn check(
        &self,
        certificate: &[u8],
        authorities: &[Vec<u8>],
        now: Timestamp,
    ) -> Result<PeerCertificate, IssuedError> {
        let peer = PeerCertificate::parse(certificate).map_err(|_| IssuedError::Certificate)?;
        if peer.key() != self.key {
            return Err(IssuedError::Key);
        }
        if peer.spiffe() != self.spiffe {
            let (given, expected) = (peer.spiffe().clone(), self.spiffe.clone());
            return Err(IssuedError::Identity { given, expected });
        }
        if peer.not_after() <= now {
            return Err(IssuedError::Ended(peer.not_after()));
        }
        check_authorities(authorities, self.trusted, self.spiffe.trust_domain())?;
        if authorities.iter().any(|authority| is_signed_by(certificate, authority)) {
            Ok(peer)
        } else {
            Err(IssuedError::Signature)
        }
    }
}

/// Checks that `authorities` (DER) can take the place of those with the keys `trusted`: each one is an
/// authority of `trust_domain`, and at least one was trusted before.
///
/// # Errors
/// [`IssuedError`].
pub fn check_authorities(
    authorities: &[Vec<u8>],
    trusted: &[Digest],
    trust_domain: &TrustDomain,
) -> Result<(), IssuedError> {
    let belongs = |der: &Vec<u8>| {
        let is_authority = X509Certificate::from_der(der).is_ok_and(|(_, read)| read.is_ca());
        is_authority
            && AuthorityCertificate::parse(der.clone()).is_ok_and(|one| one.trust_domain() == trust_domain)
    };
    if authorities.is_empty() || !authorities.iter().all(belongs) {
        return Err(IssuedError::Authorities(trust_domain.clone()));
    }
    let is_known = |der: &Vec<u8>| key_pin(der).is_ok_and(|pin| trusted.contains(&pin));
    if authorities.iter().any(is_known) { Ok(()) } else { Err(IssuedError::Unrelated) }
}

fn is_signed_by(certificate: &[u8], authority: &[u8]) -> bool {
    let read = (X509Certificate::from_der(certificate), X509Certificate::from_der(authority));
    let (Ok((_, certificate)), Ok((_, authority))) = read else { return false };
    certificate.verify_signature(Some(authority.public_key())).is_ok()
}
