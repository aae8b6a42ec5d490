use std::fmt;
use std::io::Read;

use super::snapshot::Point;
use crate::base::limits::{DELTA_BYTES_MAX, ENTRY_KEYS_MAX, EVENT_BYTES_MAX};
use crate::base::{Sensitive, Timestamp};
use crate::crypto::{Digest, sha256, sha256_parts};

/// What sort of thing an entry records; the numbers belong to the record rooms.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Kind(pub u16);

impl Kind {
    /// The wall clock was adopted: the only entries that may be older than the entry before them.
    pub const CLOCK_ADJUSTED: Self = Self(0x0b01);
}

/// One thing an append can rely on or advance: an opaque 128-bit name.
///
/// Names of any length are hashed, ids are masked. Two that collide can only cause a needless
/// [`AppendError::Conflict`](super::AppendError::Conflict), never a missed one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of the `noun` called `name`, e.g. `("agent", agent id)`.
    #[must_use]
    pub fn of(noun: &str, name: &[u8]) -> Self {
        let digest = sha256_parts(&[&(noun.len() as u64).to_be_bytes(), noun.as_bytes(), name]);
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(digest.as_bytes()) {
            *to = *from;
        }
        Self(key)
    }

    /// The key of the `noun` with this id: the id masked by the noun, because ids are as long as keys and differ
    /// already. Two nouns that begin alike for 16 bytes would share their keys.
    #[must_use]
    pub fn of_id(noun: &str, id: &[u8; 16]) -> Self {
        let mut key = *id;
        for (byte, mask) in key.iter_mut().zip(noun.bytes().cycle()) {
            *byte ^= mask;
        }
        Self(key)
    }

    /// Its 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key of these 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// "Nothing after `as_of` has advanced `key`": what the decision behind an append relied on.
///
/// `as_of` is the sequence of the state that was read. One from before the ledger was opened, or from very
/// long ago, counts as broken: nobody decides for so long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Expectation {
    /// What is relied upon.
    pub key: Key,
    /// The last sequence that the reader of the state had seen.
    pub as_of: u64,
}

/// An entry that is yet to be written.
#[derive(Debug)]
pub struct Draft {
    /// What sort of thing happened.
    pub kind: Kind,
    /// What happened, as JSON without any secret value. At most `EVENT_BYTES_MAX` bytes.
    pub event: Vec<u8>,
    /// The state change, in clear; sealed by the writer. At most `DELTA_BYTES_MAX` bytes.
    pub delta: Sensitive<Vec<u8>>,
    /// What must still hold when the writer gets to it.
    pub expect: Vec<Expectation>,
    /// The keys whose generation becomes this entry's sequence.
    pub advance: Vec<Key>,
    /// Whether it is written even on a full disk.
    pub space: Space,
}

/// What space an entry may be written to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Space {
    /// What the disk has.
    #[default]
    Usual,
    /// What was taken beforehand too. For what takes away, and nothing else.
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
    }
}

/// One durable entry, as read back.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place: counts up from 1 without a gap.
    pub seq: u64,
    /// When it was written; never earlier than the entry before it.
    pub time: Timestamp,
    /// What sort of thing happened.
    pub kind: Kind,
    /// Random, so that a hash of a guessable event is no oracle.
    pub salt: [u8; 32],
    /// What happened, as JSON.
    pub event: Vec<u8>,
    /// The sealed state change.
    pub sealed: Vec<u8>,
    /// SHA-256 of salt and event, where it is known already: when the entry was sealed just now.
    pub(super) said: Option<Digest>,
}

impl Entry {
    /// The entry's leaf in the Merkle tree: see [`leaf`].
    #[must_use]
    pub fn leaf(&self) -> Vec<u8> {
        leaf_of(self.kind, &self.said.unwrap_or_else(|| said(&self.salt, &self.event)), &self.sealed)
    }
}

/// `version ‖ kind ‖ SHA-256(salt ‖ event) ‖ SHA-256(sealed delta)`: 67 bytes.
///
/// Salt and event are stored beside it and disclosed per entry, so that public tiles carry hashes
/// only and an event can be withheld without breaking a proof.
#[must_use]
pub fn leaf(kind: Kind, salt: &[u8; 32], event: &[u8], sealed: &[u8]) -> Vec<u8> {
    leaf_of(kind, &said(salt, event), sealed)
}

/// What an entry says, as leaf and seal name it.
pub(super) fn said(salt: &[u8; 32], event: &[u8]) -> Digest {
    sha256_parts(&[salt, event])
}

fn leaf_of(kind: Kind, said: &Digest, sealed: &[u8]) -> Vec<u8> {
    const VERSION: u8 = 1;
    let mut out = Vec::with_capacity(67);
    out.push(VERSION);
    out.extend_from_slice(&kind.0.to_be_bytes());
    out.extend_from_slice(said.as_bytes());
    out.extend_from_slice(sha256(sealed).as_bytes());
    out
}

/// Takes in entries, in order: the state that decisions read.
///
/// Called by the writer after the sync and before the acknowledgement, and at open for every entry
/// that is already there: recovery is the normal path.
pub trait Follower: Send {
    /// Takes in one entry. `delta` is the state change in clear.
    ///
    /// # Errors
    /// A sentence that says why the entry cannot be understood; the ledger then stops.
    fn apply(&mut self, entry: &Entry, delta: &[u8]) -> Result<(), String>;

    /// All entries of a group commit have been taken in. They can be read from the ledger.
    fn settle(&mut self) {}

    /// Takes in the state as of `point` in place of all entries up to it.
    ///
    /// # Errors
    /// A sentence that says why it does not; it is as it was before then, and is shown the entries.
    fn restore(&mut self, _point: &Point, _state: &mut dyn Read) -> Result<(), String> {
        Err("this state has no stored form".to_owned())
    }
}

impl fmt::Debug for dyn Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_ids_are_apart_by_noun_and_by_id() {
        let nouns = ["agent", "certificate", "revocation-agent", "revocation-instance", "revocation-token"];
        let ids = [[0; 16], [1; 16], *b"0123456789abcdef"];
        let all = nouns.iter().flat_map(|noun| ids.map(|id| Key::of_id(noun, &id)));
        let distinct: std::collections::BTreeSet<Key> = all.collect();
        assert_eq!(distinct.len(), nouns.len() * ids.len());
    }
}
