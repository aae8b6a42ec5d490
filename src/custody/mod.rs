//! Who holds a way to the root key, and which key signs checkpoints: what the ledger knows of the keyring.
//!
//! Knows a slot by its id and kind, and nothing that would open one. Never changes the keyring.

mod state;

pub use state::{CheckpointKeyTurned, Custody, Effect, KnownSlot, SlotsChanged, keys};
