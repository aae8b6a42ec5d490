//! The one way to change anything: rely, append, apply, acknowledge. And the one way to start:
//! replay what the ledger holds through the same code.
//!
//! This room knows no product noun: the state is a [`StoredState`] that a higher room composes from the
//! record rooms, and an effect is a type of that world. Decisions read the world in
//! memory; the index holds what is large, and is only ever a copy.

mod anchor;
mod change;
mod clock;
mod concerns;
mod error;
mod follow;
mod handle;
mod lock_mark;
mod newest;
mod open;
mod posted;
mod rebuild;
mod revocation;
mod snapshot;
mod state;
mod withheld;

pub use crate::ledger::SnapshotError;
pub use anchor::{ANCHOR_FORMAT, AcceptedLoss, Anchor, AnchorFile, AnchorFileError, AnchorKeys};
pub use change::{
    At, Change, CommitError, Event, History, Projection, RevokingChange, StoredState, histories,
};
pub use clock::{ClockAdjusted, ClockDisagrees};
pub use error::{RecordError, StoreError};
pub use handle::Store;
pub use lock_mark::lock_mark;
pub use open::{LedgerPlace, OnLostEntries, OpenLog, StoreOptions, delta_keys};
pub use revocation::{ConflictDecision, DecideOnConflict, OnConflict, PendingRecord, RevocationOutcome};
pub use snapshot::SnapshotTaken;
pub use withheld::Settled;
