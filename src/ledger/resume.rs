//! Where an open begins to read: after the newest snapshot that this ledger has made, or at the first entry.

use super::entry::Entry;
use super::error::VerifyError;
use super::follower::Follower;
use super::history::{Head, LedgerHistory};
use super::options::Options;
use super::snapshot::{self, SnapshotReader, Unusable};

/// The content of the snapshots.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// What the follower has taken in already.
    pub(super) history: Option<LedgerHistory>,
    /// The latest entry that a snapshot was made as of and that the ledger does not have: acknowledged
    /// entries are gone.
    pub(super) lost: Option<u64>,
}

/// Finds an entry as it is stored.
pub(super) type FindStored<'a> = dyn Fn(u64) -> Result<Option<Entry>, VerifyError> + 'a;

/// Lets `follower` take in the newest snapshot that it can, of those as of an entry that is `stored`.
pub(super) fn resume(
    options: &Options,
    stored: &FindStored<'_>,
    follower: &mut dyn Follower,
) -> Result<Resumed, VerifyError> {
    let io = |source| VerifyError::Io { doing: "list the ledger's directory", source };
    let mut resumed = Resumed::default();
    for through in snapshot::all(options.snapshots.as_ref()).map_err(io)? {
        let reader = match SnapshotReader::open(options, through) {
            Ok(reader) => reader,
            Err(why) => {
                pass_over(through, &why);
                continue;
            }
        };
        let entry = stored(through)?;
        if entry.is_none_or(|entry| entry.node() != reader.point().node) {
            resumed.lost = resumed.lost.max(Some(through));
            continue;
        }
        match restore(options, reader, follower) {
            Ok(history) => {
                resumed.history = Some(history);
                break;
            }
            Err(why) => pass_over(through, &why),
        }
    }
    Ok(resumed)
}

fn restore(
    options: &Options,
    mut reader: SnapshotReader,
    follower: &mut dyn Follower,
) -> Result<LedgerHistory, Unusable> {
    reader.check_build(options.build)?;
    reader.check_generation(&options.keys)?;
    let point = reader.point();
    let history =
        LedgerHistory::read(Head { seq: point.through, time: point.time }, point.node, &mut reader)?;
    follower.restore(&point, history.tree(), &mut reader).map_err(Unusable::NotTakenIn)?;
    Ok(history)
}

/// Nothing is lost by it but time: the entries say the same.
fn pass_over(through: u64, why: &Unusable) {
    match why {
        Unusable::OtherBuild => {
            tracing::info!(through, "another build wrote this snapshot: reading the entries instead");
        }
        Unusable::EarlierKey => {
            tracing::info!(
                through,
                "this snapshot is sealed under an earlier key: reading the entries instead"
            );
        }
        Unusable::Io(_) | Unusable::Altered | Unusable::NotTakenIn(_) => {
            tracing::warn!(through, %why, "a snapshot is passed over: reading the entries instead");
        }
    }
}
