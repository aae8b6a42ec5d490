//! The rows of entries.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::DatabaseFault;
use super::session::{Parameter, Session};
use crate::base::limits::{BATCH_BYTES_MAX, DELTA_BYTES_MAX};
use crate::ledger::Entry;

/// The stored entry of a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct EntryRow {
    pub(super) seq: u64,
    pub(super) stored: Vec<u8>,
}

/// The entries of a batch in their stored form.
#[derive(Clone, Debug)]
pub(super) struct BatchRows {
    pub(super) seqs: Vec<i64>,
    pub(super) stored: Vec<Vec<u8>>,
}

impl BatchRows {
    pub(super) fn of(batch: &[Entry]) -> Self {
        Self {
            seqs: batch.iter().map(|entry| row_number(entry.seq)).collect(),
            stored: batch.iter().map(Entry::to_bytes).collect(),
        }
    }
}

/// Most bytes of entries that make a page full.
const PAGE_BYTES: i64 = 4 * 1024 * 1024;
/// Most entries of a page.
pub(super) const PAGE_ENTRIES: i64 = 4096;

/// Most bytes of one group commit: it accepts no further entry from `BATCH_BYTES_MAX` on, and an entry has an event, its
/// keys and links beside its state change.
pub(super) const HELD_BYTES_MAX: usize = BATCH_BYTES_MAX + 2 * DELTA_BYTES_MAX;

/// The entry that makes a page full is still on it, so that every page has one.
const PAGE: &str = "SELECT seq, entry FROM (SELECT seq, entry, sum(length(entry)) OVER (ORDER BY seq) - length(entry) AS before \
     FROM (SELECT seq, entry FROM keyward.entries WHERE seq BETWEEN $1 AND $2 ORDER BY seq LIMIT $3) AS sized) AS page \
     WHERE before < $4 ORDER BY seq";

/// Entries from `from` to `through`: as many as fit on a page, and no more than `most`.
pub(super) async fn page(
    session: &mut Session,
    from: u64,
    through: u64,
    most: i64,
) -> Result<Vec<EntryRow>, DatabaseFault> {
    let (from, through) = (row_number(from), row_number(through));
    let parameters: [Parameter<'_>; 4] =
        [(&from, Type::INT8), (&through, Type::INT8), (&most, Type::INT8), (&PAGE_BYTES, Type::INT8)];
    let rows = session.query(PAGE, &parameters).await?;
    let read = |row: &Row| {
        let seq: i64 = row.try_get(0).ok()?;
        Some(EntryRow { seq: u64::try_from(seq).ok()?, stored: row.try_get(1).ok()? })
    };
    let unusable = || DatabaseFault::Unusable("a row of the ledger's entries cannot be read".to_owned());
    rows.iter().map(|row| read(row).ok_or_else(unusable)).collect()
}

/// The number of an entry as PostgreSQL stores it.
pub(super) fn row_number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
