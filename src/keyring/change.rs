use std::path::Path;

use super::error::KeyringError;
use super::file::{self, KeyringText, WrappedKey};
use super::ring::{Family, Keyring};
use super::root::{bound, wrapping};
use crate::base::encoding::base64url;
use crate::base::{Entropy, Sensitive};
use crate::crypto::KeyId;

/// The families that are rotated together, at a start: the ledger begins a segment then, the index can be built
/// anew, and no request is under way.
pub const SEALING: [Family; 3] = [Family::Delta, Family::Index, Family::Digest];

/// A change of a keyring's file, ready to be written, which may take as long as a disk hangs. It holds no key
/// that is not wrapped.
#[must_use]
#[derive(Debug)]
pub struct KeyringChange {
    text: KeyringText,
    added: Vec<WrappedKey>,
    gone: Vec<(Family, u32)>,
}

/// A change that is durable in the keyring's file.
#[must_use]
#[derive(Debug)]
pub struct WrittenKeyring(KeyringChange);

impl KeyringChange {
    /// The generations that it takes away.
    #[must_use]
    pub fn gone(&self) -> Vec<u32> {
        self.gone.iter().map(|(_, generation)| *generation).collect()
    }

    /// Writes it to `path`, in the place of the keyring that is there. One at a time, by a process that holds
    /// the data directory's lock.
    ///
    /// # Errors
    /// [`KeyringError`]; the file is what it was then.
    pub fn write(self, path: &Path) -> Result<WrittenKeyring, KeyringError> {
        self.text.replace(path)?;
        Ok(WrittenKeyring(self))
    }
}

impl Keyring {
    /// Adds a generation of a family to the keyring at `path`, durable when this returns. One
    /// that is there already, because the process that added it was stopped before it could use it, counts.
    ///
    /// # Errors
    /// [`KeyringError`]; the keyring is what it was then.
    pub fn extend(
        &mut self,
        path: &Path,
        key: (Family, u32),
        entropy: &dyn Entropy,
    ) -> Result<(), KeyringError> {
        let Some(change) = self.extension(path, key, entropy)? else { return Ok(()) };
        let written = change.write(path)?;
        self.adopt(written)
    }

    /// What [`Keyring::extend`] writes; `None` when the generation is there already.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn extension(
        &self,
        path: &Path,
        key: (Family, u32),
        entropy: &dyn Entropy,
    ) -> Result<Option<KeyringChange>, KeyringError> {
        if self.signing.contains_key(&key) || self.symmetric.contains_key(&key) {
            return Ok(None);
        }
        self.with_new(path, &[key], entropy).map(Some)
    }

    /// Rotates the families of [`SEALING`] in one write, and gives their generations in that order. The ones
    /// before stay, to open what they sealed.
    ///
    /// # Errors
    /// [`KeyringError`]; the keyring is what it was then.
    pub fn rotate_sealing_keys(
        &mut self,
        path: &Path,
        entropy: &dyn Entropy,
    ) -> Result<[u32; SEALING.len()], KeyringError> {
        let mut next = [0; SEALING.len()];
        for (next, family) in next.iter_mut().zip(SEALING) {
            *next = self.current(family)?.0.generation.saturating_add(1);
        }
        let new: Vec<_> = SEALING.into_iter().zip(next).collect();
        let written = self.with_new(path, &new, entropy)?.write(path)?;
        self.adopt(written)?;
        Ok(next)
    }

    /// The change that adds these generations.
    fn with_new(
        &self,
        path: &Path,
        new: &[(Family, u32)],
        entropy: &dyn Entropy,
    ) -> Result<KeyringChange, KeyringError> {
        // As it is now: slots may have come and gone since it was opened.
        let mut body = file::read(path)?.verify(&self.root)?;
        let mut added = Vec::new();
        for (family, generation) in new {
            let id = KeyId { family: family.number(), generation: *generation };
            added.push(if family.is_signing() {
                self.wrap(id, family.signing_key()?.expose(), entropy)
            } else {
                let key = Sensitive::<[u8; 32]>::filled(|key| entropy.fill(key));
                self.wrap(id, key.expose(), entropy)
            });
        }
        body.keys.extend_from_slice(&added);
        Ok(KeyringChange { text: KeyringText::of(body, &self.root)?, added, gone: Vec::new() })
    }

    /// Takes the generations of a family that `goes` tells of out of the keyring at `path`, for good:
    /// what they alone open opens no more, and they sign no more. Gives those that went.
    ///
    /// # Errors
    /// [`KeyringError`]; the keyring is what it was then.
    pub fn shed(
        &mut self,
        path: &Path,
        family: Family,
        goes: impl Fn(u32) -> bool,
    ) -> Result<Vec<u32>, KeyringError> {
        let Some(change) = self.reduction(path, family, goes)? else { return Ok(Vec::new()) };
        let gone = change.gone();
        let written = change.write(path)?;
        self.adopt(written)?;
        Ok(gone)
    }

    /// What [`Keyring::shed`] writes; `None` when nothing goes.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn reduction(
        &self,
        path: &Path,
        family: Family,
        goes: impl Fn(u32) -> bool,
    ) -> Result<Option<KeyringChange>, KeyringError> {
        let all = (family, 0)..=(family, u32::MAX);
        let of_signing = self.signing.range(all.clone()).map(|((_, generation), _)| *generation);
        let of_symmetric = self.symmetric.range(all).map(|((_, generation), _)| *generation);
        let gone: Vec<u32> = of_signing.chain(of_symmetric).filter(|generation| goes(*generation)).collect();
        if gone.is_empty() {
            return Ok(None);
        }
        let mut body = file::read(path)?.verify(&self.root)?;
        body.keys.retain(|key| key.family != family.number() || !gone.contains(&key.generation));
        let gone = gone.into_iter().map(|generation| (family, generation)).collect();
        Ok(Some(KeyringChange { text: KeyringText::of(body, &self.root)?, added: Vec::new(), gone }))
    }

    /// Applies the written change.
    ///
    /// # Errors
    /// [`KeyringError::Altered`] when the keyring has been forgotten since.
    pub fn adopt(&mut self, WrittenKeyring(change): WrittenKeyring) -> Result<(), KeyringError> {
        for added in &change.added {
            self.take(added)
                .map_err(|_| KeyringError::Altered("a key does not open after it was written"))?;
        }
        for id in &change.gone {
            self.signing.remove(id);
            self.symmetric.remove(id);
        }
        self.revision = change.text.revision;
        Ok(())
    }

    fn wrap(&self, id: KeyId, key: &[u8], entropy: &dyn Entropy) -> WrappedKey {
        let wrapped = wrapping(&self.root).seal(&bound(self.ledger, id), key, entropy);
        WrappedKey { family: id.family, generation: id.generation, wrapped: base64url(&wrapped) }
    }
}
