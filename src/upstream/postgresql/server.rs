use schemars::JsonSchema;
use serde::Deserialize;

use super::super::declaration::{Fields, TargetError, refuse};
use super::super::endpoint::{Tls, UpstreamEndpoint};

/// A PostgreSQL server, and the database there: what every driver for PostgreSQL is declared with.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct Server {
    pub(super) host: String,
    #[serde(default = "standard_port")]
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) ca: Option<String>,
    #[serde(default)]
    tls: Tls,
}

/// Longest name of a role or database, in bytes: PostgreSQL silently truncates longer ones.
pub(super) const IDENTIFIER_BYTES_MAX: usize = 63;

const fn standard_port() -> u16 {
    5432
}

impl Server {
    /// Removes the server's fields from a declaration.
    pub(super) fn take(fields: &mut Fields) -> Result<Self, TargetError> {
        let server: Self = fields.take(&["host", "port", "database", "ca", "tls"])?;
        server.endpoint().check()?;
        is_name(&server.database)?;
        Ok(server)
    }

    /// Another database of the same server.
    pub(super) fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    pub(super) fn endpoint(&self) -> UpstreamEndpoint<'_> {
        UpstreamEndpoint { host: &self.host, port: self.port, tls: self.tls, ca: self.ca.as_deref() }
    }

    pub(super) fn describe(&self) -> String {
        format!("postgresql at {}:{}/{}", self.host, self.port, self.database)
    }

    pub(super) fn place(&self) -> String {
        format!("postgresql {}:{}", self.host, self.port)
    }
}

/// Whether a text can name a role or a database.
pub(super) fn is_name(name: &str) -> Result<(), TargetError> {
    // Names are quoted everywhere; a name that needs quotes is a mistake or an attack.
    let is_plain = !name.contains(['"', '\'', '\\', '`']) && !name.chars().any(char::is_control);
    if name.is_empty() || name.len() > IDENTIFIER_BYTES_MAX || !is_plain {
        refuse(
            "the name of a role or a database has 1 to 63 bytes, without quotes, backslashes and control characters",
        )
    } else {
        Ok(())
    }
}
