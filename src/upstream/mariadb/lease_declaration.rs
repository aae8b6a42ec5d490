use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::super::declaration::{Fields, TargetError, refuse};
use super::super::leased_logins::{LOGIN_FIELD, check_connections, has_other_field, usual_connections};
use super::server::{Server, anywhere, is_account_host, is_name};
use crate::base::SecretName;
use crate::base::limits::{LEASE_STATEMENT_BYTES_MAX, LEASE_STATEMENTS_MAX};

/// The declaration of leased accounts: server and rights.
#[derive(Clone, Debug)]
pub(super) struct DeclaredLeases {
    pub(super) server: Server,
    pub(super) accounts: LeasedAccounts,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeasedAccounts {
    /// The user that creates accounts and revokes them.
    pub(super) admin_user: String,
    /// The secret with its password.
    pub(super) admin_secret: SecretName,
    /// The host part of each account.
    #[serde(default = "anywhere")]
    pub(super) account_host: String,
    /// Grants of a new account; `{login}` is replaced by it.
    #[serde(default)]
    pub(super) grants: Vec<String>,
    /// Maximum number of connections of one account.
    #[serde(default = "usual_connections")]
    pub(super) connections: u32,
    /// The database for clients.
    pub(super) database: Option<String>,
}

/// The schemas of the fields beside `driver`.
pub(super) fn fields(generator: &mut SchemaGenerator) -> Vec<Schema> {
    vec![Server::json_schema(generator), LeasedAccounts::json_schema(generator)]
}

impl DeclaredLeases {
    pub(super) fn read(mut fields: Fields) -> Result<Self, TargetError> {
        let server = Server::take(&mut fields)?;
        let accounts: LeasedAccounts = fields.read()?;
        accounts.check()?;
        Ok(Self { server, accounts })
    }
}

impl LeasedAccounts {
    fn check(&self) -> Result<(), TargetError> {
        [&self.admin_user].into_iter().chain(&self.database).try_for_each(|name| is_name(name))?;
        is_account_host(&self.account_host)?;
        if self.grants.len() > LEASE_STATEMENTS_MAX {
            return refuse("`grants` has at most 32 entries");
        }
        check_connections(self.connections)?;
        self.grants.iter().try_for_each(|grant| check_grant(grant))
    }
}

/// One `GRANT` to the account: the server commits each by itself, so that anything else could stay behind.
fn check_grant(grant: &str) -> Result<(), TargetError> {
    let first = grant.split_whitespace().next().unwrap_or_default();
    if grant.len() > LEASE_STATEMENT_BYTES_MAX || !first.eq_ignore_ascii_case("grant") {
        return refuse("each of `grants` is one GRANT of at most 2048 bytes");
    }
    if grant.contains([';', '\0']) {
        return refuse("each of `grants` is one statement, without `;`");
    }
    if !grant.contains(LOGIN_FIELD) || has_other_field(grant) {
        return refuse("a grant must name `{login}`, and can have no other field");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_one_statement_for_the_login() {
        for good in ["GRANT SELECT ON orders.* TO {login}", " grant `r w` to {login}"] {
            assert!(check_grant(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "DROP TABLE t",
            "GRANT SELECT ON *.* TO 'somebody'",
            "GRANT SELECT ON {table} TO {login}",
            "GRANT SELECT ON a.* TO {login}; DROP TABLE t",
            &format!("GRANT SELECT ON a.* TO {{login}}{}", " ".repeat(LEASE_STATEMENT_BYTES_MAX)),
        ] {
            assert!(check_grant(bad).is_err(), "{bad}");
        }
    }
}
