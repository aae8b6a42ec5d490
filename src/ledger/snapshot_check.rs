//! Looking at the snapshots of a ledger from outside.

use std::collections::BTreeMap;
use std::io;

use super::error::VerifyError;
use super::keys::DeltaKeys;
use super::layer::Layer;
use super::snapshot::{self, SnapshotReader, Unusable};
use crate::base::LedgerId;
use crate::crypto::Digest;

/// A snapshot as it lies beside the entries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotSeen {
    /// The entry that it is as of.
    pub through: u64,
    /// The SHA-256 of its file.
    pub sha256: Digest,
    /// Whether it is one of this ledger's.
    pub standing: SnapshotStanding,
}

/// Whether a snapshot is one of this ledger's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotStanding {
    /// All of it opens, and it is as of an entry that is there.
    Whole,
    /// Something of it does not open, or it is as of an entry that is not there as it was.
    Altered,
    /// Nobody can say without keys.
    Closed,
}

/// The snapshots that were there before the entries were looked at, and the nodes of the entries that they are as of.
#[derive(Clone, Debug, Default)]
pub(super) struct SnapshotsThere(BTreeMap<u64, Option<Digest>>);

impl SnapshotsThere {
    pub(super) fn list(layer: &dyn Layer) -> Result<Self, VerifyError> {
        let all = snapshot::all(layer);
        let all = all.map_err(|source| VerifyError::Io { doing: "list the ledger's directory", source })?;
        Ok(Self(all.into_iter().map(|through| (through, None)).collect()))
    }

    /// Entry `seq` has this node.
    pub(super) fn note(&mut self, seq: u64, node: Digest) {
        if let Some(known) = self.0.get_mut(&seq) {
            *known = Some(node);
        }
    }

    /// Looks at all of them, the newest first. One that has gone meanwhile has been replaced by newer ones.
    pub(super) fn look(
        self,
        layer: &dyn Layer,
        ledger: Option<LedgerId>,
        keys: Option<&DeltaKeys>,
    ) -> Result<Vec<SnapshotSeen>, VerifyError> {
        let mut seen = Vec::new();
        for (through, node) in self.0.into_iter().rev() {
            let standing = match ledger.zip(keys) {
                Some((ledger, keys)) => {
                    standing(SnapshotReader::open_with(layer, ledger, keys, through), node)
                }
                None => Ok(SnapshotStanding::Closed),
            };
            match standing.and_then(|standing| Ok((standing, snapshot::digest(layer, through)?))) {
                Ok((standing, sha256)) => seen.push(SnapshotSeen { through, sha256, standing }),
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(VerifyError::Io { doing: "read a snapshot", source }),
            }
        }
        Ok(seen)
    }
}

fn standing(opened: Result<SnapshotReader, Unusable>, node: Option<Digest>) -> io::Result<SnapshotStanding> {
    let whole = opened.and_then(|reader| {
        let is_ours = Some(reader.point().node) == node;
        reader.check_whole().map(|()| is_ours)
    });
    match whole {
        Ok(true) => Ok(SnapshotStanding::Whole),
        Ok(false)
        | Err(Unusable::Altered | Unusable::EarlierKey | Unusable::OtherBuild | Unusable::NotTakenIn(_)) => {
            Ok(SnapshotStanding::Altered)
        }
        Err(Unusable::Io(error)) => Err(error),
    }
}
