use std::path::Path;

use super::file::{self, Body, KeyringError};
use super::ring::Keyring;
use super::slot::{Slot, SlotKind};
use super::slot_key::SlotKey;
use crate::base::limits::SLOTS_MAX;
use crate::base::{Entropy, SlotId, Timestamp};
use crate::crypto::matches;

/// A slot as one may be told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SlotView {
    /// Its id.
    pub id: SlotId,
    /// What it is opened by.
    pub kind: SlotKind,
    /// When it was made.
    pub made_at: Timestamp,
}

/// The slots of the keyring at `path`, as the file says: nobody has authenticated it.
///
/// # Errors
/// [`KeyringError`].
pub fn slots_of(path: &Path) -> Result<Vec<SlotView>, KeyringError> {
    Ok(views(&file::read(path)?.body))
}

/// Only for whoever holds the data directory's lock: the file is read, changed and written back.
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
        &self,
        path: &Path,
        key: &SlotKey,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SlotView, KeyringError> {
        let mut body = file::read(path)?.verify(&self.root)?;
        if body.slots.len() >= SLOTS_MAX {
            return Err(KeyringError::SlotsFull);
        }
        let slot = Slot::wrap(SlotId::mint(now, entropy), key, self.ledger, &self.root, entropy)?;
        let added = view(&slot);
        body.slots.push(slot);
        file::replace(path, &body, &self.root, &|written| self.opens(written, added.id, key))?;
        Ok(added)
    }

    /// Puts a slot that `key` opens in the place of the slot called `id`, in one step: there is no
    /// moment at which both open the keyring, or neither does.
    ///
    /// # Errors
    /// [`KeyringError`], [`KeyringError::SameKey`] among them; the keyring is what it was then.
    pub fn rekey_slot(
        &self,
        path: &Path,
        (id, key): (SlotId, &SlotKey),
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SlotView, KeyringError> {
        let mut body = file::read(path)?.verify(&self.root)?;
        let slot = body.slots.iter_mut().find(|slot| slot.id == id).ok_or(KeyringError::NoSuchSlot)?;
        if slot.unwrap(key, self.ledger)?.is_some() {
            return Err(KeyringError::SameKey);
        }
        *slot = Slot::wrap(SlotId::mint(now, entropy), key, self.ledger, &self.root, entropy)?;
        let put = view(slot);
        file::replace(path, &body, &self.root, &|written| self.opens(written, put.id, key))?;
        Ok(put)
    }

    /// Takes the slot called `id` away: what opened it opens nothing any more, in this keyring. An
    /// older copy of the file still has it. The last one stays.
    ///
    /// # Errors
    /// [`KeyringError`]; the keyring is what it was then.
    pub fn remove_slot(&self, path: &Path, id: SlotId) -> Result<SlotView, KeyringError> {
        let mut body = file::read(path)?.verify(&self.root)?;
        let at = body.slots.iter().position(|slot| slot.id == id).ok_or(KeyringError::NoSuchSlot)?;
        if body.slots.len() == 1 {
            return Err(KeyringError::LastSlot);
        }
        let removed = view(&body.slots.remove(at));
        file::replace(path, &body, &self.root, &|_| Ok(()))?;
        Ok(removed)
    }

    /// Whether `key` opens the slot called `id` as it was written, and finds this root key there.
    fn opens(&self, written: &Body, id: SlotId, key: &SlotKey) -> Result<(), KeyringError> {
        let slot = written.slots.iter().find(|slot| slot.id == id);
        let opened = slot.map(|slot| slot.unwrap(key, self.ledger)).transpose()?;
        let opened = opened.flatten().ok_or(KeyringError::Altered("its new slot does not open"))?;
        if matches(opened.expose(), self.root.expose()) {
            Ok(())
        } else {
            Err(KeyringError::Altered("its new slot opens something else"))
        }
    }
}

fn views(body: &Body) -> Vec<SlotView> {
    body.slots.iter().map(view).collect()
}

fn view(slot: &Slot) -> SlotView {
    SlotView { id: slot.id, kind: slot.kind, made_at: slot.id.minted_at() }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
