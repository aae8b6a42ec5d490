use std::time::Duration;

use tokio::time::{error::Elapsed, sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage, SimpleQueryRow};

use super::backend::Backend;
use super::fault::DatabaseFault;
use super::line::Line;
use super::target::DatabaseTarget;
use crate::base::Stopwatch;
use crate::config::Replication;
use crate::ledger::Closing;

/// A session at the primary.
pub(super) struct Session {
    client: Client,
    line: Line,
    backend: Backend,
    is_broken: bool,
}

/// A parameter of a statement, and its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The outcome of a COMMIT.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CommitOutcome {
    /// It is durable, at the standbys too.
    Committed,
    /// Only a look-up can tell.
    Unknown,
}

/// Longest wait for the answer to a statement that is no COMMIT.
const ANSWER: Duration = Duration::from_secs(15);

/// How long the standbys' positions may be behind that of the primary after a COMMIT that they have: other sessions
/// write too.
const AT_STANDBYS: Duration = Duration::from_secs(3);
const AT_STANDBYS_EVERY: Duration = Duration::from_millis(2);
/// The position of the primary's disk.
const NEWEST: &str = "pg_current_wal_flush_lsn()";

/// How long a close waits for a COMMIT.
const CLOSE: Duration = Duration::from_secs(5);
const CLOSE_EVERY: Duration = Duration::from_millis(100);

/// How often another session asks whether the server still executes a COMMIT.
const COMMIT_CHECKED_EVERY: Duration = Duration::from_secs(10);

/// Ends when the server does not execute the statement of `backend` any more: the answer is late, or will not come. A
/// server that cannot be asked says nothing of it.
async fn no_longer_executed(backend: Backend, target: &DatabaseTarget) {
    loop {
        sleep(COMMIT_CHECKED_EVERY).await;
        if let Ok(mut other) = Session::open(target).await
            && other.send(&backend.select_busy()).await.is_ok_and(|rows| rows.is_empty())
        {
            tracing::warn!("the answer of the database to a commit is overdue: its outcome is looked up");
            return;
        }
    }
}

/// Ends some seconds after the ledger began to close.
async fn given_up(closing: &Closing) {
    while !closing.has_begun() {
        sleep(CLOSE_EVERY).await;
    }
    sleep(CLOSE).await;
}

/// Selects the `wanted` position, and whether as many synchronous standbys as the server waits for have it on their
/// disks.
fn at_standbys(wanted: &str) -> String {
    format!(
        "WITH newest AS MATERIALIZED (SELECT {wanted} AS position) \
         SELECT position, (SELECT count(*) FROM pg_stat_replication \
           WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= position) \
           >= greatest(coalesce(substring(current_setting('synchronous_standby_names') from '([0-9]+) *[(]')::integer, 1), 1) \
         FROM newest"
    )
}

/// A role and a database have settings of their own, which could shorten a wait or turn off what the ledger relies on.
/// A transaction that stays idle for longer than 30 s is ended by the server: its node is paused or gone, and others
/// wait for the head. No timeout of the server ends a COMMIT that waits for a standby. The server finds out within half
/// a minute that the machine of a broker is gone, also when it waits for a sign of what it has sent, and frees the ledger.
const SETUP: &str = "SET search_path = pg_catalog, pg_temp; SET statement_timeout = 0; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '30s'; SET synchronous_commit = on; \
     SET client_min_messages = warning; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
     SET tcp_user_timeout = 25000; \
     SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('transaction_timeout', 'idle_session_timeout')";

impl Session {
    /// Logs in.
    pub(super) async fn open(target: &DatabaseTarget) -> Result<Self, DatabaseFault> {
        let (client, line) = target.log_in().await?;
        let backend = Backend::default();
        let mut session = Self { client, line, backend, is_broken: false };
        let rows = session.send(&format!("{SETUP}; {}", Backend::SELECT)).await?;
        session.backend = Backend::read(&rows)?;
        Ok(session)
    }

    /// The server's process.
    pub(super) const fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether requests can still be sent.
    pub(super) const fn is_usable(&self) -> bool {
        !self.is_broken && !self.line.is_over()
    }

    /// The rows of `statements`. Several of them are one transaction, unless they say otherwise.
    pub(super) async fn send(&mut self, statements: &str) -> Result<Vec<SimpleQueryRow>, DatabaseFault> {
        let Self { client, line, .. } = self;
        let answered = timeout(ANSWER, line.drive(client.simple_query(statements))).await;
        let row = |answer| if let SimpleQueryMessage::Row(row) = answer { Some(row) } else { None };
        Ok(self.judged(answered)?.into_iter().filter_map(row).collect())
    }

    /// Executes `statement`; the number of rows that it has changed.
    pub(super) async fn execute(
        &mut self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, DatabaseFault> {
        let Self { client, line, .. } = self;
        let answered = timeout(ANSWER, line.drive(client.execute_typed(statement, parameters))).await;
        self.judged(answered)
    }

    /// The rows of `statement`.
    pub(super) async fn query(
        &mut self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DatabaseFault> {
        let Self { client, line, .. } = self;
        let answered = timeout(ANSWER, line.drive(client.query_typed(statement, parameters))).await;
        self.judged(answered)
    }

    /// Commits, and waits until the standbys have it, for as long as that takes: a wait that is given up would show the
    /// rows to others.
    ///
    /// The server ends the wait of a COMMIT when its list of standbys is emptied, and answers as ever. So where a standby
    /// is required, the standbys' own positions are asked for.
    ///
    /// A close gives up waiting after some seconds, and nothing is acknowledged: the server goes on waiting. While a
    /// connection gives no answer, a second one asks whether the server still waits.
    pub(super) async fn commit(&mut self, target: &DatabaseTarget, closing: &Closing) -> CommitOutcome {
        let Self { client, line, backend, .. } = self;
        line.take_warned();
        let answered = tokio::select! {
            biased;
            answered = line.drive(client.simple_query("COMMIT")) => answered,
            () = given_up(closing) => Err(DatabaseFault::Slow),
            () = no_longer_executed(*backend, target) => Err(DatabaseFault::Slow),
        };
        if answered.is_ok() && !line.take_warned() {
            match target.replication {
                Replication::Optional => return CommitOutcome::Committed,
                Replication::Required if self.is_at_standbys().await => return CommitOutcome::Committed,
                Replication::Required => {}
            }
        }
        self.is_broken = true;
        CommitOutcome::Unknown
    }

    /// Whether synchronous standbys have on their disks what is on the primary's now, or have it soon.
    pub(super) async fn is_at_standbys(&mut self) -> bool {
        let waited = Stopwatch::start();
        let mut position: Option<String> = None;
        loop {
            let wanted =
                position.as_ref().map_or(NEWEST.to_owned(), |position| format!("'{position}'::pg_lsn"));
            let Ok(rows) = self.send(&at_standbys(&wanted)).await else { return false };
            let text = |column: usize| rows.last().and_then(|row| row.try_get(column).ok().flatten());
            if text(1) == Some("t") {
                return true;
            }
            let is_position = |text: &&str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'/');
            position = position.or_else(|| text(0).filter(is_position).map(str::to_owned));
            if waited.elapsed() > AT_STANDBYS {
                return false;
            }
            sleep(AT_STANDBYS_EVERY).await;
        }
    }

    /// Ends the transaction without a trace.
    pub(super) async fn roll_back(&mut self) {
        if self.is_usable() && self.send("ROLLBACK").await.is_err() {
            self.is_broken = true;
        }
    }

    fn judged<T>(&mut self, answered: Result<Result<T, DatabaseFault>, Elapsed>) -> Result<T, DatabaseFault> {
        let judged = answered.unwrap_or(Err(DatabaseFault::Slow));
        self.is_broken |= judged.as_ref().is_err_and(|fault| !fault.leaves_session());
        judged
    }
}
