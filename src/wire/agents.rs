use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, Optional, endpoints};
use super::incident_subject::ContainmentAnswer;
use super::page::{PageAnswer, PageQuery};
use super::secret_text::SecretText;
use super::status::{EndedAnswer, FixedText, ReasonBody};
use crate::base::{
    AgentId, AgentName, CapabilityName, CodeId, EnvironmentName, IncidentId, InstanceId, OperatorName,
    OwnerName, ParameterName, RoleName, SecretName, Serial, TokenId,
};

endpoints! {
    /// List agents and resource servers
    LIST_AGENTS: GET "/v1/agents", Nothing, PageQuery<String> => PageAnswer<AgentAnswer>;
    /// Show an agent or a resource server
    GET_AGENT: GET "/v1/agents/{name}", AgentName, Nothing => AgentAnswer;
    /// Make an enrolment code for an agent
    INVITE_AGENT: POST "/v1/agents/{name}/invitations", AgentName, InviteAgentBody => AgentInvitationAnswer, 201;
    /// Revoke all credentials of an agent
    REVOKE_AGENT: POST "/v1/agents/{name}/revoke", AgentName, Optional<ReasonBody> => EndedAnswer;
    /// Suspend an agent
    SUSPEND_AGENT: POST "/v1/agents/{name}/suspend", AgentName, Optional<ReasonBody> => EndedAnswer;
    /// Resume a suspended agent
    RESUME_AGENT: POST "/v1/agents/{name}/resume", AgentName, Optional<ReasonBody> => EndedAnswer;
    /// Delete an agent or a resource server; its name stays reserved
    DELETE_AGENT: POST "/v1/agents/{name}/delete", AgentName, Optional<ReasonBody> => AgentDeletedAnswer;
    /// Revoke an instance of an agent
    REVOKE_INSTANCE: POST "/v1/instances/{id}/revoke", InstanceId, Optional<ReasonBody> => EndedAnswer;
    /// Revoke the instance of an agent that has a certificate, or the certificate of an operator
    REVOKE_CERTIFICATE: POST "/v1/certificates/{serial}/revoke", Serial, Optional<ReasonBody> => EndedAnswer;
    /// Revoke an enrolment code of an agent or operator
    REVOKE_CODE: POST "/v1/enrolment-codes/{id}/revoke", CodeId, Optional<ReasonBody> => CodeRevokedAnswer;
    /// Revoke an access token
    REVOKE_TOKEN: POST "/v1/tokens/{id}/revoke", TokenId, Optional<ReasonBody> => EndedAnswer;
    /// List declared capabilities
    LIST_CAPABILITIES: GET "/v1/capabilities", Nothing, PageQuery<String> => PageAnswer<CapabilityAnswer>;
    /// List declared roles
    LIST_ROLES: GET "/v1/roles", Nothing, PageQuery<String> => PageAnswer<RoleAnswer>;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CapabilityAnswer {
    pub name: CapabilityName,
    /// `read` or `write`.
    pub access: FixedText,
    pub delivery: FixedText,
    pub audience: String,
    pub secret: Option<SecretName>,
    pub max_life_s: u32,
    pub owner: Option<OwnerName>,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// The incident that contains the capability; not in answers to agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The parameters of a token request, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterAnswer>,
}

/// A parameter of a capability.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ParameterAnswer {
    pub name: ParameterName,
    /// `integer`, `text` or `boolean`.
    #[serde(rename = "type")]
    pub kind: FixedText,
    /// Whether every request has to give it.
    pub required: bool,
    /// Whether only a keyed digest of its value is recorded.
    pub sensitive: bool,
    /// The smallest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// The largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// The allowed texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The longest text, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RoleAnswer {
    pub name: RoleName,
    pub capabilities: Vec<CapabilityName>,
    pub owner: Option<OwnerName>,
    /// The incident that contains the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AgentAnswer {
    pub id: AgentId,
    pub name: AgentName,
    pub owner: Option<OwnerName>,
    pub roles: Vec<RoleName>,
    /// The audience of a resource server; null for an agent.
    pub audience: Option<String>,
    pub max_instances: u32,
    /// The person for whom the agent acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// `active`; `suspended`, also if the agent itself is contained; or `contained`: nothing of it is accepted, because its
    /// owner, the networks of all its instances or everything is contained.
    pub state: FixedText,
    /// The incident that contains the agent, or what it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The operator's reason for the last revocation or suspension, or for the containment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The containments that refuse the agent or a part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containments: Vec<ContainmentAnswer>,
    pub instances: Vec<InstanceAnswer>,
    /// The number of instances in the state `live`: without one, the agent has to enrol before it can do anything.
    #[serde(default)]
    pub live_instances: u32,
    /// The last time at which the agent was connected to the broker; before the broker's start, the beginning of its newest
    /// certificate. Absent if the agent never enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// The enrolment codes that can be used; only in the answer about one agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_codes: Vec<OpenCodeAnswer>,
}

/// An enrolment code that can be used.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OpenCodeAnswer {
    pub id: CodeId,
    pub expires_at: String,
    /// The number of keys that can still enrol with it.
    pub uses_left: u32,
    /// The operator that made it, if it was not made on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<OperatorName>,
}

/// The result of the revocation of an enrolment code.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CodeRevokedAnswer {
    #[serde(flatten)]
    pub ended: EndedAnswer,
    /// The agent or resource server of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The operator of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorName>,
    /// The instances that enrolled with the code. Their certificates stay valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceId>,
    /// The serial number of the operator's certificate that the code gave. It stays valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct InstanceAnswer {
    pub id: InstanceId,
    pub serial: String,
    pub enrolled_at: String,
    pub not_after: String,
    /// `live`, `expired`, `suspended` or `revoked`.
    pub state: FixedText,
}

/// A deleted agent. The ledger keeps its entries.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AgentDeletedAnswer {
    /// The ledger entry.
    pub seq: u64,
    /// The number of instances that were live.
    pub instances: usize,
    /// The number of leases that the broker revokes.
    pub leases: usize,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InviteAgentBody {
    pub roles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The person for whom a new agent acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct AgentInvitationAnswer {
    pub agent: AgentName,
    pub code: SecretText,
    pub code_id: String,
    pub expires_at: String,
}
