use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::host::OrderedAnswer;
use super::page::{PageAnswer, PageQuery};
use super::status::{ChangedAnswer, EndedAnswer, FixedText};
use crate::base::{AgentName, IncidentId, OwnerName, SecretName};

endpoints! {
    /// Contain a subject: revoke what was issued under it, and refuse it until the containment is lifted
    CONTAIN: POST "/v1/incidents", Nothing, ContainBody => ContainedAnswer;
    /// List incidents, the newest first
    LIST_INCIDENTS: GET "/v1/incidents", Nothing, PageQuery<IncidentId> => PageAnswer<IncidentAnswer>;
    /// Show an incident, with the credentials under its subject
    GET_INCIDENT: GET "/v1/incidents/{id}", IncidentId, Nothing => IncidentAnswer;
    /// Lift the containment of an incident; what was revoked stays revoked
    LIFT: POST "/v1/incidents/{id}/lift", IncidentId, LiftBody => LiftedAnswer;
    /// Show what a containment would concern, without a change
    PREVIEW_CONTAINMENT: POST "/v1/incident-previews", Nothing, PreviewBody => PreviewAnswer;
    /// List the secrets that agents under the subject of an incident have read
    LIST_TOUCHED_SECRETS: GET "/v1/incidents/{id}/secrets", IncidentId, Nothing => TouchedSecretsAnswer;
    /// Freeze the broker: no tokens, no reads of secrets, no leases
    FREEZE: POST "/v1/freeze", Nothing, FreezeBody => EndedAnswer;
    /// Thaw a frozen broker
    THAW: POST "/v1/thaw", Nothing, FreezeBody => ChangedAnswer;
    /// Freeze the broker, also while it is sealed
    ORDER_FREEZE: POST "/v1/freeze", Nothing, FreezeBody => OrderedAnswer;
    /// Contain a subject, also while the broker is sealed
    ORDER_CONTAIN: POST "/v1/incidents", Nothing, ContainBody => OrderedContainmentAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ContainBody {
    pub subject: SubjectBody,
    /// One line of 1 to 300 characters; the ledger keeps it.
    pub reason: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeBody {
    /// One line of 1 to 300 characters; the ledger keeps it.
    pub reason: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PreviewBody {
    pub subject: SubjectBody,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LiftBody {
    /// One line of 1 to 300 characters; the ledger keeps it.
    pub reason: String,
}

/// A subject of a request: with a name, or with an id, or `everything`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectBody {
    /// `agent`, `operator`, `role`, `capability`, `owner`, `secret` or `network` with a name; `instance`, `certificate`
    /// or `token` with an id; or `everything`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id of an instance or token, or the serial number of a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The subject of an incident, as it was named then.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SubjectAnswer {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id of an agent, instance, operator or token, or the serial number of a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The agent of an instance or certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The operator of a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
}

/// The result of a containment. The containment is in force from the next request on.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ContainedAnswer {
    pub incident: IncidentId,
    pub subject: SubjectAnswer,
    /// Whether the incident is new; otherwise it contained the subject before, and this request also revoked what was
    /// issued in between.
    pub new: bool,
    #[serde(flatten)]
    pub ended: EndedAnswer,
    /// Whether the caller's own certificate is accepted, although the containment refuses other certificates of the
    /// network or owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spares_caller: bool,
}

/// The result of an order of the host to contain.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OrderedContainmentAnswer {
    pub incident: IncidentId,
    /// The ledger entry; absent if the broker is sealed, or the ledger did not record the containment in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Whether the order survives a restart of the broker.
    pub durable: bool,
    /// Whether the runtime directory stores the order until the ledger has recorded it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Whether the order is pending: the broker carries it out when it is unsealed, before it serves requests.
    pub queued: bool,
}

/// The end of a containment.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct LiftedAnswer {
    pub incident: IncidentId,
    pub subject: SubjectAnswer,
    /// The ledger entry.
    pub seq: u64,
    /// Tokens, enrolment codes and leases that were issued under the subject before this ledger entry stay revoked.
    pub revoked_before: u64,
    /// Whether the certificates of that time stay revoked too.
    pub revoked_certificates: bool,
    /// Other incidents that still contain the subject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contained_by: Vec<IncidentId>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IncidentAnswer {
    pub incident: IncidentId,
    pub subject: SubjectAnswer,
    /// The owner of the subject at the time of the containment.
    pub owner: Option<OwnerName>,
    /// `contained`, `unrecorded` (contained in memory only) or `lifted`.
    pub state: FixedText,
    /// The first containment.
    pub opened: IncidentStepAnswer,
    /// The last containment.
    pub contained: IncidentStepAnswer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<IncidentStepAnswer>,
    /// The credentials under the subject, counted now; absent in lists, after the lift, and if the subject was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<ReachAnswer>,
}

/// A step of an incident.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IncidentStepAnswer {
    pub at: String,
    /// The operator, or `host uid N`.
    pub by: String,
    /// The ledger entry; absent while the ledger has not recorded the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a containment would concern.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PreviewAnswer {
    pub subject: SubjectAnswer,
    /// Whether the containment would revoke certificates for good; otherwise they would be refused until the lift.
    pub revokes_certificates: bool,
    pub reach: ReachAnswer,
}

/// The credentials under a subject that have not expired.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReachAnswer {
    /// Agents and resource servers that have certificates or can get tokens under the subject.
    pub agents: NamesAnswer,
    /// Certificates of agents and resource servers.
    pub certificates: usize,
    pub operators: NamesAnswer,
    pub operator_certificates: usize,
    /// Enrolment codes with uses left.
    pub enrolment_codes: usize,
    /// Leases that are not revoked yet.
    pub leases: usize,
    /// The number of these credentials that the broker accepts now: 0 while the subject is contained.
    pub accepted: usize,
    /// The time by which every token that was issued so far, or before the containment, has expired. The broker does not
    /// count tokens.
    pub tokens_expire_by: String,
}

/// The secrets that agents under a subject have read, the most sensitive first.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct TouchedSecretsAnswer {
    pub items: Vec<TouchedSecretAnswer>,
    /// The first ledger entry that was searched.
    pub since_seq: u64,
}

/// The last reading of a secret.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct TouchedSecretAnswer {
    pub secret: SecretName,
    pub agent: AgentName,
    pub version: u32,
    pub at: String,
    /// Whether this version is still the current one.
    pub is_current: bool,
    /// `ordinary` or `high`.
    pub sensitivity: FixedText,
    /// Whether a rotation of the secret is declared.
    pub has_rotation: bool,
}

/// Names, and how many there are.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct NamesAnswer {
    pub count: usize,
    /// The first 20 names.
    pub names: Vec<String>,
}
