//! What may be said of the slots, and which of them a key opens.

use std::path::Path;

use super::error::KeyringError;
use super::error::ShareError;
use super::file::{self, KeyringBody};
use super::share::ShareSplit;
use super::slot::{KeySlot, PendingSlot};
use super::slot_key::SlotKey;
use super::slot_kind::SlotKind;
use crate::base::{Sensitive, SlotId, Timestamp};

/// A slot as one may be told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SlotView {
    /// Its id.
    pub id: SlotId,
    /// The kind of its key.
    pub kind: SlotKind,
    /// When it was made.
    pub made_at: Timestamp,
    /// Number of shares and threshold, for a slot of shares.
    pub split: Option<ShareSplit>,
    /// Whether it opens the keyring.
    pub state: SlotState,
}

/// Whether a slot opens the keyring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotState {
    /// The slot opens the keyring.
    Opens,
    /// Not until its shares are handed back.
    Unconfirmed,
}

impl SlotState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opens => "opens",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// The slots of the keyring at `path`, as the file says: nobody has authenticated it.
///
/// # Errors
/// [`KeyringError`].
pub fn slots_of(path: &Path) -> Result<Vec<SlotView>, KeyringError> {
    Ok(views(&file::read(path)?.body))
}

/// The kinds of the slots that open the keyring at `path`, each once, as the file says.
///
/// # Errors
/// [`KeyringError`].
pub fn opening_kinds(path: &Path) -> Result<Vec<SlotKind>, KeyringError> {
    let slots = slots_of(path)?;
    let opens =
        |kind: &SlotKind| slots.iter().any(|slot| slot.kind == *kind && slot.state == SlotState::Opens);
    Ok([SlotKind::KeyFile, SlotKind::Passphrase, SlotKind::Shares].into_iter().filter(opens).collect())
}

/// The root key in the slot that `key` opens, and that slot: nobody has authenticated the rest.
pub(super) fn unwrapped(
    body: &KeyringBody,
    key: &SlotKey,
) -> Result<(Sensitive<[u8; 32]>, SlotView), KeyringError> {
    for slot in &body.slots {
        if let Some(root) = slot.unwrap(key, body.ledger)? {
            return Ok((root, view(slot)));
        }
    }
    let waits = |of: SlotId| body.pending.as_ref().is_some_and(|pending| pending.id == of);
    let there = |of: SlotId| body.slots.iter().any(|slot| slot.id == of);
    Err(match key.slot() {
        Some(of) if waits(of) => ShareError::Unconfirmed(of).into(),
        Some(of) if !there(of) => ShareError::OtherSlot(of).into(),
        Some(_) | None => KeyringError::WrongKey,
    })
}

pub(super) fn views(body: &KeyringBody) -> Vec<SlotView> {
    body.slots.iter().map(view).chain(body.pending.as_ref().map(view_of_pending)).collect()
}

pub(super) fn view(slot: &KeySlot) -> SlotView {
    let (made_at, split) = (slot.id.minted_at(), slot.split());
    SlotView { id: slot.id, kind: slot.kind, made_at, split, state: SlotState::Opens }
}

pub(super) fn view_of_pending(pending: &PendingSlot) -> SlotView {
    let (id, made_at, split) = (pending.id, pending.id.minted_at(), pending.shares.split().ok());
    SlotView { id, kind: SlotKind::Shares, made_at, split, state: SlotState::Unconfirmed }
}
