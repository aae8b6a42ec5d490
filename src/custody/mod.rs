//! Who holds a way to the root key, who used one to unseal, and which key signs checkpoints: what the
//! ledger knows of the keyring.
//!
//! Knows a slot by its id and kind, and nothing that would open one. Never changes the keyring. Beside it
//! lie the orders that were given while nobody could open it.

mod failed;
mod location;
mod order;
mod orders;
mod rollback;
mod sealing;
mod state;

pub use failed::FailedOrder;
pub use location::{AdoptionOrder, DataAdopted, Location, MachineChanged};
pub use order::{LeasesOf, OrderingOperator, PendingOrder, PendingOrderFailed, RevocationOrder};
pub use orders::{Orders, OrdersError, SealOrder};
pub use rollback::RollbackSuspected;
pub use sealing::{BrokerSealed, BrokerUnsealed};
pub use state::{CheckpointKeyRotated, Custody, Effect, KnownSlot, SealingKeysRotated, SlotsChanged, keys};
