use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::Error;

use super::super::account_driver::{AccountDriver, AccountServer, LoginError, OpenSessions};
use super::super::accounts::{Account, Accounts};
use super::super::declaration::{Fields, TargetError};
use super::super::driver::{Driver, DriverContext, RotationCall};
use super::super::fault::UpstreamFault;
use super::super::finding::Finding;
use super::super::mark::Mark;
use super::check::{ends_sessions_of, of_role};
use super::login::{ANY_PURPOSE, Login, logged_in};
use super::rotation_declaration::DeclaredRotation;
use super::session::{self, Transaction, first_column, is_true};
use crate::base::code;

/// Sets passwords of login roles, and checks that they can log in.
///
/// To set a password, the driver sends a SCRAM verifier, so that neither the server's log nor its administrators see the
/// password.
#[derive(Debug)]
struct PostgresqlRotation(DeclaredRotation);

pub(super) fn read(fields: Fields) -> Result<Box<dyn Driver>, TargetError> {
    Ok(Box::new(AccountDriver(PostgresqlRotation(DeclaredRotation::read(fields)?))))
}

fn login(role: &Account) -> Login<'_> {
    Login { role: &role.name, password: role.password.as_bytes(), purpose: ANY_PURPOSE }
}

impl AccountServer for PostgresqlRotation {
    fn describe(&self) -> String {
        self.0.server.describe()
    }

    fn place(&self) -> String {
        self.0.server.place()
    }

    fn accounts(&self) -> &Accounts {
        &self.0.roles
    }

    async fn log_in(&self, with: &DriverContext, role: &Account) -> Result<(), LoginError> {
        logged_in(&self.0.server, with, login(role), async |_| Ok(())).await
    }

    async fn set(
        &self,
        call: RotationCall<'_>,
        by: &Account,
        new: &Account,
        sessions: OpenSessions,
    ) -> Result<(), UpstreamFault> {
        let role = new.name.as_str();
        let verifier = escape_literal(&scram_sha_256(new.password.as_bytes()));
        let change = format!("ALTER ROLE {} PASSWORD {verifier}", escape_identifier(role));
        let set = logged_in(&self.0.server, call.with, login(by), async |session| {
            let ending = end_sessions(role);
            let transaction = match sessions {
                OpenSessions::Keep => session.begin(&change).await?.0,
                OpenSessions::End => session.begin_though_held(&change, &ending).await?,
            };
            if let Some(foreign) = leave_mark(&transaction, role, call.mark).await? {
                transaction.roll_back().await?;
                return Ok(Some(foreign));
            }
            transaction.commit().await?;
            if sessions == OpenSessions::End {
                session.execute(&ending).await?;
            }
            Ok(None)
        });
        match set.await? {
            None => Ok(()),
            foreign => Err(UpstreamFault::refused(code::UPSTREAM_CHANGED_BY_COPY).with(foreign)),
        }
    }

    async fn rights(&self, with: &DriverContext, by: &Account) -> Result<Vec<Finding>, LoginError> {
        let rights = logged_in(&self.0.server, with, login(by), async |session| {
            let mut findings = Vec::new();
            for role in self.0.roles.names() {
                findings.extend(of_role(session, role, &by.name).await?);
                if self.0.roles.are_in_turn() {
                    findings.extend(ends_sessions_of(session, role, &by.name).await?);
                }
            }
            Ok(findings)
        });
        rights.await
    }
}

/// Leaves `mark` at `role`, or says which mark of another copy of the broker is there. `transaction` has changed the
/// role, and so locked it: what another copy did is committed and seen, and what it does waits and sees this mark.
async fn leave_mark(
    transaction: &Transaction<'_>,
    role: &str,
    mark: Option<Mark<'_>>,
) -> Result<Option<String>, Error> {
    let Some(mark) = mark else { return Ok(None) };
    let rows = transaction.execute(&comment_on(role)).await?;
    let comment = first_column(&rows)?.pop().unwrap_or_default();
    let foreign = mark.foreign(&comment);
    if foreign.is_none() && is_true(&rows, 1)? {
        let (name, text) = (escape_identifier(role), escape_literal(&mark.within(&comment)));
        transaction.execute(&format!("COMMENT ON ROLE {name} IS {text}")).await?;
    }
    Ok(foreign)
}

/// One row: the comment on `role`, and whether the session's role may change it.
fn comment_on(role: &str) -> String {
    format!(
        "SELECT pg_catalog.shobj_description(role.oid, 'pg_authid'::pg_catalog.name), own.rolsuper OR \
         (NOT role.rolsuper AND own.rolcreaterole AND \
         (pg_catalog.current_setting('server_version_num'::pg_catalog.text)::pg_catalog.int4 \
         OPERATOR(pg_catalog.<) 160000 \
         OR pg_catalog.pg_has_role(own.oid, role.oid, 'MEMBER WITH ADMIN OPTION'::pg_catalog.text))) \
         FROM pg_catalog.pg_roles AS role CROSS JOIN pg_catalog.pg_roles AS own \
         WHERE role.rolname OPERATOR(pg_catalog.=) {} AND own.rolname OPERATOR(pg_catalog.=) CURRENT_USER",
        session::name(role)
    )
}

/// Ends the sessions of `role`.
fn end_sessions(role: &str) -> String {
    format!(
        "SELECT pg_catalog.pg_terminate_backend(activity.pid) \
         FROM pg_catalog.pg_stat_activity AS activity \
         WHERE activity.usename OPERATOR(pg_catalog.=) {} \
         AND activity.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()",
        session::name(role)
    )
}
