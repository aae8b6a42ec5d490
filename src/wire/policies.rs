use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::page::{PageAnswer, PageQuery};
use super::status::FixedText;
use crate::base::{OwnerName, PolicyName};

endpoints! {
    /// List declared policies
    LIST_POLICIES: GET "/v1/policies", Nothing, PageQuery<String> => PageAnswer<PolicyAnswer>;
    /// Show a policy with its rule
    GET_POLICY: GET "/v1/policies/{name}", PolicyName, Nothing => PolicyAnswer;
    /// List the versions of a policy that the ledger has, the newest first
    LIST_POLICY_VERSIONS: GET "/v1/policies/{name}/versions", PolicyName, Nothing => PolicyVersionsAnswer;
    /// Show the version of a policy that was in force at a time, or that has a hash
    GET_POLICY_VERSION: POST "/v1/policies/{name}/version", PolicyName, PolicyVersionBody => PastPolicyAnswer;
    /// List the applications that changed policies, environments or groups of approvers, the newest first
    LIST_POLICY_SETS: GET "/v1/policy-sets", Nothing, Nothing => PolicySetsAnswer;
    /// Show the policies, environments and groups of approvers of an earlier set, as a declaration file
    GET_POLICY_SET: POST "/v1/policy-set", Nothing, PolicySetBody => PolicySetTextAnswer;
}

/// The approval that a policy demands.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PolicyDemandAnswer {
    /// `approval`: by second persons. `confirmation`: by the person for whom the agent acts.
    pub kind: FixedText,
    /// The group of approvers; absent if every operator with the right can approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
    /// The number of persons who have to approve.
    pub quorum: u32,
}

/// A declared policy.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PolicyAnswer {
    pub name: PolicyName,
    pub owner: Option<OwnerName>,
    /// The effect if the rule matches: `deny`, `need-approval` or `limit-life`; `unreadable` if this version cannot read the rule, so that
    /// it denies each request that it concerns.
    pub effect: FixedText,
    /// The longest life in seconds, if the rule limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_life_s: Option<u32>,
    /// The approval that it demands, of the effect `need-approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<PolicyDemandAnswer>,
    /// The actions that the head names.
    pub actions: Vec<FixedText>,
    /// The principal that the head names, e.g. `agent deploy-bot` or `role deployer`; null if it names none.
    pub principal: Option<String>,
    /// The resource that the head names, e.g. `capability web.deploy` or `environment production`; null if it names none.
    pub resource: Option<String>,
    /// The reason that agents see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rule, in Cedar; only in the answer about one policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// SHA-256 of the rule, in hex: the hash of this version; only in the answer about one policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// A version of a policy.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PolicyVersionAnswer {
    /// SHA-256 of the rule, in hex.
    pub hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerName>,
    /// The time of the application from which on it is in force.
    pub from: String,
    /// The time from which on another version, or none, is in force; absent for the present version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The operator that applied it.
    pub by: String,
    /// The second operator, which approved the plan because it gave more access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// The ledger entry of the application.
    pub seq: u64,
}

/// The versions of a policy.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PolicyVersionsAnswer {
    pub name: PolicyName,
    /// The newest first; at most 200.
    pub versions: Vec<PolicyVersionAnswer>,
    /// The number of older versions.
    pub further: usize,
    /// The ledger was searched from this entry on.
    pub since_seq: u64,
    /// Whether the whole ledger was searched.
    pub complete: bool,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyVersionBody {
    /// A past time: RFC 3339, a date, or a length of time before now, e.g. `6h`. Exactly one of `at` and `hash` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The hash of the version, or at least its first 8 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// An earlier version of a policy, with its rule.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PastPolicyAnswer {
    pub policy: PolicyAnswer,
    pub version: PolicyVersionAnswer,
}

/// All policies, environments and groups of approvers from an application on.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PolicySetAnswer {
    /// The hash of all capabilities, roles, policies, environments and groups from here on, as decisions name it (`snapshot`).
    pub hash: String,
    /// The time of the application.
    pub from: String,
    /// The operator that applied it.
    pub by: String,
    /// The second operator, which approved the plan because it gave more access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// The ledger entry of the application.
    pub seq: u64,
}

/// Applications that changed policies, environments or groups of approvers.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PolicySetsAnswer {
    /// The newest first; at most 200.
    pub sets: Vec<PolicySetAnswer>,
    /// The number of older ones.
    pub further: usize,
    /// The ledger was searched from this entry on.
    pub since_seq: u64,
    /// Whether the whole ledger was searched.
    pub complete: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySetBody {
    /// The hash of the set, or at least its first 8 characters.
    pub hash: String,
}

/// An earlier set.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PolicySetTextAnswer {
    pub set: PolicySetAnswer,
    /// A declaration file with its policies, environments and groups of approvers.
    pub text: String,
    /// The number of objects in it.
    pub objects: usize,
}

/// `keyward policy test -o json`
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTestOutput {
    pub cases: Vec<PolicyCaseOutput>,
    /// The number of failed cases.
    pub failed: usize,
}

/// The result of a case.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyCaseOutput {
    pub name: String,
    pub passed: bool,
    /// The outcome that the case expects: `allow`, `constrain`, `approval` or `deny`.
    pub expected: FixedText,
    pub outcome: FixedText,
    /// The reason for the outcome.
    pub why: String,
    /// The life in seconds of the token or the lease that the request gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u32>,
    /// The life in seconds that the case expects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_life_s: Option<u32>,
    /// The policies that match.
    pub policies: Vec<PolicyName>,
    /// The policy that the case expects to match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_policy: Option<PolicyName>,
}
