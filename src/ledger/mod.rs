//! The durable truth: an append-only sequence of entries, each a statement of what happened and
//! the sealed state change that went with it.
//!
//! One append commits state and audit together. This room knows no product noun: kinds and keys
//! are opaque, an event is bytes, a state change is bytes. It makes one proof, [`Receipt`]: that
//! the entry is durable and that the in-memory state has taken it in.

mod active;
mod append;
mod attempts;
mod catalog;
mod checkpoint;
mod entry;
mod file_ledger;
mod flaw;
mod generations;
mod keys;
mod layer;
mod probe;
mod recovery;
mod reserve;
mod resume;
mod segment;
mod snapshot;
mod snapshot_check;
mod tree;
mod verify;
mod walk;
mod writer;

pub use append::{Append, AppendError, Committed, Head, Ledger, Pending, ReadError, Receipt};
pub use attempts::WriteState;
pub use checkpoint::{Checkpoint, CheckpointError, Notary, NoteVerifier, Tenure};
pub use entry::{Draft, Entry, Expectation, Follower, Key, Kind, Space, leaf};
pub use file_ledger::{FileLedger, Options, RESERVE_BYTES, SEGMENT_BYTES, Take};
pub use flaw::{OpenError, VerifyError};
pub use keys::DeltaKeys;
pub(crate) use layer::name_durably;
pub use layer::{HostLayer, Layer, LayerFile, Lock, lock_file};
pub use recovery::{OpenReport, TornTail};
pub use snapshot::{Build, Point, Written};
pub use snapshot_check::{SnapshotSeen, SnapshotStanding};
pub use tree::Tree;
pub use verify::{End, EventSeen, Sought, StateSeen, Verified, verify};
