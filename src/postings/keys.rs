use std::fmt;
use std::sync::{Mutex, PoisonError, RwLock};

use crate::base::Sensitive;
use crate::crypto::{AeadKey, AeadWiper, KeyId, MacKey, derive_key};

/// A field and a text, as the index knows them: a truncated HMAC-SHA-256 of both.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Term([u8; Term::BYTES]);

impl Term {
    pub(super) const BYTES: usize = 16;

    /// The term of a key that was wiped: no entry has it.
    pub(super) const NONE: Self = Self([0; Self::BYTES]);

    pub(super) const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Term")
    }
}

/// The keys of terms and of block files, both derived from the index key.
pub struct PostingsKeys {
    generation: u32,
    terms: MacKey,
    /// `None` once it was wiped.
    seal: RwLock<Option<Sensitive<[u8; 32]>>>,
    /// Of the keys of all files that are held somewhere.
    files: Mutex<Vec<AeadWiper>>,
}

/// The keys of files are derived and never stored: a family apart from those of the keyring.
const FILE_FAMILY: u8 = b'P';

impl PostingsKeys {
    /// Derives them from the index key with this id.
    #[must_use]
    pub fn derive(id: KeyId, index_key: &Sensitive<[u8; 32]>) -> Self {
        Self {
            generation: id.generation,
            terms: MacKey::new(&derive_key(index_key, b"", "keyward/postings/terms")),
            seal: RwLock::new(Some(derive_key(index_key, b"", "keyward/postings/files"))),
            files: Mutex::new(Vec::new()),
        }
    }

    /// The term of `text` in the field called `field`; `None` once the keys were wiped.
    pub(super) fn term(&self, field: &str, text: &str) -> Option<Term> {
        let mut message = Vec::new();
        Self::write_message(&mut message, field, text);
        self.term_of(&message)
    }

    /// Writes what the term of `text` in the field called `field` is a digest of.
    pub(super) fn write_message(message: &mut Vec<u8>, field: &str, text: &str) {
        message.clear();
        message.push(u8::try_from(field.len()).unwrap_or(u8::MAX));
        message.extend_from_slice(field.as_bytes());
        message.extend_from_slice(text.as_bytes());
    }

    /// The term with this message; `None` once the keys were wiped.
    pub(super) fn term_of(&self, message: &[u8]) -> Option<Term> {
        let tag = self.terms.tag(message);
        let [term @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *tag.as_bytes();
        // The key of terms is wiped last: if that of the files is there now, the tag was made with it.
        self.are_kept().then_some(Term(term))
    }

    /// Whether the keys were not wiped.
    pub(super) fn are_kept(&self) -> bool {
        self.seal.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// The key of the file with this salt; `None` once the keys were wiped.
    pub(super) fn file_key(&self, salt: &[u8; 32]) -> Option<AeadKey> {
        // Held until the key is known to `forget`, which wipes it otherwise.
        let seal = self.seal.read().unwrap_or_else(PoisonError::into_inner);
        let id = KeyId { family: FILE_FAMILY, generation: self.generation };
        let key = AeadKey::new(id, &derive_key(seal.as_ref()?, salt, "keyward/postings/file"));
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() == files.capacity() {
            files.retain(|one| !one.is_over());
        }
        files.push(key.wiper());
        Some(key)
    }

    /// Wipes them in place, and the key of every file, whichever thread holds it.
    pub(super) fn forget(&self) {
        drop(self.seal.write().unwrap_or_else(PoisonError::into_inner).take());
        self.files.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(AeadWiper::wipe);
        self.terms.forget();
    }
}

impl fmt::Debug for PostingsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostingsKeys(generation {})", self.generation)
    }
}
