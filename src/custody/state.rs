use serde::{Deserialize, Serialize};

use crate::base::SlotId;
use crate::keyring::{SlotKind, SlotView};
use crate::ledger::Kind;
use crate::store::{At, Event};

/// The keyring has other slots than the ledger knew of.
#[derive(Debug, Serialize)]
pub struct SlotsChanged<'a> {
    /// Who changed them: `host uid N`, or `found at start` when nobody has said so before.
    pub by: &'a str,
    /// Slots that the ledger did not know.
    pub added: Vec<KnownSlot>,
    /// Slots that are gone.
    pub removed: Vec<KnownSlot>,
}

impl Event for SlotsChanged<'_> {
    const KIND: Kind = Kind(0x0801);
    const NAME: &'static str = "keyring.slots-changed";
}

/// A slot as the ledger knows it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KnownSlot {
    /// Its id.
    pub id: SlotId,
    /// What opens it.
    pub kind: SlotKind,
}

impl From<&SlotView> for KnownSlot {
    fn from(slot: &SlotView) -> Self {
        Self { id: slot.id, kind: slot.kind }
    }
}

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// These are the keyring's slots.
    Slots(Vec<KnownSlot>),
}

/// What is known of the slots, in memory.
#[derive(Debug, Default)]
pub struct Custody {
    slots: Vec<KnownSlot>,
}

impl Custody {
    /// How `slots` differ from those that are known: what came, and what went.
    #[must_use]
    pub fn difference(&self, slots: &[KnownSlot]) -> (Vec<KnownSlot>, Vec<KnownSlot>) {
        let without = |these: &[KnownSlot], those: &[KnownSlot]| {
            these.iter().filter(|one| !those.contains(one)).copied().collect()
        };
        (without(slots, &self.slots), without(&self.slots, slots))
    }

    /// Takes in one effect.
    pub fn apply(&mut self, _at: At, effect: &Effect) {
        let Effect::Slots(slots) = effect;
        self.slots.clone_from(slots);
    }
}

/// The keys that decisions on this room's records rely on.
pub mod keys {
    use crate::ledger::Key;

    /// Which slots are known.
    #[must_use]
    pub fn slots() -> Key {
        Key::of("slots", b"")
    }
}
