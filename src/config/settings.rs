use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use crate::base::{Audience, Network, TrustDomain};

/// The checked configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The trust domain of all identities. Cannot change once the broker is initialised.
    pub trust_domain: TrustDomain,
    /// Where the broker keeps everything.
    pub data_dir: PathBuf,
    /// Where orders are kept that the ledger has not taken yet, if it is there and on another file system.
    pub runtime_dir: PathBuf,
    /// Where it listens.
    pub listen: Listen,
    /// What it calls itself.
    pub server: Server,
    /// Where the key of the root key's slot comes from.
    pub root_key: RootKey,
    /// Lives of certificates.
    pub certificates: Certificates,
    /// Lives of tokens, and who issues them.
    pub tokens: Tokens,
    /// Values of secrets.
    pub secrets: Secrets,
    /// The ledger.
    pub ledger: Ledger,
    /// Signed checkpoints of the ledger.
    pub checkpoints: Checkpoints,
    /// Caps on connections, per listener.
    pub connections: Connections,
    /// How often somebody may ask.
    pub quota: Quota,
    /// Where upstreams may be.
    pub upstream: Upstream,
    /// Where the system says that its clock is synchronised.
    pub clock: Clock,
    /// What is logged, and how.
    pub log: Log,
}

/// Where the system says that its clock is synchronised.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Clock {
    /// A file that is written at each synchronisation; nothing says so when there is none.
    pub synchronised_by: Option<PathBuf>,
}

/// Where the broker listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// For agents.
    pub agents: SocketAddr,
    /// For operators.
    pub admins: SocketAddr,
    /// For whoever is on the host: a Unix socket.
    pub host: PathBuf,
}

/// What the broker calls itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// The DNS names and IP addresses in its certificate; at least one.
    pub names: Vec<String>,
    /// Where agents reach it, `host:port`.
    pub address: String,
    /// Where operators reach it, `host:port`.
    pub admin_address: String,
}

/// Where the slot's key comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RootKey {
    /// A file, for its owner alone.
    File(PathBuf),
    /// A systemd credential.
    Credential(String),
    /// Nothing on this machine: the broker starts sealed, and somebody unseals it.
    Attended,
}

/// Lives of certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Certificates {
    /// Of an agent, in seconds.
    pub agent_life_s: i64,
    /// How long after its end an agent's certificate may still be renewed with, in seconds.
    pub renewal_grace_s: i64,
    /// Of an operator, in seconds.
    pub operator_life_s: i64,
    /// How long an authority signs before the next one takes over, in seconds.
    pub authority_life_s: i64,
}

/// Tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tokens {
    /// Life of a token that was asked for without one, in seconds.
    pub life_s: u32,
    /// How long a token key signs, in seconds.
    pub key_life_s: i64,
    /// The `iss` of tokens: an `https` URL.
    pub issuer: Audience,
}

/// Values of secrets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Secrets {
    /// How long a value key wraps before another one takes over, in seconds.
    pub key_life_s: i64,
    /// Former versions of one secret that are kept.
    pub keep_versions: u32,
}

/// The ledger, the index beside it, and what requests are known again by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ledger {
    /// How old the delta, index and digest keys may be at a start, in seconds, before they are rotated.
    pub key_life_s: i64,
}

/// Signed checkpoints of the ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checkpoints {
    /// How long a checkpoint key signs before another one takes over, in seconds.
    pub key_life_s: i64,
}

/// Caps on connections, per listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connections {
    /// In all.
    pub max: usize,
    /// From one address.
    pub max_per_peer: usize,
}

/// How often somebody may ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Tokens and secrets per agent, a second in the long run.
    pub mints_per_s: NonZeroU32,
    /// Tokens and secrets per agent, at once.
    pub mints_burst: NonZeroU32,
    /// Questions about tokens per resource server, a second in the long run.
    pub introspections_per_s: NonZeroU32,
    /// Questions about tokens per resource server, at once.
    pub introspections_burst: NonZeroU32,
    /// Enrolment attempts per source address, a second in the long run.
    pub enrolments_per_s: NonZeroU32,
    /// Enrolment attempts per source address, at once.
    pub enrolments_burst: NonZeroU32,
    /// Requests per operator, a second in the long run.
    pub operations_per_s: NonZeroU32,
    /// Requests per operator, at once.
    pub operations_burst: NonZeroU32,
}

/// Where upstreams may be that declarations name by URL, beside the public internet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// In these networks.
    pub allow_networks: Vec<Network>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Log {
    /// From this level on.
    pub level: LogLevel,
    /// In this form.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What stops the broker from doing its work.
    Error,
    /// What somebody should look at.
    Warn,
    /// Starts, stops and refusals.
    Info,
    /// Every request.
    Debug,
    /// Everything, libraries included.
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
