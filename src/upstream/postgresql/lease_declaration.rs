use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::super::declaration::{Fields, TargetError, refuse};
use super::super::leased_logins::{check_connections, has_other_field, usual_connections};
use super::server::{IDENTIFIER_BYTES_MAX, Server, is_name};
use crate::base::SecretName;
use crate::base::limits::{LEASE_STATEMENT_BYTES_MAX, LEASE_STATEMENTS_MAX};

/// The declaration of leased logins: server and rights.
#[derive(Clone, Debug)]
pub(super) struct DeclaredLeases {
    pub(super) server: Server,
    pub(super) logins: DeclaredLogins,
}

/// The declared logins of a server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredLogins {
    /// The role that creates logins and revokes them.
    pub(super) admin_role: String,
    /// The secret with its password.
    pub(super) admin_secret: SecretName,
    /// The roles that a login is a member of.
    #[serde(default)]
    pub(super) member_of: Vec<String>,
    /// Statements that run when a login is created; `{login}` is replaced by its name.
    #[serde(default)]
    pub(super) statements: Vec<String>,
    /// Maximum number of connections of one login.
    #[serde(default = "usual_connections")]
    pub(super) connections: u32,
    /// The role that gets the objects of a login; without it the objects are dropped with the login.
    pub(super) heir: Option<String>,
}

/// The schemas of the fields beside `driver`.
pub(super) fn fields(generator: &mut SchemaGenerator) -> Vec<Schema> {
    vec![Server::json_schema(generator), DeclaredLogins::json_schema(generator)]
}

impl DeclaredLeases {
    pub(super) fn read(mut fields: Fields) -> Result<Self, TargetError> {
        let server = Server::take(&mut fields)?;
        let logins: DeclaredLogins = fields.read()?;
        logins.check()?;
        Ok(Self { server, logins })
    }
}

impl DeclaredLogins {
    fn check(&self) -> Result<(), TargetError> {
        is_name(&self.admin_role)?;
        // These names are quoted in statements; names that need quotes are refused anyway.
        if !self.member_of.iter().chain(&self.heir).all(|name| is_plain(name)) {
            return refuse(
                "`member_of` and `heir` name roles of letters, digits, `_`, `-` and `$`, 1 to 63 of them",
            );
        }
        if self.heir.as_ref() == Some(&self.admin_role) {
            return refuse("`heir` must not be `admin_role`: objects of logins would act with its rights");
        }
        if self.member_of.len() > LEASE_STATEMENTS_MAX || self.statements.len() > LEASE_STATEMENTS_MAX {
            return refuse("`member_of` and `statements` have at most 32 entries each");
        }
        check_connections(self.connections)?;
        self.statements.iter().try_for_each(|statement| check_statement(statement))
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$');
    (1..=IDENTIFIER_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// Keywords with which a part of a login could remain after a failure.
const OF_TRANSACTIONS: [&str; 7] = ["abort", "begin", "commit", "end", "prepare", "rollback", "start"];

/// One statement with the only field `{login}`.
fn check_statement(statement: &str) -> Result<(), TargetError> {
    if statement.trim().is_empty() || statement.len() > LEASE_STATEMENT_BYTES_MAX {
        return refuse("a statement has 1 to 2048 bytes");
    }
    if statement.contains('\0') || (statement.contains(';') && !is_block(statement)) {
        return refuse(
            "each of `statements` is one statement, without `;` except in the body of `DO $$ … $$`",
        );
    }
    let first = statement.split_whitespace().next().unwrap_or_default();
    if OF_TRANSACTIONS.iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return refuse(
            "a statement must not begin or end a transaction: a login is created completely or not at all",
        );
    }
    if has_other_field(statement) {
        return refuse("a statement can have only the field `{login}`");
    }
    Ok(())
}

/// Whether a statement is `DO [LANGUAGE name] $tag$ body $tag$ [LANGUAGE name]` and nothing else. Any other
/// statement with a dollar sign could have it within a quoted name, where it begins no body.
fn is_block(statement: &str) -> bool {
    let is_words =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_ \t\r\n".contains(&byte));
    let Some((before, rest)) = statement.split_once('$') else { return false };
    let Some((tag, rest)) = rest.split_once('$') else { return false };
    let closing = format!("${tag}$");
    let Some((_, after)) = rest.split_once(closing.as_str()) else { return false };
    let first = before.split_whitespace().next().unwrap_or_default();
    let is_tag =
        !tag.starts_with(|c: char| c.is_ascii_digit()) && is_words(tag) && !tag.contains(char::is_whitespace);
    first.eq_ignore_ascii_case("do")
        && is_words(before)
        && before.ends_with(char::is_whitespace)
        && is_tag
        && is_words(after)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::declaration::fields;
    use super::*;
    use crate::base::limits::{LEASE_CONNECTIONS, LEASE_CONNECTIONS_MAX};

    fn read(json: &str) -> Result<DeclaredLeases, TargetError> {
        DeclaredLeases::read(fields(json))
    }

    pub(in super::super) fn declared(more: &str) -> String {
        format!(
            r#"{{"driver":"postgresql-dynamic","host":"127.0.0.1","database":"d","tls":"off",
                "admin_role":"it-is Me","admin_secret":"orders-db/admin"{more}}}"#
        )
    }

    fn refused(json: &str, says: &str) {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("CNRY"), "{error}");
    }

    fn list(entry: &str, count: usize) -> String {
        vec![format!("\"{entry}\""); count].join(",")
    }

    #[test]
    fn a_wrong_declaration_is_refused_without_its_values() {
        assert!(read(&declared("")).is_ok());
        refused(&declared(r#","more":1"#), "unknown field");
        refused(&declared(r#","member_of":["CNRY\"; DROP"]"#), "`member_of`");
        refused(&declared(r#","heir":"CNRY'""#), "`heir`");
        refused(&declared(r#","member_of":[""]"#), "`member_of`");
        refused(&declared(r#","heir":"lender""#).replace(r#"it-is Me"#, "lender"), "with its rights");
        refused(&declared(r#","statements":["GRANT x TO {CNRY}"]"#), "can have only the field");
        refused(&declared(r#","statements":["GRANT x TO {login}; DROP TABLE CNRY"]"#), "without `;`");
        refused(&declared(r#","statements":[" "]"#), "1 to 2048");
        refused(&declared(r#","statements":["\n Commit WORK"]"#), "must not begin or end a transaction");
        refused(&declared("").replace("127.0.0.1", "db.internal"), "this machine");
    }

    #[test]
    fn a_block_has_semicolons_in_its_body_alone() {
        for block in [
            "DO $$BEGIN GRANT a TO {login}; END$$",
            "do language plpgsql $x$ BEGIN PERFORM 1; IF '$$' = ';' THEN NULL; END IF; END $x$",
            "\n DO $_1$ BEGIN NULL; END $_1$ LANGUAGE plpgsql \n",
        ] {
            assert!(check_statement(block).is_ok(), "{block}");
        }
        for several in [
            "DO $$BEGIN NULL; END$$; DROP TABLE t",
            "DO $$BEGIN NULL; END$$ $$; DROP TABLE t; $$",
            "DO 'BEGIN NULL; END'; DROP TABLE t",
            "DO $a$BEGIN NULL; END$A$",
            "DO LANGUAGE \"a$$b\"; DROP TABLE t; SELECT $$x$$",
            "GRANT a TO \"x$$y\"; DROP TABLE t; GRANT b TO \"x$$y\"",
            "DO -- $$\n; DROP TABLE t -- $$",
            "DO$$BEGIN NULL; END$$; x",
            "SELECT $$;$$",
        ] {
            assert!(check_statement(several).is_err(), "{several}");
        }
    }

    #[test]
    fn limits_hold_at_the_edge() {
        let good = |more: &str| read(&declared(more)).unwrap();
        good(&format!(r#","member_of":[{}]"#, list("a", LEASE_STATEMENTS_MAX)));
        refused(
            &declared(&format!(r#","member_of":[{}]"#, list("a", LEASE_STATEMENTS_MAX + 1))),
            "at most 32",
        );
        good(&format!(r#","statements":[{}]"#, list("a", LEASE_STATEMENTS_MAX)));
        refused(
            &declared(&format!(r#","statements":[{}]"#, list("a", LEASE_STATEMENTS_MAX + 1))),
            "at most 32",
        );
        good(&format!(r#","statements":["{}"]"#, "a".repeat(LEASE_STATEMENT_BYTES_MAX)));
        refused(
            &declared(&format!(r#","statements":["{}"]"#, "a".repeat(LEASE_STATEMENT_BYTES_MAX + 1))),
            "2048",
        );
        assert_eq!(good("").logins.connections, LEASE_CONNECTIONS, "when nothing is said");
        good(&format!(r#","connections":{LEASE_CONNECTIONS_MAX}"#));
        refused(&declared(&format!(r#","connections":{}"#, LEASE_CONNECTIONS_MAX + 1)), "`connections`");
        refused(&declared(r#","connections":0"#), "`connections`");
        good(&format!(r#","member_of":["{}"]"#, "a".repeat(63)));
        refused(&declared(&format!(r#","member_of":["{}"]"#, "a".repeat(64))), "`member_of`");
    }
}
