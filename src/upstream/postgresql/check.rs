use tokio_postgres::{Error, SimpleQueryRow};

use super::super::finding::Finding;
use super::session::{self, Session};

/// The properties of a role whose password is rotated.
pub(super) async fn of_role(session: &Session<'_>, role: &str, setter: &str) -> Result<Vec<Finding>, Error> {
    let rows = session.execute(&rights_over(role)).await?;
    let Some(row) = rows.first() else {
        let says = format!("the role `{role}` does not exist");
        return Ok(vec![Finding::bad(
            "role",
            says,
            "create the role, with LOGIN, or name another one in `role`",
        )]);
    };
    let is = |column: usize| text(row, column) == "t";
    let (can_login, is_superuser) = (is(0), is(1));
    let (by_superuser, by_creator, by_itself, has_admin_option) = (is(2), is(3), is(4), is(5));
    let version: u32 = text(row, 6).parse().unwrap_or(0);
    let login = if can_login {
        Finding::good("role", format!("the role `{role}` exists and can log in"))
    } else {
        let says = format!("the role `{role}` has no LOGIN");
        Finding::bad("role", says, &format!("ALTER ROLE {role} LOGIN"))
    };
    let needs_option = version >= ADMIN_OPTION_SINCE;
    let by_rights = by_creator && !is_superuser && (!needs_option || has_admin_option);
    let privilege = if by_superuser || by_itself || by_rights {
        Finding::good("privilege", format!("`{setter}` can set the password of `{role}`"))
    } else {
        let says = format!("`{setter}` cannot set the password of `{role}`");
        let fix = if is_superuser {
            format!("only a superuser can set the password of the superuser `{role}`: rotate another role")
        } else if needs_option {
            format!("ALTER ROLE {setter} CREATEROLE; GRANT {role} TO {setter} WITH ADMIN OPTION")
        } else {
            format!("ALTER ROLE {setter} CREATEROLE")
        };
        Finding::bad("privilege", says, &fix)
    };
    Ok(vec![login, privilege])
}

/// Whether `setter`, the role of the session, may end the sessions of `role`; nothing if `role` does not exist.
pub(super) async fn ends_sessions_of(
    session: &Session<'_>,
    role: &str,
    setter: &str,
) -> Result<Option<Finding>, Error> {
    let rows = session.execute(&signals(role)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (may_end, is_superuser) = (text(row, 0) == "t", text(row, 1) == "t");
    if may_end {
        return Ok(Some(Finding::good("sessions", format!("`{setter}` can end the sessions of `{role}`"))));
    }
    let fix = if is_superuser {
        format!("only a superuser can end the sessions of the superuser `{role}`: rotate another role")
    } else {
        grant_of_signals(setter, row, 2)
    };
    let says =
        format!("`{setter}` cannot end the sessions of `{role}`, which is necessary after the grace period");
    Ok(Some(Finding::bad("sessions", says, &fix)))
}

/// Whether `by`, the role of the session, may end the sessions of every login of a lease.
pub(super) async fn ends_sessions(session: &Session<'_>, by: &str) -> Result<Finding, Error> {
    let rows = session.execute(SIGNALS_ALL).await?;
    Ok(match rows.first() {
        Some(row) if text(row, 0) != "t" => {
            let says = format!("`{by}` cannot end sessions, which is necessary to revoke a login");
            Finding::bad("sessions", says, &grant_of_signals(by, row, 1))
        }
        Some(_) | None => Finding::good("sessions", format!("`{by}` can end the sessions of logins")),
    })
}

/// The statements with which `role` gets the right; `column` of `row` says whether it inherits rights.
fn grant_of_signals(role: &str, row: &SimpleQueryRow, column: usize) -> String {
    let inherit =
        if text(row, column) == "t" { String::new() } else { format!("ALTER ROLE {role} INHERIT; ") };
    format!("{inherit}GRANT pg_signal_backend TO {role}")
}

/// From this version on CREATEROLE is not sufficient.
const ADMIN_OPTION_SINCE: u32 = 160_000;

fn text(row: &SimpleQueryRow, column: usize) -> &str {
    row.try_get(column).ok().flatten().unwrap_or_default()
}

/// One row: whether the session's role may end the sessions of `role`, whether `role` is a superuser, and whether the
/// session's role inherits rights.
fn signals(role: &str) -> String {
    format!(
        "SELECT me.rolsuper OR pg_catalog.pg_has_role(me.oid, role.oid, 'USAGE'::pg_catalog.text) OR \
         (NOT role.rolsuper AND \
         pg_catalog.pg_has_role(me.oid, 'pg_signal_backend'::pg_catalog.name, 'USAGE'::pg_catalog.text)), \
         role.rolsuper, me.rolinherit FROM pg_catalog.pg_roles AS role CROSS JOIN pg_catalog.pg_roles AS me \
         WHERE role.rolname OPERATOR(pg_catalog.=) {} \
         AND me.rolname OPERATOR(pg_catalog.=) CURRENT_USER",
        session::name(role)
    )
}

/// One row: whether the session's role may end the sessions of all roles but superusers, and whether it inherits rights.
const SIGNALS_ALL: &str = "SELECT me.rolsuper OR \
     pg_catalog.pg_has_role(me.oid, 'pg_signal_backend'::pg_catalog.name, 'USAGE'::pg_catalog.text), \
     me.rolinherit FROM pg_catalog.pg_roles AS me WHERE me.rolname OPERATOR(pg_catalog.=) CURRENT_USER";

fn rights_over(role: &str) -> String {
    format!(
        "SELECT role.rolcanlogin, role.rolsuper, me.rolsuper, me.rolcreaterole, \
         role.oid OPERATOR(pg_catalog.=) me.oid, \
         pg_catalog.pg_has_role(me.oid, role.oid, 'MEMBER WITH ADMIN OPTION'::pg_catalog.text), \
         pg_catalog.current_setting('server_version_num'::pg_catalog.text) \
         FROM pg_catalog.pg_roles AS role CROSS JOIN pg_catalog.pg_roles AS me \
         WHERE role.rolname OPERATOR(pg_catalog.=) {} \
         AND me.rolname OPERATOR(pg_catalog.=) CURRENT_USER",
        session::name(role)
    )
}
