use std::fmt;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::{constant_time, digest, hmac};
use serde::{Deserialize, Serialize};

use crate::base::Sensitive;
use crate::base::encoding::{ShortText, base64url, from_hex, hex};

/// A digest in lower-case hexadecimal.
pub type HexText = ShortText<64>;

/// 32 bytes of SHA-256 or HMAC-SHA256. Public: what is secret is never an unkeyed digest.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest in this text of 64 hexadecimal digits in lower case.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).and_then(|bytes| bytes.try_into().ok()).map(Self)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Lower-case hexadecimal, 64 characters.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The same, to be written somewhere at once.
    #[must_use]
    pub fn in_hex(&self) -> HexText {
        ShortText::new("").hex(&self.0)
    }

    /// Unpadded base64url, 43 characters: the form of `x5t#S256`.
    #[must_use]
    pub fn base64url(&self) -> String {
        base64url(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_hex().as_str())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_hex().as_str())
    }
}

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    of_library(&digest::digest(&digest::SHA256, bytes))
}

/// SHA-256 of `parts`, one after another. Not length-prefixed: use fixed-size parts.
#[must_use]
pub fn sha256_parts(parts: &[&[u8]]) -> Digest {
    if let Some(digest) = sha256_of_few(parts) {
        return digest;
    }
    let mut stream = Sha256Stream::new();
    for part in parts {
        stream.update(part);
    }
    stream.finish()
}

/// Nodes of trees, leaves and keys of the ledger are shorter than this.
const FEW_BYTES: usize = 128;

/// The same of parts that come to few bytes, put together first: a stream costs more to set up than they
/// cost to hash. `None` when they are more.
fn sha256_of_few(parts: &[&[u8]]) -> Option<Digest> {
    let mut together = [0; FEW_BYTES];
    let mut len: usize = 0;
    for part in parts {
        let end = len.checked_add(part.len())?;
        together.get_mut(len..end)?.copy_from_slice(part);
        len = end;
    }
    Some(of_library(&digest::digest(&digest::SHA256, together.get(..len)?)))
}

fn of_library(digest: &digest::Digest) -> Digest {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    Digest(out)
}

/// SHA-256 of bytes that come piece by piece.
#[derive(Clone)]
pub struct Sha256Stream(digest::Context);

impl Sha256Stream {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        of_library(&self.0.finish())
    }
}

impl Default for Sha256Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256Stream")
    }
}

/// A key for HMAC-SHA256 (RFC 2104).
pub struct MacKey(RwLock<Option<Box<hmac::Key>>>);

impl MacKey {
    /// Uses `key`.
    #[must_use]
    pub fn new(key: &Sensitive<[u8; 32]>) -> Self {
        Self(RwLock::new(Some(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.expose())))))
    }

    /// Wipes the key in place, also for other holders: it makes and verifies no tag any more.
    pub fn forget(&self) {
        drop(self.0.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The keyed digest of `message`; zeros, which are nobody's, once the key was forgotten.
    #[must_use]
    pub fn tag(&self, message: &[u8]) -> Digest {
        let mut out = [0; 32];
        if let Some(key) = self.0.read().unwrap_or_else(PoisonError::into_inner).as_deref() {
            for (to, from) in out.iter_mut().zip(hmac::sign(key, message).as_ref()) {
                *to = *from;
            }
        }
        Digest(out)
    }

    /// Whether `tag` is the keyed digest of `message`, in constant time.
    #[must_use]
    pub fn verify(&self, message: &[u8], tag: &Digest) -> bool {
        let key = self.0.read().unwrap_or_else(PoisonError::into_inner);
        key.as_deref().is_some_and(|key| hmac::verify(key, message, tag.as_bytes()).is_ok())
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey([redacted])")
    }
}

/// Whether `a` and `b` are the same bytes, in time that depends on their lengths alone.
#[must_use]
pub fn matches(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_matches_the_published_vector() {
        let expect = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc").hex(), expect);
        assert_eq!(sha256_parts(&[b"a", b"bc"]).hex(), expect);
    }

    #[test]
    fn a_tag_verifies_only_under_its_key_and_message() {
        let key = MacKey::new(&Sensitive::new([1; 32]));
        let tag = key.tag(b"m");
        assert!(key.verify(b"m", &tag));
        assert!(!key.verify(b"n", &tag));
        assert!(!MacKey::new(&Sensitive::new([2; 32])).verify(b"m", &tag));
        key.forget();
        assert!(!key.verify(b"m", &tag) && key.tag(b"m") != tag && !key.verify(b"m", &key.tag(b"m")));
    }
}
