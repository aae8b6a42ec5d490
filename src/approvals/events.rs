use serde::Serialize;

use crate::base::{
    AgentName, ApprovalId, Audience, CapabilityName, DecisionId, InstanceId, OperatorName, Person,
    PolicyName, RequestFacts,
};
use crate::crypto::HexText;
use crate::ledger::Kind;
use crate::store::Event;

/// An agent asked for an approval of a token request.
#[derive(Debug, Serialize)]
pub struct ApprovalRequested<'a> {
    /// The agent.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// The approval.
    pub approval: ApprovalId,
    /// The capabilities.
    pub capabilities: Vec<&'a CapabilityName>,
    /// The audience of the tokens.
    pub audience: &'a Audience,
    /// The longest life of each token, in seconds.
    pub life_s: u32,
    /// The most tokens.
    pub uses: u32,
    /// The time from the first to the last use, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_life_s: Option<u32>,
    /// SHA-256 of the canonical request, in hex.
    pub digest: HexText,
    /// The hash of the policies that matched, in hex.
    pub rules_hash: HexText,
    /// The policies that demand the approval.
    pub policies: Vec<&'a PolicyName>,
    /// The decision that opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// The policy snapshot it was decided on, in hex.
    pub snapshot: HexText,
    /// The rules that determined it.
    pub rules: &'a [String],
    /// What a replay of the decision needs beside these fields.
    pub facts: RequestFacts<'a>,
}

/// What an operator votes on.
#[derive(Debug, Serialize)]
pub struct VoteText<'a> {
    /// The person who is the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<&'a Person>,
    /// The approval.
    pub approval: ApprovalId,
    /// The capabilities.
    pub capabilities: Vec<&'a CapabilityName>,
    /// SHA-256 of the canonical request, in hex.
    pub digest: HexText,
    /// The hash of the policies that matched, in hex.
    pub rules_hash: HexText,
}

/// An operator approved a request of an agent; the entry has the operator's signature.
#[derive(Debug, Serialize)]
pub struct ApprovalApproved<'a> {
    /// The operator.
    pub by: &'a OperatorName,
    /// The agent that asked for it.
    pub agent: &'a AgentName,
    /// The vote.
    #[serde(flatten)]
    pub vote: VoteText<'a>,
    /// Whether all demands are met with this vote.
    pub complete: bool,
    /// The time since the request, in seconds.
    pub waited_s: i64,
    /// The signature of the vote (`wire::ApprovalBallot`) by the operator's approval key: ASN.1 DER in base64url.
    pub signature: String,
    /// The canonical request (RFC 8785), whose SHA-256 is `digest`. It is a text, so that nobody has to build it again.
    pub canonical_request: String,
    /// The fingerprint of the approval key: SHA-256 of `public_key`, in hex.
    pub approval_key: String,
    /// The approval key: DER `SubjectPublicKeyInfo` in base64url.
    pub public_key: String,
    /// The entry that accepted the approval key.
    pub key_seq: u64,
}

/// An operator denied a request of an agent, or ended an approval before its time.
#[derive(Debug, Serialize)]
pub struct ApprovalDenied<'a> {
    /// The operator.
    pub by: &'a OperatorName,
    /// The agent that asked for it.
    pub agent: &'a AgentName,
    /// The vote.
    #[serde(flatten)]
    pub vote: VoteText<'a>,
    /// The time since the request, in seconds.
    pub waited_s: i64,
    /// Whether the agent sees the reason.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub told_agent: bool,
}

/// An agent withdrew its request for approval.
#[derive(Debug, Serialize)]
pub struct ApprovalWithdrawn<'a> {
    /// The agent.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// The approval.
    pub approval: ApprovalId,
}

impl Event for ApprovalRequested<'_> {
    const KIND: Kind = Kind(0x0f01);
    const NAME: &'static str = "approval.requested";
}

impl Event for ApprovalApproved<'_> {
    const KIND: Kind = Kind(0x0f02);
    const NAME: &'static str = "approval.approved";
}

impl Event for ApprovalDenied<'_> {
    const KIND: Kind = Kind(0x0f03);
    const NAME: &'static str = "approval.denied";
}

impl Event for ApprovalWithdrawn<'_> {
    const KIND: Kind = Kind(0x0f04);
    const NAME: &'static str = "approval.withdrawn";
}
