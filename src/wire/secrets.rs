use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, Optional, SecretUpload, SecretValueBody, endpoints};
use super::page::{PageAnswer, PageQuery};
use super::rotations::ConsumerAnswer;
use super::sensitivity_approvals::SensitivityApprovalBody;
use super::status::{EndedAnswer, FixedText, ReasonBody};
use crate::base::limits::SECRET_BYTES_MAX;
use crate::base::{AgentName, CapabilityName, IncidentId, OwnerName, SecretName, Sensitivity};

endpoints! {
    /// List secrets; never values
    LIST_SECRETS: GET "/v1/secrets", Nothing, PageQuery<String> => PageAnswer<SecretAnswer>;
    /// Show a secret and its versions; never a value
    GET_SECRET: GET "/v1/secrets/{*name}", SecretName, Nothing => SecretDetailAnswer;
    /// Store the next version of a secret
    PUT_SECRET: PUT "/v1/secrets/{*name}", SecretName, SecretUpload => StoredAnswer, 201, up to SECRET_BYTES_MAX;
    /// Read the value of a secret
    REVEAL_SECRET: GET "/v1/secrets/{*name}", SecretName, Nothing => SecretValueBody;
    /// List the readers of a secret, with the versions that they read
    LIST_SECRET_READERS: GET "/v1/secret-readers/{*name}", SecretName, Nothing => ReadersAnswer;
    /// List the agents that could read a secret at a past time, by the declarations of then
    LIST_SECRET_ACCESS: POST "/v1/secret-access/{*name}", SecretName, SecretAccessBody => SecretAccessAnswer;
    /// Roll back to a former version, or destroy it
    CHANGE_SECRET_VERSION: POST "/v1/secret-versions/{*name}", SecretName, VersionBody => EndedAnswer;
    /// Delete a secret: destroy all its versions
    DELETE_SECRET: POST "/v1/secret-deletions/{*name}", SecretName, Optional<ReasonBody> => SecretDeletedAnswer;
    /// Set the sensitivity of a secret
    CLASSIFY_SECRET: POST "/v1/secret-sensitivity/{*name}", SecretName, SensitivityBody => ClassifiedAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SecretAnswer {
    pub name: SecretName,
    pub version: u32,
    pub updated_at: String,
    pub owner: Option<OwnerName>,
    #[schemars(with = "Sensitivity")]
    pub sensitivity: FixedText,
    /// The time from which a rotation makes the next version, if one is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<String>,
    /// The incident that contains the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SecretDetailAnswer {
    pub name: SecretName,
    pub owner: Option<OwnerName>,
    #[schemars(with = "Sensitivity")]
    pub sensitivity: FixedText,
    /// The ledger entry that set the sensitivity; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classified_seq: Option<u64>,
    /// The incident that contains the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    pub current: Option<u32>,
    pub upstream: Option<String>,
    pub versions: Vec<VersionAnswer>,
    pub consumers: Vec<ConsumerAnswer>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct VersionAnswer {
    pub number: u32,
    pub stage: FixedText,
    pub stored_at: String,
    pub seq: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReadersAnswer {
    pub items: Vec<ReaderAnswer>,
    /// The oldest ledger entry that was searched; earlier readings are not listed.
    pub since_seq: u64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SecretAccessBody {
    /// A past time in RFC 3339, or a length of time before now, e.g. `6h`.
    pub at: String,
}

/// The agents whose roles had a capability that delivers a secret, at a past time. It says nothing of suspensions,
/// containments, certificates and policies of then.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SecretAccessAnswer {
    pub at: String,
    pub items: Vec<SecretAccessOfAgent>,
    /// Whether the ledger has all declarations up to then with their values.
    pub complete: bool,
    /// The number of further agents, which the operator does not see.
    #[serde(default)]
    pub hidden: usize,
    /// The oldest ledger entry that was searched.
    pub since_seq: u64,
    /// Ledger entries that do not have the values of all their changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<u64>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SecretAccessOfAgent {
    pub agent: String,
    /// The roles by which it could read the secret.
    pub roles: Vec<String>,
    /// The capabilities by which it could read the secret.
    pub capabilities: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReaderAnswer {
    pub agent: AgentName,
    pub version: u32,
    /// The first reading of this version by the agent in the searched entries.
    #[serde(default)]
    pub first_at: String,
    /// The last one.
    pub at: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct StoredAnswer {
    pub name: SecretName,
    pub version: u32,
    pub seq: u64,
    /// The upstream of the secret's rotation, which has to accept the stored value; absent without such a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VersionBody {
    pub action: VersionAction,
    pub version: u32,
    /// The reason, in one line; the ledger keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A deleted secret. The ledger keeps its entries; the values cannot be opened after the next rotation of the value key.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SecretDeletedAnswer {
    /// The ledger entry.
    pub seq: u64,
    /// The versions that were destroyed.
    pub versions: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionAction {
    RollBack,
    Destroy,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SensitivityBody {
    pub sensitivity: Sensitivity,
    /// Confirms that capabilities deliver the secret under fewer restrictions than before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub widen: bool,
    /// The approval of a second operator, where the broker demands one for a lower sensitivity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<SensitivityApprovalBody>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ClassifiedAnswer {
    /// The ledger entry; null if the secret had this sensitivity already.
    pub seq: Option<u64>,
    /// The capabilities that do not deliver the secret because they have another owner.
    pub cut_off: Vec<CapabilityName>,
}
