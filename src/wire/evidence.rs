use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, Zip, endpoints};

endpoints! {
    /// Make an evidence bundle about an agent, an operator or an incident
    EXPORT_EVIDENCE: POST "/v1/evidence", Nothing, EvidenceBody => Zip;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceBody {
    /// `agent`, `operator` or `incident`. Agents include resource servers.
    pub kind: String,
    /// Its name, or the id of the incident.
    pub name: String,
    /// Entries from this time on (RFC 3339); without it and `last_s` all entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Entries up to this time (RFC 3339); without it the range ends with the bundle. Not for an incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Entries of the last so many seconds, by the broker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_s: Option<u32>,
}

/// The file that `keyward evidence` has written.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct EvidenceOutput {
    pub file: String,
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// With `--key`: the number of entries about the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<usize>,
    /// With `--key`: whether the bundle proves that no entry about the subject is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
}

/// An evidence bundle that `keyward verify` has checked.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct VerifiedEvidenceOutput {
    pub kind: String,
    pub name: String,
    pub since: String,
    /// The end of the range; without it the entry that records the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The last entry about the subject in the bundle.
    pub through: u64,
    /// The number of entries about the subject.
    pub entries: u64,
    /// The number of other entries with a proof.
    pub related: u64,
    /// Whether no entry of the range about the subject is missing; for an incident, about any of its subjects.
    pub complete: bool,
    /// The subjects of an incident.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<VerifiedSubjectOutput>,
    /// The number of signatures of operators that were verified: votes for requests, and approvals of plans and of lower
    /// sensitivities.
    pub signatures: u64,
    /// The number of those in entries of earlier versions, which do not have the public key: they were not verified.
    pub signatures_without_key: u64,
    /// The ledger that the checkpoint names, and its size.
    pub ledger: String,
    pub checkpoint: u64,
}

/// A subject of an incident, in a bundle that `keyward verify` has checked.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct VerifiedSubjectOutput {
    pub kind: String,
    pub name: String,
    /// Whether no entry of the range about it is missing. Only entries about agents and operators prove it.
    pub complete: bool,
}
