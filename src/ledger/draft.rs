use super::entry::{EntryCause, entry_bytes_max};
use super::key::{Key, Kind};
use super::keys::plain_len;
use crate::base::Sensitive;
use crate::base::limits::{DELTA_BYTES_MAX, ENTRY_KEYS_MAX, EVENT_BYTES_MAX};

/// "Nothing after `as_of` has advanced `key`": what the decision behind an append relied on.
///
/// `as_of` is the sequence of the state that was read. One from before the ledger was opened, or from very
/// long ago, counts as broken: nobody decides for so long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Expectation {
    /// The preconditions.
    pub key: Key,
    /// The last sequence that the reader of the state had seen.
    pub as_of: u64,
}

/// An entry that is yet to be written.
#[derive(Debug)]
pub struct Draft {
    /// The kind of the event.
    pub kind: Kind,
    /// The event in JSON, without secret values. At most `EVENT_BYTES_MAX` bytes.
    pub event: Vec<u8>,
    /// The state change, in clear; sealed by the writer. At most `DELTA_BYTES_MAX` bytes.
    pub delta: Sensitive<Vec<u8>>,
    /// The preconditions at the time of the commit.
    pub expect: Vec<Expectation>,
    /// The keys whose generation becomes this entry's sequence.
    pub advance: Vec<Key>,
    /// The agents and operators concerned, as callers or as targets: each once, in the order of the keys.
    pub concerns: Vec<Key>,
    /// Its cause.
    pub cause: EntryCause,
    /// Whether it is written even on a full disk.
    pub space: Space,
}

/// The space for an entry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Space {
    /// The free space of the disk.
    #[default]
    Usual,
    /// The reserved space too. Only for revocations.
    Reserve,
}

impl Draft {
    /// Whether it is more than an entry holds.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.event.len() > EVENT_BYTES_MAX
            || self.delta.expose().len() > DELTA_BYTES_MAX
            || self.advance.len() > ENTRY_KEYS_MAX
            || self.expect.len() > ENTRY_KEYS_MAX
            || self.concerns.len() > ENTRY_KEYS_MAX
    }

    /// Most bytes that its stored form takes up.
    pub(super) fn stored_bytes_max(&self) -> usize {
        let reason = self.cause.reason.as_ref().map_or(0, |reason| reason.as_str().len());
        let plain = plain_len(self.advance.len(), self.delta.expose().len());
        entry_bytes_max(self.concerns.len(), self.event.len(), reason, plain)
    }
}
