use std::io;
use std::sync::Arc;

use mysql_common::auth::plugins::{ChallengeResponsePlugin, Context};
use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    AuthPlugin, AuthSwitchRequest, ErrPacket, HandshakePacket, HandshakeResponse, SslRequest,
};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::super::account_driver::LoginError;
use super::super::driver::DriverContext;
use super::super::endpoint::WAIT;
use super::super::fault::{UpstreamFault, UpstreamOutcome};
use super::super::pipe::Pipe;
use super::packets::{Packets, parsed, serialized};
use super::server::Server;
use crate::base::code;
use crate::pki::tls::HandshakeFault;

/// Who logs in.
#[derive(Clone, Copy)]
pub(super) struct Credentials<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a [u8],
}

/// The failure of a statement.
#[derive(Debug)]
pub(super) enum QueryError {
    /// The server's error number.
    Server(u16),
    /// The connection was lost, or the server did not speak the protocol.
    Lost,
}

impl From<io::Error> for QueryError {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// The rows of a statement; NULL is the empty text.
pub(super) type Rows = Vec<Vec<String>>;

/// What the server must be able to do. TLS, and the methods by which passwords are checked since 4.1.
const NEEDED: CapabilityFlags = CapabilityFlags::CLIENT_PROTOCOL_41
    .union(CapabilityFlags::CLIENT_SSL)
    .union(CapabilityFlags::CLIENT_SECURE_CONNECTION)
    .union(CapabilityFlags::CLIENT_PLUGIN_AUTH);

/// What the client can do. No local files and no several statements in one: a server can ask for no file, and
/// no declared statement can hold another one. `CLIENT_LONG_PASSWORD` says that no extension of `MariaDB`'s is used.
const CAPABILITIES: CapabilityFlags =
    NEEDED.union(CapabilityFlags::CLIENT_LONG_PASSWORD).union(CapabilityFlags::CLIENT_TRANSACTIONS);

/// Longest packet that the client says it takes.
const PACKET_BYTES_MAX: u32 = 256 * 1024;

/// Columns of the widest answer to a statement of this driver, and more.
const COLUMNS_MAX: u64 = 16;

/// Packets of the longest authentication that is taken part in.
const AUTHENTICATION_PACKETS_MAX: u8 = 4;

const COM_QUERY: u8 = 0x03;
const OK: u8 = 0x00;
const LOCAL_FILE: u8 = 0xfb;
const END_OF_ROWS: u8 = 0xfe;
const ERROR: u8 = 0xff;

/// The error number of a wrong password, and of an account that is not there.
const ACCESS_DENIED: u16 = 1045;

/// The error number of an account that takes no password.
const NO_PASSWORD_LOGIN: u16 = 1698;

/// Error numbers that do not say what became of a statement: it was interrupted, its session was killed, the
/// server stops, or the statement took too long.
const LEFT_OPEN: [u16; 5] = [1053, 1317, 1927, 1969, 3024];

/// The rules of every session, under any setting of the server: backslashes escape nothing, a wrong value is an
/// error, and no statement or lock is waited for any longer.
const RULE: &str = "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES', max_statement_time = 8, \
     lock_wait_timeout = 8";

/// A session at a `MariaDB` server.
pub(super) struct Session(Packets<Box<TlsStream<Pipe>>>);

/// Logs in, does `work`, and disconnects.
pub(super) async fn logged_in<T>(
    server: &Server,
    with: &DriverContext,
    credentials: Credentials<'_>,
    work: impl AsyncFnOnce(&mut Session) -> Result<T, QueryError>,
) -> Result<T, LoginError> {
    let begun = timeout(WAIT, Session::begin(server, with, credentials));
    let mut session = begun.await.map_err(|_| slow(UpstreamOutcome::Refused))??;
    let worked = timeout(WAIT, work(&mut session)).await.map_err(|_| slow(UpstreamOutcome::Unknown))?;
    // The server drops the session anyway.
    drop(session.0.shut_down().await);
    worked.map_err(|error| LoginError::Fault(fault(&error)))
}

impl Session {
    async fn begin(
        server: &Server,
        with: &DriverContext,
        credentials: Credentials<'_>,
    ) -> Result<Self, LoginError> {
        let endpoint = server.endpoint();
        let mut packets = Packets::new(endpoint.dial(with).await.map_err(LoginError::Fault)?, 0);
        let unspoken = |_| refused(HandshakeFault::NoTls);
        let greeting = packets.read().await.map_err(unspoken)?;
        if greeting.first() == Some(&ERROR) {
            return Err(login_error(server_error(&greeting)));
        }
        let greeting: HandshakePacket<'_> = parsed(&greeting, ()).map_err(unspoken)?;
        if !greeting.capabilities().contains(NEEDED) {
            return Err(refused(HandshakeFault::NoTls));
        }
        let request = SslRequest::new(CAPABILITIES, PACKET_BYTES_MAX, greeting.default_collation());
        packets.write(&serialized(&request)).await.map_err(|_| unreachable())?;
        let (pipe, sequence) = packets.into_parts();
        let untrusted = |_| LoginError::Fault(UpstreamFault::refused(code::UPSTREAM_HANDSHAKE_FAILED));
        let name = ServerName::try_from(endpoint.host.to_owned()).map_err(untrusted)?;
        let config = endpoint.tls(with).map_err(LoginError::Fault)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, pipe).await;
        let stream = stream
            .map_err(|error| LoginError::Fault(UpstreamFault::of_handshake(HandshakeFault::of(&error))))?;
        let mut session = Self(Packets::new(Box::new(stream), sequence));
        session.authenticate(&greeting.nonce(), credentials).await?;
        session.query(RULE).await.map_err(login_error)?;
        Ok(session)
    }

    /// Proves the password to the server. Every method that is taken part in tells it no password.
    async fn authenticate(&mut self, nonce: &[u8], credentials: Credentials<'_>) -> Result<(), LoginError> {
        let first = AuthPlugin::MysqlNativePassword;
        let answer = HandshakeResponse::new(
            Some(answer_of(&first, nonce, credentials)?),
            // Any release that has the character set utf8mb4.
            (10, 0, 0),
            Some(credentials.user.as_bytes()),
            None::<&[u8]>,
            Some(first),
            CAPABILITIES,
            None,
            PACKET_BYTES_MAX,
        );
        self.0.write(&serialized(&answer)).await.map_err(|_| unreachable())?;
        for _ in 0..AUTHENTICATION_PACKETS_MAX {
            let packet = self.0.read().await.map_err(|_| unreachable())?;
            match packet.first() {
                Some(&OK) => return Ok(()),
                Some(&ERROR) => return Err(login_error(server_error(&packet))),
                Some(&END_OF_ROWS) => {
                    let switch: AuthSwitchRequest<'_> = parsed(&packet, ()).map_err(|_| unproven(None))?;
                    let answer = answer_of(&switch.auth_plugin(), switch.plugin_data(), credentials)?;
                    self.0.write(&answer).await.map_err(|_| unreachable())?;
                }
                Some(_) | None => return Err(unproven(None)),
            }
        }
        Err(unproven(None))
    }

    /// Executes one statement, and gives the rows that it returns.
    pub(super) async fn query(&mut self, statement: &str) -> Result<Rows, QueryError> {
        self.0.command(&[&[COM_QUERY], statement.as_bytes()].concat()).await?;
        let answer = self.0.read().await?;
        match answer.first() {
            Some(&OK) => Ok(Vec::new()),
            Some(&ERROR) => Err(server_error(&answer)),
            Some(&LOCAL_FILE) | None => Err(QueryError::Lost),
            Some(_) => {
                let columns = ParseBuf(&answer).checked_eat_lenenc_int();
                let columns = columns.filter(|count| (1..=COLUMNS_MAX).contains(count));
                self.rows(columns.ok_or(QueryError::Lost)?).await
            }
        }
    }

    async fn rows(&mut self, columns: u64) -> Result<Rows, QueryError> {
        // The descriptions of the columns, and their end.
        for _ in 0..=columns {
            if self.0.read().await?.first() == Some(&ERROR) {
                return Err(QueryError::Lost);
            }
        }
        let mut rows = Vec::new();
        loop {
            let packet = self.0.read().await?;
            match packet.first() {
                Some(&END_OF_ROWS) if packet.len() < 9 => return Ok(rows),
                Some(&ERROR) => return Err(server_error(&packet)),
                Some(_) | None => rows.push(row(&packet, columns).ok_or(QueryError::Lost)?),
            }
        }
    }

    /// The first column of each row.
    pub(super) async fn column(&mut self, statement: &str) -> Result<Vec<String>, QueryError> {
        let rows = self.query(statement).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next()).collect())
    }
}

fn row(packet: &[u8], columns: u64) -> Option<Vec<String>> {
    const NULL: u8 = 0xfb;
    let mut rest = ParseBuf(packet);
    let mut next = || {
        if rest.0.first() == Some(&NULL) {
            rest.checked_eat(1).map(|_| String::new())
        } else {
            rest.checked_eat_lenenc_str().map(|text| String::from_utf8_lossy(text).into_owned())
        }
    };
    (0..columns).map(|_| next()).collect()
}

/// What the client says to prove its password by `plugin`.
fn answer_of(
    plugin: &AuthPlugin<'_>,
    challenge: &[u8],
    credentials: Credentials<'_>,
) -> Result<Vec<u8>, LoginError> {
    let name = match plugin {
        AuthPlugin::MysqlNativePassword | AuthPlugin::Ed25519 => None,
        AuthPlugin::Other(_) => Some("another method"),
        AuthPlugin::MysqlOldPassword => Some("mysql_old_password"),
        AuthPlugin::MysqlClearPassword => Some("mysql_clear_password"),
        AuthPlugin::Sha256Password => Some("sha256_password"),
        AuthPlugin::CachingSha2Password => Some("caching_sha2_password"),
        AuthPlugin::Parsec => Some("parsec"),
    };
    if name.is_some() {
        return Err(unproven(name));
    }
    let mut procedure = plugin.init().map_err(|_| unproven(None))?;
    let answer = procedure.run(Exchange { password: credentials.password, challenge }, challenge);
    answer.ok().and_then(|answer| answer.data().map(<[u8]>::to_vec)).ok_or_else(|| unproven(None))
}

/// What the library's methods of authentication are given.
struct Exchange<'a> {
    password: &'a [u8],
    challenge: &'a [u8],
}

impl Context for Exchange<'_> {
    fn pass(&self) -> &[u8] {
        self.password
    }

    fn is_ipc_transport(&self) -> bool {
        false
    }

    fn is_tls_transport(&self) -> bool {
        true
    }

    fn scramble(&self) -> &[u8] {
        self.challenge
    }

    fn server_key_pem(&self) -> Option<&[u8]> {
        None
    }
}

/// The hash by which `plugin` knows a password; it proves nothing to a server.
pub(super) fn password_hash(plugin: &AuthPlugin<'_>, password: &[u8]) -> Option<Vec<u8>> {
    plugin.init().ok()?.password_hash(Exchange { password, challenge: &[] })
}

fn server_error(packet: &[u8]) -> QueryError {
    match parsed::<ErrPacket<'_>>(packet, CAPABILITIES) {
        Ok(error) if error.is_error() => QueryError::Server(error.server_error().error_code()),
        Ok(_) | Err(_) => QueryError::Lost,
    }
}

/// What an error says of a statement, without its words.
fn fault(error: &QueryError) -> UpstreamFault {
    match error {
        QueryError::Server(number) => {
            let is_open = LEFT_OPEN.contains(number);
            let outcome = if is_open { UpstreamOutcome::Unknown } else { UpstreamOutcome::Refused };
            UpstreamFault { outcome, code: code::UPSTREAM_REFUSED, detail: Some(number.to_string()) }
        }
        QueryError::Lost => UpstreamFault::unknown(code::UPSTREAM_UNREACHABLE),
    }
}

/// What an error says before any statement was sent.
fn login_error(error: QueryError) -> LoginError {
    match error {
        QueryError::Server(ACCESS_DENIED | NO_PASSWORD_LOGIN) => LoginError::Password("1045"),
        QueryError::Server(number) => {
            LoginError::Fault(UpstreamFault::refused(code::UPSTREAM_REFUSED).with(number.to_string()))
        }
        QueryError::Lost => unreachable(),
    }
}

fn refused(reason: HandshakeFault) -> LoginError {
    LoginError::Fault(UpstreamFault::of_handshake(Some(reason)))
}

fn unproven(method: Option<&str>) -> LoginError {
    LoginError::Fault(
        UpstreamFault::refused(code::UPSTREAM_NOT_AUTHENTICATED).with(method.map(str::to_owned)),
    )
}

const fn unreachable() -> LoginError {
    LoginError::Fault(UpstreamFault::refused(code::UPSTREAM_UNREACHABLE))
}

const fn slow(outcome: UpstreamOutcome) -> LoginError {
    LoginError::Fault(UpstreamFault { outcome, code: code::UPSTREAM_TIMEOUT, detail: None })
}
