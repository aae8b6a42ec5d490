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
         SELECT current_setting('synchronous_standby_names')"
    );
    let rows = session.send(&statements).await?;
    let named = rows.last().and_then(|row| row.try_get(0).ok().flatten()).unwrap_or_default();
    if !is_replicated(named, target.replication) {
        return Err(DatabaseFault::Unusable(NOT_REPLICATED.to_owned()));
    }
    match session.commit(Replication::Optional, &Closing::default()).await {
        CommitOutcome::Committed => Ok(()),
        CommitOutcome::Unknown => Err(DatabaseFault::Lost),
    }
}
