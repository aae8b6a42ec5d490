use tokio_postgres::SimpleQueryRow;

use super::fault::DatabaseFault;
use super::log_use::HeadState;
use crate::base::LedgerId;
use crate::base::encoding::from_hex;
use crate::crypto::Digest;

/// The format of the schema.
pub(super) const SCHEMA_FORMAT: u16 = 1;

/// The row of the head: the newest entry, and who may write the next one. Its lock orders all batches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HeadRow {
    /// The ledger; `None` until its first broker has started.
    pub(super) ledger: Option<LedgerId>,
    /// The newest entry.
    pub(super) newest: EntryMark,
    /// The writer session that may write; `None` after a close in good order.
    pub(super) writer: Option<[u8; 32]>,
    /// Where the ledger is continued.
    pub(super) state: HeadState,
    /// The mark of the data directory whose broker has claimed the ledger; `None` until the first claim.
    pub(super) owner: Option<u64>,
    /// The setting `synchronous_standby_names`.
    pub(super) standbys: String,
}

/// An entry and its node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct EntryMark {
    pub(super) seq: u64,
    pub(super) node: Digest,
}

impl EntryMark {
    /// Before the first entry.
    pub(super) const NONE: Self = Self { seq: 0, node: Digest::from_bytes([0; 32]) };
}

impl HeadRow {
    /// Selects the row; a lock can follow.
    pub(super) const SELECT: &str = "SELECT format, coalesce(encode(ledger, 'hex'), ''), seq, encode(node, 'hex'), \
         coalesce(encode(writer, 'hex'), ''), state, current_setting('synchronous_standby_names'), \
         coalesce(encode(owner, 'hex'), '') FROM keyward.head";

    /// The mark of the data directory that claims have to be of. Before the first entry, and while the ledger is continued
    /// in files, there is none.
    pub(super) fn claimed_by(&self) -> Option<u64> {
        self.owner.filter(|_| self.newest.seq > 0 && self.state == HeadState::Here)
    }

    /// Reads the row.
    pub(super) fn read(rows: &[SimpleQueryRow]) -> Result<Self, DatabaseFault> {
        let unusable = || DatabaseFault::Unusable("the row of the ledger's head cannot be read".to_owned());
        let row = rows.last().ok_or_else(unusable)?;
        let text = |column: usize| row.try_get(column).ok().flatten().ok_or_else(unusable);
        let digest = |hex: &str| Some(Digest::from_bytes(from_hex(hex)?.try_into().ok()?));
        let format: u16 = text(0)?.parse().map_err(|_| unusable())?;
        if format != SCHEMA_FORMAT {
            return Err(DatabaseFault::Unusable(format!(
                "the schema of the ledger has format {format}, which this version of keyward does not read"
            )));
        }
        let ledger = |hex: &str| Some(LedgerId::from_bytes(from_hex(hex)?.try_into().ok()?));
        let mark = |hex: &str| Some(u64::from_be_bytes(from_hex(hex)?.try_into().ok()?));
        let seq = text(2)?.parse().map_err(|_| unusable())?;
        let node = digest(text(3)?).ok_or_else(unusable)?;
        Ok(Self {
            ledger: Some(text(1)?)
                .filter(|hex| !hex.is_empty())
                .map(|hex| ledger(hex).ok_or_else(unusable))
                .transpose()?,
            newest: EntryMark { seq, node },
            writer: Some(text(4)?)
                .filter(|hex| !hex.is_empty())
                .map(|hex| digest(hex).map(|salt| *salt.as_bytes()).ok_or_else(unusable))
                .transpose()?,
            state: HeadState::of_number(text(5)?)?,
            standbys: text(6)?.to_owned(),
            owner: Some(text(7)?)
                .filter(|hex| !hex.is_empty())
                .map(|hex| mark(hex).ok_or_else(unusable))
                .transpose()?,
        })
    }
}
