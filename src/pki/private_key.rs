use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::authority_certificate::PkiError;
use crate::base::Sensitive;
use crate::crypto::{EcdsaKey, SignatureForm};

/// The key in `key_pem` (P-256, PKCS#8 in PEM), which signs in DER.
///
/// # Errors
/// [`PkiError::Malformed`].
pub fn signing_key(key_pem: &Sensitive<String>) -> Result<EcdsaKey, PkiError> {
    let parsed =
        PrivateKeyDer::from_pem_slice(key_pem.expose().as_bytes()).map_err(|_| PkiError::Malformed)?;
    let PrivateKeyDer::Pkcs8(pkcs8) = &parsed else { return Err(PkiError::Malformed) };
    let pkcs8 = Sensitive::new(pkcs8.secret_pkcs8_der().to_vec());
    EcdsaKey::from_pkcs8(&pkcs8, SignatureForm::Asn1).map_err(|_| PkiError::Malformed)
}

/// `bytes` in PEM with this label.
#[must_use]
pub fn pem_with_label(label: &str, bytes: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new(label, bytes),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

/// The bytes of a PEM text with this label; `None` if the text has another label or is no PEM.
#[must_use]
pub fn bytes_with_label(label: &str, text: &str) -> Option<Vec<u8>> {
    let parsed = pem::parse(text).ok()?;
    (parsed.tag() == label).then(|| parsed.into_contents())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{new_key_and_request, read_request};

    #[test]
    fn private_key_signs_for_the_public_key_of_its_request() {
        let (key_pem, request) = new_key_and_request().unwrap();
        let key = signing_key(&key_pem).unwrap();
        let public = crate::pki::PublicKey::of(&key).unwrap();
        assert_eq!(public.digest(), read_request(&request).unwrap().digest());
        assert!(signing_key(&Sensitive::new("no key".to_owned())).is_err());
    }

    #[test]
    fn labelled_bytes_read_back_under_their_label_alone() {
        let text = pem_with_label("KEYWARD TEST", b"bytes");
        assert_eq!(bytes_with_label("KEYWARD TEST", &text).unwrap(), b"bytes");
        assert!(bytes_with_label("PRIVATE KEY", &text).is_none());
        assert!(bytes_with_label("KEYWARD TEST", "no PEM").is_none());
    }
}
