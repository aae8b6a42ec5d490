use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::base::{Timestamp, TrustDomain};
use crate::crypto::{Digest, sha256};

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The certificate library refused or could not sign.
    #[error("the certificate could not be made")]
    Library(#[from] rcgen::Error),
    /// The key at hand is not the one that was planned or certified.
    #[error("the key does not belong to the certificate")]
    OtherKey,
    /// What was signed does not read back as what was planned. It never leaves.
    #[error("the signed certificate differs from the planned one")]
    Unlike,
    /// The authority's certificate cannot be read.
    #[error("the authority's certificate cannot be read")]
    Malformed,
    /// A name for the server's certificate is none, or none was given.
    #[error("the server needs names, each a DNS name or an IP address")]
    ServerName,
    /// A time is beyond what a certificate can say.
    #[error("a time is later than a certificate can express")]
    Time,
}

/// The identifier of an authority's key, as the certificates that it signed name it (RFC 5280
/// §4.2.1.1): 20 bytes in this broker's profile.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AuthorityKeyId([u8; 20]);

impl AuthorityKeyId {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

/// An authority's certificate: all that anybody but the issuer sees of it. Stored as it stands, DER.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "Vec<u8>", try_from = "Vec<u8>")]
pub struct AuthorityCertificate {
    der: Vec<u8>,
    key_id: AuthorityKeyId,
    pin: Digest,
    not_after: Timestamp,
    trust_domain: TrustDomain,
}

impl TryFrom<Vec<u8>> for AuthorityCertificate {
    type Error = PkiError;

    fn try_from(der: Vec<u8>) -> Result<Self, PkiError> {
        Self::parse(der)
    }
}

impl From<AuthorityCertificate> for Vec<u8> {
    fn from(certificate: AuthorityCertificate) -> Self {
        certificate.der
    }
}

impl AuthorityCertificate {
    /// Reads `der`.
    ///
    /// # Errors
    /// [`PkiError::Malformed`] when it is none of this broker's profile.
    pub fn parse(der: Vec<u8>) -> Result<Self, PkiError> {
        let (key_id, pin, not_after, trust_domain) = {
            let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| PkiError::Malformed)?;
            let key_id = parsed.iter_extensions().find_map(|extension| {
                let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() else {
                    return None;
                };
                AuthorityKeyId::read(id.0)
            });
            let not_after = Timestamp::from_s(parsed.validity().not_after.timestamp());
            let pin = sha256(parsed.public_key().raw);
            (key_id.ok_or(PkiError::Malformed)?, pin, not_after, trust_domain_of(&parsed)?)
        };
        Ok(Self { der, key_id, pin, not_after, trust_domain })
    }

    /// The certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The identifier of its key.
    #[must_use]
    pub const fn key_id(&self) -> AuthorityKeyId {
        self.key_id
    }

    /// SHA-256 of its public key (DER `SubjectPublicKeyInfo`): what enrolment codes carry.
    #[must_use]
    pub const fn key_pin(&self) -> Digest {
        self.pin
    }

    /// When it ends; nothing that its key signs holds longer.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The trust domain of its certificates.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

/// The trust domain that an authority's certificate names: `spiffe://DOMAIN`, without a path.
fn trust_domain_of(certificate: &X509Certificate<'_>) -> Result<TrustDomain, PkiError> {
    let names = certificate.subject_alternative_name().ok().flatten().ok_or(PkiError::Malformed)?;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return Err(PkiError::Malformed);
    };
    let domain = uri.strip_prefix("spiffe://").and_then(|domain| domain.parse().ok());
    domain.ok_or(PkiError::Malformed)
}
