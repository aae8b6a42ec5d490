//! What a broker requires of the database before it starts.

use tokio_postgres::SimpleQueryRow;

use super::fault::DatabaseFault;
use super::session::Session;
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
     current_setting('synchronous_standby_names'), current_setting('fsync')";

/// Checks version, rights and replication.
///
/// # Errors
/// [`DatabaseFault`]: the broker must not start.
pub(super) async fn check(session: &mut Session, replication: Replication) -> Result<(), DatabaseFault> {
    let rows = session.send(FACTS).await?;
    let facts = rows.last().and_then(Facts::read);
    let facts =
        facts.ok_or_else(|| DatabaseFault::Unusable("the database does not tell its settings".to_owned()))?;
    facts.judge(replication).map_err(|why| DatabaseFault::Unusable(why.to_owned()))?;
    if !facts.syncs {
        tracing::warn!(
            "the database server runs with `fsync = off`: a power cut there can lose acknowledged entries"
        );
    }
    if facts.standby_names.is_empty() {
        tracing::warn!("the database is not replicated: the loss of its server loses acknowledged entries");
    }
    Ok(())
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
        })
    }

    fn judge(&self, replication: Replication) -> Result<(), &'static str> {
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
        if self.standbys == 0 {
            return Err(
                "no synchronous standby is connected to the database server: start one of those that \
                 `synchronous_standby_names` names",
            );
        }
        Ok(())
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
        };
        assert_eq!(good.judge(Replication::Required), Ok(()));
        let single =
            Facts { sees_standbys: false, standbys: 0, standby_names: String::new(), ..good.clone() };
        assert_eq!(single.judge(Replication::Optional), Ok(()));
        for (bad, named) in [
            (Facts { version: 14, ..good.clone() }, "older than PostgreSQL 15"),
            (Facts { is_powerful: true, ..good.clone() }, "can change or remove"),
            (Facts { has_excess: true, ..good.clone() }, "can change or remove"),
            (Facts { has_rights: false, ..good.clone() }, "lacks rights"),
            (Facts { standby_names: String::new(), ..good.clone() }, "not replicated"),
            (Facts { sees_standbys: false, ..good.clone() }, "cannot see"),
            (Facts { standbys: 0, ..good.clone() }, "no synchronous standby"),
        ] {
            let why = bad.judge(Replication::Required).unwrap_err();
            assert!(why.contains(named), "{why}");
        }
    }
}
