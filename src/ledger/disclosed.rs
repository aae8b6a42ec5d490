use super::entry::{Entry, EntryCause, EntryDigests, Link, leaf, node_of};
use super::key::Kind;
use crate::base::Timestamp;
use crate::crypto::{Digest, sha256};

/// An entry as another party can check it: everything that its leaf is the hash of. Of the sealed state change there is
/// the digest alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DisclosedEntry {
    /// Its sequence number.
    pub seq: u64,
    /// When it was written.
    pub time: Timestamp,
    /// The kind of the event.
    pub kind: Kind,
    /// Its cause.
    pub cause: EntryCause,
    /// The event in JSON, byte for byte.
    pub event: Vec<u8>,
    /// The agents and operators concerned, in the order of their keys.
    pub links: Vec<Link>,
    /// The random salt of its hashes.
    pub salt: [u8; 32],
    /// SHA-256 of the sealed state change.
    pub state: Digest,
}

impl DisclosedEntry {
    /// Its node in the Merkle tree ([`Entry::node`]).
    #[must_use]
    pub fn node(&self) -> Digest {
        let digests = EntryDigests::of(&self.salt, self.time, &self.cause, &self.event, &self.links);
        node_of(&leaf(self.kind, &digests, &self.state))
    }
}

impl From<&Entry> for DisclosedEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            seq: entry.seq,
            time: entry.time,
            kind: entry.kind,
            cause: entry.cause.clone(),
            event: entry.event.clone(),
            links: entry.chain.links.clone(),
            salt: entry.chain.salt,
            state: sha256(&entry.state.sealed),
        }
    }
}
