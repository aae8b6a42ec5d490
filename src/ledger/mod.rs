//! The durable truth: an append-only sequence of entries, each a statement of what happened and
//! the sealed state change that went with it.
//!
//! One append commits state and audit together. This room knows no product noun: kinds and keys
//! are opaque, an event is bytes, a state change is bytes. It makes one proof, [`Receipt`]: that
//! the entry is durable and that the in-memory state has taken it in.

mod append;
mod entry;

pub use append::{Append, AppendError, Committed, Head, Ledger, Pending, ReadError, Receipt};
pub use entry::{Draft, Entry, Expectation, Follower, Key, Kind, leaf};
