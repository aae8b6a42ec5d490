//! Checking a ledger whose entries are rows of a database, from outside.

use super::error::{ReadError, VerifyError};
use super::keys::DeltaKeys;
use super::layer::Layer;
use super::log::{LogReader, ScanFlow};
use super::snapshot_check::SnapshotsThere;
use super::verify::{End, LedgerCheck, Verified, VerifyQuery};
use crate::base::LedgerId;
use crate::crypto::Digest;

/// What a database says of its newest entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredHead {
    /// The ledger; `None` until a broker has used the database.
    pub ledger: Option<LedgerId>,
    /// The newest entry; 0 without any.
    pub seq: u64,
    /// Its node; zeros without any.
    pub node: Digest,
    /// Whether the ledger was closed in good order.
    pub is_closed: bool,
}

/// The ledger that is expected, and the keys of its entries.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedLedger<'a> {
    /// The ledger.
    pub ledger: LedgerId,
    /// Its keys.
    pub keys: &'a DeltaKeys,
}

/// Checks the entries that `reader` shows up to `head`: each sequence, time and link, and with the keys of the `expected`
/// ledger each seal. The snapshots are in `layer`.
///
/// # Errors
/// [`VerifyError::Damaged`] names the first entry that is not there as it was written.
pub fn verify_rows(
    reader: &dyn LogReader,
    head: StoredHead,
    layer: &dyn Layer,
    expected: Option<ExpectedLedger<'_>>,
    sought: VerifyQuery<'_>,
) -> Result<Verified, VerifyError> {
    let keys = expected.map(|expected| expected.keys);
    if let Some(ExpectedLedger { ledger, .. }) = expected
        && head.seq > 0
        && head.ledger != Some(ledger)
    {
        return Err(VerifyError::Database("the database holds the ledger of another broker".to_owned()));
    }
    let snapshots = SnapshotsThere::list(layer)?;
    let mut check = LedgerCheck::new(head.ledger, keys, sought, snapshots);
    let (mut refused, mut is_whole) = (None, true);
    let read = reader.each(1, head.seq, &mut |entry| {
        if let Err(error) = check.take_entry(&reader.holder(entry.seq), &entry) {
            refused = Some(error);
            return Ok(ScanFlow::Enough);
        }
        is_whole = entry.batch.is_last;
        Ok(ScanFlow::On)
    });
    if let Some(error) = refused {
        return Err(error);
    }
    read.map_err(|error| match error {
        ReadError::Damaged { seq, segment, what } => VerifyError::Damaged { seq, segment, what },
        ReadError::Io(why) => VerifyError::Database(why),
    })?;
    let damaged = |what| Err(VerifyError::damaged(head.seq, &reader.holder(head.seq), what));
    if !is_whole {
        return damaged("the group commit that it belongs to is not whole");
    }
    if check.history().node() != head.node {
        return damaged("the head of the ledger names another entry");
    }
    let end = if head.is_closed { End::Closed } else { End::Open };
    check.verified(layer, head.ledger, end)
}
