use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::authn::AgentPrincipal;
use crate::base::{AgentId, AgentName, InstanceId, RoleName, Timestamp};

/// An agent as decisions see it. It proves nothing: only a decision on an [`AgentPrincipal`] makes a grant.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// The agent.
    pub agent: AgentId,
    /// The instance that asks.
    pub instance: InstanceId,
    /// The agent's name.
    pub name: &'a AgentName,
    /// Its roles.
    pub roles: &'a BTreeSet<RoleName>,
    /// The address that the request comes from, if it is known.
    pub source: Option<IpAddr>,
    /// The end of its certificate.
    pub not_after: Timestamp,
}

impl<'a> Requester<'a> {
    /// The agent behind a connection.
    #[must_use]
    pub fn of(principal: &'a AgentPrincipal) -> Self {
        Self {
            agent: principal.agent(),
            instance: principal.instance(),
            name: principal.name(),
            roles: principal.roles(),
            source: principal.connection().map(|connection| connection.source),
            not_after: principal.not_after(),
        }
    }
}
