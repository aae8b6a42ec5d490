//! Another root key for the same keyring: every slot and every key is wrapped again.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::KeyringError;
use super::file::{self, KeyringBody, WrappedKey};
use super::ring::{Family, Keyring};
use super::root::RootMark;
use super::slot::KeySlot;
use super::slot_key::SlotKey;
use super::view::{SlotView, view};
use crate::base::limits::ROOT_MARKS_MAX;
use crate::base::{Entropy, Sensitive, SlotId};
use crate::crypto::matches;

/// What a copy of the keyring opens together with a key of it: these begin a new generation with each root key.
/// Signing keys have schedules and verbs of their own, which tell the relying parties first.
const EXPOSED: [Family; 4] = [Family::Value, Family::Delta, Family::Index, Family::Digest];

/// The input of a replacement of the root key.
#[derive(Clone, Copy, Debug)]
pub struct Replacing<'a> {
    /// The key that opened the keyring.
    pub opened_by: &'a SlotKey,
    /// The treatment of slots that cannot get a new root key without their own keys.
    pub out_of_reach: UnreachableSlots,
    /// The source of the new root key.
    pub entropy: &'a dyn Entropy,
}

/// The treatment of a slot of the first format without a public key, whose own key is not given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnreachableSlots {
    /// The root key stays, and nothing is changed.
    Refuse,
    /// The slot is removed, and is to be added again.
    Remove,
}

/// A slot and its key.
type SlotAtHand<'a> = (SlotId, &'a SlotKey);

impl Keyring {
    /// Writes `body` to `path` under a new root key, which the slots in it open and no other one does. The
    /// slot that this keyring was opened by gets a new key pair; the others are sealed to the public keys
    /// that they have. What was written is opened, by the keys at hand, `new` among them, before it takes
    /// the place of the keyring that is there.
    ///
    /// # Errors
    /// [`KeyringError`]; the keyring is what it was then, on disk and in memory.
    pub(super) fn replace_root(
        &mut self,
        path: &Path,
        mut body: KeyringBody,
        new: Option<SlotAtHand<'_>>,
        by: &Replacing<'_>,
    ) -> Result<(), KeyringError> {
        let opened_by = self.at_hand(&body, by.opened_by)?;
        let known = opened_by.map(|hand| hand.0);
        let out_of_reach = |slot: &KeySlot| !slot.is_in_reach() && Some(slot.id) != known;
        let lost: Vec<SlotId> =
            body.slots.iter().filter(|slot| out_of_reach(slot)).map(|slot| slot.id).collect();
        if !lost.is_empty() && (by.out_of_reach == UnreachableSlots::Refuse || lost.len() == body.slots.len())
        {
            return Err(KeyringError::SlotsOutOfReach(lost));
        }
        body.slots.retain(|slot| !lost.contains(&slot.id));
        let mut next = Self {
            ledger: self.ledger,
            created_at: self.created_at,
            revision: self.revision,
            opened_by: self.opened_by,
            root: Sensitive::<[u8; 32]>::filled(|root| by.entropy.fill(root)),
            earlier: Vec::new(),
            symmetric: BTreeMap::new(),
            signing: BTreeMap::new(),
        };
        next.mark_earlier(self, &mut body, by.entropy)?;
        body.keys = next.wrap_again(self, &body, by.entropy)?;
        for slot in &mut body.slots {
            *slot = match opened_by.filter(|hand| hand.0 == slot.id) {
                Some(hand) => slot.clone().holding(hand.1, self.ledger, &next.root, by.entropy)?,
                None => slot.moved(self.ledger, &self.root, &next.root, by.entropy)?,
            };
        }
        let at_hand: Vec<SlotAtHand<'_>> = opened_by.into_iter().chain(new).collect();
        next.revision = file::replace(path, body, &next.root, &|written| next.is_whole(written, &at_hand))?;
        *self = next;
        Ok(())
    }

    /// The slot that this keyring was opened by, if it is still there and `key` opens it.
    fn at_hand<'a>(
        &self,
        body: &KeyringBody,
        key: &'a SlotKey,
    ) -> Result<Option<SlotAtHand<'a>>, KeyringError> {
        let Some(slot) = body.slots.iter().find(|slot| Some(slot.id) == self.opened_by) else {
            return Ok(None);
        };
        Ok(slot.unwrap(key, self.ledger)?.map(|_| (slot.id, key)))
    }

    /// Slots that would not open any more if the root key were replaced by what opened this keyring:
    /// [`UnreachableSlots`].
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn out_of_reach(&self, path: &Path) -> Result<Vec<SlotView>, KeyringError> {
        let body = file::read(path)?.verify(&self.root)?;
        let lost = |slot: &&KeySlot| !slot.is_in_reach() && Some(slot.id) != self.opened_by;
        Ok(body.slots.iter().filter(lost).map(view).collect())
    }

    /// Keeps a mark of each root key before this one.
    fn mark_earlier(
        &mut self,
        before: &Self,
        body: &mut KeyringBody,
        entropy: &dyn Entropy,
    ) -> Result<(), KeyringError> {
        let marks =
            body.earlier_roots.iter().map(|sealed| RootMark::open(sealed, before.ledger, &before.root));
        self.earlier =
            marks.collect::<Result<_, _>>().map_err(|_| KeyringError::Altered("a mark does not open"))?;
        self.earlier.push(RootMark::of(&before.root));
        let surplus = self.earlier.len().saturating_sub(ROOT_MARKS_MAX);
        self.earlier.drain(..surplus);
        let sealed = self.earlier.iter().map(|mark| mark.seal(self.ledger, &self.root, entropy));
        body.earlier_roots = sealed.collect();
        Ok(())
    }

    /// All keys of `before`, and a new generation of those that a copy of it opens. Of the index, the newest
    /// generation before is kept alone: it is built anew.
    fn wrap_again(
        &mut self,
        before: &Self,
        body: &KeyringBody,
        entropy: &dyn Entropy,
    ) -> Result<Vec<WrappedKey>, KeyringError> {
        let newest_index = before.current(Family::Index)?.0.generation;
        let mut keys = Vec::new();
        for key in &body.keys {
            if key.family == Family::Index.number() && key.generation < newest_index {
                continue;
            }
            keys.push(self.take_again(before, key, entropy).map_err(|_| NOT_OPENED)?);
        }
        for family in EXPOSED {
            let mut id = before.current(family)?.0;
            id.generation = id.generation.saturating_add(1);
            keys.push(self.new_symmetric(family, id, entropy));
        }
        Ok(keys)
    }

    /// Whether all that was written opens: each key, and each slot whose key is at hand.
    fn is_whole(&self, written: &KeyringBody, at_hand: &[SlotAtHand<'_>]) -> Result<(), KeyringError> {
        for key in &written.keys {
            self.unwrapped_key(key).map_err(|_| NOT_OPENED)?;
        }
        for hand in at_hand {
            let slot = written.slots.iter().find(|slot| slot.id == hand.0);
            let opened = slot.map(|slot| slot.unwrap(hand.1, self.ledger)).transpose()?.flatten();
            if !opened.is_some_and(|opened| matches(opened.expose(), self.root.expose())) {
                return Err(KeyringError::Altered("one of its slots does not open"));
            }
        }
        Ok(())
    }
}

const NOT_OPENED: KeyringError = KeyringError::Altered("one of its keys does not open");

#[cfg(test)]
#[path = "rotate_tests.rs"]
mod tests;
