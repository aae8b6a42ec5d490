//! Where an open begins to read: after the newest snapshot that this ledger has made, or at the first entry.

use super::entry::{Follower, leaf};
use super::file_ledger::Options;
use super::flaw::VerifyError;
use super::recovery::load;
use super::segment::segment_name;
use super::snapshot::{self, Point, Reader, Unusable};
use super::walk::{Step, Walker};
use crate::crypto::sha256;

/// What the snapshots say.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// What the follower has taken in already.
    pub(super) point: Option<Point>,
    /// The latest entry that a snapshot was made as of and that the ledger does not have: acknowledged
    /// entries are gone.
    pub(super) lost: Option<u64>,
}

/// Lets `follower` take in the newest snapshot that it can. `firsts` are the ledger's segments.
pub(super) fn resume(
    options: &Options,
    firsts: &[u64],
    follower: &mut dyn Follower,
) -> Result<Resumed, VerifyError> {
    let io = |source| VerifyError::Io { doing: "list the ledger's directory", source };
    let mut resumed = Resumed::default();
    for through in snapshot::all(options.layer.as_ref()).map_err(io)? {
        let reader = match Reader::open(options, through) {
            Ok(reader) => reader,
            Err(why) => {
                pass_over(through, &why);
                continue;
            }
        };
        let point = reader.point();
        if !has(options, firsts, &point)? {
            resumed.lost = resumed.lost.max(Some(through));
            continue;
        }
        match restore(options, reader, follower) {
            Ok(()) => {
                resumed.point = Some(point);
                break;
            }
            Err(why) => pass_over(through, &why),
        }
    }
    Ok(resumed)
}

fn restore(options: &Options, mut reader: Reader, follower: &mut dyn Follower) -> Result<(), Unusable> {
    reader.check_build(options.build)?;
    reader.check_generation(&options.keys)?;
    let point = reader.point();
    follower.restore(&point, &mut reader).map_err(Unusable::NotTakenIn)
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

/// Whether the ledger has the very entry that `point` is as of.
fn has(options: &Options, firsts: &[u64], point: &Point) -> Result<bool, VerifyError> {
    let after = firsts.partition_point(|first| *first <= point.through);
    let Some(&first_seq) = after.checked_sub(1).and_then(|at| firsts.get(at)) else { return Ok(false) };
    let (file, header) = load(options.layer.as_ref(), first_seq)?;
    let name = segment_name(first_seq);
    let mut walker = Walker::new(&file, &header, &name);
    while walker.next_seq() <= point.through {
        let Step::Batch(batch) = walker.step()? else { return Ok(false) };
        if let Some(frame) = batch.frames.iter().find(|frame| frame.seq == point.through) {
            let leaf = leaf(frame.kind, &frame.salt, frame.event, frame.sealed);
            return Ok(sha256(&leaf) == point.leaf);
        }
    }
    Ok(false)
}
