use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

/// Why a configuration was refused. Never contains a value of the file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("`{path}` cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason, in plain words.
        why: String,
        /// Whether the user of this process may not read it.
        denied: bool,
    },
    /// A setting is wrong.
    #[error("`{path}` line {line}, column {column}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// The setting and the problem.
        message: String,
    },
    /// Several settings are wrong.
    #[error("`{path}` has {} faults", .errors.len())]
    Several {
        /// The file.
        path: PathBuf,
        /// The faults, in the order of their places.
        errors: Vec<Self>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) trust_domain: Spanned<String>,
    pub(super) data_dir: Option<Spanned<PathBuf>>,
    pub(super) runtime_dir: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) listen: RawListen,
    #[serde(default)]
    pub(super) server: RawServer,
    pub(super) root_key: Spanned<RawRootKey>,
    #[serde(default)]
    pub(super) certificates: RawCertificates,
    #[serde(default)]
    pub(super) tokens: RawTokens,
    #[serde(default)]
    pub(super) connections: RawConnections,
    #[serde(default)]
    pub(super) quota: RawQuota,
    #[serde(default)]
    pub(super) secrets: RawSecrets,
    #[serde(default)]
    pub(super) ledger: RawLedger,
    #[serde(default)]
    pub(super) checkpoints: RawCheckpoints,
    #[serde(default)]
    pub(super) upstream: RawUpstream,
    #[serde(default)]
    pub(super) approvals: RawApprovals,
    #[serde(default)]
    pub(super) policies: RawPolicies,
    #[serde(default)]
    pub(super) clock: RawClock,
    #[serde(default)]
    pub(super) log: RawLog,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClock {
    pub(super) synchronised_by: Option<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListen {
    pub(super) agents: Option<Spanned<String>>,
    pub(super) admins: Option<Spanned<String>>,
    pub(super) host: Option<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    pub(super) names: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) address: Option<Spanned<String>>,
    pub(super) admin_address: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRootKey {
    pub(super) file: Option<Spanned<PathBuf>>,
    pub(super) credential: Option<Spanned<String>>,
    pub(super) attended: Option<Spanned<bool>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCertificates {
    pub(super) agent_life_s: Option<Spanned<i64>>,
    pub(super) renewal_grace_s: Option<Spanned<i64>>,
    pub(super) operator_life_s: Option<Spanned<i64>>,
    pub(super) operator_renewal_grace_s: Option<Spanned<i64>>,
    pub(super) service_life_s: Option<Spanned<i64>>,
    pub(super) authority_life_s: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTokens {
    pub(super) life_s: Option<Spanned<i64>>,
    pub(super) key_life_s: Option<Spanned<i64>>,
    pub(super) issuer: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecrets {
    pub(super) key_life_s: Option<Spanned<i64>>,
    pub(super) keep_versions: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLedger {
    pub(super) engine: Option<Spanned<String>>,
    pub(super) hosts: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) database: Option<Spanned<String>>,
    pub(super) role: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    pub(super) replication: Option<Spanned<String>>,
    pub(super) key_life_s: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCheckpoints {
    pub(super) key_life_s: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConnections {
    pub(super) max: Option<Spanned<i64>>,
    pub(super) max_per_peer: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQuota {
    pub(super) mints_per_s: Option<Spanned<i64>>,
    pub(super) mints_burst: Option<Spanned<i64>>,
    pub(super) introspections_per_s: Option<Spanned<i64>>,
    pub(super) introspections_burst: Option<Spanned<i64>>,
    pub(super) enrolments_per_s: Option<Spanned<i64>>,
    pub(super) enrolments_burst: Option<Spanned<i64>>,
    pub(super) operations_per_s: Option<Spanned<i64>>,
    pub(super) operations_burst: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    #[serde(default)]
    pub(super) allow_networks: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApprovals {
    pub(super) webhook: Option<Spanned<String>>,
    pub(super) webhook_ca: Option<Spanned<PathBuf>>,
    pub(super) webhook_key: Option<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicies {
    pub(super) widening_second_operator: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) level: Option<super::settings::LogLevel>,
    pub(super) format: Option<super::settings::LogFormat>,
}
