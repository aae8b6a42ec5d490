use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::approval_context::ApprovalContextAnswer;
use super::approvals::ApprovalAnswer;
use super::declarations::{LeaseCheckAnswer, PlannedChange};
use super::incident_effects::IncidentEffectsAnswer;
use super::incidents::{ContainedAnswer, ReachAnswer};
use super::problem::SmallerRequestBody;
use super::rotations::UpstreamCheckAnswer;
use super::secret_text::SecretText;
use super::status::FixedText;
use super::tokens::AuthorizationDetail;
use crate::base::{AgentName, DecisionId, InstanceId, OperatorName, SecretName, TokenId};

/// A failed command with `-o json`, on standard error.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FailureOutput {
    /// `keyward help error CODE` explains it.
    pub code: String,
    pub detail: String,
    pub fix: String,
    pub exit_code: u8,
    /// The decision of the broker, if it refused the request.
    pub decision_id: Option<String>,
    pub request_id: Option<String>,
    /// The errors in declarations with their places.
    pub errors: Vec<String>,
    /// Whether the unchanged command may succeed later.
    pub retryable: bool,
    /// The time in seconds after which the broker asks to repeat the request.
    pub retry_after_s: Option<u64>,
    /// The approval that the request needs, or that it names.
    pub approval_id: Option<String>,
    /// The path of the approval on the agents' listener.
    pub approval_uri: Option<String>,
    /// A smaller request that would be allowed now.
    pub instead: Option<SmallerRequestBody>,
}

/// `keyward approval show -o json`: the request, and its comparison with the usual requests of its agent.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ShownApprovalOutput {
    #[serde(flatten)]
    pub approval: ApprovalAnswer,
    /// Null if the broker could not compare the request.
    pub context: Option<ApprovalContextAnswer>,
}

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

/// A kind of ledger entries in `keyward audit kinds -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EventKindOutput {
    pub kind: FixedText,
    /// `allowed`, `denied` or `failed`; null for a kind that reports a state.
    pub outcome: Option<FixedText>,
}

/// `keyward agent invite --out FILE -o json`, and the same of operators: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CodeInFileOutput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorName>,
    pub code_id: String,
    pub expires_at: String,
    /// The life of the operator's certificates in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_life_s: Option<u32>,
    /// The file with the enrolment code.
    pub code_file: String,
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
    /// How the private key is stored: `clear`, or `sealed` with a passphrase; null if it cannot be read.
    #[serde(default)]
    pub key: Option<FixedText>,
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

/// `keyward operator seal-key -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SealedKeyOutput {
    pub spiffe_id: String,
    /// `sealed`.
    pub key: FixedText,
}

/// `keyward operator key-agent -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAgentOutput {
    /// Whether the key agent runs.
    pub running: bool,
    /// The end of its time; null if it does not run.
    pub until: Option<String>,
}

/// A problem, as in the errors of commands.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemOutput {
    pub code: String,
    pub detail: String,
    pub fix: String,
}

/// `keyward token show -o json`: no endpoint sends it. It never contains the token.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenOutput {
    /// Whether the broker signed the token, and it is valid now. Revocation is not checked.
    pub verified: bool,
    /// Whether it is accepted only because clocks may differ: its time has not begun, or is over.
    pub in_leeway: bool,
    /// Why it is not verified.
    pub problem: Option<ProblemOutput>,
    pub token_id: TokenId,
    pub issuer: String,
    /// SPIFFE ID.
    pub agent: String,
    pub instance: InstanceId,
    pub audience: String,
    pub capabilities: Vec<AuthorizationDetail>,
    pub issued_at: String,
    pub not_before: String,
    pub expires_at: String,
    /// SHA-256 of the certificate whose key the bearer has to hold, base64url.
    #[serde(rename = "x5t#S256")]
    pub x5t_s256: String,
    /// Whether this machine's agent has this certificate; null without an agent.
    pub bound_to_this_machine: Option<bool>,
    pub decision_id: DecisionId,
    /// The ledger entry of its issue.
    pub seq: u64,
}

/// An item of `keyward help error -o json` and `keyward help exit-codes -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CodeOutput {
    /// An error code, or an exit code.
    pub code: String,
    pub meaning: String,
}

/// `keyward rotation retry -o json`, and that of `rotation revoke-previous`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TriedRotationOutput {
    /// The ledger entry of the command.
    pub seq: Option<u64>,
    /// `succeeded`; of `revoke-previous` `revoked`, or `orphan` if the broker cannot revoke the version; null if the command
    /// did not wait.
    pub result: Option<FixedText>,
    /// The rotation after the attempt, as the broker sent it; null if the command did not wait.
    pub rotation: Option<serde_json::Value>,
}

/// `keyward help error CODE -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorCodeOutput {
    pub code: FixedText,
    pub meaning: FixedText,
    pub fix: FixedText,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    pub exit_code: u8,
}

/// `keyward help VERB -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HelpOutput {
    /// The words of the verb; empty for the help of `keyward` itself.
    pub verb: String,
    pub help: String,
}

/// `keyward man -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ManOutput {
    /// The directory of the pages.
    pub directory: String,
}

/// `keyward join -o json` and `keyward renew -o json`: the answer of the broker without certificate and authority.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityOutput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    pub spiffe_id: String,
    /// The end of the certificate.
    pub not_after: String,
    /// Only of `renew`: the previous certificate had expired, and the broker raised an alarm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

/// `keyward get -o json`: no endpoint sends it.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SecretOutput {
    pub name: String,
    pub version: u64,
    /// `text`, or `base64url` for a value that is not UTF-8.
    pub encoding: FixedText,
    pub value: SecretText,
    /// The time of the next rotation; absent if none is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<String>,
}

/// `keyward demo -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DemoOutput {
    /// The acts, each after its statement was checked.
    pub items: Vec<DemoActOutput>,
    pub elapsed_ms: i64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DemoActOutput {
    pub act: FixedText,
    pub statement: String,
}

/// `keyward dev -o json`, when the broker is ready: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DevOutput {
    /// The directory that is deleted at the end.
    pub directory: String,
    /// The operator's home directory, for `--home`.
    pub operator_home: String,
    pub agents: Vec<DevAgentOutput>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DevAgentOutput {
    pub name: FixedText,
    /// The agent's home directory, for `--home`.
    pub home: String,
}

/// `keyward plan --check -o json`: no endpoint sends it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CheckedPlanOutput {
    pub changes: Vec<PlannedChange>,
    /// A check of the upstream of each rotation in the files.
    pub checks: Vec<UpstreamCheckAnswer>,
    /// A check of the upstream of each lease in the files.
    #[serde(default)]
    pub lease_checks: Vec<LeaseCheckAnswer>,
    /// Objects of a kind that this program does not know, which it did not check, e.g. `queue jobs`.
    #[serde(default)]
    pub not_checked: Vec<String>,
    /// The id of the plan, for `apply --plan`.
    #[serde(default)]
    pub plan: Option<String>,
}

/// The items of a verb that lists, e.g. `keyward secret list -o json`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ListOutput<T> {
    pub items: Vec<T>,
    /// Whether there are more objects than `--limit` allows.
    #[serde(default)]
    pub more: bool,
}

/// `keyward contain -o json`: the response of the broker, and what followed until the command ended.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ContainedOutput {
    #[serde(flatten)]
    pub contained: ContainedAnswer,
    #[serde(flatten)]
    pub progress: ContainmentProgress,
}

/// What followed a containment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct ContainmentProgress {
    /// The credentials under the subject after the containment; null if they were not counted.
    pub reach: Option<ReachAnswer>,
    /// The ends of leases and connections, as far as the command has seen them; null if the broker did not tell them.
    pub effects: Option<IncidentEffectsAnswer>,
    /// With `--rotate-touched`: the secrets whose rotation has begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotated: Vec<SecretName>,
    /// With `--revoke-previous`: the versions that the subject has read, and that no longer work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<RevokedVersionOutput>,
}

/// A version of a secret whose rotation has revoked it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RevokedVersionOutput {
    pub secret: SecretName,
    pub version: u32,
}
