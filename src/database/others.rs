//! The entries of other writers, which a batch comes after.

use super::fault::DatabaseFault;
use super::head::EntryMark;
use super::reader::entry_of;
use super::rows::{EntryRow, HELD_BYTES_MAX, PAGE_ENTRIES, page};
use super::session::Session;
use super::trouble::Trouble;
use crate::config::Replication;
use crate::ledger::{BatchId, Entry};

/// Whole group commits of other writers, one after another.
#[derive(Debug)]
pub(super) struct Others {
    pub(super) entries: Vec<Entry>,
    pub(super) last: EntryMark,
}

/// Reads the entries between `seen`, the newest that the ledger has, and the head of the database: all of them, or as
/// many as fit on a page. The caller holds the head.
///
/// A primary that has crashed shows rows that no standby has, and a failover would remove them: where standbys are
/// required, one of them has what is given.
pub(super) async fn read_others(
    session: &mut Session,
    replication: Replication,
    seen: EntryMark,
    head: EntryMark,
) -> Result<Others, Trouble> {
    let mut entries = whole_batches(session, seen.seq.saturating_add(1), head.seq).await?;
    if entries.first().is_some_and(|first| first.chain.previous != seen.node) {
        return Err(Trouble::Lost(format!(
            "entry {} of the ledger in the database does not continue entry {}, which the broker has: entries are lost",
            seen.seq.saturating_add(1),
            seen.seq
        )));
    }
    let is_last = |entry: &Entry| entry.batch.is_last;
    let whole = entries.iter().rposition(is_last).map_or(0, |at| at.saturating_add(1));
    entries.truncate(whole);
    let last = entries.last().map_or(seen, |entry| EntryMark { seq: entry.seq, node: entry.node() });
    if last.seq == head.seq && last.node != head.node {
        return Err(Trouble::Stop("the head of the ledger in the database names another entry".to_owned()));
    }
    if replication == Replication::Required && !session.is_at_standbys().await {
        let why =
            "no synchronous standby has the newest entries of the other brokers yet: connect the standbys";
        return Err(Trouble::Again(DatabaseFault::Unusable(why.to_owned())));
    }
    Ok(Others { entries, last })
}

/// Whether `batch` begins with the entry of this row.
pub(super) fn is_first_of(row: &EntryRow, batch: &BatchId) -> bool {
    entry_of(row, batch.first_seq).is_ok_and(|first| batch.is(&first))
}

/// A page of entries, and as many after it as the first group commit needs.
async fn whole_batches(session: &mut Session, from: u64, through: u64) -> Result<Vec<Entry>, Trouble> {
    let (mut next, mut bytes, mut entries) = (from, 0_usize, Vec::new());
    loop {
        let rows = page(session, next, through, PAGE_ENTRIES).await?;
        if rows.is_empty() {
            return Err(Trouble::Stop(format!(
                "entry {next} is missing in the database, or its group commit is not whole"
            )));
        }
        for row in rows {
            let entry = entry_of(&row, next).map_err(|what| {
                Trouble::Stop(format!("entry {next} in the database cannot be used: {what}"))
            })?;
            next = next.saturating_add(1);
            bytes = bytes.saturating_add(row.stored.len());
            entries.push(entry);
        }
        if entries.iter().any(|entry: &Entry| entry.batch.is_last) {
            return Ok(entries);
        }
        if bytes > HELD_BYTES_MAX {
            return Err(Trouble::Stop(format!(
                "the group commit of entry {from} in the database is larger than any"
            )));
        }
    }
}
