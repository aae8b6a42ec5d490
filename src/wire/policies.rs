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
    /// The policies that match.
    pub policies: Vec<PolicyName>,
    /// The policy that the case expects to match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_policy: Option<PolicyName>,
}
