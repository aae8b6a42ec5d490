use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use super::connect_fault::ConnectFault;
use super::declaration::{TargetError, refuse};
use super::driver::DriverContext;
use super::fault::UpstreamFault;
use super::guard::is_never_called;
use super::pipe::Pipe;
use crate::base::code;
use crate::base::limits::{UPSTREAM_ANSWER_BYTES_MAX, UPSTREAM_WAIT_S};
use crate::pki::certificates_from_pem;
use crate::pki::tls::upstream_config;

/// Longest time of a connection, a handshake or a call.
pub(super) const WAIT: Duration = Duration::from_secs(UPSTREAM_WAIT_S);

/// A server that a declaration names by host and port.
#[derive(Clone, Copy, Debug)]
pub(super) struct UpstreamEndpoint<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) tls: Tls,
    /// The CA certificates for the server in PEM.
    pub(super) ca: Option<&'a str>,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    /// TLS, with a verified certificate and name of the server.
    #[default]
    Verify,
    /// No TLS, only on this machine.
    Off,
}

impl UpstreamEndpoint<'_> {
    pub(super) fn check(&self) -> Result<(), TargetError> {
        if !is_host(self.host) {
            return refuse(
                "`host` is one host name or address: no port (`port` has it), no list, no path of a socket",
            );
        }
        if self.host.parse().is_ok_and(is_never_called) {
            return refuse("`host` is an address that the broker never calls, e.g. a link-local one");
        }
        match (self.tls, self.ca) {
            (Tls::Verify, None) => {
                refuse("`ca` is missing: the CA certificates in PEM that verify the server")
            }
            (Tls::Verify, Some(pem)) if certificates_from_pem(pem).is_err() => {
                refuse("`ca` has no certificate in PEM")
            }
            (Tls::Off, Some(_)) => refuse("`ca` contradicts `tls = \"off\"`"),
            (Tls::Off, None) if !self.host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback()) => {
                refuse("`tls = \"off\"` is only for addresses of this machine, e.g. 127.0.0.1")
            }
            (Tls::Verify, Some(_)) | (Tls::Off, None) => Ok(()),
        }
    }

    /// A connection to the server. The host name is resolved once, and forbidden addresses are refused.
    pub(super) async fn dial(&self, with: &DriverContext) -> Result<Pipe, UpstreamFault> {
        with.called.set();
        let dialled = timeout(WAIT, dial(self.host, self.port)).await;
        let stream = dialled.map_err(|_| UpstreamFault::refused(code::UPSTREAM_TIMEOUT))??;
        Ok(Pipe::new(stream, UPSTREAM_ANSWER_BYTES_MAX))
    }

    /// The TLS configuration that verifies the server.
    pub(super) fn tls(&self, with: &DriverContext) -> Result<ClientConfig, UpstreamFault> {
        let untrusted = || UpstreamFault::refused(code::UPSTREAM_HANDSHAKE_FAILED);
        let authorities = certificates_from_pem(self.ca.unwrap_or_default()).map_err(|_| untrusted())?;
        upstream_config(&authorities, &[], Arc::clone(&with.clock)).map_err(|_| untrusted())
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, UpstreamFault> {
    let unresolved = |_| UpstreamFault::unreachable(Some(ConnectFault::Unresolved));
    let found: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(unresolved)?.collect();
    if found.iter().any(|address| is_never_called(address.ip())) {
        return Err(UpstreamFault::refused(code::UPSTREAM_ADDRESS_BLOCKED));
    }
    let connected = TcpStream::connect(found.as_slice()).await;
    connected.map_err(|error| UpstreamFault::unreachable(ConnectFault::of(&error)))
}

/// Whether a text is one host name or one address.
fn is_host(host: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = (1..=255).contains(&host.len()) && host.bytes().all(is_of_name) && !host.starts_with('-');
    is_name || host.parse::<IpAddr>().is_ok()
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
            "/run/sockets",
            "@x",
            "a b",
            "-x",
            "a%1",
            "scheme://a",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn a_host_that_is_never_called_is_refused() {
        let check = |host, tls| UpstreamEndpoint { host, port: 5432, tls, ca: None }.check();
        for host in
            ["169.254.169.254", "0.0.0.0", "::", "fe80::1", "::ffff:169.254.169.254", "100.100.100.200"]
        {
            let refused = check(host, Tls::Off).unwrap_err().to_string();
            assert!(refused.contains("never calls"), "{host}: {refused}");
        }
        assert!(check("127.0.0.1", Tls::Off).is_ok());
    }
}
