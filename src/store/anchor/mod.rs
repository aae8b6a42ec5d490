//! Anchors: the head of the ledger and the state of the keyring, kept outside of both, so that an older
//! copy of either is told apart from the newest one.
//!
//! The same anchor is kept in the file `anchor` beside the keyring and in the index. It names only entries
//! that are durable, and is written with every change that takes something away, at each clean stop, and
//! every half second while entries arrive, by a thread of its own that no request waits for.

mod check;
mod file;
mod keeper;

pub use check::AcceptedLoss;
pub(super) use check::{ExpectedAnchors, RootCheck};
pub use file::{AnchorFile, AnchorFileError};
pub(super) use keeper::{AnchorKeeper, KeeperShared, KeeperStart};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::base::{LedgerId, Sensitive};
use crate::crypto::{Digest, MacKey, derive_key};
use crate::keyring::{Family, Keyring, KeyringError};
use crate::ledger::Tree;

/// The format of anchors that this version writes.
pub const ANCHOR_FORMAT: u32 = 1;

/// What a follower compares the tree with, and has anchors written by.
pub(super) struct RootWatch {
    pub(super) check: RootCheck,
    pub(super) anchors: Arc<KeeperShared>,
}

/// A head of the ledger, and the keyring of that moment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    version: u32,
    ledger: LedgerId,
    /// Counts the anchors of a file: the highest one is the newest.
    count: u64,
    /// The newest entry.
    seq: u64,
    /// The root of the Merkle tree over the entries up to it, in hex.
    root: String,
    /// The keyring's revision.
    keyring: u64,
    /// The newest generation of each symmetric key family.
    keys: Vec<(u8, u32)>,
    /// The generation of the delta key that the anchor is authenticated under.
    authenticated_by: u32,
}

impl Anchor {
    /// The newest entry that it names.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The root over the entries up to that one; `None` when it has another form than we write.
    #[must_use]
    pub fn root(&self) -> Option<Digest> {
        Digest::from_hex(&self.root)
    }

    /// Whether it names the same head and the same keys as `other`.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        let other = Self { count: self.count, ..other.clone() };
        *self == other
    }
}

/// What anchors are made and authenticated with: a key derived from the delta key, whose generations are
/// all kept.
pub struct AnchorKeys {
    ledger: LedgerId,
    keyring: u64,
    keys: Vec<(u8, u32)>,
    macs: Vec<(u32, MacKey)>,
    is_forgotten: AtomicBool,
}

impl AnchorKeys {
    /// Those of `keyring`.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchKey`].
    pub fn of(keyring: &Keyring) -> Result<Self, KeyringError> {
        let ledger = keyring.ledger();
        let mac =
            |key: &Sensitive<[u8; 32]>| MacKey::new(&derive_key(key, ledger.as_bytes(), "keyward/anchor"));
        let macs: Vec<_> =
            keyring.generations(Family::Delta).map(|(generation, key)| (generation, mac(key))).collect();
        let newest = |family| keyring.current(family).map(|(id, _)| (id.family, id.generation));
        let families = [Family::Value, Family::Delta, Family::Index, Family::Digest];
        let keys = families.into_iter().map(newest).collect::<Result<_, _>>()?;
        let is_forgotten = AtomicBool::new(false);
        Ok(Self { ledger, keyring: keyring.revision(), keys, macs, is_forgotten })
    }

    /// Wipes them in place: no anchor is written or read any more.
    pub(super) fn forget(&self) {
        self.is_forgotten.store(true, Ordering::Release);
        self.macs.iter().for_each(|(_, mac)| mac.forget());
    }

    /// Whether they were wiped.
    fn is_forgotten(&self) -> bool {
        self.is_forgotten.load(Ordering::Acquire)
    }

    /// An anchor of the head that `tree` is of.
    #[must_use]
    pub fn anchor(&self, tree: &Tree) -> Anchor {
        Anchor {
            version: ANCHOR_FORMAT,
            ledger: self.ledger,
            count: 0,
            seq: tree.size(),
            root: tree.root().hex(),
            keyring: self.keyring,
            keys: self.keys.clone(),
            authenticated_by: self.macs.last().map_or(0, |(generation, _)| *generation),
        }
    }

    /// Its stored form: a line of JSON, and a line of HMAC over those bytes.
    fn write(&self, anchor: &Anchor) -> Option<String> {
        let (_, mac) = self.macs.iter().find(|(generation, _)| *generation == anchor.authenticated_by)?;
        let line = serde_json::to_string(anchor).ok()?;
        let tag = mac.tag(line.as_bytes());
        // What a wiped key authenticated nobody would believe.
        (!self.is_forgotten()).then(|| format!("{line}\n{tag}\n"))
    }

    /// Reads the stored form.
    fn read(&self, text: &[u8]) -> StoredAnchor {
        let text = std::str::from_utf8(text).unwrap_or_default();
        let mut lines = text.split('\n');
        let (line, tag) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let Ok(anchor) = serde_json::from_str::<Anchor>(line) else { return StoredAnchor::Unreadable };
        if anchor.version != ANCHOR_FORMAT || anchor.ledger != self.ledger {
            return StoredAnchor::Unreadable;
        }
        let found = self.macs.iter().find(|(generation, _)| *generation == anchor.authenticated_by);
        let Some((_, mac)) = found else { return StoredAnchor::OfUnknownKey };
        match Digest::from_hex(tag) {
            Some(tag) if mac.verify(line.as_bytes(), &tag) => StoredAnchor::Good(anchor),
            Some(_) | None => StoredAnchor::Unreadable,
        }
    }

    /// The newest delta key, when there was an earlier one.
    pub(super) fn newest_of_several(&self) -> Option<u32> {
        let (newest, earlier) = self.macs.split_last()?;
        (!earlier.is_empty()).then_some(newest.0)
    }

    /// Whether the keyring is no older than the one that `anchor` names, and has every generation of it.
    #[must_use]
    pub fn has_keys_of(&self, anchor: &Anchor) -> bool {
        self.keyring >= anchor.keyring
            && anchor.keys.iter().all(|(family, generation)| {
                self.keys.iter().any(|(known, newest)| known == family && newest >= generation)
            })
    }
}

impl std::fmt::Debug for AnchorKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnchorKeys([redacted])")
    }
}

/// The content of an anchor's place.
enum StoredAnchor {
    /// An anchor of this ledger.
    Good(Anchor),
    /// Perhaps an anchor, authenticated under a generation that the keyring does not have.
    OfUnknownKey,
    /// A torn write, another ledger's anchor, or an edited one.
    Unreadable,
}
