use std::error::Error as _;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, Error, NoTls};
use tokio_postgres_rustls_improved::MakeRustlsConnect;

use super::super::account_driver::LoginError;
use super::super::driver::DriverContext;
use super::super::endpoint::{Tls, WAIT};
use super::super::fault::{UpstreamFault, UpstreamOutcome};
use super::super::pipe::Pipe;
use super::proof::{ProofOver, ScramProof, unproven};
use super::server::Server;
use super::session::Session;
use crate::base::code;
use crate::pki::tls::HandshakeFault;

/// SQLSTATE of a wrong password, and of a role that is not there: the server does not tell them apart.
const INVALID_PASSWORD: &str = "28P01";

/// What SQLSTATEs start with that do not say what became of a statement: the session was ended by an
/// administrator, a shutdown or a crash; a proxy lost its connection with the server; nobody knows; or a
/// declared statement had ended the transaction before.
const LEFT_OPEN: [&str; 4] = ["57P", "08", "40003", "25P01"];

/// Who logs in.
#[derive(Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) role: &'a str,
    pub(super) password: &'a [u8],
    /// The purpose of the session, by which other sessions can find it.
    pub(super) purpose: &'a str,
}

/// The purpose of other sessions.
pub(super) const ANY_PURPOSE: &str = "keyward";

/// Logs in, does `work`, and disconnects.
pub(super) async fn logged_in<T>(
    server: &Server,
    with: &DriverContext,
    login: Login<'_>,
    work: impl AsyncFnOnce(&Session<'_>) -> Result<T, Error>,
) -> Result<T, LoginError> {
    let mut config = Config::new();
    config.user(login.role).password(login.password).dbname(&server.database).application_name(login.purpose);
    let endpoint = server.endpoint();
    let pipe = endpoint.dial(with).await.map_err(LoginError::Fault)?;
    match endpoint.tls {
        Tls::Off => {
            config.ssl_mode(SslMode::Disable);
            session(&config, ScramProof::required(pipe), NoTls, work).await
        }
        Tls::Verify => {
            config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Prefer);
            let mut make = MakeRustlsConnect::new(endpoint.tls(with).map_err(LoginError::Fault)?);
            let connector =
                <MakeRustlsConnect as MakeTlsConnect<Pipe>>::make_tls_connect(&mut make, endpoint.host);
            let untrusted = |_| LoginError::Fault(UpstreamFault::refused(code::UPSTREAM_HANDSHAKE_FAILED));
            session(&config, pipe, ProofOver(connector.map_err(untrusted)?), work).await
        }
    }
}

/// One session on a connection that stands: it is looked after by nobody else, and ends here.
async fn session<T, S, C>(
    config: &Config,
    stream: S,
    connector: C,
    work: impl AsyncFnOnce(&Session<'_>) -> Result<T, Error>,
) -> Result<T, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: TlsConnect<S>,
{
    let login = timeout(WAIT, config.connect_raw(stream, connector));
    let login = login.await.map_err(|_| slow(UpstreamOutcome::Refused))?;
    let (client, connection) = login.map_err(|error| judged(&error, UpstreamOutcome::Refused))?;
    let session = Session::new(&client, connection.parameter("server_version").unwrap_or_default());
    let worked = async {
        tokio::select! {
            biased;
            done = work(&session) => done.map_err(|error| judged(&error, UpstreamOutcome::Unknown)),
            _ = connection => Err(LoginError::Fault(UpstreamFault::unknown(code::UPSTREAM_UNREACHABLE))),
        }
    };
    timeout(WAIT, worked).await.map_err(|_| slow(UpstreamOutcome::Unknown))?
}

/// The fault of an error, without its text; `lost` if the server did not answer.
fn judged(error: &Error, lost: UpstreamOutcome) -> LoginError {
    let Some(state) = error.code().map(|state| state.code()) else {
        return LoginError::Fault(match (lost, unproven(error)) {
            (UpstreamOutcome::Refused, Some(unproven)) => {
                UpstreamFault::refused(code::UPSTREAM_NOT_AUTHENTICATED).with(unproven.detail())
            }
            (UpstreamOutcome::Refused, None) => UpstreamFault::of_handshake(reason(error)),
            (UpstreamOutcome::Unknown, _) => UpstreamFault::unknown(code::UPSTREAM_UNREACHABLE),
        });
    };
    if state == INVALID_PASSWORD {
        return LoginError::Password(INVALID_PASSWORD);
    }
    // It has answered that it did not: a statement that fails changes nothing. One whose session is ended
    // from outside may have been carried out just before.
    let is_open = LEFT_OPEN.iter().any(|start| state.starts_with(start));
    let outcome = if is_open { lost } else { UpstreamOutcome::Refused };
    let is_state = state.len() == 5 && state.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let detail = is_state.then(|| state.to_owned());
    LoginError::Fault(UpstreamFault { outcome, code: code::UPSTREAM_REFUSED, detail })
}

/// The TLS fault that prevented a session, if there is one.
fn reason(error: &Error) -> Option<HandshakeFault> {
    // The library reports a server without TLS only as text.
    let declined = || error.to_string() == "error performing TLS handshake" && error.source().is_some();
    let is_io = || error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    HandshakeFault::of(error).or_else(|| (declined() && !is_io()).then_some(HandshakeFault::NoTls))
}

const fn slow(outcome: UpstreamOutcome) -> LoginError {
    LoginError::Fault(UpstreamFault { outcome, code: code::UPSTREAM_TIMEOUT, detail: None })
}
