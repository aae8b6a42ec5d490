use std::fmt;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls_improved::MakeRustlsConnect;

use super::fault::DatabaseFault;
use super::line::Line;
use crate::base::{Clock, Sensitive};
use crate::config::{DatabaseHost, Replication};
use crate::pki::tls::upstream_config;

/// A database, and how to log in there.
#[derive(Clone)]
pub struct DatabaseTarget {
    /// Its servers: the first one that accepts a login and writes is used.
    pub hosts: Vec<DatabaseHost>,
    /// The name of the database.
    pub database: String,
    /// The role.
    pub role: String,
    /// The role's password.
    pub password: Arc<Sensitive<Vec<u8>>>,
    /// The CA certificates of the servers in DER.
    pub authorities: Vec<Vec<u8>>,
    /// What is required of its replication.
    pub replication: Replication,
    /// The clock by which certificates are verified.
    pub clock: Arc<dyn Clock>,
}

/// Longest wait for a connection to one server.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for a login, for each server.
const LOGIN: Duration = Duration::from_secs(6);
/// After so long without an answer to a probe of the connection, it is lost: 10 s, and 3 probes 5 s apart.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

impl DatabaseTarget {
    /// Logs in at the first server that accepts writes.
    pub(super) async fn log_in(&self) -> Result<(Client, Line), DatabaseFault> {
        let tls = upstream_config(&self.authorities, &[], Arc::clone(&self.clock));
        let tls = MakeRustlsConnect::new(tls.map_err(|_| DatabaseFault::Authorities)?);
        let mut config = Config::new();
        for DatabaseHost { host, port } in &self.hosts {
            config.host(host).port(*port);
        }
        config.dbname(&self.database).user(&self.role).password(self.password.expose());
        config.application_name("keyward ledger");
        config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Require);
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(CONNECT).keepalives(true).keepalives_idle(KEEPALIVE);
        config.keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVE_PROBES);
        let servers = u32::try_from(self.hosts.len()).unwrap_or(1);
        let login = timeout(LOGIN.saturating_mul(servers), config.connect(tls)).await;
        let login = login.map_err(|_| DatabaseFault::Unreachable)?;
        let (client, mut connection) = login.map_err(|error| DatabaseFault::of_login(&error))?;
        Ok((client, Line::new(Box::new(move |cx: &mut Context<'_>| connection.poll_message(cx)))))
    }
}

impl fmt::Debug for DatabaseTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseTarget")
            .field("hosts", &self.hosts)
            .field("database", &self.database)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
