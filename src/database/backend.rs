use tokio_postgres::SimpleQueryRow;

use super::fault::DatabaseFault;
use super::session::Session;

/// The process of the server that serves a session. A process id is used again, so the moment at which it began counts
/// too, in microseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Backend {
    pid: u32,
    began: i64,
}

impl Backend {
    /// Selects the process of the session that asks.
    pub(super) const SELECT: &str = "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity \
         WHERE pid = pg_backend_pid()";

    /// Reads the row.
    pub(super) fn read(rows: &[SimpleQueryRow]) -> Result<Self, DatabaseFault> {
        let text = |column: usize| rows.last().and_then(|row| row.try_get(column).ok().flatten());
        let read = || Some(Self { pid: text(0)?.parse().ok()?, began: text(1)?.parse().ok()? });
        let unusable =
            || DatabaseFault::Unusable("the database does not name the process of a session".to_owned());
        read().ok_or_else(unusable)
    }

    /// Whether it may still execute a statement, as `other` is told.
    pub(super) async fn is_busy(self, other: &mut Session) -> Result<bool, DatabaseFault> {
        let rows = other.send(&format!("SELECT pid FROM {}", self.among("NOT"))).await?;
        Ok(!rows.is_empty())
    }

    /// Ends it, and waits until it has ended, unless it executes a statement: a COMMIT that waits for a standby is left
    /// alone. The statement is that of `other`, with the same role.
    pub(super) async fn end(self, other: &mut Session) -> Result<(), DatabaseFault> {
        let ended = format!("SELECT pg_terminate_backend(pid, {END_MS}) FROM {}", self.among(""));
        other.send(&ended).await.map(drop)
    }

    /// This process, if it is idle, or is `NOT`. A server that does not track statements counts as busy.
    fn among(self, not: &str) -> String {
        let Self { pid, began } = self;
        format!(
            "pg_stat_activity WHERE pid = {pid} AND (extract(epoch FROM backend_start) * 1000000)::bigint = {began} \
             AND coalesce(state, '') {not} LIKE 'idle%'"
        )
    }
}

/// How long the end of a process is waited for, in milliseconds.
const END_MS: u32 = 2000;
