use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::approval_forms::ApprovalRequest;
use super::endpoint::{AnyQuery, Form, Nothing, Text, endpoints};
use super::page::{Items, PageAnswer};
use super::status::FixedText;
use crate::base::{
    AgentName, ApprovalId, ApprovalReference, ApproverGroupName, CapabilityName, DecisionId, GivenParameters,
    InstanceId, OperatorName, PolicyName, TokenId, UserCode,
};

endpoints! {
    /// Ask for an approval before a token is requested
    OPEN_APPROVAL: POST "/v1/approvals", Nothing, OpenApprovalBody => OwnApprovalAnswer, 202;
    /// List the requests for approval of the caller's instance that the broker remembers, the newest first
    LIST_OWN_APPROVALS: GET "/v1/approvals", Nothing, Nothing => Items<OwnApprovalAnswer>;
    /// Show the state of an approval that the caller asked for
    GET_OWN_APPROVAL: GET "/v1/approvals/{id}", ApprovalId, PreferWait => OwnApprovalAnswer;
    /// Withdraw a request for approval of the caller
    WITHDRAW_APPROVAL: POST "/v1/approvals/{id}/withdraw", ApprovalId, Nothing => OwnApprovalAnswer;
    /// List requests for approval, the newest first
    LIST_APPROVALS: GET "/v1/approvals", Nothing, ApprovalsQuery => PageAnswer<ApprovalAnswer>;
    /// Show a request for approval, by its id or its code
    GET_APPROVAL: GET "/v1/approvals/{id}", ApprovalReference, Nothing => ApprovalAnswer;
    /// Approve or deny a request
    VOTE_APPROVAL: POST "/v1/approvals/{id}/votes", ApprovalId, ApprovalVoteBody => VotedApprovalAnswer;
    /// Ask for an approval with a device code (RFC 8628)
    AUTHORIZE_DEVICE: POST "/oauth/device_authorization", Nothing, Form<DeviceAuthorizationForm> => DeviceAuthorizationAnswer;
    /// Say which command shows and approves a request with a code (`verification_uri` of RFC 8628)
    DEVICE_PAGE: GET "/device", Nothing, AnyQuery => Text;
}

/// The header `Prefer: wait=N` (RFC 7240 §4.3): the request waits up to N seconds, at most 60, while the approval is pending.
#[derive(Debug)]
pub struct PreferWait;

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OpenApprovalBody {
    /// The capabilities of the tokens; at least one.
    pub capabilities: Vec<CapabilityName>,
    /// One line of 1 to 300 characters, for the approver; the ledger keeps it.
    pub reason: String,
    /// The audience of the tokens; without it that of the capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The life of each token, in seconds; as `expires_in` of a token request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u32>,
    /// The time in which the approval can be used, in seconds, 60 to 86400. It begins with the first use. Without it one use
    /// within an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_life_s: Option<u32>,
    /// The most uses, 1 to 100; without it 100 with `grant_life_s`, and 1 otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// The parameters of the capabilities that have some, by capability and name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<CapabilityName, GivenParameters>,
}

/// An approval as the agent that asked for it sees it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct OwnApprovalAnswer {
    pub approval: ApprovalId,
    /// The path of this approval on the agents' listener.
    pub approval_uri: String,
    /// `pending`, `approved`, `used`, `denied`, `expired` or `withdrawn`.
    pub state: FixedText,
    /// The code by which an operator finds the request: `keyward approval show CODE`.
    pub user_code: UserCode,
    /// The end of the wait for an approval, or of an approval that is not used up; absent if the approval has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The number of tokens that the approval still gives; 0 unless it is approved.
    pub uses_left: u32,
    /// The capabilities of the tokens.
    #[serde(default)]
    #[schemars(!default)]
    pub capabilities: Vec<CapabilityName>,
    #[serde(default)]
    #[schemars(!default)]
    pub opened_at: String,
    /// The reason that the agent gave; absent if a token request opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The decision that opened it; absent if an earlier version of the broker opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<DecisionId>,
    /// Why an operator denied it, if the operator told the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denial_reason: Option<String>,
}

/// The requests that are listed: `?state=…&agent=…&capability=…&after=…&limit=…`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ApprovalsQuery {
    /// Only requests in this state.
    pub state: Option<ApprovalState>,
    pub agent: Option<AgentName>,
    pub capability: Option<CapabilityName>,
    /// The last request of the previous page.
    pub after: Option<ApprovalId>,
    pub limit: Option<usize>,
}

impl ApprovalsQuery {
    /// The query with its `?`; empty without parameters. No value contains a character that is special in a query.
    #[must_use]
    pub fn text(&self) -> String {
        let state = self.state.map(|state| format!("state={state}"));
        let agent = self.agent.as_ref().map(|agent| format!("agent={agent}"));
        let capability = self.capability.as_ref().map(|capability| format!("capability={capability}"));
        let after = self.after.map(|after| format!("after={after}"));
        let limit = self.limit.map(|limit| format!("limit={limit}"));
        let fields: Vec<String> = [state, agent, capability, after, limit].into_iter().flatten().collect();
        if fields.is_empty() { String::new() } else { format!("?{}", fields.join("&")) }
    }
}

/// The state of a request for approval.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// It waits for approvers.
    Pending,
    /// It can be used.
    Approved,
    /// It was used as often as it can be.
    Used,
    /// An approver denied it.
    Denied,
    /// Its time is over.
    Expired,
    /// Its agent withdrew it.
    Withdrawn,
}

impl ApprovalState {
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Used, Self::Denied, Self::Expired, Self::Withdrawn];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Used => "used",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The state of this name; `None` for one that this version does not know.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing changes it any more.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved)
    }
}

impl fmt::Display for ApprovalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A request for approval as operators see it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ApprovalAnswer {
    pub approval: ApprovalId,
    pub user_code: UserCode,
    // Text, so that a client reads a state of a newer broker.
    #[schemars(with = "ApprovalState")]
    pub state: FixedText,
    pub agent: AgentName,
    pub instance: InstanceId,
    /// The person for whom the agent acts, as declared when it asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The address that the request came from, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The request in its canonical form. An approver signs its digest.
    pub request: ApprovalRequest,
    /// SHA-256 of [`ApprovalRequest::canonical`], in hex.
    pub digest: String,
    /// The hash of the policies that matched, in hex.
    pub rules: String,
    /// The policies that matched, by name; at most 64.
    pub policies: Vec<PolicyName>,
    /// What each policy demands. All demands have to be met.
    pub demands: Vec<ApprovalDemandAnswer>,
    /// The votes, the oldest first.
    pub votes: Vec<ApprovalVoteAnswer>,
    pub opened_at: String,
    /// The decision that opened it; absent if an earlier version of the broker opened it at the agent's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<DecisionId>,
    /// The ledger entry.
    pub seq: u64,
    /// When all demands were met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<String>,
    /// The end of the wait for an approval, or of an approval that is not used up; absent if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The number of tokens that were issued with it.
    pub uses: u32,
    /// The number of tokens that it still gives; 0 unless it is approved.
    #[serde(default)]
    #[schemars(!default)]
    pub uses_left: u32,
    /// The tokens of it that are still valid, the one that expires first at the beginning; at most 100. Not in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub valid_tokens: Vec<ValidTokenAnswer>,
    /// The code of the refusal that an approval by the caller would get now; absent if it would count. Not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_vote: Option<FixedText>,
}

/// What a policy demands for a request.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ApprovalDemandAnswer {
    pub policy: PolicyName,
    /// `approval` by second persons, or `confirmation` by the person for whom the agent acts.
    pub kind: FixedText,
    /// The group of approvers; without it any operator with the right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ApproverGroupName>,
    /// The number of persons who have to approve.
    pub quorum: u32,
    /// The number of persons who have approved.
    pub approved: u32,
    /// The reason of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the group's `escalate_to` can approve, too; absent without an escalation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_at: Option<String>,
    /// The group that can approve from then on, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_to: Option<ApproverGroupName>,
}

/// A vote.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ApprovalVoteAnswer {
    pub operator: OperatorName,
    /// `approve` or `deny`.
    pub verdict: FixedText,
    pub at: String,
    /// The ledger entry.
    pub seq: u64,
    /// The reason that the operator gave; not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The policies whose demands an approval counted for, and does not count for any more; empty once the request has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lapsed: Vec<LapsedVoteAnswer>,
}

/// A demand that an approval does not count for any more.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LapsedVoteAnswer {
    pub policy: PolicyName,
    /// `operator_inactive` (revoked, suspended, contained or deleted), `role_changed`, `person_changed`, `key_replaced`,
    /// `key_removed`, `scope_changed`, `agent_person_changed` (the agent acts for another person) or `group_changed`.
    pub why: FixedText,
}

/// A token that was issued with an approval, and that has neither expired nor been revoked.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ValidTokenAnswer {
    pub token: TokenId,
    pub expires_at: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalVerdict {
    Approve,
    Deny,
}

impl ApprovalVerdict {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalVoteBody {
    pub verdict: ApprovalVerdict,
    /// The digest of the request that the operator saw, in hex; needed to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The hash of the policies that the operator saw, in hex; needed to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The signature of the vote in its RFC 8785 form by the operator's approval key: ECDSA P-256 with SHA-256, in ASN.1 DER,
    /// base64url; needed to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// One line of 1 to 300 characters; the ledger keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the agent sees the reason of a denial.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tell_agent: bool,
}

/// The result of a vote.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct VotedApprovalAnswer {
    pub approval: ApprovalId,
    /// The state after the vote.
    #[schemars(with = "ApprovalState")]
    pub state: FixedText,
    /// The ledger entry of the vote.
    pub seq: u64,
    /// Whether the operator had voted so before: nothing has changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchanged: bool,
    /// After a denial: the tokens of the approval that are still valid, the one that expires first at the beginning; at most
    /// 100. The denial does not revoke them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub valid_tokens: Vec<ValidTokenAnswer>,
}

/// RFC 8628 §3.1, with the parameters of a token request.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct DeviceAuthorizationForm {
    /// Names of capabilities, separated by spaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// A JSON array of objects of the type `keyward_capability`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The life of the token, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// RFC 8628 §3.2.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct DeviceAuthorizationAnswer {
    /// The id of the approval. Only the certificate of the agent that asked for it can use it.
    pub device_code: String,
    pub user_code: UserCode,
    pub verification_uri: String,
    pub verification_uri_complete: String,
    /// In seconds.
    pub expires_in: u32,
    /// In seconds.
    pub interval: u32,
}
