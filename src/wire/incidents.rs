use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::host::OrderedAnswer;
use super::incident_records::{AffectedSubjectAnswer, IncidentClosingAnswer, IncidentTimesAnswer};
use super::incident_subject::{IncidentStepAnswer, SubjectAnswer, SubjectBody};
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
    ORDER_CONTAIN: POST "/v1/incidents", Nothing, OrderContainBody => OrderedContainmentAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ContainBody {
    pub subject: SubjectBody,
    /// One line of 1 to 300 characters; the ledger keeps it.
    pub reason: String,
    /// The open incident that the subject joins; without it a new one, or the one that contains the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
}

/// An order of the host: a new incident, or the one that contains the subject.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OrderContainBody {
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
    /// Whether no unrestricted admin is known to be able to act: each one is refused at the address of its last use, or this
    /// address is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves_no_admin: bool,
    /// The unrestricted admins whose last address is unknown, e.g. because they have not connected since the start of the
    /// broker: a contained network may lock them out. Absent without such admins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admins_of_unknown_address: Option<NamesAnswer>,
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
    /// Other incidents that still contain one of the subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contained_by: Vec<IncidentId>,
    /// Further subjects of the incident.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<SubjectAnswer>,
    /// Whether an earlier lift, in the ledger entry `seq`, had ended the containments: nothing has changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchanged: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IncidentAnswer {
    pub incident: IncidentId,
    /// The first affected subject.
    pub subject: SubjectAnswer,
    /// The owner of the first subject at that time.
    pub owner: Option<OwnerName>,
    /// `open` (contains no subject), `contained`, `unrecorded` (a containment is in memory only), `lifted` or `closed`.
    pub state: FixedText,
    /// The beginning of the record.
    pub opened: IncidentStepAnswer,
    /// The last containment; absent if the incident has contained no subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contained: Option<IncidentStepAnswer>,
    /// The last lift; absent while a subject is contained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<IncidentStepAnswer>,
    /// All affected subjects.
    pub subjects: Vec<AffectedSubjectAnswer>,
    /// The people who work on the incident or know about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    pub times: IncidentTimesAnswer,
    /// Notes, the oldest first; the text is the reason. Absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<IncidentStepAnswer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<IncidentClosingAnswer>,
    /// The credentials under the subjects, counted now; absent in lists, after the lift or the closing, and if the subjects
    /// were deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<ReachAnswer>,
    /// The certificates of contained subjects that the broker has refused since its start; absent in lists and without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedCertificatesAnswer>,
}

/// Refused certificates.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RefusedCertificatesAnswer {
    pub count: u64,
    pub last_at: String,
    /// The address of the last one.
    pub last_source: String,
}

/// What a containment would concern.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PreviewAnswer {
    pub subject: SubjectAnswer,
    /// Whether the containment would revoke certificates for good; otherwise they would be refused until the lift.
    pub revokes_certificates: bool,
    /// Whether the containment of this network or owner would refuse the caller's certificate too, and spares it: the caller
    /// connects from the network, or is bound to the owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spares_caller: bool,
    /// Whether no unrestricted admin would be known to be able to act: each one would be refused at the address of its last
    /// use, or this address is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves_no_admin: bool,
    /// The unrestricted admins whose last address is unknown, e.g. because they have not connected since the start of the
    /// broker: a contained network may lock them out. Absent without such admins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admins_of_unknown_address: Option<NamesAnswer>,
    pub reach: ReachAnswer,
}

/// The credentials under a subject that have not expired.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReachAnswer {
    /// Agents and resource servers that have certificates or can get tokens under the subject.
    pub agents: NamesAnswer,
    /// Certificates of agents and resource servers; of a network those that enrolled from there, or that were used from there
    /// lately.
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

/// The secrets that were read under a subject, the most sensitive first.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct TouchedSecretsAnswer {
    pub items: Vec<TouchedSecretAnswer>,
    /// The first ledger entry that was searched.
    pub since_seq: u64,
    /// The readings of instances that the records have forgotten: the subject may have had them.
    #[serde(default, skip_serializing_if = "super::declarations::is_zero")]
    pub unknown_readings: usize,
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
    /// How long the replaced version works after a rotation, in seconds; absent if it ends with the rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_s: Option<u32>,
    /// A version that was read too, and works beside the current one in a grace period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousVersionAnswer>,
}

/// A replaced version in its grace period.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PreviousVersionAnswer {
    pub version: u32,
    /// The end of the grace period.
    pub until: String,
}

/// Names, and how many there are.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct NamesAnswer {
    pub count: usize,
    /// The first 20 names.
    pub names: Vec<String>,
}
