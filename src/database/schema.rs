use postgres_protocol::escape::escape_identifier;

use super::checks::{NOT_REPLICATED, is_replicated};
use super::fault::DatabaseFault;
use super::session::{CommitOutcome, Session};
use super::target::DatabaseTarget;
use crate::config::Replication;
use crate::ledger::Closing;

/// Everything is made again without harm. An entry is written once: nobody but the owner of the schema can change or
/// remove one.
const SCHEMA: &str = "\
CREATE SCHEMA IF NOT EXISTS keyward;
REVOKE ALL ON SCHEMA keyward FROM PUBLIC;
CREATE TABLE IF NOT EXISTS keyward.head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    format smallint NOT NULL,
    ledger bytea CHECK (length(ledger) = 16),
    seq bigint NOT NULL CHECK (seq >= 0),
    node bytea NOT NULL CHECK (length(node) = 32),
    writer bytea CHECK (length(writer) = 32),
    owner bytea CHECK (length(owner) = 8),
    state smallint NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    confirmations bigint NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS keyward.entries (
    seq bigint PRIMARY KEY CHECK (seq > 0),
    entry bytea NOT NULL
);
REVOKE ALL ON keyward.head, keyward.entries FROM PUBLIC;
INSERT INTO keyward.head (format, seq, node) VALUES (1, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
";

/// `IF NOT EXISTS` accepts any object under the name. A table that somebody else owns or has altered could change
/// or hide entries.
const SHAPE: &str = "\
WITH me AS (SELECT oid FROM pg_roles WHERE rolname = current_user), \
 tables AS (SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
   WHERE n.nspname = 'keyward' AND c.relname IN ('head', 'entries')) \
SELECT current_setting('synchronous_standby_names'), \
 (SELECT count(*) = 2 FROM tables WHERE relowner = (SELECT oid FROM me)) \
   AND (SELECT nspowner = (SELECT oid FROM me) FROM pg_namespace WHERE nspname = 'keyward'), \
 (SELECT count(*) = 2 FROM tables WHERE relkind = 'r' AND relpersistence = 'p' AND NOT relrowsecurity \
     AND NOT relforcerowsecurity AND NOT relispartition) \
   AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM tables)) \
   AND NOT EXISTS (SELECT FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM tables)) \
   AND NOT EXISTS (SELECT FROM pg_inherits \
     WHERE inhrelid IN (SELECT oid FROM tables) OR inhparent IN (SELECT oid FROM tables)), \
 (SELECT string_agg(relname || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull::text, ', ' \
     ORDER BY relname, attnum) \
   FROM pg_attribute JOIN tables ON tables.oid = attrelid WHERE attnum > 0 AND NOT attisdropped)";

/// Each column with its type, and whether it has to have a value.
const COLUMNS: &str = "entries.seq bigint true, entries.entry bytea true, \
    head.only_row boolean true, head.format smallint true, head.ledger bytea false, head.seq bigint true, \
    head.node bytea true, head.writer bytea false, head.owner bytea false, head.state smallint true, \
    head.confirmations bigint true";

/// What the database has under the names of the schema.
#[derive(Clone, Copy, Debug)]
struct Shape<'a> {
    is_owned: bool,
    is_plain: bool,
    columns: Option<&'a str>,
}

impl Shape<'_> {
    fn judge(self) -> Result<(), &'static str> {
        if !self.is_owned {
            return Err(
                "the schema `keyward` or one of its tables belongs to another role than `--owner` names: name the role that \
                 owns them, or use another database",
            );
        }
        if !self.is_plain {
            return Err(
                "a table of the schema `keyward` has a trigger, a rule or row-level security, is unlogged, or inherits: remove \
                 that, or use another database",
            );
        }
        if self.columns != Some(COLUMNS) {
            return Err(
                "the tables of the schema `keyward` have other columns than those of the ledger: use another database",
            );
        }
        Ok(())
    }
}

const OWNER_WITHOUT_RIGHTS: &str = "the role that `--owner` names may not create the schema `keyward` in the database, or does not own it: \
     make it the owner of the database, or name the role that owns the schema";

/// Creates the schema of the ledger as the owner that `target` names, and grants `broker` its rights. Repeated, it
/// changes nothing.
///
/// # Errors
/// [`DatabaseFault`]; the transaction was rolled back then, or its outcome is unknown, and it can be repeated.
pub(super) async fn prepare(target: &DatabaseTarget, broker: &str) -> Result<(), DatabaseFault> {
    let mut session = Session::open(target).await?;
    let role = escape_identifier(broker);
    let statements = format!(
        "BEGIN;\n{SCHEMA}\
         GRANT USAGE ON SCHEMA keyward TO {role};\n\
         GRANT SELECT, INSERT ON keyward.entries TO {role};\n\
         GRANT SELECT, UPDATE (ledger, seq, node, writer, owner, state, confirmations) ON keyward.head TO {role};\n\
         {SHAPE}"
    );
    let rows = session.send(&statements).await.map_err(|fault| match fault {
        fault if fault.is_without_right() => DatabaseFault::Unusable(OWNER_WITHOUT_RIGHTS.to_owned()),
        fault => fault,
    })?;
    let text = |column: usize| rows.last().and_then(|row| row.try_get(column).ok().flatten());
    if !is_replicated(text(0).unwrap_or_default(), target.replication) {
        return Err(DatabaseFault::Unusable(NOT_REPLICATED.to_owned()));
    }
    let shape = Shape { is_owned: text(1) == Some("t"), is_plain: text(2) == Some("t"), columns: text(3) };
    shape.judge().map_err(|why| DatabaseFault::Unusable(why.to_owned()))?;
    // The owner of the schema need not see the standbys.
    let target = DatabaseTarget { replication: Replication::Optional, ..target.clone() };
    match session.commit(&target, &Closing::default()).await {
        CommitOutcome::Committed => Ok(()),
        CommitOutcome::Unknown => Err(DatabaseFault::Lost),
    }
}
