use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::{Anchor, AnchorFileError, AnchorKeys, StoredAnchor};
use crate::crypto::Digest;
use crate::ledger::{Kind, Tree};
use crate::store::change::Event;

/// Alarm: a person started the broker although ledger entries or keys are missing that it had before (`serve
/// --accept-lost-entries`).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct AcceptedLoss {
    /// The lost entries, in the words of the refused start.
    pub what: String,
    /// The newest entry that an anchor, the index or a snapshot names.
    pub seen: u64,
    /// The newest entry that is there.
    pub ledger: u64,
}

impl Event for AcceptedLoss {
    const KIND: Kind = Kind(0x0a02);
    const NAME: &'static str = "alarm.data-loss-accepted";
}

/// The state that the anchors require.
#[derive(Debug, Default)]
pub(in crate::store) struct ExpectedAnchors {
    anchors: Vec<Anchor>,
    keyring: Option<String>,
    file: Option<String>,
    /// The newest delta key, when there was an earlier one: an anchor under that proves nothing, because
    /// its holder can make one.
    only_by: Option<u32>,
}

impl ExpectedAnchors {
    /// Adds what the file gave.
    pub(in crate::store) fn by_file(
        &mut self,
        read: Result<Option<Anchor>, &AnchorFileError>,
        keys: &AnchorKeys,
    ) {
        match read {
            Ok(anchor) => self.anchors.extend(anchor),
            Err(AnchorFileError::KeyMissing) => self.keyring = Some(AnchorFileError::KeyMissing.to_string()),
            Err(error) => self.file = Some(error.to_string()),
        }
        self.check_keys(keys);
    }

    /// Adds what the index gave. An anchor that does not read there is the index's own loss.
    pub(in crate::store) fn by_index(&mut self, stored: Option<&[u8]>, keys: &AnchorKeys) {
        match stored.map(|stored| keys.read(stored)) {
            Some(StoredAnchor::Good(anchor)) => self.anchors.push(anchor),
            Some(StoredAnchor::OfUnknownKey | StoredAnchor::Unreadable) | None => {}
        }
        self.check_keys(keys);
    }

    fn check_keys(&mut self, keys: &AnchorKeys) {
        self.only_by = keys.newest_of_several();
        if let Some(anchor) = self.anchors.iter().find(|anchor| !keys.has_keys_of(anchor)) {
            self.keyring = Some(format!(
                "the keyring lacks a key generation that it had at ledger entry {}",
                anchor.seq
            ));
        }
    }

    /// Why the keyring is not the newest one.
    pub(in crate::store) fn keyring_fault(&self) -> Option<&str> {
        self.keyring.as_deref()
    }

    /// Why the file gives no anchor.
    pub(in crate::store) fn file_fault(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The newest entry that an anchor names.
    pub(in crate::store) fn newest(&self) -> Option<u64> {
        self.anchors.iter().map(Anchor::seq).max()
    }

    /// The newest entry that an anchor vouches for; `None` when there never was one.
    fn vouched(&self) -> Option<u64> {
        let Some(generation) = self.only_by else { return self.newest() };
        let good = self.anchors.iter().filter(|anchor| anchor.authenticated_by == generation);
        Some(good.map(Anchor::seq).max().unwrap_or_default())
    }

    /// Compares the tree at each anchor while entries are read.
    pub(in crate::store) fn root_check(&self, differs_at: &Arc<AtomicU64>) -> RootCheck {
        let mut roots: Vec<_> =
            self.anchors.iter().filter_map(|anchor| Some((anchor.seq, anchor.root()?))).collect();
        roots.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        let next = roots.last().map_or(0, |(seq, _)| *seq);
        RootCheck { roots, next, newest: self.vouched(), differs_at: Arc::clone(differs_at) }
    }
}

/// Compares the ledger's tree with the roots of anchors.
#[derive(Debug)]
pub(in crate::store) struct RootCheck {
    /// The lowest entry last.
    roots: Vec<(u64, Digest)>,
    /// The next entry to compare at; 0 when there is none.
    next: u64,
    newest: Option<u64>,
    /// The lowest entry at which they differ; 0 when they agree.
    differs_at: Arc<AtomicU64>,
}

impl RootCheck {
    /// Compares `tree`, where an anchor is.
    pub(in crate::store) fn at(&mut self, tree: &Tree) {
        if self.next > 0 && tree.size() >= self.next {
            self.compare(tree);
        }
    }

    fn compare(&mut self, tree: &Tree) {
        while let Some((seq, root)) = self.roots.pop_if(|(seq, _)| *seq <= tree.size()) {
            if seq == tree.size() && root != tree.root() {
                let _first = self.differs_at.compare_exchange(0, seq, Ordering::AcqRel, Ordering::Acquire);
            }
        }
        self.next = self.roots.last().map_or(0, |(seq, _)| *seq);
    }

    /// Whether a state as of `tree` can be believed: a snapshot that is later than the newest anchor would
    /// hide that the entries before it are others.
    pub(in crate::store) fn believes(&self, tree: &Tree) -> bool {
        let Some(newest) = self.newest else { return true };
        let differs = |(seq, root): &(u64, Digest)| *seq == tree.size() && *root != tree.root();
        tree.size() <= newest && !self.roots.iter().any(differs)
    }
}
