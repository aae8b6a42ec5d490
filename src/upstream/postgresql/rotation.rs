use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::Error;

use super::super::accounts::Account;
use super::super::declaration::{Fields, TargetError};
use super::super::driver::{
    Capabilities, Checking, Driver, DriverContext, DriverFuture, Prepared, RotationCall,
};
use super::super::fault::UpstreamFault;
use super::super::finding::{Finding, Verdict};
use super::super::mark::Mark;
use super::super::random::random_password;
use super::check::of_role;
use super::login::{ANY_PURPOSE, Login, Stopped, logged_in};
use super::rotation_declaration::DeclaredRotation;
use super::session::{self, Transaction, first_column, is_true};
use crate::base::{SecretName, code};
use crate::secrets::SecretValue;

/// Sets passwords of login roles, and checks that they can log in.
///
/// To set a password, the driver sends a SCRAM verifier, so that neither the server's log nor its administrators see the
/// password.
#[derive(Debug)]
struct PostgresqlRotation(DeclaredRotation);

pub(super) fn read(fields: Fields) -> Result<Box<dyn Driver>, TargetError> {
    Ok(Box::new(PostgresqlRotation(DeclaredRotation::read(fields)?)))
}

fn login(role: &Account) -> Login<'_> {
    Login { role: &role.name, password: role.password.as_bytes(), purpose: ANY_PURPOSE }
}

/// A change of a password.
struct NewPassword<'a> {
    role: &'a str,
    password: &'a [u8],
    /// The login that sets it.
    by: &'a Account,
    sessions: Sessions,
}

impl PostgresqlRotation {
    async fn log_in(&self, with: &DriverContext, role: &Account) -> Result<(), Stopped> {
        logged_in(&self.0.server, with, login(role), async |_| Ok(())).await
    }

    async fn set(&self, call: RotationCall<'_>, new: NewPassword<'_>) -> Result<(), UpstreamFault> {
        let NewPassword { role, password, by, sessions } = new;
        let verifier = escape_literal(&scram_sha_256(password));
        let change = format!("ALTER ROLE {} PASSWORD {verifier}", escape_identifier(role));
        let set = logged_in(&self.0.server, call.with, login(by), async |session| {
            let ending = end_sessions(role);
            let transaction = match sessions {
                Sessions::Keep => session.begin(&change).await?.0,
                Sessions::End => session.begin_though_held(&change, &ending).await?,
            };
            if let Some(foreign) = leave_mark(&transaction, role, call.mark).await? {
                transaction.roll_back().await?;
                return Ok(Some(foreign));
            }
            transaction.commit().await?;
            if sessions == Sessions::End {
                session.execute(&ending).await?;
            }
            Ok(None)
        });
        match set.await? {
            None => Ok(()),
            foreign => Err(UpstreamFault::refused(code::UPSTREAM_CHANGED_BY_COPY).with(foreign)),
        }
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

/// The treatment of a role's sessions.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Sessions {
    Keep,
    End,
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

impl Driver for PostgresqlRotation {
    fn describe(&self) -> String {
        self.0.server.describe()
    }

    fn place(&self) -> Option<String> {
        Some(self.0.server.place())
    }

    fn admin_secret(&self) -> Option<&SecretName> {
        self.0.roles.admin_secret()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.roles.capabilities()
    }

    fn prepare<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, Prepared> {
        Box::pin(async move {
            // Before any change, check that the login that sets passwords works.
            self.log_in(call.with, &self.0.roles.setter(call)?).await?;
            Ok(self.0.roles.new_value(call)?.into())
        })
    }

    fn apply<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, ()> {
        Box::pin(async move {
            let (new, by) = (self.0.roles.pending(call)?, &self.0.roles.setter(call)?);
            let (role, password) = (new.name.as_str(), new.password.as_bytes());
            self.set(call, NewPassword { role, password, by, sessions: Sessions::Keep }).await
        })
    }

    fn verify<'a>(&'a self, with: &'a DriverContext, value: &'a SecretValue) -> DriverFuture<'a, Verdict> {
        Box::pin(async move {
            let Ok(role) = self.0.roles.account(value) else { return Ok(Verdict::Refused) };
            match self.log_in(with, &role).await {
                Ok(()) => Ok(Verdict::Works),
                Err(Stopped::Password) => Ok(Verdict::Refused),
                Err(Stopped::Fault(fault)) => Err(fault),
            }
        })
    }

    fn check<'a>(&'a self, call: RotationCall<'a>) -> Checking<'a> {
        Box::pin(async move {
            let by = match self.0.roles.setter(call) {
                Ok(by) => by,
                Err(fault) => return vec![Finding::fault("connection", &fault)],
            };
            let looked = logged_in(&self.0.server, call.with, login(&by), async |client| {
                let says = format!("logged in as `{}`", by.name);
                let mut findings = vec![Finding::good("connection", says)];
                for role in self.0.roles.names() {
                    findings.extend(of_role(client, role, &by.name).await?);
                }
                Ok(findings)
            });
            let mut findings = match looked.await {
                Ok(findings) => findings,
                Err(stopped) => return vec![Finding::fault("connection", &stopped.into())],
            };
            if let Some(current) = call.current {
                let sets_itself = self.0.roles.sets_itself();
                findings.push(Finding::of_value(self.verify(call.with, current).await, sets_itself));
            }
            findings
        })
    }

    fn retire<'a>(&'a self, call: RotationCall<'a>, old: &'a SecretValue) -> DriverFuture<'a, ()> {
        Box::pin(async move {
            let Some(old) = self.0.roles.retired(call, old)? else { return Ok(()) };
            // A random password that is not stored.
            let nobodys = random_password(&*call.with.entropy)?;
            let (role, password, by) = (old.name.as_str(), nobodys.expose(), &self.0.roles.setter(call)?);
            self.set(call, NewPassword { role, password, by, sessions: Sessions::End }).await
        })
    }
}
