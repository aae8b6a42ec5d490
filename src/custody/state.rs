use serde::{Deserialize, Serialize};

use super::failed::{FailedOrder, FailedOrders};
use super::location::Location;
use crate::base::{OperatorName, SlotId, Timestamp};
use crate::keyring::{RootId, SlotKind, SlotView};
use crate::ledger::{Key, Kind};
use crate::store::{At, Event, History};

/// The keyring has other key slots than the ledger knew.
#[derive(Debug, Serialize)]
pub struct SlotsChanged<'a> {
    /// The actor: `host uid N`, or `found at start` for an unexplained change.
    pub by: &'a str,
    /// Slots that the ledger did not know.
    pub added: Vec<KnownSlot>,
    /// Slots that are gone.
    pub removed: Vec<KnownSlot>,
    /// The id of the root key, when it is another one than the ledger knew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

impl Event for SlotsChanged<'_> {
    const KIND: Kind = Kind(0x0801);
    const NAME: &'static str = "keyring.slots-changed";
}

/// From here on, another key signs the checkpoints of the ledger.
#[derive(Debug, Serialize)]
pub struct CheckpointKeyRotated<'a> {
    /// The actor; absent for a scheduled rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a OperatorName>,
    /// Its generation.
    pub generation: u32,
    /// A note that says so, signed by the key before it and by itself.
    pub announcement: &'a str,
}

impl Event for CheckpointKeyRotated<'_> {
    const KIND: Kind = Kind(0x0802);
    const NAME: &'static str = "checkpoint-key.rotated";
}

/// At a start, the broker rotated the keys that seal the ledger and the index, and the key that digests requests.
#[derive(Debug, Serialize)]
pub struct SealingKeysRotated {
    /// The generation of the delta key.
    pub delta: u32,
    /// The generation of the index key.
    pub index: u32,
    /// The generation of the digest key.
    pub digest: u32,
}

impl Event for SealingKeysRotated {
    const KIND: Kind = Kind(0x0803);
    const NAME: &'static str = "sealing-keys.rotated";
}

/// A slot as the ledger knows it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KnownSlot {
    /// Its id.
    pub id: SlotId,
    /// The kind of its key.
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
    /// This generation of the checkpoint key signs.
    CheckpointKey(u32),
    /// This is the id of the keyring's root key.
    Root([u8; 32]),
    /// These are the entries before: sealed under the newest delta key, so that the holder of an earlier one
    /// cannot write others in their place.
    Before(History),
    /// The data directory is here.
    Location {
        /// The place.
        location: Location,
        /// Whether an order on the host said so: another copy of the data has stopped for good.
        is_adopted: bool,
    },
    /// The keys that seal the ledger and the index and digest requests are others: this is the generation of the
    /// delta key.
    SealingKeys(u32),
    /// The order that the entry's [`Effect::Location`] carries out was given then.
    Ordered(Timestamp),
    /// A pending order was not carried out.
    OrderFailed(FailedOrder),
    /// An order with the command of a failed one was carried out.
    OrderRepeated(String),
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Slots(_) | Self::Root(_) | Self::Before(_) | Self::SealingKeys(_) => {
                keys.push(keys::slots())
            }
            Self::CheckpointKey(_) => keys.push(keys::checkpoint_key()),
            Self::Location { .. } | Self::Ordered(_) => keys.push(keys::location()),
            Self::OrderFailed(_) | Self::OrderRepeated(_) => keys.push(keys::failed_orders()),
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Slots(_) | Self::Root(_) | Self::Before(_) => true,
            Self::CheckpointKey(_)
            | Self::Location { .. }
            | Self::SealingKeys(_)
            | Self::Ordered(_)
            | Self::OrderFailed(_)
            | Self::OrderRepeated(_) => false,
        }
    }

    /// Its claim about the entries before it.
    #[must_use]
    pub const fn history(&self) -> Option<History> {
        match self {
            Self::Before(history) => Some(*history),
            Self::Slots(_)
            | Self::CheckpointKey(_)
            | Self::Root(_)
            | Self::Location { .. }
            | Self::SealingKeys(_)
            | Self::Ordered(_)
            | Self::OrderFailed(_)
            | Self::OrderRepeated(_) => None,
        }
    }
}

/// The records about the keyring, in memory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Custody {
    slots: Vec<KnownSlot>,
    checkpoint_key: Option<(u32, Timestamp)>,
    root: Option<[u8; 32]>,
    is_bound: bool,
    location: Option<Location>,
    adopted: Option<(u64, Timestamp)>,
    sealing_keys: Option<(u32, Timestamp)>,
    failed_orders: FailedOrders,
}

impl Custody {
    /// The added and the removed slots of `slots` compared with the records.
    #[must_use]
    pub fn difference(&self, slots: &[KnownSlot]) -> (Vec<KnownSlot>, Vec<KnownSlot>) {
        let without = |these: &[KnownSlot], those: &[KnownSlot]| {
            these.iter().filter(|one| !those.contains(one)).copied().collect()
        };
        (without(slots, &self.slots), without(&self.slots, slots))
    }

    /// The root key that the keyring had when its slots were last recorded.
    #[must_use]
    pub fn root(&self) -> Option<RootId> {
        self.root.map(RootId::from_bytes)
    }

    /// Since when the delta, index and digest keys are in use: they are rotated together, and with the root key.
    /// `None` before they are recorded.
    #[must_use]
    pub fn sealing_keys_since(&self) -> Option<Timestamp> {
        self.sealing_keys.map(|(_, since)| since)
    }

    /// Whether an entry under the newest delta key that is recorded says which entries came before it.
    #[must_use]
    pub const fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Whether an entry under the delta key of `generation` says so.
    #[must_use]
    pub fn is_bound_under(&self, generation: u32) -> bool {
        self.is_bound && self.sealing_keys.is_some_and(|(recorded, _)| recorded == generation)
    }

    /// The generation of the checkpoint key that signs, and since when; `None` while it is the first.
    #[must_use]
    pub const fn checkpoint_key(&self) -> Option<(u32, Timestamp)> {
        self.checkpoint_key
    }

    /// The last recorded location of the data directory.
    #[must_use]
    pub const fn location(&self) -> Option<Location> {
        self.location
    }

    /// The entry by which an order on the host said last that every other copy of the data has stopped for good, and
    /// when the order was given: until an entry takes it in, another copy may act that did not stop.
    #[must_use]
    pub const fn adopted(&self) -> Option<(u64, Timestamp)> {
        self.adopted
    }

    /// The failed pending orders that are listed at `now`, oldest first.
    pub fn failed_orders(&self, now: Timestamp) -> impl Iterator<Item = &FailedOrder> {
        self.failed_orders.listed(now)
    }

    /// Entry times go on from `now`: no key has signed since later than that.
    pub fn time_went_back(&mut self, now: Timestamp) {
        self.checkpoint_key = self.checkpoint_key.map(|(generation, since)| (generation, since.min(now)));
        self.adopted = self.adopted.map(|(seq, at)| (seq, at.min(now)));
        self.sealing_keys = self.sealing_keys.map(|(delta, since)| (delta, since.min(now)));
        self.failed_orders.time_went_back(now);
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Slots(slots) => self.slots.clone_from(slots),
            Effect::Root(root) => {
                self.is_bound &= self.root == Some(*root);
                self.root = Some(*root);
            }
            Effect::Before(history) => self.is_bound |= history.is_about(at.seq),
            Effect::Location { location, is_adopted } => {
                self.location = Some(*location);
                if *is_adopted {
                    self.adopted = Some((at.seq, at.time));
                }
            }
            Effect::Ordered(ordered_at) => {
                self.adopted = self.adopted.map(|(seq, at)| (seq, at.min(*ordered_at)));
            }
            Effect::SealingKeys(delta) => {
                if self.sealing_keys.is_none_or(|(recorded, _)| recorded != *delta) {
                    self.sealing_keys = Some((*delta, at.time));
                    self.is_bound = false;
                }
            }
            Effect::OrderFailed(order) => self.failed_orders.add(at.time, order),
            Effect::OrderRepeated(command) => self.failed_orders.repeated(command),
            Effect::CheckpointKey(generation) => self.checkpoint_key = Some((*generation, at.time)),
        }
    }
}

/// The keys that decisions on this room's records rely on.
pub mod keys {
    use crate::ledger::Key;

    /// The recorded slots.
    #[must_use]
    pub fn slots() -> Key {
        Key::of("slots", b"")
    }

    /// The location of the data directory.
    #[must_use]
    pub fn location() -> Key {
        Key::of("location", b"")
    }

    /// The failed pending orders.
    #[must_use]
    pub fn failed_orders() -> Key {
        Key::of("failed-orders", b"")
    }

    /// The generation of the signing checkpoint key.
    #[must_use]
    pub fn checkpoint_key() -> Key {
        Key::of("checkpoint-key", b"")
    }
}
