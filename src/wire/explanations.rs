use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::policies::PolicyDemandAnswer;
use super::status::FixedText;
use crate::base::{
    AgentName, ApprovalId, CapabilityName, DecisionId, OwnerName, ParametersByCapability, PolicyName,
    RoleName,
};

endpoints! {
    /// Explain a decision on a request of an agent
    EXPLAIN_DECISION: GET "/v1/decisions/{id}", DecisionId, Nothing => ExplanationAnswer;
    /// Explain a decision on a request of the calling agent
    EXPLAIN_OWN_DECISION: GET "/v1/decisions/{id}", DecisionId, Nothing => OwnExplanationAnswer;
}

/// A decision, as its ledger entry says.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct DecidedAnswer {
    pub decision: DecisionId,
    pub at: String,
    /// `token`, `read_secret` or `lease`.
    pub action: FixedText,
    /// `allow`, `constrain`, `approval` (the request needs one) or `deny`.
    pub outcome: FixedText,
    /// The code of a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The address of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The requested life in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u32>,
    /// The approval that the request opened, or that the token used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    /// The parameters of the request, by capability; a sensitive one is `{"sensitive": DIGEST}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: ParametersByCapability,
}

/// The same request, decided on the present declarations.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct DecidedNowAnswer {
    /// Whether the declarations are those of the decision. If not, the rules below are the present ones.
    pub same_declarations: bool,
    /// `allow`, `constrain`, `approval` (the request needs one) or `deny`; `unknown` if a policy tests a sensitive parameter, or the
    /// request was refused for its parameters, which are not recorded.
    pub outcome: FixedText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The reasons for a denial or a limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// The single change that would allow the request.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct AllowingChangeAnswer {
    /// `hold-role`: the agent holds a further role. `change-policy`: a policy does not deny the request. `name-fewer`: the
    /// request names fewer capabilities. `declare`: a capability is declared and held by a role of the agent.
    pub kind: FixedText,
    /// The role or the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub text: String,
}

/// The explanation of a decision.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExplanationAnswer {
    #[serde(flatten)]
    pub decided: DecidedAnswer,
    /// The ledger entry.
    pub seq: u64,
    pub agent: AgentName,
    /// The rules that determined the decision, as the entry says.
    pub rules: Vec<String>,
    pub now: DecidedNowAnswer,
    /// By the declarations that decided, if the present ones are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<ExplainedThenAnswer>,
    /// Why `then` is absent although the present declarations are others: the broker cannot make the earlier ones again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then_left_out: Option<String>,
    /// By the present declarations.
    pub capabilities: Vec<ExplainedCapabilityAnswer>,
    /// Absent if the request is allowed now, or if no single change would allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<AllowingChangeAnswer>,
}

/// The rules that decided, if they have changed since. Owners, persons and sensitivities are the present ones.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExplainedThenAnswer {
    /// The ledger entry that made these declarations.
    pub seq: u64,
    pub capabilities: Vec<ExplainedCapabilityAnswer>,
}

/// A requested capability.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExplainedCapabilityAnswer {
    pub capability: CapabilityName,
    pub declared: bool,
    /// The roles of the agent that hold it.
    pub held_by: Vec<RoleName>,
    /// The roles that hold it, if no role of the agent does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_roles: Vec<RoleName>,
    /// The policies, those that match first; at most 50.
    pub policies: Vec<ExplainedPolicyAnswer>,
    /// The number of further policies, none of which matches.
    pub further_policies: usize,
}

/// What a policy says of a request.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExplainedPolicyAnswer {
    pub policy: PolicyName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerName>,
    /// `denies`, `needs-approval`, `limits-life`, `fails` (it cannot be evaluated, and denies), or why it does not match: `condition`,
    /// `other-owner`, `other-principal`, `other-action`, `other-resource`; or, if it was not tested: `sensitive-parameter` (it tests
    /// a parameter of which only a digest is recorded), `parameters-not-recorded` (it tests a parameter of a request that was
    /// refused for its parameters).
    pub result: FixedText,
    /// The longest life in seconds, if the rule limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_life_s: Option<u32>,
    /// Who could approve, of `needs-approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<PolicyDemandAnswer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The explanation of a decision for its agent. It has no rules about other agents, and does not say which capabilities
/// are declared.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OwnExplanationAnswer {
    #[serde(flatten)]
    pub decided: DecidedAnswer,
    pub now: DecidedNowAnswer,
    pub capabilities: Vec<OwnExplainedCapabilityAnswer>,
    /// Absent if the request is allowed now, or if no single change would allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<AllowingChangeAnswer>,
}

/// A requested capability, for its agent.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OwnExplainedCapabilityAnswer {
    pub capability: CapabilityName,
    /// The roles of the agent that hold it.
    pub held_by: Vec<RoleName>,
    /// The policies that match the request.
    pub policies: Vec<ExplainedPolicyAnswer>,
}
