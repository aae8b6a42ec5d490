use serde_json::{Map, Value};
use tokio_postgres::SimpleQueryRow;

use super::super::declaration::{Fields, TargetError};
use super::super::driver::{Checking, DriverFuture};
use super::super::fault::UpstreamFault;
use super::super::finding::Finding;
use super::super::lease_driver::{Expiry, FoundLogin, LeaseCall, LeaseDriver, NewLogin};
use super::super::leased_logins::connection;
use super::administrator::Administrator;
use super::check::ends_sessions;
use super::create::{create, extension, try_creation};
use super::lease_declaration::DeclaredLeases;
use super::revoke::revoke;
use super::session::is_true;
use super::sql;
use crate::base::{SecretName, Timestamp, code};
use crate::secrets::SecretValue;

/// Creates login roles and revokes them.
///
/// The server gets a SCRAM verifier, never a password. Names are quoted, and have this broker's prefix.
#[derive(Debug)]
struct PostgresqlLeases(DeclaredLeases);

pub(super) fn read(fields: Fields) -> Result<Box<dyn LeaseDriver>, TargetError> {
    Ok(Box::new(PostgresqlLeases(DeclaredLeases::read(fields)?)))
}

impl PostgresqlLeases {
    const fn administrator<'a>(&'a self, call: LeaseCall<'a>) -> Administrator<'a> {
        Administrator { declared: &self.0, call }
    }
}

impl LeaseDriver for PostgresqlLeases {
    fn describe(&self) -> String {
        self.0.server.describe()
    }

    fn place(&self) -> String {
        self.0.server.place()
    }

    fn admin_secret(&self) -> &SecretName {
        &self.0.logins.admin_secret
    }

    fn expiry(&self) -> Expiry {
        Expiry::ByServer
    }

    fn connection(&self) -> Map<String, Value> {
        let server = &self.0.server;
        connection("postgresql-dynamic", &server.endpoint(), Some(&server.database))
    }

    fn create<'a>(&'a self, call: LeaseCall<'a>, login: NewLogin<'a>) -> DriverFuture<'a, SecretValue> {
        Box::pin(create(self.administrator(call), login))
    }

    fn check<'a>(&'a self, call: LeaseCall<'a>, login: NewLogin<'a>) -> Checking<'a> {
        Box::pin(async move {
            let by = self.administrator(call);
            let role = &self.0.logins.admin_role;
            let signal = match by.session(async |session| ends_sessions(session, role).await).await {
                Ok(signal) => signal,
                Err(error) => return vec![Finding::fault("connection", &error.into())],
            };
            let connection = Finding::good("connection", format!("logged in as `{role}`"));
            let login = match try_creation(by, login).await {
                Ok(()) => Finding::good(
                    "login",
                    format!(
                        "`{role}` can create a login with these rights, and revoke it: a trial was rolled back"
                    ),
                ),
                Err(fault) => Finding::fault("login", &fault),
            };
            vec![connection, signal, login]
        })
    }

    fn extend<'a>(&'a self, call: LeaseCall<'a>, login: &'a str, until: Timestamp) -> DriverFuture<'a, ()> {
        Box::pin(async move {
            let until = until.to_string();
            let extended = self.administrator(call).session(async |session| {
                let is_to_come = is_true(&session.execute(&sql::is_to_come(&until)).await?, 0)?;
                if is_to_come {
                    session.execute(&extension(login, &until)).await?;
                }
                Ok(is_to_come)
            });
            if extended.await? { Ok(()) } else { Err(UpstreamFault::refused(code::UPSTREAM_CLOCK_AHEAD)) }
        })
    }

    fn revoke<'a>(&'a self, call: LeaseCall<'a>, login: &'a str) -> DriverFuture<'a, ()> {
        Box::pin(revoke(self.administrator(call), login))
    }

    fn find<'a>(
        &'a self,
        call: LeaseCall<'a>,
        prefix: &'a str,
        now: Timestamp,
    ) -> DriverFuture<'a, Vec<FoundLogin>> {
        Box::pin(async move {
            let named = sql::named(prefix, &now.to_string());
            let found = self.administrator(call).session(async |session| {
                let rows = session.execute(&named).await?;
                let found = |row: &SimpleQueryRow| {
                    let name = row.try_get(0)?.unwrap_or_default().to_owned();
                    Ok(FoundLogin { name, is_over: row.try_get(1)? == Some("t") })
                };
                rows.iter().map(found).collect()
            });
            Ok(found.await?)
        })
    }
}
