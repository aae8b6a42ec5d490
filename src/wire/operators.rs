use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agents::OpenCodeAnswer;
use super::approval_keys::ApprovalKeyAnswer;
use super::endpoint::{Nothing, Optional, endpoints};
use super::identity::CertificateAnswer;
use super::incident_subject::ContainmentAnswer;
use super::page::{PageAnswer, PageQuery};
use super::secret_text::SecretText;
use super::status::{ChangedAnswer, EndedAnswer, FixedText, ReasonBody};
use crate::base::{IncidentId, OperatorId, OperatorName, OwnerName};

endpoints! {
    /// List operators
    LIST_OPERATORS: GET "/v1/operators", Nothing, PageQuery<String> => PageAnswer<OperatorAnswer>;
    /// Show an operator
    GET_OPERATOR: GET "/v1/operators/{name}", OperatorName, Nothing => OperatorAnswer;
    /// Make an enrolment code for an operator
    INVITE_OPERATOR: POST "/v1/operators/{name}/invitations", OperatorName, InviteOperatorBody => OperatorInvitationAnswer, 201;
    /// Change an operator's role and scope
    PLACE_OPERATOR: PUT "/v1/operators/{name}/role", OperatorName, PlaceOperatorBody => ChangedAnswer;
    /// Change an operator's networks, life of certificates and person
    CHANGE_OPERATOR_PROFILE: PUT "/v1/operators/{name}/profile", OperatorName, OperatorProfileBody => OperatorProfileAnswer;
    /// Revoke all credentials of an operator
    REVOKE_OPERATOR: POST "/v1/operators/{name}/revoke", OperatorName, Optional<ReasonBody> => EndedAnswer;
    /// Suspend an operator
    SUSPEND_OPERATOR: POST "/v1/operators/{name}/suspend", OperatorName, Optional<ReasonBody> => EndedAnswer;
    /// Resume a suspended operator
    RESUME_OPERATOR: POST "/v1/operators/{name}/resume", OperatorName, Optional<ReasonBody> => EndedAnswer;
    /// Delete an operator; its name stays reserved
    DELETE_OPERATOR: POST "/v1/operators/{name}/delete", OperatorName, Optional<ReasonBody> => OperatorDeletedAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OperatorAnswer {
    pub id: OperatorId,
    pub name: OperatorName,
    /// `human`, `service` or `automation`.
    #[serde(default = "human")]
    pub kind: FixedText,
    pub role: FixedText,
    pub owner: Option<OwnerName>,
    /// `active`, `suspended` (also if the operator itself is contained), `contained` (its owner is contained, or the network
    /// in which it enrolled or of its last use), `revoked`, `expired` or `invited`.
    pub state: FixedText,
    /// The incident that contains the operator, or what it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The reason for the last revocation or suspension, or for the containment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The containments that refuse the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containments: Vec<ContainmentAnswer>,
    pub certificates: Vec<CertificateAnswer>,
    /// The enrolment codes that can be used; only in the answer about one operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_codes: Vec<OpenCodeAnswer>,
    /// The networks from which its certificates can be used; empty for all.
    #[serde(default)]
    pub networks: Vec<String>,
    /// The life of its certificates in seconds, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The last use of one of its certificates. Of a human only since the start of the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_use: Option<OperatorUseAnswer>,
    /// The keys that sign its approvals, the accepted one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval_keys: Vec<ApprovalKeyAnswer>,
    /// The operators that made the codes of its enrolments or named its person, and those that did so for them: names, and
    /// the ids of operators that were deleted since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub introduced_by: Vec<String>,
    /// The code of the refusal that the caller would get if it accepted the proposed approval key; only in the answer about one
    /// operator, and absent if the broker would accept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_acceptance: Option<FixedText>,
}

/// A broker without kinds has humans only.
fn human() -> FixedText {
    "human".into()
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OperatorUseAnswer {
    pub at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A changed profile of an operator.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OperatorProfileAnswer {
    /// The ledger entry.
    pub seq: u64,
    /// The approval keys that ended because the person changed: SHA-256 of each public key, in hex.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_approval_keys: Vec<String>,
}

/// A deleted operator. The ledger keeps its entries.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OperatorDeletedAnswer {
    /// The ledger entry.
    pub seq: u64,
    /// The number of certificates that were valid.
    pub certificates: usize,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InviteOperatorBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// `human` (by default), `service` or `automation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// The life of the operator's certificates in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct OperatorInvitationAnswer {
    pub operator: OperatorName,
    pub code: SecretText,
    pub code_id: String,
    pub expires_at: String,
    /// The life of the operator's certificates in seconds, as the settings of the broker allow it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_life_s: Option<u32>,
}

/// Role and owner are required: a missing owner would mean the scope `all`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceOperatorBody {
    pub role: String,
    #[serde(deserialize_with = "Option::deserialize")]
    pub owner: Option<String>,
    /// The role and owner that the caller read. If they have changed since, the request is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedOperatorPlace>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedOperatorPlace {
    pub role: String,
    #[serde(deserialize_with = "Option::deserialize")]
    pub owner: Option<String>,
}

/// The first three fields are required: a missing list of networks would mean all networks.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorProfileBody {
    pub networks: Vec<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub life_s: Option<u32>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub person: Option<String>,
    /// The profile that the caller read. If it has changed since, the request is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedOperatorProfile>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedOperatorProfile {
    pub networks: Vec<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub life_s: Option<u32>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub person: Option<String>,
}
