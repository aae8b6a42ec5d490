use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::super::accounts::{Accounts, DeclaredAccounts, FieldNames};
use super::super::declaration::{Fields, TargetError};
use super::server::{Server, is_name};
use crate::base::SecretName;

/// A PostgreSQL server, the rotated accounts, and the account that sets their passwords.
#[derive(Clone, Debug)]
pub(super) struct DeclaredRotation {
    pub(super) server: Server,
    pub(super) roles: Accounts,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRoles {
    role: Option<String>,
    roles: Option<[String; 2]>,
    admin_role: Option<String>,
    admin_secret: Option<SecretName>,
}

const FIELDS: FieldNames = FieldNames { one: "role", two: "roles", admin: "admin_role" };

/// The schemas of the fields beside `driver`.
pub(super) fn fields(generator: &mut SchemaGenerator) -> Vec<Schema> {
    vec![Server::json_schema(generator), RawRoles::json_schema(generator)]
}

impl DeclaredRotation {
    pub(super) fn read(mut fields: Fields) -> Result<Self, TargetError> {
        let server = Server::take(&mut fields)?;
        let RawRoles { role: one, roles: two, admin_role: admin, admin_secret } = fields.read()?;
        one.iter().chain(&admin).chain(two.iter().flatten()).try_for_each(|name| is_name(name))?;
        let roles = Accounts::of(DeclaredAccounts { one, two, admin, admin_secret }, &FIELDS)?;
        Ok(Self { server, roles })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::declaration::fields;
    use super::super::super::driver::SlotCount;
    use super::*;

    fn refused(json: &str, says: &str) {
        let error = DeclaredRotation::read(fields(json)).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("CNRY"), "{error}");
    }

    #[test]
    fn a_wrong_declaration_is_refused_without_its_values() {
        let server =
            |more: &str| format!(r#"{{"driver":"postgresql","host":"127.0.0.1","database":"d"{more}}}"#);
        refused(&server(r#","role":"a""#), "`ca` is missing");
        refused(&server(r#","role":"a","ca":"CNRY""#), "no certificate");
        refused(&server(r#","role":"a","tls":"off","more":1"#), "unknown field");
        refused(&server(r#","tls":"off""#), "`role` is missing");
        refused(&server(r#","tls":"off","role":"a","roles":["a","b"]"#), "contradicts");
        refused(&server(r#","tls":"off","roles":["a","a"]"#), "must name two");
        refused(&server(r#","tls":"off","roles":["a","b"]"#), "`admin_role`");
        refused(&server(r#","tls":"off","role":"a","admin_role":"x""#), "`admin_secret` is missing");
        refused(&server(r#","tls":"off","role":"""#), "1 to 63 bytes");
        for bad in [r#"a\""#, "a'", r"a\\", "a`", r"a\n", r"a\u0000", &"a".repeat(64)] {
            refused(&server(&format!(r#","tls":"off","role":"{bad}""#)), "without quotes");
        }
        for good in ["App-1", "größe", "two words", &"a".repeat(63)] {
            let json = server(&format!(r#","tls":"off","role":"{good}""#));
            assert!(DeclaredRotation::read(fields(&json)).is_ok(), "{good}");
        }
        refused(
            r#"{"driver":"postgresql","host":"db.internal","database":"d","tls":"off","role":"a"}"#,
            "this machine",
        );
    }

    #[test]
    fn omitted_fields_have_their_usual_values() {
        let json = r#"{"driver":"postgresql","host":"::1","database":"d","tls":"off","role":"it-is Me"}"#;
        let declared = DeclaredRotation::read(fields(json)).unwrap();
        assert_eq!(declared.roles.capabilities().shape, SlotCount::OneSlot);
        assert_eq!(declared.server.describe(), "postgresql at ::1:5432/d");
    }
}
