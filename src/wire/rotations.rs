use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::page::{Items, PageAnswer, PageQuery};
use super::status::Word;
use crate::base::{AgentName, CapabilityName, RotationId, SecretName, Sensitivity};

endpoints! {
    /// Rotations of secrets
    LIST_ROTATIONS: GET "/v1/rotations", Nothing, PageQuery<String> => PageAnswer<RotationAnswer>;
    /// A rotation
    GET_ROTATION: GET "/v1/rotations/{*name}", SecretName, Nothing => RotationAnswer;
    /// Rotate now, pause, resume, retry, revoke the previous version, or clear orphans
    STEER_ROTATION: POST "/v1/rotations/{*name}", SecretName, SteerRotationBody => SteeredRotationAnswer;
    /// What a rotation would do
    PLAN_ROTATION: GET "/v1/rotation-plans/{*name}", SecretName, Nothing => RotationPlanAnswer;
    /// When rotations are due
    LIST_ROTATIONS_DUE: GET "/v1/rotation-calendar", Nothing, Nothing => Items<RotationDueAnswer>;
    /// Use a version that works upstream, and end the rotation under way
    ADOPT_VERSION: POST "/v1/rotation-adoptions/{*name}", SecretName, AdoptBody => AdoptedAnswer;
    /// Try the upstream of a rotation, changing nothing
    CHECK_ROTATION: POST "/v1/rotation-checks/{*name}", SecretName, Nothing => UpstreamCheckAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RotationAnswer {
    pub secret: SecretName,
    pub upstream: String,
    pub schedule: Option<String>,
    /// Whether the old value goes on working beside the new one, until its grace ends.
    pub overlap: bool,
    pub grace_s: u32,
    pub paused_at: Option<String>,
    pub next: Option<String>,
    pub overdue: bool,
    pub run: Option<RunAnswer>,
    pub last_at: Option<String>,
    pub checked_at: Option<String>,
    /// Values that upstream may know and the broker does not use: an operator has to delete them there.
    pub orphans: Vec<OrphanAnswer>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OrphanAnswer {
    /// The rotation for which upstream made it, or which left it there.
    pub rotation: RotationId,
    pub at: String,
    /// Null when its value never reached the broker.
    pub version: Option<u32>,
    /// What upstream calls its place, when that is known.
    pub slot: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RunAnswer {
    pub id: RotationId,
    pub trigger: Word,
    pub begun_at: String,
    pub stage: Word,
    pub version: Option<u32>,
    /// Whether upstream may know the new value.
    pub touched: bool,
    pub failures: u32,
    pub trouble: Option<RunFailureAnswer>,
    pub grace_until: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RunFailureAnswer {
    pub code: String,
    /// An SQLSTATE, a status, or the name of what is wrong with the server's certificate.
    pub detail: Option<String>,
    /// What is wrong, in a sentence.
    pub reason: Option<String>,
    pub at: String,
    /// Null for a dead letter, which needs attention.
    pub retry_at: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SteerRotationBody {
    pub action: RotationAction,
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
    /// The rotation, for `rotate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationId>,
    /// Whether this request began it, for `rotate`: it was under way already otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<bool>,
    /// The entry that says so, for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RotationPlanAnswer {
    pub rotation: RotationAnswer,
    pub sensitivity: Sensitivity,
    pub calls: Vec<String>,
    pub overlap_s: u32,
    pub consumers: Vec<ConsumerAnswer>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ConsumerAnswer {
    pub capability: CapabilityName,
    pub agents: Vec<AgentName>,
    pub live_instances: usize,
    /// The longest that a token for it can still be about, in seconds.
    pub token_life_s: u32,
    /// Whether it does not reach the secret, because it has another owner.
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
    /// The version; without one, the first that the upstream accepts.
    pub version: Option<u32>,
    /// Whether the upstream is not asked: the version named, or the current one, is used as it is.
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
    /// Whether a rotation can do with all that was found.
    pub ok: bool,
    pub findings: Vec<FindingAnswer>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct FindingAnswer {
    /// `connection`, `role`, `privilege` or `value`.
    pub what: Word,
    pub ok: bool,
    /// What was found, in a sentence.
    pub says: String,
    pub fix: Option<String>,
}
