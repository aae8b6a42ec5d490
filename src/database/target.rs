use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// The server that accepted the last login, by its place among the `hosts`.
    pub last_good: Arc<AtomicUsize>,
}

/// Longest wait for a connection to one server.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for a login at one server.
const LOGIN: Duration = Duration::from_secs(4);
/// After so long without an answer to a probe of an idle connection, it is lost: 10 s, and 3 probes 5 s apart.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// After so long without a sign that the server has received what was sent, the connection is lost. Without this limit the
/// kernel sends it again for a quarter of an hour.
const UNRECEIVED: Duration = Duration::from_secs(25);

impl DatabaseTarget {
    /// Logs in at the first server that accepts writes. The one that did so last is asked first, and a server that does
    /// not answer keeps none of the others from being asked.
    pub(super) async fn log_in(&self) -> Result<(Client, Line), DatabaseFault> {
        let first = self.last_good.load(Ordering::Relaxed);
        let mut told = DatabaseFault::Unreachable;
        for at in (first..self.hosts.len()).chain(0..first.min(self.hosts.len())) {
            let Some(host) = self.hosts.get(at) else { continue };
            let login = timeout(LOGIN, self.log_in_at(host)).await;
            match login.unwrap_or(Err(DatabaseFault::Unreachable)) {
                Ok(session) => {
                    self.last_good.store(at, Ordering::Relaxed);
                    return Ok(session);
                }
                // What a server says of the login tells more than that another one cannot be reached.
                Err(DatabaseFault::Unreachable) => {}
                Err(fault) => told = fault,
            }
        }
        Err(told)
    }

    async fn log_in_at(&self, server: &DatabaseHost) -> Result<(Client, Line), DatabaseFault> {
        let tls = upstream_config(&self.authorities, &[], Arc::clone(&self.clock));
        let tls = MakeRustlsConnect::new(tls.map_err(|_| DatabaseFault::Authorities)?);
        let mut config = Config::new();
        config.host(&server.host).port(server.port).dbname(&self.database);
        config.user(&self.role).password(self.password.expose()).application_name("keyward ledger");
        config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Require);
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(CONNECT).keepalives(true).keepalives_idle(KEEPALIVE);
        config.keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVE_PROBES);
        config.tcp_user_timeout(UNRECEIVED);
        let login = config.connect(tls).await;
        let (client, mut connection) = login.map_err(|error| DatabaseFault::of_login(&error))?;
        let line = Line::new(Box::new(move |cx: &mut Context<'_>| connection.poll_message(cx)));
        Ok((client, line))
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
