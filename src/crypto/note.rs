use std::fmt;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::signing::KeyError;
use crate::base::Sensitive;

/// An Ed25519 signing key (RFC 8032) that is used and never shown.
pub struct Ed25519Key {
    pair: RwLock<Option<Box<Ed25519KeyPair>>>,
    public: Vec<u8>,
}

impl Ed25519Key {
    /// A new private key as PKCS#8 bytes, for the keyring to wrap.
    ///
    /// # Errors
    /// [`KeyError`] when the generator of the signature library fails.
    pub fn generate() -> Result<Sensitive<Vec<u8>>, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError)?;
        let der = pair.to_pkcs8v1().map_err(|_| KeyError)?;
        Ok(Sensitive::new(der.as_ref().to_vec()))
    }

    /// Uses the key.
    ///
    /// # Errors
    /// [`KeyError`] when `pkcs8` is not an Ed25519 key.
    pub fn from_pkcs8(pkcs8: &Sensitive<Vec<u8>>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.expose()).map_err(|_| KeyError)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self { pair: RwLock::new(Some(Box::new(pair))), public })
    }

    /// Wipes the private half in place, also for other holders: it signs nothing any more.
    pub fn forget(&self) {
        drop(self.pair.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The signature of `message`, 64 bytes; none once the key was forgotten.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let pair = self.pair.read().unwrap_or_else(PoisonError::into_inner);
        pair.as_ref().map(|pair| pair.sign(message).as_ref().to_vec()).unwrap_or_default()
    }

    /// The public key, 32 bytes.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        self.public.clone()
    }
}

/// Whether `signature` is one of `message` under the Ed25519 key `public`.
#[must_use]
pub fn verify_ed25519(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ed25519Key([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_verifies_under_its_key_and_message_alone() {
        let key = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
        let other = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
        let signature = key.sign(b"note");
        assert!(verify_ed25519(&key.public(), b"note", &signature));
        assert!(!verify_ed25519(&key.public(), b"vote", &signature));
        assert!(!verify_ed25519(&other.public(), b"note", &signature));
        assert_eq!(format!("{key:?}"), "Ed25519Key([redacted])");
        key.forget();
        assert!(!verify_ed25519(&key.public(), b"note", &key.sign(b"note")));
    }
}
