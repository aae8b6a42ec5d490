use tokio_postgres::SimpleQueryRow;

use super::fault::DatabaseFault;

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

    /// Selects the process from another session, if it may still execute a statement. A server that does not track
    /// statements counts as busy.
    pub(super) fn select_busy(self) -> String {
        format!("SELECT pid {} AND coalesce(state, '') NOT LIKE 'idle%'", self.found())
    }

    /// Ends the process from another session of the same role, and waits until it has ended, unless it executes a
    /// statement: a COMMIT that waits for a standby is left alone.
    pub(super) fn end_idle(self) -> String {
        format!("SELECT pg_terminate_backend(pid, {END_MS}) {} AND state LIKE 'idle%'", self.found())
    }

    fn found(self) -> String {
        let Self { pid, began } = self;
        format!(
            "FROM pg_stat_activity WHERE pid = {pid} \
             AND (extract(epoch FROM backend_start) * 1000000)::bigint = {began}"
        )
    }
}

/// How long the end of a process is waited for, in milliseconds.
const END_MS: u32 = 2000;
