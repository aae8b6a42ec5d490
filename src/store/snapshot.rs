use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::change::{Event, StoredState};
use super::handle::Store;
use super::state::StartState;
use crate::base::limits::SNAPSHOT_ENTRIES_MIN;
use crate::ledger::{Kind, SnapshotError, SnapshotWritten};

/// The broker wrote a snapshot of its state to a file.
#[derive(Debug, Deserialize, Serialize)]
pub struct SnapshotTaken {
    /// It is as of this entry.
    pub through: u64,
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

impl Event for SnapshotTaken {
    const KIND: Kind = Kind(0x0a01);
    const NAME: &'static str = "ledger.snapshot-taken";
}

impl SnapshotTaken {
    /// The event of the snapshot `written`.
    #[must_use]
    pub fn of(written: &SnapshotWritten) -> Self {
        Self { through: written.point.through, bytes: written.bytes, sha256: written.sha256.hex() }
    }
}

/// A snapshot is taken anew when the entries since the last one are about as much to read as it is: what
/// snapshots cost stays below what the ledger itself costs, and a start reads no more than twice what lives.
const BYTES_PER_ENTRY: u64 = 256;
/// A broker that stops takes one when so large a part of the entries is there after which it would be due.
const OF_A_STOP: u64 = 4;

/// How many entries since a snapshot of so many bytes are worth another one.
fn entries_until_due(bytes: u64) -> u64 {
    SNAPSHOT_ENTRIES_MIN.max(bytes / BYTES_PER_ENTRY)
}

impl<W: StoredState> Store<W> {
    /// Whether so much has happened since the newest snapshot that a new one is worth its while.
    #[must_use]
    pub fn is_snapshot_due(&self) -> bool {
        self.entries_since_snapshot() >= entries_until_due(self.newest_snapshot_bytes())
    }

    /// Whether a broker that stops had better take one: the next start would have a good part of that to read.
    #[must_use]
    pub fn is_snapshot_worth_a_stop(&self) -> bool {
        self.entries_since_snapshot() >= entries_until_due(self.newest_snapshot_bytes()) / OF_A_STOP
    }

    fn entries_since_snapshot(&self) -> u64 {
        self.head().seq.saturating_sub(self.snapshot_seq())
    }

    fn newest_snapshot_bytes(&self) -> u64 {
        self.newest_snapshot.bytes.load(Ordering::Acquire)
    }

    /// The entry that the newest snapshot is as of; 0 when there is none that this build reads.
    #[must_use]
    pub fn snapshot_seq(&self) -> u64 {
        self.newest_snapshot.through.load(Ordering::Acquire)
    }

    /// Takes a snapshot, unless `give_up` says before its end that nobody wants it any more, or nothing has
    /// happened since the last one.
    ///
    /// It is made as a start would make the state, out of the snapshot before it and the entries since, and
    /// not out of the state that requests read: nobody waits for it, and what no entry says is not in it.
    ///
    /// # Errors
    /// [`SnapshotError`]; the snapshots of before are as they were.
    pub fn take_snapshot(
        &self,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Option<SnapshotWritten>, SnapshotError> {
        let written = self.ledger.take_snapshot(&mut StartState::<W>::default(), give_up)?;
        if let Some(written) = &written {
            self.newest_snapshot.through.store(written.point.through, Ordering::Release);
            self.newest_snapshot.bytes.store(written.bytes, Ordering::Release);
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_after_so_many_entries_and_later_when_it_is_large() {
        assert_eq!(entries_until_due(0), SNAPSHOT_ENTRIES_MIN);
        assert_eq!(entries_until_due(SNAPSHOT_ENTRIES_MIN * BYTES_PER_ENTRY), SNAPSHOT_ENTRIES_MIN);
        let large = (SNAPSHOT_ENTRIES_MIN + 1) * BYTES_PER_ENTRY;
        assert_eq!(entries_until_due(large), SNAPSHOT_ENTRIES_MIN + 1);
    }
}
