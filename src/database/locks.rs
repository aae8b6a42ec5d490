//! The lock of the ledger, and the lock of its head.

use super::fault::DatabaseFault;
use super::head::HeadRow;
use super::session::Session;
use crate::base::LedgerId;

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Takes the lock that tells a running broker from one that has ended. The session holds it to its end.
pub(super) async fn lock(session: &mut Session, ledger: LedgerId) -> Result<bool, DatabaseFault> {
    let [.., a, b, c, d, e, f, g, h] = *ledger.as_bytes();
    let key = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let rows = session.send(&format!("SELECT pg_try_advisory_lock({key})")).await?;
    Ok(rows.last().and_then(|row| row.try_get(0).ok().flatten()) == Some("t"))
}

/// Begins a transaction that holds the head.
pub(super) async fn lock_head(session: &mut Session) -> Result<HeadRow, DatabaseFault> {
    let locked = session.send(&format!("{BEGIN}; {} FOR UPDATE", HeadRow::SELECT)).await;
    let head = locked.and_then(|rows| HeadRow::read(&rows));
    if head.is_err() {
        session.roll_back().await;
    }
    head
}
