use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::FixedText;

/// `keyward version -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VersionOutput {
    pub version: FixedText,
    /// The commit of the sources; null if the build did not know it.
    pub commit: Option<FixedText>,
    /// The formats of stored data that this program writes.
    pub formats: Vec<FormatOutput>,
}

#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FormatOutput {
    pub name: FixedText,
    pub version: u32,
}

/// `keyward status -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StatusOutput {
    /// Whether there is an identity, and each one can be used.
    pub ok: bool,
    /// The directory of the identities.
    pub home: String,
    pub identities: Vec<IdentityStatus>,
}

/// An identity of this machine, and its broker.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityStatus {
    /// `agent` (also for a resource server) or `operator`.
    pub kind: FixedText,
    pub spiffe_id: Option<String>,
    /// The roles at the broker; empty if the broker did not accept the identity.
    pub roles: Vec<String>,
    /// The owner that limits an operator's scope; null for the scope `all`, and for an agent.
    pub owner: Option<String>,
    pub not_after: Option<String>,
    /// The broker's address, `host:port`.
    pub address: Option<String>,
    /// The file with the address.
    pub address_file: String,
    /// Whether the broker answers.
    pub reachable: bool,
    /// Whether the broker can serve requests.
    pub ready: bool,
    pub warnings: Vec<FixedText>,
    /// Whether the broker accepts the identity.
    pub accepted: bool,
    pub problems: Vec<ProblemOutput>,
}

/// A problem, as in the errors of commands.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemOutput {
    pub code: String,
    pub detail: String,
    pub fix: String,
}
