use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use super::engine::LedgerEngine;
use crate::base::{Audience, Network, TrustDomain};

/// The checked configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The trust domain of all identities. Cannot change once the broker is initialised.
    pub trust_domain: TrustDomain,
    /// The directory of keyring, ledger, index and TLS key.
    pub data_dir: PathBuf,
    /// A directory on another file system, for orders that the ledger has not recorded yet.
    pub runtime_dir: PathBuf,
    /// Addresses to listen on.
    pub listen: Listen,
    /// The broker's names and addresses.
    pub server: ServerSettings,
    /// The key that opens the keyring.
    pub root_key: RootKey,
    /// Lives of certificates.
    pub certificates: Certificates,
    /// Lives and issuer of tokens.
    pub tokens: Tokens,
    /// Values of secrets.
    pub secrets: Secrets,
    /// The ledger.
    pub ledger: LedgerSettings,
    /// Signed checkpoints of the ledger.
    pub checkpoints: Checkpoints,
    /// Connection limits of each listener.
    pub connections: Connections,
    /// Rate limits.
    pub quota: Quota,
    /// Networks of upstreams.
    pub upstream: Upstream,
    /// Requests for approval.
    pub approvals: ApprovalSettings,
    /// Changes of declarations.
    pub policies: PolicySettings,
    /// Synchronisation of the system clock.
    pub clock: ClockSettings,
    /// The log.
    pub log: LogSettings,
}

impl Config {
    /// The file of the keyring.
    #[must_use]
    pub fn keyring(&self) -> PathBuf {
        self.data_dir.join("keyring")
    }
}

/// Changes of declarations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PolicySettings {
    /// Whether changes that give more access need the approval of a second operator.
    pub widening_second_operator: bool,
}

/// Synchronisation of the system clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClockSettings {
    /// A file that another program writes at each synchronisation.
    pub synchronised_by: Option<PathBuf>,
}

/// Addresses to listen on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// For agents.
    pub agents: SocketAddr,
    /// For operators.
    pub admins: SocketAddr,
    /// For root and the broker's own user on the host: a Unix socket.
    pub host: PathBuf,
}

/// The broker's names and addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerSettings {
    /// DNS names and IP addresses in the broker's certificate; at least one.
    pub names: Vec<String>,
    /// The address for agents, `host:port`.
    pub address: String,
    /// The address for operators, `host:port`.
    pub admin_address: String,
}

/// The source of the key that opens the keyring.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RootKey {
    /// A file that only its owner can read.
    File(PathBuf),
    /// A systemd credential.
    Credential(String),
    /// No key on this machine: the broker starts sealed, and a person unseals it.
    Attended,
}

/// Lives of certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Certificates {
    /// Of an agent, in seconds.
    pub agent_life_s: i64,
    /// Time after its expiry in which an agent's certificate can be renewed, in seconds.
    pub renewal_grace_s: i64,
    /// Of a human operator, in seconds.
    pub operator_life_s: i64,
    /// Time after its expiry in which an operator's certificate can be renewed, in seconds.
    pub operator_renewal_grace_s: i64,
    /// Of a service, in seconds, at most.
    pub service_life_s: i64,
    /// Time in which an authority signs, in seconds.
    pub authority_life_s: i64,
}

/// Tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tokens {
    /// Life of a token if the request names none, in seconds.
    pub life_s: u32,
    /// Time in which a token key signs, in seconds.
    pub key_life_s: i64,
    /// The `iss` of tokens: an `https` URL.
    pub issuer: Audience,
}

/// Values of secrets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Secrets {
    /// Time after which the value key is rotated, in seconds.
    pub key_life_s: i64,
    /// Former versions of one secret that are kept.
    pub keep_versions: u32,
}

/// The ledger, and the keys of the ledger, the index and request digests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LedgerSettings {
    /// Age after which a start rotates the delta, index and digest keys, in seconds.
    pub key_life_s: i64,
    /// Where its entries are durable.
    pub engine: LedgerEngine,
}

/// Signed checkpoints of the ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checkpoints {
    /// Time after which the checkpoint key is rotated, in seconds.
    pub key_life_s: i64,
}

/// Connection limits of each listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connections {
    /// All together.
    pub max: usize,
    /// From one address.
    pub max_per_peer: usize,
}

/// Rate limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Tokens and secrets of one agent, per second on average.
    pub mints_per_s: NonZeroU32,
    /// Tokens and secrets of one agent, at once.
    pub mints_burst: NonZeroU32,
    /// Introspections of one resource server, per second on average.
    pub introspections_per_s: NonZeroU32,
    /// Introspections of one resource server, at once.
    pub introspections_burst: NonZeroU32,
    /// Enrolment attempts from one address, per second on average.
    pub enrolments_per_s: NonZeroU32,
    /// Enrolment attempts from one address, at once.
    pub enrolments_burst: NonZeroU32,
    /// Requests of one operator, per second on average.
    pub operations_per_s: NonZeroU32,
    /// Requests of one operator, at once.
    pub operations_burst: NonZeroU32,
}

/// Upstreams that declarations name by URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// Networks in which the broker may call them, in addition to the public internet.
    pub allow_networks: Vec<Network>,
}

/// Requests for approval.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApprovalSettings {
    /// The service that gets a message for each request.
    pub webhook: Option<WebhookSettings>,
}

/// A service that gets signed messages.
#[derive(Clone, Eq, PartialEq)]
pub struct WebhookSettings {
    /// Its URL, which may contain a secret.
    pub url: String,
    /// The file with the CA certificates of its server in PEM.
    pub ca: PathBuf,
    /// The file with the key that signs the messages; `None` for one that the broker makes.
    pub key: Option<PathBuf>,
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings")
            .field("ca", &self.ca)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogSettings {
    /// The lowest level that is written.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// A level of the log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// The broker cannot do its work.
    Error,
    /// An operator should look at this.
    Warn,
    /// Starts, stops and refusals.
    Info,
    /// Every request.
    Debug,
    /// Everything, libraries included.
    Trace,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Plain text.
    Text,
}
