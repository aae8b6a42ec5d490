use serde::{Deserialize, Serialize};

use crate::base::IncidentId;
use crate::ledger::Key;

/// What a bundle is about, and the range that it covers: its file `scope.json`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceScope {
    /// The subject of the entries. In a bundle for an incident, the kind is `incident` and the name is its id.
    pub subject: EvidenceSubject,
    /// The incident that the bundle was made for, if it was made for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The subjects that the incident affects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<EvidenceSubject>,
    /// The entries are from this time on, in milliseconds since 1970.
    pub since_ms: i64,
    /// The entries are up to this time, in milliseconds since 1970. Without it the range ends with the entry that records
    /// the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// The last entry about the subject: the one that records the bundle, or the first one after `until_ms`.
    pub through: u64,
}

/// The subject of a bundle.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceSubject {
    /// `agent` or `operator`, or another kind of subject.
    pub kind: String,
    /// Its name, or its id.
    pub name: String,
}

impl EvidenceSubject {
    /// The subject of the links in entries about it. `None` for a subject that entries do not link: then completeness
    /// cannot be proved.
    #[must_use]
    pub fn link(&self) -> Option<Key> {
        matches!(self.kind.as_str(), "agent" | "operator").then(|| Key::of(&self.kind, self.name.as_bytes()))
    }
}
