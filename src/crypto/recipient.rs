use std::fmt;

use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

use super::{Aad, UnsealError};
use crate::base::Sensitive;

/// A public key that something can be sealed to, without the private key at hand: HPKE in base mode
/// (RFC 9180), X25519, HKDF-SHA256, AES-256-GCM.
///
/// It does not say who sealed: anybody who knows the public key can.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecipientKey([u8; PUBLIC_BYTES]);

/// The library could not make a key pair or seal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the library for HPKE (RFC 9180) failed")]
pub struct RecipientError;

/// X25519 public keys, and what HPKE sends along with them (RFC 9180 §7.1).
const PUBLIC_BYTES: usize = 32;
/// What the sealed bytes are for; what they are bound to is in the associated data.
const INFO: &[u8] = b"keyward/hpke";

impl RecipientKey {
    /// A new key pair: the public half, and the private one for the caller to keep sealed.
    ///
    /// # Errors
    /// [`RecipientError`].
    pub fn generate() -> Result<(Self, Sensitive<Vec<u8>>), RecipientError> {
        let (public, private) = SUITE.generate_key_pair().map_err(|_| RecipientError)?;
        let public = Self::from_bytes(&public.0).ok_or(RecipientError)?;
        Ok((public, Sensitive::new(private.secret_bytes().to_vec())))
    }

    /// The key in `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_BYTES] {
        &self.0
    }

    /// Seals `plain`, bound to `aad`, so that the private key alone opens it.
    ///
    /// # Errors
    /// [`RecipientError`].
    pub fn seal(&self, aad: &Aad, plain: &[u8]) -> Result<Vec<u8>, RecipientError> {
        let public = HpkePublicKey(self.0.to_vec());
        let sealed = SUITE.seal(INFO, aad.as_bytes(), plain, &public);
        let (EncapsulatedSecret(mut out), sealed) = sealed.map_err(|_| RecipientError)?;
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens what [`RecipientKey::seal`] made under the same `aad`, with the private key.
    ///
    /// # Errors
    /// [`UnsealError`].
    pub fn open(
        private: &Sensitive<Vec<u8>>,
        aad: &Aad,
        sealed: &[u8],
    ) -> Result<Sensitive<Vec<u8>>, UnsealError> {
        let (encapsulated, sealed) = sealed.split_at_checked(PUBLIC_BYTES).ok_or(UnsealError::Format)?;
        let private = HpkePrivateKey::from(private.expose().clone());
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        let opened = SUITE.open(&encapsulated, INFO, aad.as_bytes(), sealed, &private);
        opened.map(Sensitive::new).map_err(|_| UnsealError::Forged)
    }
}

impl fmt::Display for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::base::encoding::base64url(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_key_alone_opens_what_was_sealed_to_its_public_key() {
        let (public, private) = RecipientKey::generate().unwrap();
        let (_, other) = RecipientKey::generate().unwrap();
        let (aad, elsewhere) = (Aad::new("test").number(1), Aad::new("test").number(2));
        let sealed = public.seal(&aad, b"root").unwrap();
        assert_eq!(RecipientKey::open(&private, &aad, &sealed).unwrap().expose(), b"root");
        assert!(matches!(RecipientKey::open(&other, &aad, &sealed), Err(UnsealError::Forged)));
        assert!(matches!(RecipientKey::open(&private, &elsewhere, &sealed), Err(UnsealError::Forged)));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(RecipientKey::open(&private, &aad, &altered).is_err(), "byte {at}");
        }
        assert!(matches!(RecipientKey::open(&private, &aad, &sealed[..31]), Err(UnsealError::Format)));
    }

    /// A key pair of RFC 9180 A.1.1 (X25519, HKDF-SHA256): what another implementation made is read alike.
    #[test]
    fn a_key_pair_of_the_rfc_is_taken_as_it_stands() {
        let hex = |text: &str| crate::base::encoding::from_hex(text).unwrap();
        let private = hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
        let public = hex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
        let public = RecipientKey::from_bytes(&public).unwrap();
        let sealed = public.seal(&Aad::new("test"), b"root").unwrap();
        let opened = RecipientKey::open(&Sensitive::new(private), &Aad::new("test"), &sealed);
        assert_eq!(opened.unwrap().expose(), b"root");
    }
}
