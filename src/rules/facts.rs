use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::base::{
    AgentName, CapabilityName, EnvironmentName, OwnerName, ParameterFacts, Person, RoleName, Sensitivity,
    Timestamp,
};

/// An action that policies can restrict.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Issuing a token.
    Token,
    /// Reading a secret with a token.
    ReadSecret,
    /// Issuing, reusing or extending a lease.
    Lease,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::Token, Self::ReadSecret, Self::Lease];

    /// The name in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::ReadSecret => "read_secret",
            Self::Lease => "lease",
        }
    }
}

/// The facts of a request that policies can test.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The action.
    pub action: Action,
    /// The agent.
    pub agent: AgentFacts<'a>,
    /// The capability.
    pub capability: CapabilityFacts<'a>,
    /// The time of the decision.
    pub time: Timestamp,
    /// The address that the request comes from, if it is known.
    pub source: Option<IpAddr>,
    /// The requested life, in seconds.
    pub requested_life_s: Option<u32>,
    /// The time since the agent last read a secret of the sensitivity `high`, in seconds.
    pub since_sensitive_read_s: Option<u32>,
    /// The parameters of the capability.
    pub parameters: ParameterFacts<'a>,
}

/// The facts of an agent.
#[derive(Clone, Copy, Debug)]
pub struct AgentFacts<'a> {
    /// The name.
    pub name: &'a AgentName,
    /// The roles.
    pub roles: &'a BTreeSet<RoleName>,
    /// The owner.
    pub owner: Option<&'a OwnerName>,
    /// The person for whom the agent acts.
    pub person: Option<&'a Person>,
}

/// The facts of a capability.
#[derive(Clone, Copy, Debug)]
pub struct CapabilityFacts<'a> {
    /// The name.
    pub name: &'a CapabilityName,
    /// `read` or `write`.
    pub access: &'static str,
    /// `mint`, `reveal` or `lease`.
    pub delivery: &'static str,
    /// The owner.
    pub owner: Option<&'a OwnerName>,
    /// The environment.
    pub environment: Option<&'a EnvironmentName>,
    /// The sensitivity of the secret that it delivers.
    pub sensitivity: Sensitivity,
}
