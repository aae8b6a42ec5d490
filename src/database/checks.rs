//! What a broker requires of the database: before it starts, in each new session, and from time to time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::SimpleQueryRow;

use super::fault::DatabaseFault;
use super::session::Session;
use super::target::DatabaseTarget;
use crate::base::limits::{LEDGER_STALLED_MS, PROBE_EVERY_S};
use crate::config::Replication;

/// The oldest major version of PostgreSQL that keyward is tested with.
pub(super) const VERSION_MIN: u32 = 15;

/// Rights are asked for by name, so a missing schema is an error of its own. `SET ROLE` gives the rights of every role that
/// the broker's role is a member of, also of those that it does not inherit from.
const FACTS: &str = "WITH reachable AS (SELECT * FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')) \
     SELECT current_setting('server_version_num')::integer / 10000, \
     EXISTS (SELECT FROM reachable WHERE rolsuper OR rolcreaterole \
       OR rolname IN ('pg_execute_server_program', 'pg_write_server_files')), \
     has_table_privilege('keyward.entries', 'SELECT') AND has_table_privilege('keyward.entries', 'INSERT') \
       AND has_table_privilege('keyward.head', 'SELECT') AND has_any_column_privilege('keyward.head', 'UPDATE'), \
     EXISTS (SELECT FROM reachable WHERE has_any_column_privilege(oid, 'keyward.entries', 'UPDATE') \
         OR has_table_privilege(oid, 'keyward.entries', 'DELETE, TRUNCATE, TRIGGER') \
         OR has_table_privilege(oid, 'keyward.head', 'INSERT, DELETE, TRUNCATE, TRIGGER') \
         OR has_schema_privilege(oid, 'keyward', 'CREATE')) \
       OR EXISTS (SELECT FROM pg_class WHERE oid IN ('keyward.entries'::regclass, 'keyward.head'::regclass) \
         AND pg_has_role(relowner, 'MEMBER')) \
       OR EXISTS (SELECT FROM pg_namespace WHERE nspname = 'keyward' AND pg_has_role(nspowner, 'MEMBER')) \
       OR EXISTS (SELECT FROM pg_database WHERE datname = current_database() AND pg_has_role(datdba, 'MEMBER')), \
     pg_has_role('pg_read_all_stats', 'USAGE'), \
     (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')), \
     current_setting('synchronous_standby_names'), current_setting('fsync'), \
     greatest(coalesce(substring(current_setting('synchronous_standby_names') from '([0-9]+) *[(]')::integer, 1), 1), \
     current_setting('synchronous_commit')";

/// When the database is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CheckedAt {
    /// Before the broker writes.
    Start,
    /// While it writes. A COMMIT waits for a standby that is away, so nothing is refused for it.
    Running,
}

/// What was found at a database that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Findings {
    /// How many standbys are not connected of those that a COMMIT waits for. Without replication, one is missing. Standbys
    /// that the role cannot see count as connected.
    standbys_missing: u32,
    is_replicated: bool,
    sees_standbys: bool,
    syncs: bool,
}

impl Findings {
    /// Warns of what an operator should know and was not the same `before`.
    pub(super) fn warn_after(self, before: Option<Self>) {
        let is_new = |same: fn(Self) -> bool| same(self) && !before.is_some_and(same);
        if is_new(|found| !found.syncs) {
            tracing::warn!(
                "the database server runs with `fsync = off`: a power cut there can lose acknowledged entries"
            );
        }
        if is_new(|found| !found.is_replicated) {
            tracing::warn!(
                "the database is not replicated: the loss of its server loses acknowledged entries"
            );
        }
        if is_new(|found| found.is_replicated && !found.sees_standbys) {
            tracing::warn!(
                "the broker's role cannot see the standbys of the database, so missing ones are not reported: as a superuser, \
                 `GRANT pg_monitor TO` the role"
            );
        }
        if is_new(|found| found.is_replicated && found.standbys_missing > 0) {
            tracing::warn!(
                missing = self.standbys_missing,
                "synchronous standbys of the database are not connected: entries wait until they are"
            );
        }
        if self.standbys_missing == 0 && before.is_some_and(|before| before.standbys_missing > 0) {
            tracing::info!("all synchronous standbys that entries wait for are connected");
        }
    }
}

/// The newest findings. Readers of the ledger are shown how many standbys are missing.
#[derive(Debug)]
pub(super) struct NewestFindings {
    newest: Option<Findings>,
    standbys_missing: Arc<AtomicU32>,
}

impl NewestFindings {
    /// No findings yet.
    pub(super) const fn shown_in(standbys_missing: Arc<AtomicU32>) -> Self {
        Self { newest: None, standbys_missing }
    }

    /// Takes newer findings, and warns of what is new in them.
    pub(super) fn take(&mut self, found: Findings) {
        found.warn_after(self.newest);
        self.standbys_missing.store(found.standbys_missing, Ordering::Relaxed);
        self.newest = Some(found);
    }
}

/// After so long without an answer to a COMMIT, the missing standbys are counted.
const COUNTED_AFTER: Duration = Duration::from_millis(LEDGER_STALLED_MS);
const COUNTED_EVERY: Duration = Duration::from_secs(PROBE_EVERY_S);

/// Counts the missing standbys in sessions of its own, while a COMMIT in another session waits for them. It never ends.
pub(super) async fn count_missing(target: &DatabaseTarget, findings: &mut NewestFindings) -> Infallible {
    sleep(COUNTED_AFTER).await;
    // Boxed: a COMMIT that does not wait keeps no place for it.
    Box::pin(count_again_and_again(target, findings)).await
}

async fn count_again_and_again(target: &DatabaseTarget, findings: &mut NewestFindings) -> Infallible {
    loop {
        if let Ok(mut session) = Session::open(target).await
            && let Ok(found) = check(&mut session, target.replication, CheckedAt::Running).await
        {
            findings.take(found);
        }
        sleep(COUNTED_EVERY).await;
    }
}

/// Checks version, rights and replication.
///
/// # Errors
/// [`DatabaseFault`]: the broker must not write.
pub(super) async fn check(
    session: &mut Session,
    replication: Replication,
    at: CheckedAt,
) -> Result<Findings, DatabaseFault> {
    let rows = session.send(FACTS).await?;
    let facts = rows.last().and_then(Facts::read);
    let facts =
        facts.ok_or_else(|| DatabaseFault::Unusable("the database does not tell its settings".to_owned()))?;
    facts.judge(replication, at).map_err(|why| DatabaseFault::Unusable(why.to_owned()))?;
    Ok(facts.findings())
}

/// What a database without synchronous standbys is refused with.
pub(super) const NOT_REPLICATED: &str = "the database is not replicated synchronously: set `synchronous_standby_names` at the server, \
     e.g. to `ANY 1 (a, b)`; for a single server set `replication = \"optional\"` in `[ledger]`";

/// Whether the setting `synchronous_standby_names` is as required.
pub(super) const fn is_replicated(standby_names: &str, replication: Replication) -> bool {
    match replication {
        Replication::Required => !standby_names.is_empty(),
        Replication::Optional => true,
    }
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one column of the query")]
struct Facts {
    version: u32,
    /// It is, or can become, a superuser, or can make itself a member of other roles.
    is_powerful: bool,
    has_rights: bool,
    has_excess: bool,
    sees_standbys: bool,
    standbys: u32,
    standby_names: String,
    syncs: bool,
    /// How many standbys a COMMIT waits for, if it waits for any.
    standbys_needed: u32,
    waits: bool,
}

impl Facts {
    fn read(row: &SimpleQueryRow) -> Option<Self> {
        let text = |column: usize| row.try_get(column).ok().flatten();
        Some(Self {
            version: text(0)?.parse().ok()?,
            is_powerful: text(1)? == "t",
            has_rights: text(2)? == "t",
            has_excess: text(3)? == "t",
            sees_standbys: text(4)? == "t",
            standbys: text(5)?.parse().ok()?,
            standby_names: text(6)?.to_owned(),
            syncs: text(7)? == "on",
            standbys_needed: text(8)?.parse().ok()?,
            waits: text(9)? == "on",
        })
    }

    fn judge(&self, replication: Replication, at: CheckedAt) -> Result<(), &'static str> {
        if self.version < VERSION_MIN {
            return Err("the database server is older than PostgreSQL 15: upgrade it");
        }
        if self.is_powerful || self.has_excess {
            return Err(
                "the broker's role, or a role that it is a member of, can change or remove entries of the ledger: use a role \
                 that is no superuser, has no `CREATEROLE`, owns neither the schema nor the database, and is a member of no such \
                 role, and grant its rights by `keyward ledger prepare`",
            );
        }
        if !self.has_rights {
            return Err("the broker's role lacks rights to the ledger: run `keyward ledger prepare`");
        }
        if !self.waits {
            return Err(
                "the database does not keep the session's `synchronous_commit = on`: connect with the server itself, without a \
                 pooler in between",
            );
        }
        if replication == Replication::Optional {
            return Ok(());
        }
        if self.standby_names.is_empty() {
            return Err(NOT_REPLICATED);
        }
        if !self.sees_standbys {
            return Err(
                "the broker's role cannot see the standbys: as a superuser, `GRANT pg_monitor TO` the role",
            );
        }
        if at == CheckedAt::Start && self.standbys < self.standbys_needed {
            return Err(
                "fewer synchronous standbys are connected to the database server than `synchronous_standby_names` requires: \
                 start those that it names",
            );
        }
        Ok(())
    }

    fn findings(&self) -> Findings {
        let (is_replicated, sees_standbys) = (!self.standby_names.is_empty(), self.sees_standbys);
        let connected = match (is_replicated, sees_standbys) {
            (false, _) => 0,
            (true, false) => self.standbys_needed,
            (true, true) => self.standbys,
        };
        let standbys_missing = self.standbys_needed.saturating_sub(connected);
        Findings { standbys_missing, is_replicated, sees_standbys, syncs: self.syncs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_of_the_database_is_required() {
        let good = Facts {
            version: 15,
            is_powerful: false,
            has_rights: true,
            has_excess: false,
            sees_standbys: true,
            standbys: 1,
            standby_names: "ANY 1 (a, b)".to_owned(),
            syncs: true,
            standbys_needed: 1,
            waits: true,
        };
        assert_eq!(good.judge(Replication::Required, CheckedAt::Start), Ok(()));
        let single =
            Facts { sees_standbys: false, standbys: 0, standby_names: String::new(), ..good.clone() };
        assert_eq!(single.judge(Replication::Optional, CheckedAt::Start), Ok(()));
        for (bad, named) in [
            (Facts { version: 14, ..good.clone() }, "older than PostgreSQL 15"),
            (Facts { is_powerful: true, ..good.clone() }, "can change or remove"),
            (Facts { has_excess: true, ..good.clone() }, "can change or remove"),
            (Facts { has_rights: false, ..good.clone() }, "lacks rights"),
            (Facts { standby_names: String::new(), ..good.clone() }, "not replicated"),
            (Facts { sees_standbys: false, ..good.clone() }, "cannot see"),
            (Facts { standbys: 0, ..good.clone() }, "fewer synchronous standbys"),
            (Facts { standbys_needed: 2, ..good.clone() }, "fewer synchronous standbys"),
            (Facts { waits: false, ..good.clone() }, "synchronous_commit"),
        ] {
            let why = bad.judge(Replication::Required, CheckedAt::Start).unwrap_err();
            assert!(why.contains(named), "{why}");
            let refused_later = bad.judge(Replication::Required, CheckedAt::Running).is_err();
            assert_eq!(refused_later, !named.starts_with("fewer"), "{named}: a COMMIT waits by itself");
        }
    }

    #[test]
    fn standbys_are_missing_that_a_commit_waits_for() {
        let facts = |standbys, names: &str| Facts {
            version: 15,
            is_powerful: false,
            has_rights: true,
            has_excess: false,
            sees_standbys: true,
            standbys,
            standby_names: names.to_owned(),
            syncs: true,
            standbys_needed: 2,
            waits: true,
        };
        for (standbys, names, missing) in
            [(2, "ANY 2 (a, b, c)", 0), (3, "*", 0), (1, "FIRST 2 (a, b)", 1), (9, "", 2)]
        {
            assert_eq!(facts(standbys, names).findings().standbys_missing, missing, "{names}");
        }
        // A role without the right sees none of those that are connected.
        let unseen = |names: &str| Facts { sees_standbys: false, ..facts(0, names) };
        assert_eq!(unseen("*").findings().standbys_missing, 0);
        assert_eq!(unseen("").findings().standbys_missing, 2);
    }
}
