use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use serde::{Deserialize, Serialize};
use tokio_postgres::Error;
use zeroize::Zeroizing;

use super::check::{Finding, of_role};
use super::driver::{Answer, Checking, Driver, Fault, Held, Outcome, Prepared, Shape, Surroundings, Verdict};
use super::generate::random_password;
use super::login::{ANY_PURPOSE, Login, Stopped, logged_in};
use super::mark::Mark;
use super::session::{self, Transaction, first_column, is_true};
use super::target::PostgresqlTarget;
use crate::base::{Sensitive, code};
use crate::secrets::SecretValue;

/// Sets passwords of login roles, and sees that they log in.
///
/// The password itself never goes to the server when it is set: a SCRAM verifier of it does, so that
/// no log of statements and no administrator of the server reads it.
pub(super) struct PostgreSql {
    target: PostgresqlTarget,
    surroundings: Surroundings,
}

/// The value of a secret with two roles.
#[derive(Deserialize, Serialize)]
struct Slot {
    username: String,
    password: Zeroizing<String>,
}

impl Slot {
    fn login(&self) -> Login<'_> {
        Login { role: &self.username, password: self.password.as_bytes(), purpose: ANY_PURPOSE }
    }
}

impl PostgreSql {
    pub(super) const fn new(target: PostgresqlTarget, surroundings: Surroundings) -> Self {
        Self { target, surroundings }
    }

    /// The role and the password that a value stands for.
    fn slot(&self, value: &SecretValue) -> Result<Slot, Fault> {
        let unreadable = || Fault::new(Outcome::Refused, code::UPSTREAM_VALUE_INVALID);
        if let Some(role) = &self.target.role {
            let password = std::str::from_utf8(value.expose()).map_err(|_| unreadable())?;
            return Ok(Slot { username: role.clone(), password: Zeroizing::new(password.to_owned()) });
        }
        let slot: Slot = serde_json::from_slice(value.expose()).map_err(|_| unreadable())?;
        let known = self.target.roles.as_ref().is_some_and(|roles| roles.contains(&slot.username));
        if known { Ok(slot) } else { Err(unreadable()) }
    }

    fn password(&self) -> Sensitive<Vec<u8>> {
        random_password(&*self.surroundings.entropy)
    }

    fn made(&self, current: Option<&SecretValue>) -> Result<SecretValue, Fault> {
        let unmade = |_| Fault::new(Outcome::Refused, code::INTERNAL);
        let password = self.password();
        let Some([first, second]) = &self.target.roles else {
            return SecretValue::new(password).map_err(unmade);
        };
        let used = current.and_then(|value| self.slot(value).ok());
        let username = if used.is_some_and(|used| used.username == *first) { second } else { first };
        let password = String::from_utf8(password.expose().clone()).unwrap_or_default();
        let slot = Slot { username: username.clone(), password: Zeroizing::new(password) };
        let json = serde_json::to_vec(&slot).map_err(|_| Fault::new(Outcome::Refused, code::INTERNAL))?;
        SecretValue::new(Sensitive::new(json)).map_err(unmade)
    }

    /// Who logs in to set passwords: the administering role, or the role itself by its own password.
    fn setter(&self, held: Held<'_>) -> Result<Slot, Fault> {
        let missing = || Fault::new(Outcome::Refused, code::UPSTREAM_VALUE_INVALID);
        let Some(admin_role) = &self.target.admin_role else {
            return self.slot(held.current.ok_or_else(missing)?);
        };
        let password =
            std::str::from_utf8(held.admin.ok_or_else(missing)?.expose()).map_err(|_| missing())?;
        Ok(Slot { username: admin_role.clone(), password: Zeroizing::new(password.to_owned()) })
    }

    /// Sets the password of `role`; ends the role's sessions too when `ending` says so.
    async fn set(
        &self,
        (by, mark): (&Slot, Option<Mark<'_>>),
        (role, password): (&str, &[u8]),
        sessions: Sessions,
    ) -> Result<(), Fault> {
        let verifier = escape_literal(&scram_sha_256(password));
        let change = format!("ALTER ROLE {} PASSWORD {verifier}", escape_identifier(role));
        let set = logged_in(self.target.server(), &self.surroundings, by.login(), async |session| {
            let ending = end_sessions(role);
            let transaction = match sessions {
                Sessions::Keep => session.begin(&change).await?.0,
                Sessions::End => session.begin_though_held(&change, &ending).await?,
            };
            if let Some(foreign) = leave_mark(&transaction, role, mark).await? {
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
            foreign => Err(Fault {
                outcome: Outcome::Refused,
                code: code::UPSTREAM_CHANGED_BY_COPY,
                detail: foreign,
            }),
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

/// What becomes of the sessions that a role has.
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

impl Driver for PostgreSql {
    fn shape(&self) -> Shape {
        if self.target.roles.is_some() { Shape::TwoSlots } else { Shape::OneSlot }
    }

    fn prepare<'a>(&'a self, held: Held<'a>) -> Answer<'a, Prepared> {
        Box::pin(async move {
            // That whoever sets passwords can log in is seen before anything is begun.
            let by = self.setter(held)?;
            logged_in(self.target.server(), &self.surroundings, by.login(), async |_| Ok(())).await?;
            Ok(self.made(held.current)?.into())
        })
    }

    fn apply<'a>(&'a self, held: Held<'a>) -> Answer<'a, ()> {
        Box::pin(async move {
            let pending = held.pending.ok_or(Fault::new(Outcome::Refused, code::UPSTREAM_VALUE_INVALID))?;
            let new = self.slot(pending)?;
            let by = (&self.setter(held)?, held.mark);
            self.set(by, (&new.username, new.password.as_bytes()), Sessions::Keep).await
        })
    }

    fn verify<'a>(&'a self, value: &'a SecretValue) -> Answer<'a, Verdict> {
        Box::pin(async move {
            let Ok(slot) = self.slot(value) else { return Ok(Verdict::Refused) };
            match logged_in(self.target.server(), &self.surroundings, slot.login(), async |_| Ok(())).await {
                Ok(()) => Ok(Verdict::Works),
                Err(Stopped::Password) => Ok(Verdict::Refused),
                Err(Stopped::Fault(fault)) => Err(fault),
            }
        })
    }

    fn check<'a>(&'a self, held: Held<'a>) -> Checking<'a> {
        Box::pin(async move {
            let by = match self.setter(held) {
                Ok(by) => by,
                Err(fault) => return vec![Finding::fault("connection", &fault)],
            };
            let roles = self.target.role.iter().chain(self.target.roles.iter().flatten());
            let looked = logged_in(self.target.server(), &self.surroundings, by.login(), async |client| {
                let says = format!("logged in as `{}`", by.username);
                let mut findings = vec![Finding::good("connection", says)];
                for role in roles {
                    findings.extend(of_role(client, role, &by.username).await?);
                }
                Ok(findings)
            });
            let mut findings = match looked.await {
                Ok(findings) => findings,
                Err(stopped) => return vec![Finding::fault("connection", &stopped.into())],
            };
            if let Some(current) = held.current {
                let sets_itself = self.target.admin_role.is_none();
                findings.push(Finding::of_value(self.verify(current).await, sets_itself));
            }
            findings
        })
    }

    fn retire<'a>(&'a self, held: Held<'a>, old: &'a SecretValue) -> Answer<'a, ()> {
        Box::pin(async move {
            let old = self.slot(old)?;
            let in_use = held.current.and_then(|current| self.slot(current).ok());
            if self.target.roles.is_none() || in_use.is_some_and(|used| used.username == old.username) {
                return Ok(());
            }
            // A password that nobody will ever know.
            let nobodys = self.password();
            let by = (&self.setter(held)?, held.mark);
            self.set(by, (&old.username, nobodys.expose()), Sessions::End).await
        })
    }
}
