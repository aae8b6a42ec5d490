//! The durable truth: an append-only sequence of entries, each a statement of what happened and
//! the sealed state change that went with it.
//!
//! One append commits state and audit together. This room knows no product noun: kinds and keys
//! are opaque, an event is bytes, a state change is bytes. It makes one proof, [`Receipt`]: that
//! the entry is durable and that the in-memory state has taken it in.
//!
//! The sequencer numbers entries, checks what they rely on and seals them; a [`Log`] makes them durable. [`FileLog`] is
//! the one in files.

mod active;
mod append;
mod attempts;
mod catalog;
mod checkpoint;
mod copy;
mod disclosed;
mod draft;
mod entry;
mod error;
mod file_log;
mod follower;
mod generations;
mod handle;
mod history;
mod inclusion;
mod key;
mod keys;
mod layer;
mod log;
mod options;
mod probe;
mod recovery;
mod replay;
mod reserve;
mod resume;
mod segment;
mod sequencer;
mod shared;
mod snapshot;
mod snapshot_check;
mod snapshots;
mod tree;
mod verify;
mod verify_rows;
mod walk;
mod writer;

pub use append::{AppendError, Committed, Pending, Receipt};
pub use attempts::WriteState;
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointKeyTerm, Notary, NoteVerifier};
pub use copy::{Copied, CopyError, CopyOptions, copy_entries};
pub use disclosed::DisclosedEntry;
pub use draft::{Draft, Expectation, Space};
pub use entry::{Entry, EntryBatch, EntryCause, EntryChain, Link, SealedState};
pub use error::{OpenError, ReadError, VerifyError};
pub use file_log::{FileLog, RESERVE_BYTES, SEGMENT_BYTES};
pub use follower::{Follower, SnapshotPoint, TakeInError};
pub use handle::{Ledger, OpenReport, Take};
pub use history::Head;
pub use inclusion::{BlockRoots, InclusionPaths, root_by_inclusion};
pub use key::{Key, Kind};
pub use keys::{DeltaKeys, WriterSession};
pub(crate) use layer::name_durably;
pub use layer::{HostLayer, Layer, LayerFile, Lock, lock_file};
pub use log::{
    BatchId, BatchNeed, Begun, Closing, Log, LogContext, LogFailure, LogReader, LogReport, ScanFlow,
    TakeStored, TornTail,
};
pub use options::{Build, Options};
pub use replay::{CheckedBatch, Replay};
pub use segment::SEGMENT_FORMAT;
pub use snapshot::{SNAPSHOT_FORMAT, SnapshotWritten};
pub use snapshot_check::{SnapshotSeen, SnapshotStanding};
pub use snapshots::{SnapshotError, SnapshotState};
pub use tree::Tree;
pub use verify::{End, EventSeen, StateSeen, UnfinishedEnd, Verified, VerifyQuery, verify};
pub use verify_rows::{ExpectedLedger, StoredHead, verify_rows};
