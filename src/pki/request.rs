use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::base::limits::CSR_BYTES_MAX;
use crate::crypto::{Digest, EcdsaKey, sha256};

/// Why a certificate request was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// Larger than a request for one key is.
    #[error("the certificate request is larger than {CSR_BYTES_MAX} bytes")]
    TooLarge,
    /// Not one PKCS#10 request in DER, or something behind it.
    #[error("not a PKCS#10 certificate request")]
    Malformed,
    /// For a key of another kind.
    #[error("the certificate request is not for a P-256 key")]
    KeyType,
    /// Not signed by the key that it is for.
    #[error("the certificate request is not signed by its own key")]
    Signature,
    /// Names a subject or extensions: only the key is the requester's to say.
    #[error("the certificate request asks for more than its key")]
    AsksForMore,
}

/// A P-256 public key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    der: Vec<u8>,
    point: Vec<u8>,
}

impl PublicKey {
    /// The public half of `key`; `None` when its library cannot encode it.
    #[must_use]
    pub fn of(key: &EcdsaKey) -> Option<Self> {
        Some(Self { der: key.public_der().ok()?, point: key.public_point().to_vec() })
    }

    /// SHA-256 of its DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&self.der)
    }

    fn read(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let point = info.subject_public_key.data.as_ref();
        let is_p256 = info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
            && curve.is_some_and(|curve| curve == OID_EC_P256)
            && point.len() == 65
            && point.first() == Some(&4);
        is_p256.then(|| Self { der: info.raw.to_vec(), point: point.to_vec() })
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Takes the public key out of a PKCS#10 request (RFC 2986), and nothing else.
///
/// # Errors
/// [`RequestError`].
pub fn read_request(der: &[u8]) -> Result<PublicKey, RequestError> {
    if der.len() > CSR_BYTES_MAX {
        return Err(RequestError::TooLarge);
    }
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed)?;
    if !rest.is_empty() {
        return Err(RequestError::Malformed);
    }
    let info = &request.certification_request_info;
    let key = PublicKey::read(&info.subject_pki).ok_or(RequestError::KeyType)?;
    request.verify_signature().map_err(|_| RequestError::Signature)?;
    if info.subject.iter().next().is_some() || !info.attributes().is_empty() {
        return Err(RequestError::AsksForMore);
    }
    Ok(key)
}
