use serde_json::{Map, Value};

use super::super::account_driver::LoginError;
use super::super::declaration::{Fields, TargetError};
use super::super::driver::{Checking, DriverFuture};
use super::super::fault::UpstreamFault;
use super::super::finding::Finding;
use super::super::lease_driver::{Expiry, FoundLogin, LeaseCall, LeaseDriver, NewLogin};
use super::super::leased_logins::{LOGIN_FIELD, connection};
use super::super::random::random_password;
use super::lease_declaration::DeclaredLeases;
use super::revoke::{Revoked, revoke};
use super::session::{Credentials, QueryError, Session, logged_in};
use super::sql::{self, Account};
use crate::base::code::{self, Code};
use crate::base::{SecretName, Timestamp};
use crate::secrets::SecretValue;

/// Creates accounts and revokes them. Names are quoted, and have this broker's prefix.
#[derive(Debug)]
struct MariadbLeases(DeclaredLeases);

pub(super) fn read(fields: Fields) -> Result<Box<dyn LeaseDriver>, TargetError> {
    Ok(Box::new(MariadbLeases(DeclaredLeases::read(fields)?)))
}

/// The oldest release at which logins are created: earlier ones have no privilege to end sessions but SUPER.
const RELEASE_MIN: (u32, u32) = (10, 5);

impl MariadbLeases {
    async fn session<T>(
        &self,
        call: LeaseCall<'_>,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, QueryError>,
    ) -> Result<T, LoginError> {
        let (user, password) = (self.0.accounts.admin_user.as_str(), call.admin.expose());
        logged_in(&self.0.server, call.with, Credentials { user, password }, work).await
    }

    fn account<'a>(&'a self, user: &'a str) -> Account<'a> {
        Account { user, host: &self.0.accounts.account_host }
    }

    /// Creates an account that is locked until it has all that was declared for it.
    async fn create_account(
        &self,
        session: &mut Session,
        login: NewLogin<'_>,
        password: &SecretValue,
    ) -> Result<Result<(), UpstreamFault>, QueryError> {
        if let Err(fault) = self.server_state(session, login).await? {
            return Ok(Err(fault));
        }
        let (account, accounts) = (self.account(login.name), &self.0.accounts);
        session.query(&sql::create(account, password.expose(), accounts.connections)).await?;
        match self.finish(session, account).await {
            Ok(()) => Ok(Ok(())),
            Err(QueryError::Lost) => Err(QueryError::Lost),
            // The broker revokes a partly created account.
            Err(error) => match session.query(&sql::drop_account(account)).await {
                Ok(_) => Err(error),
                Err(_) => Err(QueryError::Lost),
            },
        }
    }

    async fn finish(&self, session: &mut Session, account: Account<'_>) -> Result<(), QueryError> {
        for grant in &self.0.accounts.grants {
            session.query(&grant.replace(LOGIN_FIELD, &account.quoted())).await?;
        }
        session.query(&sql::unlock(account)).await.map(drop)
    }

    /// Checks that the server and the administering user can create and revoke a login.
    async fn server_state(
        &self,
        session: &mut Session,
        login: NewLogin<'_>,
    ) -> Result<Result<(), UpstreamFault>, QueryError> {
        let refuse = |code: Code, detail: &str| Ok(Err(UpstreamFault::refused(code).with(detail.to_owned())));
        let server_state = session.query(sql::SERVER_STATE).await?;
        let row = server_state.into_iter().next().and_then(|row| <[String; 2]>::try_from(row).ok());
        let Some([version, connections]) = row else { return Err(QueryError::Lost) };
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let release = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        if !version.contains("MariaDB") || release < RELEASE_MIN {
            return refuse(code::UPSTREAM_VERSION_UNSUPPORTED, &format!("{}.{}", release.0, release.1));
        }
        let free = connections.parse::<u32>().unwrap_or_default();
        if login.per_agent.saturating_mul(self.0.accounts.connections) >= free {
            return refuse(code::UPSTREAM_CONNECTION_LIMIT, &free.to_string());
        }
        let privileges = session.column(&sql::own_privileges()).await?;
        let mut needed = [sql::CREATE_USER].into_iter().chain(sql::OF_SESSIONS);
        if let Some(missing) = needed.find(|needed| !privileges.iter().any(|one| one == needed)) {
            return refuse(code::UPSTREAM_LOGIN_IRREVOCABLE, missing);
        }
        match session.column(&sql::users(login.name, &self.0.accounts.account_host)).await {
            Ok(_) => Ok(Ok(())),
            Err(QueryError::Server(number)) => refuse(code::UPSTREAM_LOGIN_IRREVOCABLE, &number.to_string()),
            Err(QueryError::Lost) => Err(QueryError::Lost),
        }
    }
}

impl LeaseDriver for MariadbLeases {
    fn describe(&self) -> String {
        self.0.server.describe()
    }

    fn place(&self) -> String {
        self.0.server.place()
    }

    fn admin_secret(&self) -> &SecretName {
        &self.0.accounts.admin_secret
    }

    /// `MariaDB` accounts do not expire: passwords expire only by the day, and sessions continue.
    fn expiry(&self) -> Expiry {
        Expiry::ByBroker
    }

    fn connection(&self) -> Map<String, Value> {
        let server = &self.0.server;
        connection("mariadb-dynamic", &server.endpoint(), self.0.accounts.database.as_deref())
    }

    fn create<'a>(&'a self, call: LeaseCall<'a>, login: NewLogin<'a>) -> DriverFuture<'a, SecretValue> {
        Box::pin(async move {
            let password = random_password(&*call.with.entropy)?;
            let created =
                self.session(call, async |session| self.create_account(session, login, &password).await);
            created.await??;
            Ok(password)
        })
    }

    fn check<'a>(&'a self, call: LeaseCall<'a>, login: NewLogin<'a>) -> Checking<'a> {
        Box::pin(async move {
            let user = &self.0.accounts.admin_user;
            let state =
                match self.session(call, async |session| self.server_state(session, login).await).await {
                    Ok(state) => state,
                    Err(error) => return vec![Finding::fault("connection", &error.into())],
                };
            let mut findings = vec![Finding::good("connection", format!("logged in as `{user}`"))];
            findings.push(match state {
                Ok(()) => Finding::good("login", format!("`{user}` can create a login, and revoke it")),
                Err(fault) => Finding::fault("login", &fault),
            });
            if !self.0.accounts.grants.is_empty() {
                findings.push(Finding::warn(
                    "grants",
                    "`grants` are not tried, because MariaDB cannot roll a trial back".to_owned(),
                    "after the apply, get one lease: `keyward lease get NAME`",
                ));
            }
            findings
        })
    }

    /// Accounts do not expire at the server.
    fn extend<'a>(
        &'a self,
        _call: LeaseCall<'a>,
        _login: &'a str,
        _until: Timestamp,
    ) -> DriverFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn revoke<'a>(&'a self, call: LeaseCall<'a>, login: &'a str) -> DriverFuture<'a, ()> {
        Box::pin(async move {
            match self.session(call, async |session| revoke(session, self.account(login)).await).await? {
                Revoked::Wholly => Ok(()),
                Revoked::Sessions => Err(UpstreamFault::unknown(code::UPSTREAM_NOT_REVOKED)),
                Revoked::Locked(number) => {
                    Err(UpstreamFault::unknown(code::UPSTREAM_LOGIN_NOT_DROPPED).with(number.to_string()))
                }
            }
        })
    }

    fn find<'a>(
        &'a self,
        call: LeaseCall<'a>,
        prefix: &'a str,
        _now: Timestamp,
    ) -> DriverFuture<'a, Vec<FoundLogin>> {
        Box::pin(async move {
            let users = sql::users(prefix, &self.0.accounts.account_host);
            let found = self.session(call, async |session| session.column(&users).await).await?;
            Ok(found.into_iter().map(|name| FoundLogin { name, is_over: false }).collect())
        })
    }
}
