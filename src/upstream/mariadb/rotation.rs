use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::super::account_driver::{AccountDriver, AccountServer, LoginError, OpenSessions};
use super::super::accounts::{self, Accounts, DeclaredAccounts, FieldNames};
use super::super::declaration::{Fields, TargetError};
use super::super::driver::{Driver, DriverContext, RotationCall};
use super::super::fault::UpstreamFault;
use super::super::finding::Finding;
use super::revoke::end_all_sessions;
use super::server::{Server, anywhere, is_account_host, is_name};
use super::session::{Credentials, logged_in};
use super::sql::{self, Account};
use crate::base::{SecretName, code};

/// Sets passwords of accounts, and checks that they can log in.
///
/// To set a password, the driver sends its hash.
#[derive(Debug)]
struct MariadbRotation {
    server: Server,
    account_host: String,
    users: Accounts,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawUsers {
    user: Option<String>,
    users: Option<[String; 2]>,
    admin_user: Option<String>,
    admin_secret: Option<SecretName>,
    #[serde(default = "anywhere")]
    account_host: String,
}

/// The schemas of the fields beside `driver`.
pub(super) fn fields(generator: &mut SchemaGenerator) -> Vec<Schema> {
    vec![Server::json_schema(generator), RawUsers::json_schema(generator)]
}

const FIELDS: FieldNames = FieldNames { one: "user", two: "users", admin: "admin_user" };

pub(super) fn read(mut fields: Fields) -> Result<Box<dyn Driver>, TargetError> {
    let server = Server::take(&mut fields)?;
    let RawUsers { user: one, users: two, admin_user: admin, admin_secret, account_host } = fields.read()?;
    one.iter().chain(&admin).chain(two.iter().flatten()).try_for_each(|name| is_name(name))?;
    is_account_host(&account_host)?;
    let users = Accounts::of(DeclaredAccounts { one, two, admin, admin_secret }, &FIELDS)?;
    Ok(Box::new(AccountDriver(MariadbRotation { server, account_host, users })))
}

fn credentials(account: &accounts::Account) -> Credentials<'_> {
    Credentials { user: account.name.as_str(), password: account.password.as_bytes() }
}

impl AccountServer for MariadbRotation {
    fn describe(&self) -> String {
        self.server.describe()
    }

    fn place(&self) -> String {
        self.server.place()
    }

    fn accounts(&self) -> &Accounts {
        &self.users
    }

    async fn log_in(&self, with: &DriverContext, account: &accounts::Account) -> Result<(), LoginError> {
        logged_in(&self.server, with, credentials(account), async |_| Ok(())).await
    }

    async fn set(
        &self,
        call: RotationCall<'_>,
        by: &accounts::Account,
        new: &accounts::Account,
        sessions: OpenSessions,
    ) -> Result<(), UpstreamFault> {
        let password = new.password.as_bytes();
        let set = if self.users.sets_itself() {
            sql::set_own_password(password)
        } else {
            sql::set_password(Account { user: &new.name, host: &self.account_host }, password)
        };
        let done = logged_in(&self.server, call.with, credentials(by), async |session| {
            session.query(&set).await?;
            match sessions {
                OpenSessions::Keep => Ok(true),
                OpenSessions::End => end_all_sessions(session, &new.name).await,
            }
        });
        if done.await? { Ok(()) } else { Err(UpstreamFault::unknown(code::UPSTREAM_NOT_REVOKED)) }
    }

    async fn rights(&self, with: &DriverContext, by: &accounts::Account) -> Result<Vec<Finding>, LoginError> {
        let privileges = logged_in(&self.server, with, credentials(by), async |session| {
            session.column(&sql::own_privileges()).await
        });
        let privileges = privileges.await?;
        if self.users.sets_itself() {
            return Ok(Vec::new());
        }
        let sessions = self.users.are_in_turn().then(|| sessions(&by.name, &privileges));
        Ok([privilege(&by.name, &privileges)].into_iter().chain(sessions).collect())
    }
}

fn privilege(setter: &str, privileges: &[String]) -> Finding {
    if privileges.iter().any(|privilege| privilege == sql::CREATE_USER) {
        Finding::good("privilege", format!("`{setter}` can set passwords"))
    } else {
        let says = format!("`{setter}` cannot set passwords");
        Finding::bad("privilege", says, &format!("GRANT CREATE USER ON *.* TO {setter}"))
    }
}

/// The privileges to find and end the sessions of other users.
fn sessions(setter: &str, privileges: &[String]) -> Finding {
    let missing: Vec<&str> = sql::OF_SESSIONS
        .into_iter()
        .filter(|needed| !privileges.iter().any(|privilege| privilege == needed))
        .collect();
    if missing.is_empty() {
        return Finding::good("sessions", format!("`{setter}` can end sessions"));
    }
    let says = format!("`{setter}` cannot end sessions, which is necessary after the grace period");
    Finding::bad("sessions", says, &format!("GRANT {} ON *.* TO {setter}", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::super::declaration::fields;
    use super::super::super::driver::SlotCount;
    use super::*;

    fn declared(more: &str) -> String {
        format!(r#"{{"driver":"mariadb","host":"db.internal"{more}}}"#)
    }

    #[test]
    fn a_wrong_declaration_is_refused_without_its_values() {
        for (more, says) in [
            (r#","user":"a""#, "`ca` is missing"),
            (r#","user":"a","ca":"CNRY""#, "no certificate"),
            (r#","user":"a","tls":"off""#, "`ca` is missing"),
        ] {
            let error = read(fields(&declared(more))).err().unwrap().to_string();
            assert!(error.contains(says) && !error.contains("CNRY"), "{error}");
        }
        assert!(is_account_host("10.0.0.%").is_ok() && is_account_host("a@b").is_err());
        for bad in ["", "a'", r"a\", "a`", "a\n", &"a".repeat(81)] {
            assert!(is_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_account_has_one_slot_and_two_have_two() {
        let of = |one: Option<&str>, two: Option<[&str; 2]>| {
            let declared = DeclaredAccounts {
                one: one.map(str::to_owned),
                two: two.map(|two| two.map(str::to_owned)),
                admin: Some("admin".to_owned()),
                admin_secret: Some("db/admin".parse().unwrap()),
            };
            Accounts::of(declared, &FIELDS).unwrap().capabilities().shape
        };
        assert_eq!(of(Some("a"), None), SlotCount::OneSlot);
        assert_eq!(of(None, Some(["a", "b"])), SlotCount::TwoSlots);
    }
}
