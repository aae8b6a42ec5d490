use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::incident_subject::{SubjectAnswer, SubjectBody};
use super::incidents::{NamesAnswer, RefusedCertificatesAnswer};
use super::status::FixedText;

endpoints! {
    /// Report what a subject could reach, what it reached, and what is unusual about it
    REPORT_SUBJECT: POST "/v1/subject-reports", Nothing, SubjectReportBody => SubjectReportAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectReportBody {
    /// An agent, instance, operator, owner, capability, secret, token, network, or everything.
    pub subject: SubjectBody,
    /// Since this time (RFC 3339), or a length of time before now, e.g. `6h`.
    pub since: String,
}

/// Lists are limited; `left_out` counts what they do not have.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SubjectReportAnswer {
    pub subject: SubjectAnswer,
    pub since: String,
    pub until: String,
    /// The entries about the subject in this time.
    pub entries: ReportedEntries,
    /// The entries of the 30 days before, with which they are compared.
    pub baseline: ReportedEntries,
    /// Refused requests in this time.
    pub denied: u64,
    /// The certificates of an agent, an operator or an instance's agent that were refused in this time, as the entries
    /// `certificate.refused` count them; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedCertificatesAnswer>,
    pub unusual: Vec<UnusualAnswer>,
    /// What an operator did in this time, by the kinds of its entries; empty for other subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<ActsAnswer>,
    pub secrets: Vec<ReachedSecretAnswer>,
    pub services: Vec<ReachedServiceAnswer>,
    pub logins: Vec<ReachedLoginAnswer>,
    pub sources: Vec<ActiveSourceAnswer>,
    /// The credentials of an agent, instance or operator that have not expired; also the open codes that an operator made.
    pub credentials: Vec<HeldCredentialAnswer>,
    /// What an agent or instance may request.
    pub capabilities: Vec<ReachableCapabilityAnswer>,
    /// Items that the lists do not have.
    pub left_out: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ReportedEntries {
    /// Entries that were read, the newest first.
    pub read: u64,
    /// Whether these are all entries of the time.
    pub complete: bool,
}

/// Something that the subject did not do in the 30 days before.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UnusualAnswer {
    /// `first-use`, `new-source`, `new-capability`, `new-secret`, `hour` or `rate`.
    pub what: FixedText,
    /// The source, capability or secret; the hour of the day (UTC); the entries of the busiest hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub which: Option<String>,
    /// When it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// Entries of one kind about what an operator did.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ActsAnswer {
    pub kind: String,
    pub count: u64,
    pub first: String,
    pub last: String,
}

/// A version of a secret that was read.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReachedSecretAnswer {
    pub secret: String,
    pub version: u64,
    /// When the version was stored; absent if the broker does not know the version any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<String>,
    /// The first reading in the time of the report.
    pub first: String,
    /// The last reading in the time of the report.
    pub last: String,
    pub count: u64,
    /// Whether this is the current version.
    pub is_current: bool,
    /// Whether a rotation with a driver is declared.
    pub has_rotation: bool,
    /// The agents that read this version in the time of the report.
    pub readers: NamesAnswer,
    /// The agents that can read the secret now, whether they did or not.
    pub can_read: NamesAnswer,
}

/// A service for which tokens were issued.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReachedServiceAnswer {
    pub audience: String,
    pub capabilities: Vec<String>,
    pub first: String,
    pub last: String,
    pub count: u64,
}

/// A login that was issued.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReachedLoginAnswer {
    pub lease: String,
    pub capability: String,
    pub at: String,
}

/// An address of requests.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ActiveSourceAnswer {
    pub source: String,
    pub first: String,
    pub last: String,
    pub count: u64,
    pub connections: u64,
}

/// A credential that has not expired.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct HeldCredentialAnswer {
    /// `certificate`, `token`, `lease` or `enrolment-code`.
    pub kind: FixedText,
    pub id: String,
    pub expires_at: String,
    /// Whether the broker accepts it now.
    pub accepted: bool,
    /// The subject of a code that an operator made, e.g. `agent/research-bot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_for: Option<String>,
}

/// A capability that may be requested.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReachableCapabilityAnswer {
    pub capability: String,
    pub access: FixedText,
    /// `mint`, `reveal` or `lease`.
    pub delivery: FixedText,
    /// The secret, service or upstream that it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether it was used in this time.
    pub used: bool,
}
