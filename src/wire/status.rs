use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, OpenMetrics, endpoints};

/// A word of a fixed list, e.g. a state.
pub type FixedText = Cow<'static, str>;

endpoints! {
    /// Show whether the process answers
    LIVENESS: GET "/livez", Nothing, Nothing => StatusAnswer;
    /// Show whether the broker can serve requests
    READINESS: GET "/readyz", Nothing, Nothing => ReadinessAnswer;
    /// This document (`OpenAPI`)
    OPENAPI_DOCUMENT: GET "/openapi.json", Nothing, Nothing => serde_json::Map<String, serde_json::Value>;
    /// Metrics in `OpenMetrics` text
    METRICS: GET "/metrics", Nothing, Nothing => OpenMetrics;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct StatusAnswer {
    /// `ok`.
    pub status: FixedText,
}

/// Readiness. The response is public and contains no names.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReadinessAnswer {
    /// `ok`.
    pub status: FixedText,
    /// `rotations_overdue`, `rotations_dead_letter`, `clock_disagrees`, `disk_space_low`, `disk_slow`,
    /// `ledger_reserve_missing`, `ledger_not_replicated`, `revocation_unrecorded`, `keys_due`, `frozen`,
    /// `rollback_suspected`, `pending_order_failed`, `webhook_dead_letters`; only in responses of the admins' listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<FixedText>,
}

/// The ledger entry of a change.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ChangedAnswer {
    pub seq: u64,
}

/// The reason for a revocation, suspension or resumption.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonBody {
    /// One line of 1 to 300 characters; the ledger keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The result of a revocation, suspension or resumption.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct EndedAnswer {
    /// The ledger entry; absent if the ledger did not record the change in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Whether the ledger has recorded the change. If not, it is in force in memory, and the broker keeps trying to
    /// record it.
    pub durable: bool,
    /// Whether the runtime directory stores the change until the ledger has recorded it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Whether nothing has changed: a resumed subject was not suspended, a revoked code had ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchanged: bool,
    /// The number of unused uses of the enrolment codes that ended with an instance of an agent, because it had used
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_uses: Option<usize>,
    /// The approval keys that ended with the certificate of an operator, because it had proposed them: SHA-256 of each public
    /// key, in hex.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_approval_keys: Vec<String>,
}
