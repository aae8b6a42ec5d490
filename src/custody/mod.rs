//! Who holds a way to the root key: what the ledger knows of the keyring's slots.
//!
//! Knows a slot by its id and kind, and nothing that would open one. Never changes the keyring.

mod state;

pub use state::{Custody, Effect, KnownSlot, SlotsChanged, keys};
