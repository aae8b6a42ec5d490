use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::authority_certificate::AuthorityCertificate;
use crate::base::Timestamp;
use crate::crypto::{Digest, sha256};

/// The requirements of the broker's certificate.
#[derive(Debug)]
pub struct ServerCertificate<'a> {
    /// The DNS names and IP addresses that it names, in this order.
    pub names: &'a [String],
    /// SHA-256 of its public key, DER `SubjectPublicKeyInfo`.
    pub key: Digest,
    /// The authority that signed it.
    pub authority: &'a AuthorityCertificate,
}

impl ServerCertificate<'_> {
    /// Whether `der` is such a certificate. When it ends is another question.
    #[must_use]
    pub fn is(&self, der: &[u8]) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
        let Ok((_, authority)) = X509Certificate::from_der(self.authority.der()) else {
            return false;
        };
        let signed = certificate.verify_signature(Some(authority.public_key())).is_ok();
        signed && sha256(certificate.public_key().raw) == self.key && names(&certificate) == self.names
    }

    /// The DNS names and IP addresses in the certificate `der`; none if it cannot be read.
    #[must_use]
    pub fn names(der: &[u8]) -> Vec<String> {
        X509Certificate::from_der(der).map(|(_, certificate)| names(&certificate)).unwrap_or_default()
    }

    /// When the certificate `der` begins to hold.
    #[must_use]
    pub fn not_before(der: &[u8]) -> Option<Timestamp> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Timestamp::from_s(certificate.validity().not_before.timestamp()))
    }

    /// When the certificate `der` ends.
    #[must_use]
    pub fn not_after(der: &[u8]) -> Option<Timestamp> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Timestamp::from_s(certificate.validity().not_after.timestamp()))
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    };
    names.iter().filter_map(text).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
