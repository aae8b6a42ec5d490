use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::endpoints;
use super::incident_subject::{IncidentStepAnswer, SubjectAnswer, SubjectBody};
use super::status::ChangedAnswer;
use crate::base::{IncidentId, OwnerName};

endpoints! {
    /// Begin the record of an incident without a containment
    OPEN_INCIDENT: POST "/v1/incident-records", super::endpoint::Nothing, OpenIncidentBody => OpenedIncidentAnswer;
    /// Add a note to the record of an incident
    NOTE_INCIDENT: POST "/v1/incidents/{id}/notes", IncidentId, IncidentNoteBody => NotedIncidentAnswer;
    /// Add subjects, people or times to the record of an open incident
    UPDATE_INCIDENT: POST "/v1/incidents/{id}/details", IncidentId, IncidentDetailsBody => ChangedAnswer;
    /// Close an incident that contains no subject any more
    CLOSE_INCIDENT: POST "/v1/incidents/{id}/close", IncidentId, CloseIncidentBody => ClosedIncidentAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OpenIncidentBody {
    /// 1 to 100 affected subjects.
    pub subjects: Vec<SubjectBody>,
    /// One line of 1 to 300 characters; the ledger keeps it.
    pub reason: String,
    /// Up to 20 people who work on the incident or know about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    #[serde(default, skip_serializing_if = "IncidentTimesBody::is_empty")]
    pub times: IncidentTimesBody,
}

/// The beginning of an incident's record.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OpenedIncidentAnswer {
    pub incident: IncidentId,
    /// The ledger entry.
    pub seq: u64,
    /// Whether the reason was compared with a part of the stored values only, because there are more than are compared, or one
    /// could not be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partly_compared: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentNoteBody {
    /// One line of 1 to 300 characters; the ledger keeps it.
    pub text: String,
}

/// A note that is recorded.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct NotedIncidentAnswer {
    /// The ledger entry.
    pub seq: u64,
    /// Whether the text was compared with a part of the stored values only, because there are more than are compared, or one
    /// could not be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partly_compared: bool,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentDetailsBody {
    /// Further affected subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<SubjectBody>,
    /// Further people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    #[serde(default, skip_serializing_if = "IncidentTimesBody::is_empty")]
    pub times: IncidentTimesBody,
}

/// Times of an incident that an operator states, RFC 3339, each at or after the ones before it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentTimesBody {
    /// The first sign, e.g. in a log that was read later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sign: Option<String>,
    /// The detection; without it the beginning of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected: Option<String>,
    /// The containment, if the incident contains no subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contained: Option<String>,
    /// The recovery; without it the last lift, or the closing if the incident contained no subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<String>,
}

impl IncidentTimesBody {
    /// Whether no time is stated.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Self { first_sign, detected, contained, recovered } = self;
        first_sign.is_none() && detected.is_none() && contained.is_none() && recovered.is_none()
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CloseIncidentBody {
    /// One line of 1 to 300 characters; the ledger keeps it.
    pub cause: String,
    /// Up to 20 actions that follow, each one line of 1 to 300 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<String>,
    /// The time of the recovery, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<String>,
}

/// The end of an incident.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ClosedIncidentAnswer {
    pub incident: IncidentId,
    /// The ledger entry.
    pub seq: u64,
    pub times: IncidentTimesAnswer,
    /// Whether the texts were compared with a part of the stored values only, because there are more than are compared, or one
    /// could not be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partly_compared: bool,
}

/// A subject that an incident affects.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AffectedSubjectAnswer {
    pub subject: SubjectAnswer,
    /// The owner of the subject at that time.
    pub owner: Option<OwnerName>,
    /// The last containment by this incident, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contained: Option<IncidentStepAnswer>,
    /// The end of the containment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<IncidentStepAnswer>,
}

/// The times of an incident, stated or known to the broker, and the durations between them.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IncidentTimesAnswer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sign: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected: Option<String>,
    /// The first containment of the subject that was contained last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contained: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<String>,
    /// Seconds from the first sign to the detection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_detect_s: Option<u64>,
    /// Seconds from the detection to the containment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_contain_s: Option<u64>,
    /// Seconds from the detection to the recovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_recover_s: Option<u64>,
}

/// The end of an incident.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IncidentClosingAnswer {
    pub at: String,
    /// The operator.
    pub by: String,
    /// The ledger entry.
    pub seq: u64,
    pub cause: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<String>,
}
