use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::terms::ApprovalTerms;
use crate::base::{AgentId, AgentName, ApprovalId, DecisionId, InstanceId, Person, UserCode};

/// A request for approval, as it was opened.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OpenedApproval {
    /// The id.
    pub id: ApprovalId,
    /// The code by which a person finds it.
    pub code: UserCode,
    /// The agent that asks.
    pub requester: Requester,
    /// The decision that opened it; `None` if an earlier version opened it at the agent's request.
    pub decision: Option<DecisionId>,
    /// What it is bound to.
    pub terms: ApprovalTerms,
    /// The life that the request named, in seconds: policies can test it.
    pub requested_life_s: Option<u32>,
    /// Whether the response to a token request with the device code has `authorization_details`.
    pub is_detailed: bool,
}

/// The agent that asks for an approval, as of its request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Requester {
    /// The agent.
    pub agent: AgentId,
    /// Its name.
    pub name: AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// The person for whom the agent acts.
    pub person: Option<Person>,
    /// The address that the request came from, if it is known.
    pub source: Option<IpAddr>,
}
