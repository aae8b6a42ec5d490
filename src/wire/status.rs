use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, OpenMetrics, endpoints};

/// One word of a fixed list, e.g. a state.
pub type Word = Cow<'static, str>;

endpoints! {
    /// Whether the process lives
    LIVENESS: GET "/livez", Nothing, Nothing => StatusAnswer;
    /// Whether requests can be served
    READINESS: GET "/readyz", Nothing, Nothing => ReadinessAnswer;
    /// This document
    OPENAPI_DOCUMENT: GET "/openapi.json", Nothing, Nothing => serde_json::Map<String, serde_json::Value>;
    /// Counters, gauges and histograms in one text
    METRICS: GET "/metrics", Nothing, Nothing => OpenMetrics;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct StatusAnswer {
    /// `ok`.
    pub status: Word,
}

/// Names nothing and nobody: it is public.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReadinessAnswer {
    /// `ok`.
    pub status: Word,
    /// `rotations_overdue`, `rotations_dead_letter`, `clock_disagrees`, `disk_space_low`, `disk_slow`,
    /// `ledger_reserve_missing`, `revocation_unrecorded`, `keys_due`; told at the operators' listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Word>,
}

/// What was changed, by the entry that did it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ChangedAnswer {
    pub seq: u64,
}

/// Why something is revoked, suspended or resumed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonBody {
    /// One line: it stays in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What was ended, suspended or resumed.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct EndedAnswer {
    /// The entry that says so; absent when the ledger has not taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Whether the ledger has it. If not, it is in force in memory, and recorded as soon as the ledger can.
    pub durable: bool,
    /// Whether, until then, it is kept in the runtime directory, so that the next start carries it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}
