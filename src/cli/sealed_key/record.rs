use serde::{Deserialize, Serialize};

use crate::base::encoding::{base64url, from_base64url};
use crate::base::{Entropy, Sensitive, code};
use crate::console::CommandFailure;
use crate::crypto::{Aad, Digest};
use crate::keyring::{PassphraseKey, PassphraseKeyError, PassphraseSealed};
use crate::pki::{
    bytes_with_label, new_key_and_request, pem_with_label, read_request, request_for_key, signing_key,
};

/// A private key that is sealed with a passphrase, as its file stores it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SealedKey {
    body: SealedBody,
    public: Digest,
    purpose: KeyPurpose,
}

/// What a sealed key signs. A key of one purpose does not open as one of the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyPurpose {
    /// The handshakes of an operator. A key agent can use it.
    Identity,
    /// The approvals of an operator. No process keeps it, and no key agent uses it.
    Approval,
}

impl KeyPurpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Identity => "KEYWARD SEALED PRIVATE KEY",
            Self::Approval => "KEYWARD SEALED APPROVAL KEY",
        }
    }

    const fn place(self) -> &'static str {
        match self {
            Self::Identity => "keyward/identity-key",
            Self::Approval => "keyward/approval-key",
        }
    }

    /// The name of the key in messages.
    const fn noun(self) -> &'static str {
        match self {
            Self::Identity => "the private key of this identity",
            Self::Approval => "the approval key of this machine",
        }
    }

    /// Whether `text` is that of a sealed key with this purpose.
    pub(crate) fn is_of(self, text: &str) -> bool {
        text.contains(self.label())
    }

    fn damaged(self) -> CommandFailure {
        let failure =
            CommandFailure::new(code::IDENTITY_DAMAGED).because(format!("{} cannot be read", self.noun()));
        match self {
            Self::Identity => failure,
            Self::Approval => failure.mended_by("make another one: `keyward approval key create --replace`"),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct SealedBody {
    version: u32,
    /// PKCS#10 request for the key, DER, base64url: it names the public key.
    request: String,
    key: PassphraseSealed,
}

const VERSION: u32 = 1;

impl SealedKey {
    /// A new key, which is never stored in clear.
    pub(crate) fn new(by: &PassphraseKey, entropy: &dyn Entropy) -> Result<Self, CommandFailure> {
        Self::new_for(KeyPurpose::Identity, by, entropy)
    }

    /// A new key for this purpose, which is never stored in clear.
    pub(crate) fn new_for(
        purpose: KeyPurpose,
        by: &PassphraseKey,
        entropy: &dyn Entropy,
    ) -> Result<Self, CommandFailure> {
        let (key_pem, _) =
            new_key_and_request().map_err(|_| CommandFailure::internal("the private key cannot be made"))?;
        Self::seal_for(purpose, &key_pem, by, entropy)
    }

    /// The identity's key `key_pem` (PKCS#8 in PEM), sealed.
    pub(crate) fn seal(
        key_pem: &Sensitive<String>,
        by: &PassphraseKey,
        entropy: &dyn Entropy,
    ) -> Result<Self, CommandFailure> {
        Self::seal_for(KeyPurpose::Identity, key_pem, by, entropy)
    }

    fn seal_for(
        purpose: KeyPurpose,
        key_pem: &Sensitive<String>,
        by: &PassphraseKey,
        entropy: &dyn Entropy,
    ) -> Result<Self, CommandFailure> {
        let request = request_for_key(key_pem).map_err(|_| purpose.damaged())?;
        let public = read_request(&request).map_err(|_| purpose.damaged())?.digest();
        let key = by.seal(place(purpose, &public), key_pem.expose().as_bytes(), entropy);
        Ok(Self { body: SealedBody { version: VERSION, request: base64url(&request), key }, public, purpose })
    }

    /// The sealed key in the text of `key.pem`; `None` if the key there is in clear.
    ///
    /// # Errors
    /// [`CommandFailure`] if the text is damaged.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, CommandFailure> {
        Self::read_for(KeyPurpose::Identity, text)
    }

    /// The sealed key with this purpose in the text of a file; `None` if the text is of something else.
    ///
    /// # Errors
    /// [`CommandFailure`] if the text is damaged.
    pub(crate) fn read_for(purpose: KeyPurpose, text: &str) -> Result<Option<Self>, CommandFailure> {
        if !purpose.is_of(text) {
            return Ok(None);
        }
        let damaged = || purpose.damaged();
        let bytes = bytes_with_label(purpose.label(), text).ok_or_else(damaged)?;
        let body: SealedBody = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        if body.version != VERSION {
            let why = format!("{} was sealed by a later version of keyward", purpose.noun());
            return Err(CommandFailure::new(code::IDENTITY_DAMAGED)
                .because(why)
                .mended_by("use that version (`keyward version`)"));
        }
        let request = from_base64url(&body.request).ok_or_else(damaged)?;
        let public = read_request(&request).map_err(|_| damaged())?.digest();
        Ok(Some(Self { body, public, purpose }))
    }

    /// The text for the key's file.
    pub(crate) fn text(&self) -> Result<String, CommandFailure> {
        let bytes = serde_json::to_vec(&self.body);
        let bytes = bytes.map_err(|_| CommandFailure::internal("the sealed key cannot be encoded"))?;
        Ok(pem_with_label(self.purpose.label(), &bytes))
    }

    /// The request for a certificate for this key, PKCS#10 in DER.
    pub(crate) fn request(&self) -> Result<Vec<u8>, CommandFailure> {
        from_base64url(&self.body.request).ok_or_else(|| self.purpose.damaged())
    }

    /// SHA-256 of the public key.
    pub(crate) const fn public(&self) -> Digest {
        self.public
    }

    /// The sealed bytes, which name salt and cost of the passphrase's key.
    pub(crate) const fn sealed(&self) -> &PassphraseSealed {
        &self.body.key
    }

    /// The key in clear, PKCS#8 in PEM.
    pub(crate) fn open(&self, by: &PassphraseKey) -> Result<Sensitive<String>, PassphraseKeyError> {
        let opened = by.open(place(self.purpose, &self.public), &self.body.key)?;
        let text = std::str::from_utf8(opened.expose()).map_err(|_| PassphraseKeyError::Malformed)?;
        Ok(Sensitive::new(text.to_owned()))
    }

    /// The signature of `message` (ECDSA, SHA-256, DER).
    pub(crate) fn sign(&self, by: &PassphraseKey, message: &[u8]) -> Option<Vec<u8>> {
        signing_key(&self.open(by).ok()?).ok()?.sign(message).ok()
    }
}

/// A sealed key opens only as the key whose public half its record names, and only for its purpose.
fn place(purpose: KeyPurpose, public: &Digest) -> Aad {
    Aad::new(purpose.place()).number(VERSION.into()).field(public.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;
    use crate::keyring::Passphrase;

    fn key() -> PassphraseKey {
        let words = Passphrase::entered(&Sensitive::new(b"correct horse battery".to_vec())).unwrap();
        PassphraseKey::choose(&words, &SystemEntropy).unwrap()
    }

    #[test]
    fn sealed_key_reads_back_and_signs_as_the_key_in_clear() {
        let (key_pem, request) = new_key_and_request().unwrap();
        let by = key();
        let sealed = SealedKey::seal(&key_pem, &by, &SystemEntropy).unwrap();
        let text = sealed.text().unwrap();
        let read = SealedKey::read(&text).unwrap().unwrap();
        assert_eq!(read, sealed);
        assert_eq!(read.public(), read_request(&request).unwrap().digest());
        assert_eq!(read.open(&by).unwrap().expose(), key_pem.expose());
        assert!(read.sign(&by, b"message").is_some() && read.sign(&key(), b"message").is_none());
        assert!(!text.contains(key_pem.expose().lines().nth(1).unwrap()));
        assert_eq!(SealedKey::read(key_pem.expose()).unwrap(), None);
    }

    #[test]
    fn record_that_names_another_public_key_does_not_open() {
        let by = key();
        let [one, other] = [(); 2].map(|()| SealedKey::new(&by, &SystemEntropy).unwrap());
        let body = SealedBody { request: other.body.request.clone(), ..one.body };
        let mixed = SealedKey { body, public: other.public, purpose: KeyPurpose::Identity };
        assert_eq!(mixed.open(&by).unwrap_err(), PassphraseKeyError::Wrong);
    }

    #[test]
    fn approval_key_does_not_open_as_the_key_of_an_identity() {
        let by = key();
        let approval = SealedKey::new_for(KeyPurpose::Approval, &by, &SystemEntropy).unwrap();
        let text = approval.text().unwrap();
        assert_eq!(SealedKey::read_for(KeyPurpose::Approval, &text).unwrap().unwrap(), approval);
        assert!(approval.sign(&by, b"a vote").is_some());
        assert_eq!(SealedKey::read(&text).unwrap(), None);
        // A changed label does not change the purpose for which the key was sealed
        let relabelled = text.replace(KeyPurpose::Approval.label(), KeyPurpose::Identity.label());
        let relabelled = SealedKey::read(&relabelled).unwrap().unwrap();
        assert_eq!(relabelled.open(&by).unwrap_err(), PassphraseKeyError::Wrong);
    }

    #[test]
    fn damaged_and_later_records_are_refused() {
        let sealed = SealedKey::new(&key(), &SystemEntropy).unwrap();
        let later = SealedKey { body: SealedBody { version: 2, ..sealed.body.clone() }, ..sealed.clone() };
        let refused = SealedKey::read(&later.text().unwrap()).unwrap_err();
        assert!(refused.why().contains("a later version"), "{}", refused.why());
        let cut = sealed.text().unwrap().lines().take(3).collect::<String>();
        assert_eq!(SealedKey::read(&cut).unwrap_err().code(), "identity_damaged");
    }
}
