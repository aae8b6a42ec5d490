use std::net::IpAddr;

use super::guard::is_never_called;
use super::target::{TargetError, Tls, refuse};
use crate::pki::certificates_from_pem;

/// A PostgreSQL server, and the database there: what every driver for PostgreSQL is declared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) tls: Tls,
    pub(super) ca: Option<&'a str>,
}

/// Longest name of a role or database, in bytes: PostgreSQL cuts longer ones short without a word.
pub(super) const IDENTIFIER_BYTES_MAX: usize = 63;

/// Its port when none is declared.
pub(super) const fn standard_port() -> u16 {
    5432
}

impl Server<'_> {
    pub(super) fn check(&self) -> Result<(), TargetError> {
        if !is_host(self.host) {
            return refuse(
                "`host` is one host name or address: no port (`port` has it), no list, no path of a socket",
            );
        }
        if self.host.parse().is_ok_and(is_never_called) {
            return refuse("`host` is an address at which no upstream is called, e.g. a link-local one");
        }
        match (self.tls, self.ca) {
            (Tls::Verify, None) => {
                return refuse(
                    "`ca` is missing: the certificates, PEM, that the server's is verified against",
                );
            }
            (Tls::Verify, Some(pem)) => {
                if certificates_from_pem(pem).is_err() {
                    return refuse("`ca` has no certificate in PEM");
                }
            }
            (Tls::Off, Some(_)) => return refuse("`ca` contradicts `tls = \"off\"`"),
            (Tls::Off, None) => {
                if !self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
                    return refuse("`tls = \"off\"` is for an address on this machine alone, e.g. 127.0.0.1");
                }
            }
        }
        is_name(self.database)
    }

    /// Where it is, for people.
    pub(super) fn describe(&self) -> String {
        format!("postgresql at {}:{}/{}", self.host, self.port, self.database)
    }

    /// What fails together.
    pub(super) fn place(&self) -> String {
        format!("postgresql {}:{}", self.host, self.port)
    }
}

/// Whether a text is one host name or one address.
fn is_host(host: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = (1..=255).contains(&host.len()) && host.bytes().all(is_of_name) && !host.starts_with('-');
    is_name || host.parse::<IpAddr>().is_ok()
}

/// Whether a text can name a role or a database.
pub(super) fn is_name(name: &str) -> Result<(), TargetError> {
    // Names are quoted wherever they are said. One that would need it is somebody's mistake, or worse.
    let is_plain = !name.contains(['"', '\'', '\\', '`']) && !name.chars().any(char::is_control);
    if name.is_empty() || name.len() > IDENTIFIER_BYTES_MAX || !is_plain {
        refuse(
            "the name of a role or a database has 1 to 63 bytes, without quotes, backslashes and control characters",
        )
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_name_or_one_address() {
        for host in ["db.internal", "db-1_a", "10.0.0.7", "::1", "fd00::7"] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "",
            "db:5432",
            "10.0.0.7:5432",
            "[::1]",
            "[::1]:5432",
            "a,b",
            "/run/postgresql",
            "@x",
            "a b",
            "-x",
            "a%1",
            "postgres://a",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn a_host_that_is_never_called_is_refused() {
        let check = |host, tls| Server { host, port: 5432, database: "d", tls, ca: None }.check();
        for host in
            ["169.254.169.254", "0.0.0.0", "::", "fe80::1", "::ffff:169.254.169.254", "100.100.100.200"]
        {
            let refused = check(host, Tls::Off).unwrap_err().to_string();
            assert!(refused.contains("no upstream is called"), "{host}: {refused}");
        }
        assert!(check("127.0.0.1", Tls::Off).is_ok());
    }
}
