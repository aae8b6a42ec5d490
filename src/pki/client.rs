use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::authority_certificate::AuthorityCertificate;
use super::authority_certificate::PkiError;
use crate::base::Sensitive;
use crate::crypto::{Digest, sha256};

/// A new P-256 key, PKCS#8 in PEM, and the request for a certificate for it, PKCS#10 in DER. The
/// request says nothing but the key.
///
/// # Errors
/// [`PkiError::Library`].
pub fn new_key_and_request() -> Result<(Sensitive<String>, Vec<u8>), PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let request = request_for(&key)?;
    Ok((Sensitive::new(key.serialize_pem()), request))
}

/// The request for a certificate for a key made earlier.
///
/// # Errors
/// [`PkiError::Library`] when `key_pem` is no P-256 key.
pub fn request_for_key(key_pem: &Sensitive<String>) -> Result<Vec<u8>, PkiError> {
    request_for(&KeyPair::from_pem(key_pem.expose())?)
}

fn request_for(key: &KeyPair) -> Result<Vec<u8>, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// A certificate in PEM.
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("CERTIFICATE", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

/// The certificates of `authorities` in PEM, one after another.
#[must_use]
pub fn authorities_pem(authorities: &[AuthorityCertificate]) -> String {
    authorities.iter().map(|authority| certificate_pem(authority.der())).collect()
}

/// The one certificate in a PEM text, DER.
///
/// # Errors
/// [`PkiError::Malformed`] when there is none, or more than one.
pub fn certificate_from_pem(text: &str) -> Result<Vec<u8>, PkiError> {
    let mut found = CertificateDer::pem_slice_iter(text.as_bytes());
    match (found.next(), found.next()) {
        (Some(Ok(certificate)), None) => Ok(certificate.to_vec()),
        (None | Some(_), _) => Err(PkiError::Malformed),
    }
}

/// All certificates in a PEM text, DER; at least one.
///
/// # Errors
/// [`PkiError::Malformed`].
pub fn certificates_from_pem(text: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found: Vec<Vec<u8>> =
        found.map_err(|_| PkiError::Malformed)?.iter().map(|one| one.to_vec()).collect();
    if found.is_empty() { Err(PkiError::Malformed) } else { Ok(found) }
}

/// Whether `der` is one X.509 certificate, and nothing after it.
#[must_use]
pub fn is_certificate(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
}

/// SHA-256 of a certificate's public key (DER `SubjectPublicKeyInfo`).
///
/// # Errors
/// [`PkiError::Malformed`].
pub fn key_pin(certificate: &[u8]) -> Result<Digest, PkiError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| PkiError::Malformed)?;
    Ok(sha256(parsed.public_key().raw))
}
