use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::base::limits::CSR_BYTES_MAX;
use crate::crypto::{Digest, EcdsaKey, p256_der, sha256};

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
    #[error("the certificate request contains more than a key")]
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

    /// The uncompressed point: `04 ‖ x ‖ y`, 65 bytes.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    fn read(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let point = info.subject_public_key.data.as_ref();
        let is_p256 = info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
            && curve.is_some_and(|curve| curve == OID_EC_P256)
            && point.len() == 65
            && point.first() == Some(&4);
        let key = Self { der: p256_der(point), point: point.to_vec() };
        // One key, one spelling: the digest that is recorded is that of the certificate to come.
        (is_p256 && info.raw == key.der).then_some(key)
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

/// Reads only the public key of a PKCS#10 request (RFC 2986).
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

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
        PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
    };

    use super::*;
    use crate::crypto::SignatureForm;

    /// A request that `alter` may ask more with.
    fn request(key: &KeyPair, alter: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        alter(&mut params);
        params.serialize_request(key).unwrap().der().to_vec()
    }

    /// Hazards TLS-08, TLS-17.
    #[test]
    fn of_a_request_only_the_key_is_taken() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let good = request(&key, |_| ());
        assert_eq!(
            read_request(&good).unwrap().digest(),
            sha256(&PublicKeyData::subject_public_key_info(&key))
        );

        let check = |what: &str, der: &[u8], error| assert_eq!(read_request(der), Err(error), "{what}");
        check("a subject", &request(&key, |to| to.distinguished_name.push(DnType::CommonName, "admin")), {
            RequestError::AsksForMore
        });
        let uri = SanType::URI("spiffe://keyward.test/operator/admin".try_into().unwrap());
        check("a name", &request(&key, |to| to.subject_alt_names.push(uri)), RequestError::AsksForMore);
        let is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        check("CA:TRUE", &request(&key, |to| to.is_ca = is_ca), RequestError::AsksForMore);
        let usage = KeyUsagePurpose::KeyCertSign;
        check("a usage", &request(&key, |to| to.key_usages.push(usage)), RequestError::AsksForMore);

        for (what, algorithm) in [("P-384", &PKCS_ECDSA_P384_SHA384), ("Ed25519", &PKCS_ED25519)] {
            let other = KeyPair::generate_for(algorithm).unwrap();
            check(what, &request(&other, |_| ()), RequestError::KeyType);
        }
        let mut forged = good.clone();
        *forged.last_mut().unwrap() ^= 1;
        check("another signature", &forged, RequestError::Signature);
        let point = good.windows(65).position(|bytes| bytes == PublicKeyData::der_bytes(&key)).unwrap();
        let mut swapped = good.clone();
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        swapped[point..point + 65].copy_from_slice(PublicKeyData::der_bytes(&other));
        check("another's key", &swapped, RequestError::Signature);
        let mut off_curve = good.clone();
        off_curve[point + 64] ^= 1;
        check("no point of the curve", &off_curve, RequestError::Signature);

        check("nothing", b"", RequestError::Malformed);
        check("something else", &[0x30, 3, 2, 1, 0], RequestError::Malformed);
        check("trailing bytes", &[good.as_slice(), &[0]].concat(), RequestError::Malformed);
        for len in 0..good.len() {
            assert_eq!(read_request(&good[..len]), Err(RequestError::Malformed), "{len} bytes of it");
        }
        check("the limit", &vec![0x30; CSR_BYTES_MAX], RequestError::Malformed);
        check("beyond the limit", &vec![0x30; CSR_BYTES_MAX + 1], RequestError::TooLarge);
    }

    fn tlv(tag: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let len = u8::try_from(content.len()).unwrap();
        let head = if len < 128 { vec![tag, len] } else { vec![tag, 0x81, len] };
        [head, content].concat()
    }

    /// A well-signed request for `key`, whose public key is written down as `info`.
    fn request_saying(key: &EcdsaKey, info: &[u8]) -> Vec<u8> {
        let said = tlv(0x30, &[&[0x02, 1, 0], &[0x30, 0], info, &[0xa0, 0]]);
        let ecdsa_with_sha256 = [0x30, 10, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let signature = tlv(0x03, &[&[0], &key.sign(&said).unwrap()]);
        tlv(0x30, &[&said, &ecdsa_with_sha256, &signature])
    }

    #[test]
    fn a_key_has_one_spelling() {
        let key = EcdsaKey::from_pkcs8(&EcdsaKey::generate().unwrap(), SignatureForm::Asn1).unwrap();
        let info = key.public_der().unwrap();
        assert_eq!(read_request(&request_saying(&key, &info)).unwrap().digest(), sha256(&info));
        assert_eq!(Some(read_request(&request_saying(&key, &info)).unwrap()), PublicKey::of(&key));
        let (algorithm, bits) = (&info[2..23], &info[23..]);
        for (what, other) in [
            ("something behind the point", tlv(0x30, &[algorithm, bits, &[5, 0]])),
            ("something behind the curve", tlv(0x30, &[&tlv(0x30, &[&algorithm[2..], &[5, 0]]), bits])),
            ("a longer length", [&[0x30, 0x81, 0x59], &info[2..]].concat()),
        ] {
            assert!(read_request(&request_saying(&key, &other)).is_err(), "{what}");
        }
    }
}
