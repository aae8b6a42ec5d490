use schemars::JsonSchema;
use serde::Deserialize;

use super::super::declaration::{Fields, TargetError, refuse};
use super::super::endpoint::{Tls, UpstreamEndpoint};

/// A `MariaDB` server: what every driver for `MariaDB` is declared with. Its certificate is always verified: no
/// method by which it checks passwords proves that the server knows them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct Server {
    pub(super) host: String,
    #[serde(default = "standard_port")]
    pub(super) port: u16,
    pub(super) ca: Option<String>,
}

/// Longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 80;

/// Longest host part of an account, in bytes.
const ACCOUNT_HOST_BYTES_MAX: usize = 255;

const fn standard_port() -> u16 {
    3306
}

/// The host part of an account that may log in from anywhere.
pub(super) fn anywhere() -> String {
    "%".to_owned()
}

impl Server {
    /// Removes the server's fields from a declaration.
    pub(super) fn take(fields: &mut Fields) -> Result<Self, TargetError> {
        let server: Self = fields.take(&["host", "port", "ca"])?;
        server.endpoint().check()?;
        Ok(server)
    }

    pub(super) fn endpoint(&self) -> UpstreamEndpoint<'_> {
        UpstreamEndpoint { host: &self.host, port: self.port, tls: Tls::Verify, ca: self.ca.as_deref() }
    }

    pub(super) fn describe(&self) -> String {
        format!("mariadb at {}:{}", self.host, self.port)
    }

    pub(super) fn place(&self) -> String {
        format!("mariadb {}:{}", self.host, self.port)
    }
}

/// Whether a text can name a user or a role.
pub(super) fn is_name(name: &str) -> Result<(), TargetError> {
    if is_plain(name, NAME_BYTES_MAX) {
        Ok(())
    } else {
        refuse(
            "the name of a user or a role has 1 to 80 bytes, without quotes, backslashes and control characters",
        )
    }
}

/// Whether a text can be the host part of an account, e.g. `%`.
pub(super) fn is_account_host(host: &str) -> Result<(), TargetError> {
    if is_plain(host, ACCOUNT_HOST_BYTES_MAX) && !host.contains('@') {
        Ok(())
    } else {
        refuse("`account_host` is the host part of an account, e.g. `%` or `10.0.0.%`")
    }
}

/// Names are quoted everywhere; a name that needs quotes is a mistake or an attack.
fn is_plain(name: &str, bytes_max: usize) -> bool {
    let has_quotes = name.contains(['"', '\'', '\\', '`']) || name.chars().any(char::is_control);
    (1..=bytes_max).contains(&name.len()) && !has_quotes
}
