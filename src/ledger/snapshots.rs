use std::io::{self, Write};

use super::error::ReadError;
use super::follower::{Follower, SnapshotPoint};
use super::handle::Ledger;
use super::history::LedgerHistory;
use super::resume::resume;
use super::snapshot::{self, SnapshotWritten};
use crate::base::io_reason;

/// A state that snapshots are made of, apart from the one that decisions read.
pub trait SnapshotState: Follower {
    /// Writes the state as it is, for [`Follower::restore`] to read.
    ///
    /// # Errors
    /// Those of `out`.
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// Why there is no new snapshot. Nothing depends on one but how long a start takes.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be written.
    #[error("the file cannot be written: {}", io_reason(.0))]
    Io(#[from] io::Error),
    /// The ledger could not be read back.
    #[error(transparent)]
    Read(#[from] ReadError),
}

const GIVEN_UP: &str = "given up";

impl Ledger {
    /// Writes a snapshot as of the newest entry, unless `give_up` says before its end that it is not wanted any more,
    /// or there is no entry.
    ///
    /// `state` is made as a start makes it, out of the snapshot before and the entries since. Takes as long as that
    /// does; nothing waits for it.
    ///
    /// # Errors
    /// [`SnapshotError`]; the snapshots of before are as they were.
    pub fn take_snapshot(
        &self,
        state: &mut dyn SnapshotState,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Option<SnapshotWritten>, SnapshotError> {
        let through = self.head().seq;
        let find = |seq| Ok(self.read(seq, 1).ok().and_then(|found| found.into_iter().next()));
        let resumed = resume(&self.options, &find, state).map_err(ReadError::from)?;
        let mut history = resumed.history.unwrap_or_else(LedgerHistory::new);
        let from = history.head().seq.saturating_add(1);
        let read = self.each(from, through, &mut |entry, delta| {
            if give_up() {
                return Err(GIVEN_UP.to_owned());
            }
            state.apply(entry, delta, history.tree()).map_err(|why| why.to_string())?;
            history.take(entry);
            Ok(())
        });
        match read {
            Err(ReadError::Io(why)) if why == GIVEN_UP => return Ok(None),
            other => other?,
        }
        let head = history.head();
        if head.seq == 0 {
            return Ok(None);
        }
        let point = SnapshotPoint { through: head.seq, time: head.time, node: history.node() };
        let written = snapshot::write(&self.options, point, &mut |out| {
            history.write(out)?;
            state.write(out)
        })?;
        Ok(Some(written))
    }

    /// Removes the snapshots that are as of a later entry than `through`: they are another history's.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn forget_snapshots_after(&self, through: u64) -> io::Result<()> {
        snapshot::forget_after(self.options.snapshots.as_ref(), through)
    }
}
