//! The statements that create database logins and revoke them. Every relation, function, operator and type is qualified,
//! and operands have exactly the operator's types.

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::session::{name, text};

/// Longest wait for the end of a session, in milliseconds.
const SESSION_WAIT_MS: u32 = 2000;

/// Longest wait for the end of all sessions of a login, in milliseconds.
const SESSIONS_WAIT_MS: u32 = 2500;

/// One row: whether the administering role is a superuser, and whether `heir` has an attribute by which
/// the objects of an agent would do what no agent may; then the connections that the server has, those it
/// keeps for superusers and, from PostgreSQL 16 on, those for roles with `pg_use_reserved_connections`; then whether
/// `until` is yet to come by the server's clock.
pub(super) fn server_state(heir: Option<&str>, until: &str) -> String {
    let heir = heir.map_or_else(
        || "false".to_owned(),
        |heir| {
            format!(
                "EXISTS (SELECT FROM pg_catalog.pg_roles AS heir WHERE heir.rolname OPERATOR(pg_catalog.=) {} \
                 AND (heir.rolsuper OR heir.rolcreaterole OR heir.rolcreatedb OR heir.rolreplication \
                 OR heir.rolbypassrls))",
                name(heir)
            )
        },
    );
    format!(
        "SELECT own.rolsuper, {heir}, pg_catalog.current_setting('max_connections'::pg_catalog.text), \
         pg_catalog.current_setting('superuser_reserved_connections'::pg_catalog.text), \
         pg_catalog.current_setting('reserved_connections'::pg_catalog.text, true), {} \
         FROM pg_catalog.pg_roles AS own \
         WHERE own.rolname OPERATOR(pg_catalog.=) CURRENT_USER",
        comes(until)
    )
}

/// One row: whether `until` is yet to come by the server's clock.
pub(super) fn is_to_come(until: &str) -> String {
    format!("SELECT {}", comes(until))
}

fn comes(until: &str) -> String {
    format!(
        "pg_catalog.clock_timestamp() OPERATOR(pg_catalog.<) {}::pg_catalog.timestamptz",
        escape_literal(until)
    )
}

/// One row with the login's id, and whether the administering role is a superuser; none without the login.
pub(super) fn found(login: &str) -> String {
    format!(
        "SELECT login.oid, own.rolsuper FROM pg_catalog.pg_roles AS login, pg_catalog.pg_roles AS own \
         WHERE login.rolname OPERATOR(pg_catalog.=) {} AND own.rolname OPERATOR(pg_catalog.=) CURRENT_USER",
        name(login)
    )
}

/// Ends a session that still creates `login`, whose broker or whose wait is over.
pub(super) fn end_creating(login: &str) -> String {
    format!(
        "SELECT pg_catalog.pg_terminate_backend(activity.pid, '{SESSION_WAIT_MS}'::pg_catalog.int8) \
         FROM pg_catalog.pg_stat_activity AS activity \
         WHERE activity.application_name OPERATOR(pg_catalog.=) {} \
         AND activity.usename OPERATOR(pg_catalog.=) CURRENT_USER \
         AND activity.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()",
        text(login)
    )
}

/// Gives the administering role the rights of `login`. Without them one that is no superuser may neither
/// end its sessions nor drop its objects.
pub(super) fn take_over(login: &str, version: u32) -> String {
    // Before PostgreSQL 16 a role inherits from all of its roles or from none.
    let with = if version >= 16 { " WITH INHERIT TRUE, SET TRUE" } else { "" };
    format!("GRANT {} TO CURRENT_USER{with}", escape_identifier(login))
}

pub(super) fn shut_out(login: &str) -> String {
    format!("ALTER ROLE {} NOLOGIN CONNECTION LIMIT 0", escape_identifier(login))
}

/// The names of the roles that the login with `id` is a member of.
pub(super) fn memberships(id: &str) -> String {
    format!(
        "SELECT granted.rolname FROM pg_catalog.pg_auth_members AS membership, pg_catalog.pg_roles AS granted \
         WHERE membership.member OPERATOR(pg_catalog.=) {} \
         AND granted.oid OPERATOR(pg_catalog.=) membership.roleid",
        oid(id)
    )
}

/// Revokes the membership of `login` in `groups`, which are quoted.
pub(super) fn revoke(login: &str, groups: &str) -> String {
    format!("REVOKE {groups} FROM {}", escape_identifier(login))
}

/// The name, the owner and the database of each prepared transaction that `login` owns, or that changed a
/// role and is owned by a role that `login` is a member of.
pub(super) fn prepared(login: &str) -> String {
    let login = name(login);
    format!(
        "SELECT prepared.gid, prepared.owner, prepared.database \
         FROM pg_catalog.pg_prepared_xacts AS prepared WHERE prepared.owner OPERATOR(pg_catalog.=) {login} \
         OR (pg_catalog.pg_has_role({login}, prepared.owner, 'MEMBER'::pg_catalog.text) AND EXISTS \
         (SELECT FROM pg_catalog.pg_locks AS own, pg_catalog.pg_locks AS held WHERE own.pid IS NULL \
         AND own.transactionid OPERATOR(pg_catalog.=) prepared.transaction \
         AND held.virtualtransaction OPERATOR(pg_catalog.=) own.virtualtransaction \
         AND held.relation OPERATOR(pg_catalog.=) \
         'pg_catalog.pg_authid'::pg_catalog.regclass::pg_catalog.oid))"
    )
}

/// Ends the sessions of the login with `id`; waits for the end of each when `wait` says so.
pub(super) fn end_sessions(id: &str, wait: Wait) -> String {
    let wait_ms = if wait == Wait::Each { SESSION_WAIT_MS } else { 0 };
    format!(
        "SET LOCAL statement_timeout = '{SESSIONS_WAIT_MS}ms';\n\
         SELECT pg_catalog.pg_terminate_backend(activity.pid, '{wait_ms}'::pg_catalog.int8) {}",
        sessions_of(id)
    )
}

/// Whether the end of a session is waited for.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Wait {
    None,
    Each,
}

/// One row for each session of the login with `id`.
pub(super) fn sessions(id: &str) -> String {
    format!("SELECT activity.pid {}", sessions_of(id))
}

fn sessions_of(id: &str) -> String {
    format!(
        "FROM pg_catalog.pg_stat_activity AS activity WHERE activity.usesysid OPERATOR(pg_catalog.=) {} \
         AND activity.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()",
        oid(id)
    )
}

/// What the login created in this database goes to `heir`, or is dropped; what it was granted is revoked.
///
/// Views and functions do what they do with the rights of their owner: the administering role inherits none,
/// or the next login would have its rights.
pub(super) fn disown(login: &str, heir: Option<&str>) -> String {
    let (login, heir) = (escape_identifier(login), heir.map(escape_identifier));
    let inherited = heir.map(|heir| format!("REASSIGN OWNED BY {login} TO {heir};\n")).unwrap_or_default();
    format!("{inherited}DROP OWNED BY {login}")
}

pub(super) fn drop_role(login: &str) -> String {
    format!("DROP ROLE IF EXISTS {}", escape_identifier(login))
}

/// The names of the other databases in which the login with `id` owns or was granted something.
pub(super) fn other_databases(id: &str) -> String {
    format!(
        "SELECT other.datname FROM pg_catalog.pg_database AS other \
         WHERE other.datname OPERATOR(pg_catalog.<>) pg_catalog.current_database() AND EXISTS \
         (SELECT FROM pg_catalog.pg_shdepend AS depends WHERE depends.dbid OPERATOR(pg_catalog.=) other.oid \
         AND depends.refclassid OPERATOR(pg_catalog.=) \
         'pg_catalog.pg_authid'::pg_catalog.regclass::pg_catalog.oid \
         AND depends.refobjid OPERATOR(pg_catalog.=) {})",
        oid(id)
    )
}

/// The name of each role that starts with `prefix`, and whether its time was over at `now`.
pub(super) fn named(prefix: &str, now: &str) -> String {
    format!(
        "SELECT login.rolname, login.rolvaliduntil OPERATOR(pg_catalog.<) {}::pg_catalog.timestamptz \
         FROM pg_catalog.pg_roles AS login \
         WHERE pg_catalog.starts_with(login.rolname::pg_catalog.text, {})",
        escape_literal(now),
        text(prefix)
    )
}

fn oid(id: &str) -> String {
    format!("{}::pg_catalog.oid", escape_literal(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every statement but those that name nothing but roles.
    fn statements() -> [String; 10] {
        [
            server_state(Some("keeper"), "2026-11-28T00:00:00Z"),
            is_to_come("2026-11-28T00:00:00Z"),
            found("kw_1"),
            end_creating("kw_1"),
            end_sessions("10", Wait::Each),
            sessions("10"),
            other_databases("10"),
            memberships("10"),
            prepared("kw_1"),
            named("kw_", "2026-11-28T00:00:00Z"),
        ]
    }

    #[test]
    fn every_relation_function_operator_and_type_is_qualified() {
        let is_operator = |token: &str| token.chars().all(|c| "=<>~!+|*".contains(c));
        let statements = statements();
        // `SET LOCAL name = value` names no object.
        let resolving = statements.iter().flat_map(|statement| statement.split(';'));
        for statement in resolving.filter(|statement| !statement.trim().starts_with("SET LOCAL ")) {
            let text = statement.replace('(', " ( ").replace(')', " ) ").replace(',', " ");
            let tokens: Vec<&str> = text.split_whitespace().collect();
            for pair in tokens.windows(2) {
                let (first, second) = (pair[0], pair[1]);
                let is_function = second == "(" && first.starts_with(|c: char| c.is_ascii_lowercase());
                let is_named = is_function || second == "AS";
                assert!(!is_named || first.starts_with("pg_catalog."), "{first}: {statement}");
                assert!(!is_operator(first), "{first}: {statement}");
            }
            for cast in statement.split("::").skip(1) {
                assert!(cast.starts_with("pg_catalog."), "{cast}: {statement}");
            }
        }
    }
}
