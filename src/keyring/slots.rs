use std::fs;
use std::path::{Path, PathBuf};

use super::error::KeyringError;
use super::error::ShareError;
use super::file::{self, KeyringBody};
use super::ring::Keyring;
use super::rotate::Replacing;
use super::share::{Share, ShareSplit, Shares, Sharing};
use super::slot::{KeySlot, PendingSlot};
use super::slot_key::SlotKey;
use super::view::{SlotView, view, view_of_pending, views};
use crate::base::limits::SLOTS_MAX;
use crate::base::{Entropy, SlotId, Timestamp, io_reason};
use crate::crypto::matches;
use crate::files;

/// A slot that is not one yet, and the shares that are to be handed out, and handed back.
#[derive(Debug)]
pub struct DealtShares {
    /// The slot.
    pub slot: SlotView,
    /// All of its shares, in order. Nothing else holds them, or the key that they are of.
    pub shares: Vec<Share>,
}

impl DealtShares {
    /// Writes each share to a file of its own in `directory`, which is made when it is missing, reads them
    /// back, and puts them together: what is in the files opens the slot.
    ///
    /// # Errors
    /// [`KeyringError`]; the files that were written are taken away again.
    pub fn to_files(&self, directory: &Path) -> Result<(Vec<PathBuf>, SlotKey), KeyringError> {
        let unusable = |error: std::io::Error| KeyringError::SlotFile {
            path: directory.to_owned(),
            why: io_reason(&error),
        };
        files::private_dir(directory).map_err(unusable)?;
        let mut files = Vec::new();
        let written = self.shares.iter().try_for_each(|share| {
            files.push(share.create_file(directory)?);
            Ok(())
        });
        let read = written.and_then(|()| files.iter().map(|file| Share::from_file(file)).collect());
        match read.and_then(|shares| Ok(Shares::together(shares)?)) {
            Ok(shares) => Ok((files, SlotKey::Shares(shares))),
            Err(error) => {
                // Shares of a slot that never comes to be would only lead astray.
                files.iter().for_each(|file| drop(fs::remove_file(file)));
                Err(error)
            }
        }
    }
}

/// Only for the holder of the data directory's lock: the file is read, changed and written back.
impl Keyring {
    /// The slots of the keyring at `path`, which is this one.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn slots(&self, path: &Path) -> Result<Vec<SlotView>, KeyringError> {
        Ok(views(&file::read(path)?.verify(&self.root)?))
    }

    /// Adds a slot that `key` opens. What was written is opened with it before it takes the place of
    /// the keyring that is there.
    ///
    /// # Errors
    /// [`KeyringError`]; the keyring is what it was then.
    pub fn add_slot(
        &mut self,
        path: &Path,
        key: &SlotKey,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SlotView, KeyringError> {
        let mut body = file::read(path)?.verify(&self.root)?;
        if body.slots.len() >= SLOTS_MAX {
            return Err(KeyringError::SlotsFull);
        }
        let slot = KeySlot::wrap(SlotId::mint(now, entropy), key, self.ledger, &self.root, entropy)?;
        let added = view(&slot);
        body.slots.push(slot);
        self.revision = file::replace(path, body, &self.root, &|written| self.opens(written, added.id, key))?;
        Ok(added)
    }

    /// Puts a slot that `key` opens in the place of the slot called `id`, in one step: there is no
    /// moment at which both open the keyring, or neither does. What opened it opens nothing that is
    /// written from then on: the root key is another one.
    ///
    /// # Errors
    /// [`KeyringError`], [`KeyringError::SameKey`] among them; the keyring is what it was then.
    pub fn rekey_slot(
        &mut self,
        path: &Path,
        id: SlotId,
        key: &SlotKey,
        now: Timestamp,
        by: &Replacing<'_>,
    ) -> Result<SlotView, KeyringError> {
        let mut body = file::read(path)?.verify(&self.root)?;
        let slot = body.slots.iter_mut().find(|slot| slot.id == id).ok_or(KeyringError::NoSuchSlot)?;
        if slot.unwrap(key, self.ledger)?.is_some() {
            return Err(KeyringError::SameKey);
        }
        *slot = KeySlot::wrap(SlotId::mint(now, by.entropy), key, self.ledger, &self.root, by.entropy)?;
        let put = view(slot);
        self.replace_root(path, body, Some((put.id, key)), by)?;
        Ok(put)
    }

    /// Splits a fresh key into shares and prepares a slot for it, which opens nothing: it comes to be, in
    /// the place of the slot `replaces` if one is named, when enough of the shares are handed back to
    /// [`Keyring::confirm_slot`]. One such slot waits at a time.
    ///
    /// # Errors
    /// [`KeyringError`]; the keyring is what it was then.
    pub fn deal_slot(
        &mut self,
        path: &Path,
        split: ShareSplit,
        replaces: Option<SlotId>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<DealtShares, KeyringError> {
        let mut body = file::read(path)?.verify(&self.root)?;
        if let Some(waiting) = &body.pending {
            return Err(ShareError::Waits(waiting.id).into());
        }
        match replaces {
            Some(id) if !body.slots.iter().any(|slot| slot.id == id) => return Err(KeyringError::NoSuchSlot),
            None if body.slots.len() >= SLOTS_MAX => return Err(KeyringError::SlotsFull),
            Some(_) | None => {}
        }
        let id = SlotId::mint(now, entropy);
        let shares = Share::deal(id, split, entropy);
        let pending = PendingSlot { id, shares: Sharing::of(split, &shares), replaces };
        let slot = view_of_pending(&pending);
        body.pending = Some(pending);
        self.write(path, body, &|_| Ok(()))?;
        Ok(DealtShares { slot, shares })
    }

    /// Makes the slot that waits for its shares a slot, in one step, when `shares` are of those that were
    /// handed out for it and enough. In the place of another slot, it comes with another root key.
    ///
    /// # Errors
    /// [`KeyringError`]; the keyring is what it was then.
    pub fn confirm_slot(
        &mut self,
        path: &Path,
        shares: &SlotKey,
        by: &Replacing<'_>,
    ) -> Result<SlotView, KeyringError> {
        let mut body = file::read(path)?.verify(&self.root)?;
        let of_waiting = |pending: &PendingSlot| shares.slot() == Some(pending.id);
        let pending = body.pending.take_if(|pending| of_waiting(pending)).ok_or(ShareError::NothingWaits)?;
        let replaces = pending.replaces;
        let slot = KeySlot::confirm(pending, shares, self.ledger, &self.root, by.entropy)?;
        let confirmed = view(&slot);
        // It may have been removed since.
        let full = body.slots.len() >= SLOTS_MAX;
        match body.slots.iter_mut().find(|slot| Some(slot.id) == replaces) {
            Some(replaced) => {
                *replaced = slot;
                self.replace_root(path, body, Some((confirmed.id, shares)), by)?;
            }
            None if full => return Err(KeyringError::SlotsFull),
            None => {
                body.slots.push(slot);
                let proof = |written: &KeyringBody| self.opens(written, confirmed.id, shares);
                self.revision = file::replace(path, body, &self.root, &proof)?;
            }
        }
        Ok(confirmed)
    }

    /// Removes the slot called `id`: what opened it opens nothing that is written from then on, because
    /// the root key is another one. An older copy of the file still has it. The last slot stays; one that
    /// waits for its shares never opened anything, and goes without another root key.
    ///
    /// # Errors
    /// [`KeyringError`]; the keyring is what it was then.
    pub fn remove_slot(
        &mut self,
        path: &Path,
        id: SlotId,
        by: &Replacing<'_>,
    ) -> Result<SlotView, KeyringError> {
        let mut body = file::read(path)?.verify(&self.root)?;
        if let Some(pending) = body.pending.take_if(|pending| pending.id == id) {
            self.write(path, body, &|_| Ok(()))?;
            return Ok(view_of_pending(&pending));
        }
        let at = body.slots.iter().position(|slot| slot.id == id).ok_or(KeyringError::NoSuchSlot)?;
        if body.slots.len() == 1 {
            return Err(KeyringError::LastSlot);
        }
        let removed = view(&body.slots.remove(at));
        self.replace_root(path, body, None, by)?;
        Ok(removed)
    }

    /// Whether `key` opens the slot called `id` as it was written, and finds this root key there.
    fn opens(&self, written: &KeyringBody, id: SlotId, key: &SlotKey) -> Result<(), KeyringError> {
        let slot = written.slots.iter().find(|slot| slot.id == id);
        let opened = slot.map(|slot| slot.unwrap(key, self.ledger)).transpose()?;
        let opened = opened.flatten().ok_or(KeyringError::Altered("the new slot does not open"))?;
        if matches(opened.expose(), self.root.expose()) {
            Ok(())
        } else {
            Err(KeyringError::Altered("the new slot opens another key"))
        }
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
pub(super) mod tests;

#[cfg(test)]
#[path = "slots_of_shares_tests.rs"]
pub(super) mod tests_of_shares;
