use std::fmt;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
    KeyPair, UnparsedPublicKey,
};

use crate::base::Sensitive;

/// The encoding of a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignatureForm {
    /// DER `SEQUENCE { r, s }`: X.509.
    Asn1,
    /// `r ‖ s`, 64 bytes: JOSE (RFC 7518 §3.4).
    Fixed,
}

/// The bytes are no P-256 private key in PKCS#8.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a P-256 private key in PKCS#8 form")]
pub struct KeyError;

/// A P-256 signing key that is used and never shown.
///
/// The private half goes in as PKCS#8 bytes from the keyring and does not come out; the pair is
/// parsed once, so that the hot path only signs.
pub struct EcdsaKey {
    /// `None` once it was forgotten.
    pair: RwLock<Option<EcdsaKeyPair>>,
    public_point: Vec<u8>,
    public_der: Vec<u8>,
    form: SignatureForm,
    random: SystemRandom,
}

impl EcdsaKey {
    /// A new private key as PKCS#8 bytes, for the keyring to wrap.
    ///
    /// # Errors
    /// [`KeyError`] when the generator of the signature library fails.
    pub fn generate() -> Result<Sensitive<Vec<u8>>, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyError)?;
        let der = pair.to_pkcs8v1().map_err(|_| KeyError)?;
        Ok(Sensitive::new(der.as_ref().to_vec()))
    }

    /// Uses the key.
    ///
    /// # Errors
    /// [`KeyError`] when `pkcs8` is not a P-256 key.
    pub fn from_pkcs8(pkcs8: &Sensitive<Vec<u8>>, form: SignatureForm) -> Result<Self, KeyError> {
        let algorithm = match form {
            SignatureForm::Asn1 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            SignatureForm::Fixed => &ECDSA_P256_SHA256_FIXED_SIGNING,
        };
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.expose()).map_err(|_| KeyError)?;
        let public_point = pair.public_key().as_ref().to_vec();
        let public_der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key());
        let public_der = public_der.map_err(|_| KeyError)?.as_ref().to_vec();
        let pair = RwLock::new(Some(pair));
        Ok(Self { pair, public_point, public_der, form, random: SystemRandom::new() })
    }

    /// Wipes the private half in place, also for other holders: it signs nothing any more.
    pub fn forget(&self) {
        drop(self.pair.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The signature of `message` (SHA-256, ECDSA), in this key's form.
    ///
    /// # Errors
    /// [`KeyError`] when the signature library's generator fails, or the key was forgotten.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let pair = self.pair.read().unwrap_or_else(PoisonError::into_inner);
        pair.as_ref()
            .ok_or(KeyError)?
            .sign(&self.random, message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| KeyError)
    }

    /// The public key as an uncompressed point: `04 ‖ x ‖ y`, 65 bytes.
    #[must_use]
    pub fn public_point(&self) -> &[u8] {
        &self.public_point
    }

    /// The public key as DER `SubjectPublicKeyInfo` (RFC 5480).
    ///
    /// # Errors
    /// [`KeyError`] when the signature library cannot encode its own key.
    pub fn public_der(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.public_der.clone())
    }

    /// The form of its signatures.
    #[must_use]
    pub const fn form(&self) -> SignatureForm {
        self.form
    }
}

/// Whether `signature` (DER) is one of `message` under the P-256 key with this uncompressed point (SHA-256, ECDSA).
#[must_use]
pub fn verify_p256(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
}

/// The DER prefix of every P-256 public key before its point (RFC 5480 §2).
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The P-256 key with this uncompressed point as DER `SubjectPublicKeyInfo` (RFC 5480).
#[must_use]
pub fn p256_der(point: &[u8]) -> Vec<u8> {
    [&P256_INFO, point].concat()
}

/// The uncompressed point of a P-256 key in the form of [`p256_der`]; `None` for anything else.
#[must_use]
pub fn p256_point(der: &[u8]) -> Option<&[u8]> {
    der.strip_prefix(&P256_INFO).filter(|point| point.len() == 65 && point.first() == Some(&4))
}

impl fmt::Debug for EcdsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EcdsaKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED;

    use super::*;

    #[test]
    fn a_signature_verifies_under_the_public_half() {
        let key = EcdsaKey::from_pkcs8(&EcdsaKey::generate().unwrap(), SignatureForm::Fixed).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.len(), 64);
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_point());
        assert!(public.verify(b"message", &signature).is_ok());
        assert!(public.verify(b"massage", &signature).is_err());
        let der = key.public_der().unwrap();
        assert_eq!((p256_der(key.public_point()), p256_point(&der)), (der.clone(), Some(key.public_point())));
        assert_eq!([p256_point(&der[1..]), p256_point(&der[..90]), p256_point(b"")], [None; 3]);
    }

    #[test]
    fn a_forgotten_key_signs_nothing_and_keeps_its_public_half() {
        let key = EcdsaKey::from_pkcs8(&EcdsaKey::generate().unwrap(), SignatureForm::Fixed).unwrap();
        let public = key.public_point().to_vec();
        key.forget();
        assert!(key.sign(b"message").is_err());
        assert_eq!((key.public_point(), key.public_der().unwrap().len()), (&public[..], 91));
    }

    #[test]
    fn debug_text_shows_no_key() {
        let key = EcdsaKey::from_pkcs8(&EcdsaKey::generate().unwrap(), SignatureForm::Asn1).unwrap();
        assert_eq!(format!("{key:?}"), "EcdsaKey([redacted])");
        assert!(EcdsaKey::from_pkcs8(&Sensitive::new(vec![0; 40]), SignatureForm::Asn1).is_err());
    }
}
