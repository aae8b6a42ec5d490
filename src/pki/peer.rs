use std::cell::RefCell;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::authority_certificate::AuthorityKeyId;
use super::spiffe::SpiffeId;
use crate::base::{Connection, Serial, Timestamp};
use crate::crypto::{Digest, sha256};

/// Why a certificate names no agent or operator.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Not one certificate in DER.
    #[error("not an X.509 certificate")]
    Malformed,
    /// Its subject alternative names are not exactly one identity of this broker.
    #[error("the certificate does not name exactly one identity of this broker")]
    Identity,
    /// It can sign certificates, or is not for client authentication.
    #[error("the certificate is not for client authentication of an agent or operator")]
    Usage,
    /// Its serial is not one that this broker draws.
    #[error("the certificate's serial number does not have the form of this broker's")]
    Serial,
}

/// The content of a peer's certificate, read once per connection.
///
/// That it was signed by the right authority is the TLS library's to say; that its holder may still
/// act is for `authn`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerCertificate {
    spiffe: SpiffeId,
    serial: Serial,
    key: Digest,
    thumbprint: Digest,
    authority: Option<AuthorityKeyId>,
    not_before: Timestamp,
    not_after: Timestamp,
    connection: Option<Connection>,
}

impl PeerCertificate {
    /// Reads `der`. The subject's names are never consulted. The handshake and the connection that comes of it
    /// read the same certificate one after the other: the second reading is the first one's.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn parse(der: &[u8]) -> Result<Self, PeerError> {
        READ_LAST.with_borrow_mut(|last| {
            if let Some((_, read)) = last.as_ref().filter(|(same, _)| same == der) {
                return Ok(read.clone());
            }
            let read = Self::read(der)?;
            *last = Some((der.to_vec(), read.clone()));
            Ok(read)
        })
    }

    fn read(der: &[u8]) -> Result<Self, PeerError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| PeerError::Malformed)?;
        if !rest.is_empty() {
            return Err(PeerError::Malformed);
        }
        check_usage(&certificate)?;
        let serial = <[u8; 16]>::try_from(certificate.raw_serial()).map_err(|_| PeerError::Serial)?;
        let validity = certificate.validity();
        Ok(Self {
            spiffe: identity(&certificate)?,
            serial: Serial::from_bytes(serial),
            key: sha256(certificate.public_key().raw),
            thumbprint: sha256(der),
            authority: authority(&certificate),
            not_before: Timestamp::from_s(validity.not_before.timestamp()),
            not_after: Timestamp::from_s(validity.not_after.timestamp()),
            connection: None,
        })
    }

    /// With the connection on which it was presented.
    #[must_use]
    pub fn presented_on(self, connection: Connection) -> Self {
        Self { connection: Some(connection), ..self }
    }

    /// The connection on which it was presented; not known during the handshake.
    #[must_use]
    pub const fn connection(&self) -> Option<Connection> {
        self.connection
    }

    /// The address that presented it; not known during the handshake.
    #[must_use]
    pub fn from(&self) -> Option<IpAddr> {
        self.connection.map(|connection| connection.source)
    }

    /// The identity.
    #[must_use]
    pub const fn spiffe(&self) -> &SpiffeId {
        &self.spiffe
    }

    /// Its serial.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.serial
    }

    /// SHA-256 of its public key, DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub const fn key(&self) -> Digest {
        self.key
    }

    /// SHA-256 of all of it, DER: `x5t#S256` (RFC 8705 §3.1).
    #[must_use]
    pub const fn thumbprint(&self) -> Digest {
        self.thumbprint
    }

    /// The authority whose key is said to have signed it. That it has is the TLS library's to say.
    #[must_use]
    pub const fn authority(&self) -> Option<AuthorityKeyId> {
        self.authority
    }

    /// When it begins to hold.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When it ends.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

thread_local! {
    /// The last certificate that this thread has read, and what it says.
    static READ_LAST: RefCell<Option<(Vec<u8>, PeerCertificate)>> = const { RefCell::new(None) };
}

fn identity(certificate: &X509Certificate<'_>) -> Result<SpiffeId, PeerError> {
    let names = certificate.subject_alternative_name().map_err(|_| PeerError::Identity)?;
    let names = names.ok_or(PeerError::Identity)?;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => uri.parse().map_err(|_| PeerError::Identity),
        _ => Err(PeerError::Identity),
    }
}

fn authority(certificate: &X509Certificate<'_>) -> Option<AuthorityKeyId> {
    certificate.iter_extensions().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(named) = extension.parsed_extension() else {
            return None;
        };
        AuthorityKeyId::read(named.key_identifier.as_ref()?.0)
    })
}

fn check_usage(certificate: &X509Certificate<'_>) -> Result<(), PeerError> {
    let constraints = certificate.basic_constraints().map_err(|_| PeerError::Usage)?;
    let usage = certificate.key_usage().map_err(|_| PeerError::Usage)?.ok_or(PeerError::Usage)?;
    let extended = certificate.extended_key_usage().map_err(|_| PeerError::Usage)?.ok_or(PeerError::Usage)?;
    let is_leaf = constraints.is_some_and(|constraints| !constraints.value.ca);
    let signs_only_for_itself =
        usage.value.digital_signature() && !usage.value.key_cert_sign() && !usage.value.crl_sign();
    if is_leaf && signs_only_for_itself && extended.value.client_auth {
        Ok(())
    } else {
        Err(PeerError::Usage)
    }
}
