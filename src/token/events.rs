use serde::Serialize;

use crate::base::{
    AgentName, ApprovalId, Audience, CapabilityName, DecisionId, InstanceId, OperatorName, RequestFacts,
    SecretName, TimeText, TokenId,
};
use crate::crypto::HexText;
use crate::ledger::Kind;
use crate::store::Event;

/// The broker is about to sign a token for an agent.
#[derive(Debug, Serialize)]
pub struct TokenMinted<'a> {
    /// The agent.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// The token's id; the token itself is in no record.
    pub token: TokenId,
    /// The capabilities.
    pub capabilities: Vec<&'a CapabilityName>,
    /// The audience.
    pub audience: &'a Audience,
    /// When it ends.
    pub expires_at: TimeText,
    /// The maximum life from this entry on, in seconds.
    pub life_s: u32,
    /// The certificate it is bound to: SHA-256 in hex.
    pub certificate: HexText,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// `allow` or `constrain`.
    pub outcome: &'static str,
    /// The parts of the request that were not granted, in words.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub constrained: &'a [String],
    /// The policy snapshot it was decided on, in hex.
    pub snapshot: HexText,
    /// The rules that determined it.
    pub rules: &'a [String],
    /// The keyed digest of the request, in hex.
    pub request: HexText,
    /// The approval that the request used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    /// The denial whose smaller request this is, as the agent says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediates: Option<DecisionId>,
    /// What a replay of the decision needs beside these fields.
    pub facts: RequestFacts<'a>,
}

impl Event for TokenMinted<'_> {
    const KIND: Kind = Kind(0x0401);
    const NAME: &'static str = "token.minted";
}

/// The broker denied a request of an authenticated agent.
#[derive(Debug, Serialize)]
pub struct TokenDenied<'a> {
    /// The agent.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// The act: `mint` or `reveal`.
    pub action: &'static str,
    /// The decision.
    pub decision: DecisionId,
    /// Its stable code.
    pub code: &'static str,
    /// The policy snapshot it was decided on, in hex.
    pub snapshot: HexText,
    /// The rules that determined it.
    pub rules: &'a [String],
    /// The keyed digest of the request, in hex.
    pub request: HexText,
    /// The requested capabilities that are declared. A name of nothing is a text of the caller, and is not recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<CapabilityName>,
    /// The requested secret, if it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<&'a SecretName>,
    /// Earlier denials of the same agent that got no entry of their own.
    pub unrecorded: u64,
    /// What a replay of the decision needs beside these fields.
    pub facts: RequestFacts<'a>,
}

impl Event for TokenDenied<'_> {
    const KIND: Kind = Kind(0x0402);
    const NAME: &'static str = "request.denied";
}

/// The broker refused a token that an authenticated agent presented.
#[derive(Debug, Serialize)]
pub struct TokenRefused<'a> {
    /// The agent.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// Why, as a stable code.
    pub code: &'static str,
    /// The token, if this broker signed it: of another agent, or revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// Earlier refusals of the same agent that got no entry of their own.
    pub unrecorded: u64,
}

impl Event for TokenRefused<'_> {
    const KIND: Kind = Kind(0x0403);
    const NAME: &'static str = "token.refused";
}

/// The broker issued nothing to an authenticated agent or operator, or to the holder of an enrolment code, because it did
/// not trust its clock. No decision was made, or its grant was not used.
#[derive(Debug, Serialize)]
pub struct IssuanceRefused<'a> {
    /// The agent or resource server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a AgentName>,
    /// The operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a OperatorName>,
    /// The instance of the agent, if it has enrolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The act: `mint`, `reveal`, `lease`, `renew` or `enrol`.
    pub action: &'static str,
    /// Why, as a stable code.
    pub code: &'static str,
    /// Earlier refusals of the same agent or operator that got no entry of their own.
    pub unrecorded: u64,
}

impl Event for IssuanceRefused<'_> {
    const KIND: Kind = Kind(0x0405);
    const NAME: &'static str = "issuance.refused";
}

/// The broker is about to sign a token again that it had recorded before, because the agent repeated its request.
#[derive(Debug, Serialize)]
pub struct TokenRepeated<'a> {
    /// The agent.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// The token's id.
    pub token: TokenId,
    /// The entry that minted it.
    pub minted: u64,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// The policy snapshot under which it is still allowed, in hex.
    pub snapshot: HexText,
}

impl Event for TokenRepeated<'_> {
    const KIND: Kind = Kind(0x0410);
    const NAME: &'static str = "token.repeated";
}
