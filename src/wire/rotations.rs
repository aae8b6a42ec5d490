use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::page::{Items, PageAnswer, PageQuery};
use super::status::FixedText;
use crate::base::{AgentName, CapabilityName, RotationId, SecretName, Sensitivity};

endpoints! {
    /// List rotations of secrets
    LIST_ROTATIONS: GET "/v1/rotations", Nothing, PageQuery<String> => PageAnswer<RotationAnswer>;
    /// Show a rotation
    GET_ROTATION: GET "/v1/rotations/{*name}", SecretName, Nothing => RotationAnswer;
    /// Rotate now, pause, resume, retry, revoke the previous version, or clear orphans
    STEER_ROTATION: POST "/v1/rotations/{*name}", SecretName, SteerRotationBody => SteeredRotationAnswer;
    /// Show the effects of a rotation; nothing is changed
    PLAN_ROTATION: GET "/v1/rotation-plans/{*name}", SecretName, Nothing => RotationPlanAnswer;
    /// List the dates of scheduled rotations
    LIST_ROTATIONS_DUE: GET "/v1/rotation-calendar", Nothing, Nothing => Items<RotationDueAnswer>;
    /// Adopt a version that the upstream accepts, and end the rotation in progress
    ADOPT_VERSION: POST "/v1/rotation-adoptions/{*name}", SecretName, AdoptBody => AdoptedAnswer;
    /// Check the upstream of a rotation; nothing is changed
    CHECK_ROTATION: POST "/v1/rotation-checks/{*name}", SecretName, Nothing => UpstreamCheckAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RotationAnswer {
    pub secret: SecretName,
    pub upstream: String,
    pub schedule: Option<String>,
    /// Whether the previous version works beside the new one until its grace period ends.
    pub overlap: bool,
    pub grace_s: u32,
    pub paused_at: Option<String>,
    pub next: Option<String>,
    pub overdue: bool,
    /// `idle`, `paused`, `overdue`, `in-progress`, `retry-scheduled`, `circuit-open`, `grace` or `needs-attention`.
    #[serde(default)]
    pub state: FixedText,
    /// The next attempt of the rotation in progress, never in the past; null if the broker makes none by itself.
    #[serde(default)]
    pub next_try: Option<String>,
    /// The time until which the circuit of the upstream is open; null while it is closed or probed.
    #[serde(default)]
    pub circuit_open_until: Option<String>,
    pub run: Option<RunAnswer>,
    pub last_at: Option<String>,
    /// The last rotation that ended.
    #[serde(default)]
    pub last: Option<FinishedRotationAnswer>,
    pub checked_at: Option<String>,
    /// Values at the upstream that the broker does not use; an operator has to delete them there.
    pub orphans: Vec<OrphanAnswer>,
    /// The logins whose passwords are set, and by which login; absent for an upstream without logins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logins: Option<String>,
    /// The code and the reason of the last failed call of the upstream; absent unless its circuit is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_cause: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct FinishedRotationAnswer {
    pub rotation: RotationId,
    /// The version that the rotation made current; null if it ended without a new one.
    pub version: Option<u32>,
    /// `finished`, `adopted` (an operator made a version current) or `abandoned` (a value was stored, or the declaration
    /// changed); only after `finished` the previous version is revoked, or is an orphan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<FixedText>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OrphanAnswer {
    /// The rotation that made the value, or left it behind.
    pub rotation: RotationId,
    pub at: String,
    /// Null if the value did not reach the broker.
    pub version: Option<u32>,
    /// The upstream's own id of the value, if the broker knows it.
    pub slot: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RunAnswer {
    pub id: RotationId,
    pub trigger: FixedText,
    pub begun_at: String,
    pub stage: FixedText,
    pub version: Option<u32>,
    /// The version that was current before.
    #[serde(default)]
    pub replaces: Option<u32>,
    /// Whether the upstream may know the new value.
    pub touched: bool,
    pub failures: u32,
    pub trouble: Option<RunFailureAnswer>,
    pub grace_until: Option<String>,
    /// Whether the previous version gets no grace period: the broker revokes it as soon as the new version is the current
    /// one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revokes_previous: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RunFailureAnswer {
    pub code: String,
    /// An SQLSTATE, an HTTP status, or the name of a problem with the server's certificate.
    pub detail: Option<String>,
    /// The problem in a sentence.
    pub reason: Option<String>,
    pub at: String,
    /// Never in the past; null for a dead letter, which needs attention.
    pub retry_at: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SteerRotationBody {
    pub action: RotationAction,
    /// For `rotate` only: whether the broker revokes the previous version as soon as the new version is the current one,
    /// without its grace period. For a rotation in progress, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoke_previous: bool,
    /// For `revoke-previous` only: the rotation whose previous version is meant. The request is refused if this rotation is
    /// not in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationId>,
    /// One line of 1 to 300 characters; the ledger keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<RotationAction> for SteerRotationBody {
    fn from(action: RotationAction) -> Self {
        Self { action, revoke_previous: false, rotation: None, reason: None }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotationAction {
    Rotate,
    Pause,
    Resume,
    Retry,
    RevokePrevious,
    ClearOrphans,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct SteeredRotationAnswer {
    /// For `rotate`: the id of the rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationId>,
    /// For `rotate`: whether this request began the rotation; false if it was in progress already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<bool>,
    /// For the other actions: the ledger entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RotationPlanAnswer {
    pub rotation: RotationAnswer,
    #[schemars(with = "Sensitivity")]
    pub sensitivity: FixedText,
    pub calls: Vec<String>,
    pub overlap_s: u32,
    pub consumers: Vec<ConsumerAnswer>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ConsumerAnswer {
    pub capability: CapabilityName,
    pub agents: Vec<AgentName>,
    pub live_instances: usize,
    /// Longest life of a token for the capability, in seconds.
    pub token_life_s: u32,
    /// Whether the capability does not deliver the secret because it has another owner.
    pub cut_off: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RotationDueAnswer {
    pub secret: SecretName,
    pub at: String,
    pub overdue: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdoptBody {
    /// The version; without it, the first of the newest four that the upstream accepts.
    pub version: Option<u32>,
    /// Whether to adopt `version`, or the current version, without a check at the upstream.
    #[serde(default)]
    pub unverified: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AdoptedAnswer {
    pub version: u32,
    pub seq: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct UpstreamCheckAnswer {
    pub secret: SecretName,
    pub upstream: String,
    /// Whether all checks passed.
    pub ok: bool,
    pub findings: Vec<FindingAnswer>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct FindingAnswer {
    /// `connection`, `role`, `privilege`, `sessions` or `value`; for a lease also `login` or `grants`.
    pub what: FixedText,
    pub ok: bool,
    /// The result in a sentence.
    pub says: String,
    pub fix: Option<String>,
}
