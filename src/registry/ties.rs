use serde::{Deserialize, Serialize};

use crate::base::{AgentId, CapabilityName, FormerTies, OwnerName, RoleName, SecretName};

/// An object that credentials are issued for.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) enum Tied {
    Agent(AgentId),
    Capability(CapabilityName),
}

/// What it belongs to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Tie {
    /// A role of the agent, or one that holds the capability.
    Role(RoleName),
    Owner(OwnerName),
    /// The secret that the capability reveals.
    Secret(SecretName),
}

pub(super) type Ties = FormerTies<Tied, Tie>;

impl Tie {
    pub(super) const fn owner(&self) -> Option<&OwnerName> {
        if let Self::Owner(owner) = self { Some(owner) } else { None }
    }

    pub(super) const fn role(&self) -> Option<&RoleName> {
        if let Self::Role(role) = self { Some(role) } else { None }
    }

    pub(super) const fn secret(&self) -> Option<&SecretName> {
        if let Self::Secret(secret) = self { Some(secret) } else { None }
    }
}
