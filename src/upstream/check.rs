use tokio_postgres::{Error, SimpleQueryRow};

use super::driver::{Fault, Verdict};
use super::session::{self, Session};

/// One thing that was looked at when a declared upstream was tried. Nothing is changed for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What was looked at: `connection`, `role`, `privilege` or `value`.
    pub what: &'static str,
    /// Whether a rotation can do with it as it is.
    pub ok: bool,
    /// What was found, in a sentence.
    pub says: String,
    /// What mends it.
    pub fix: Option<String>,
}

impl Finding {
    /// It is as it should be.
    pub(super) const fn good(what: &'static str, says: String) -> Self {
        Self { what, ok: true, says, fix: None }
    }

    /// It is not.
    pub(super) fn bad(what: &'static str, says: String, fix: &str) -> Self {
        Self { what, ok: false, says, fix: Some(fix.to_owned()) }
    }

    /// A call came to nothing.
    pub(super) fn fault(what: &'static str, fault: &Fault) -> Self {
        let explained = fault.explained();
        Self::bad(what, explained.why.into_owned(), &explained.fix)
    }

    /// Whether the current value was let in; one that was not is replaced by a rotation where somebody else
    /// can set it.
    pub(super) fn of_value(verdict: Result<Verdict, Fault>, sets_itself: bool) -> Self {
        match verdict {
            Ok(Verdict::Works) => Self::good("value", "the current value is let in".to_owned()),
            Ok(Verdict::Refused) if !sets_itself => Self::good(
                "value",
                "the current value is not let in: the first rotation replaces it".to_owned(),
            ),
            Ok(Verdict::Refused) => Self::bad(
                "value",
                "the current value is not let in, and the role sets its own password".to_owned(),
                "`keyward secret put` the password that works",
            ),
            Err(fault) => Self::fault("value", &fault),
        }
    }
}

/// What a PostgreSQL server says of a role whose password is to be set.
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
        Finding::good("role", format!("the role `{role}` exists and may log in"))
    } else {
        let says = format!("the role `{role}` may not log in");
        Finding::bad("role", says, &format!("ALTER ROLE {role} LOGIN"))
    };
    let needs_option = version >= ADMIN_OPTION_SINCE;
    let by_rights = by_creator && !is_superuser && (!needs_option || has_admin_option);
    let privilege = if by_superuser || by_itself || by_rights {
        Finding::good("privilege", format!("`{setter}` may set the password of `{role}`"))
    } else {
        let says = format!("`{setter}` may not set the password of `{role}`");
        let fix = if is_superuser {
            format!("only a superuser may set the password of a superuser: rotate another role than `{role}`")
        } else if needs_option {
            format!("ALTER ROLE {setter} CREATEROLE; GRANT {role} TO {setter} WITH ADMIN OPTION")
        } else {
            format!("ALTER ROLE {setter} CREATEROLE")
        };
        Finding::bad("privilege", says, &fix)
    };
    Ok(vec![login, privilege])
}

/// From this version on CREATEROLE alone is not enough.
const ADMIN_OPTION_SINCE: u32 = 160_000;

fn text(row: &SimpleQueryRow, column: usize) -> &str {
    row.try_get(column).ok().flatten().unwrap_or_default()
}

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
