use tokio_postgres::Error;

use crate::pki::tls::HandshakeFault;

/// Why the database did not do what it was asked. The texts of the server and of the client library are discarded:
/// they can contain values.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DatabaseFault {
    /// The server refused a statement or the login.
    #[error("{}", refusal(.0))]
    Refused(SqlStateCode),
    /// No server accepts a connection and writes.
    #[error(
        "no server in `hosts` of `[ledger]` accepts a connection and writes: check the servers, their network and `hosts`"
    )]
    Unreachable,
    /// The TLS handshake failed.
    #[error("the TLS handshake with the database failed: {}; check the server's certificate, `hosts` and `ca_file` in `[ledger]`", .0.meaning())]
    Handshake(HandshakeFault),
    /// The TLS settings cannot be used.
    #[error(
        "the CA certificates in `ca_file` of `[ledger]` cannot be used: store those that verify the database's servers"
    )]
    Authorities,
    /// The server did not prove that it knows the password, bound to its certificate.
    #[error(
        "the database did not authenticate by SCRAM-SHA-256 with channel binding: set `password_encryption = scram-sha-256` \
         there, set the password again, and connect without a pooler in between"
    )]
    Unproven,
    /// The connection ended.
    #[error("the connection to the database was lost")]
    Lost,
    /// The server did not answer in time.
    #[error("the database did not answer in time")]
    Slow,
    /// The database is not one that this version can use as it is.
    #[error("{0}")]
    Unusable(String),
}

/// The five characters of an SQLSTATE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SqlStateCode([u8; 5]);

impl SqlStateCode {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn of(code: &str) -> Self {
        let known =
            code.as_bytes().first_chunk::<5>().filter(|state| state.iter().all(u8::is_ascii_alphanumeric));
        // What a server sends in its place is not repeated; this one means an internal error.
        Self(known.copied().unwrap_or(*b"XX000"))
    }
}

impl DatabaseFault {
    /// The fault of an error of the client library.
    pub(super) fn of(error: &Error) -> Self {
        match error.code() {
            Some(state) => Self::Refused(SqlStateCode::of(state.code())),
            None => Self::Lost,
        }
    }

    /// The same for a login.
    pub(super) fn of_login(error: &Error) -> Self {
        if let Some(state) = error.code() {
            return Self::Refused(SqlStateCode::of(state.code()));
        }
        match HandshakeFault::of(error) {
            Some(fault) => Self::Handshake(fault),
            // The library has no other sign of a login that it broke off itself.
            None if error.to_string().starts_with("authentication error") => Self::Unproven,
            None => Self::Unreachable,
        }
    }

    /// Whether the session goes on after it.
    pub(super) fn leaves_session(&self) -> bool {
        let Self::Refused(state) = self else { return false };
        // An administrator, a crash, a shutdown or a timeout of the session ended it, or the connection is in doubt.
        !["57P", "08", "25P03", "25P04", "XX"].iter().any(|start| state.as_str().starts_with(start))
    }

    /// Whether the role lacks a right.
    pub(super) fn is_without_right(&self) -> bool {
        matches!(self, Self::Refused(state) if state.as_str() == "42501")
    }

    /// Whether a row of the same number is there already.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Refused(state) if state.as_str() == "23505")
    }

    /// Whether the server's disk is full.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Refused(state) if state.as_str() == "53100")
    }
}

fn refusal(state: &SqlStateCode) -> String {
    let state = state.as_str();
    let meaning = match state {
        "28P01" | "28000" => {
            "the database refuses the role or its password: check the role, its password file and `pg_hba.conf`"
        }
        "3D000" => {
            "the database does not exist at the server: create it, or correct `database` in `[ledger]`"
        }
        "3F000" | "42P01" | "42703" => {
            "the schema of the ledger is missing in the database: run `keyward ledger prepare`"
        }
        "42501" => "the role lacks a right in the database: run `keyward ledger prepare`",
        "42704" => "the role of the broker does not exist at the database server: create it",
        "53100" => "the disk of the database server is full",
        "53300" => {
            "the database server has no free connection: raise `max_connections`, or the limit of the role"
        }
        "55P03" => "another session holds the ledger's head",
        "25006" => "the database server accepts no writes: it is a standby, or set read-only",
        _ if state.starts_with("57P") => "the database server ends sessions: it stops, starts or recovers",
        _ => "the database refuses a statement",
    };
    format!("{meaning} (SQLSTATE {state})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_sqlstate_and_nothing_else_that_the_server_says() {
        let refused = |code| DatabaseFault::Refused(SqlStateCode::of(code));
        assert_eq!(
            refused("42501").to_string(),
            "the role lacks a right in the database: run `keyward ledger prepare` (SQLSTATE 42501)"
        );
        assert!(refused("'; DROP").to_string().ends_with("(SQLSTATE XX000)"));
        assert!(refused("55P03").leaves_session() && refused("42501").leaves_session());
        for over in ["57P01", "08006", "25P03", "XX000"] {
            assert!(!refused(over).leaves_session(), "{over}");
        }
        assert!(refused("23505").is_duplicate() && !refused("23503").is_duplicate());
        assert!(refused("53100").is_full() && !refused("53200").is_full());
    }
}
