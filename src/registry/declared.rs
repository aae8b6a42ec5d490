use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parameters::CapabilityParameters;
use crate::base::{Audience, CapabilityName, EnvironmentName, RoleName, SecretName};
use crate::crypto::{Digest, sha256};

/// The access of a capability: read or write.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Look, without changing anything.
    Read,
    /// Change something.
    Write,
}

impl Access {
    /// The word for it in declarations and tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// The delivery of a capability.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Delivery {
    /// The token itself is what upstream takes.
    Mint {
        /// The audience of the token.
        audience: Audience,
    },
    /// The token is taken back to the broker for the upstream secret.
    Reveal {
        /// The secret it may read.
        secret: SecretName,
    },
    /// A login upstream, made for the agent and ended with its lease: no token is needed for it.
    Lease,
}

impl Delivery {
    /// The word for it in declarations and answers.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Mint { .. } => "mint",
            Self::Reveal { .. } => "reveal",
            Self::Lease => "lease",
        }
    }

    /// The service that accepts the token; none of another delivery.
    #[must_use]
    pub const fn audience(&self) -> Option<&Audience> {
        if let Self::Mint { audience } = self { Some(audience) } else { None }
    }

    /// The secret that the token reads; none of another delivery.
    #[must_use]
    pub const fn secret(&self) -> Option<&SecretName> {
        if let Self::Reveal { secret } = self { Some(secret) } else { None }
    }
}

/// Something that can be asked for, declared beforehand.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Capability {
    /// Its name, which is also the OAuth scope.
    pub name: CapabilityName,
    /// The access.
    pub access: Access,
    /// The delivery.
    pub delivery: Delivery,
    /// Longest life of a token for it, in seconds; of a lease, its renewals included.
    pub max_life_s: u32,
}

/// A named set of capabilities.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// The capabilities of its holders.
    pub capabilities: BTreeSet<CapabilityName>,
}

/// All capabilities and roles as of one moment, with the hash that names the moment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Declarations {
    capabilities: BTreeMap<CapabilityName, Capability>,
    roles: BTreeMap<RoleName, Role>,
    /// The environments of capabilities; others have none.
    environments: BTreeMap<CapabilityName, EnvironmentName>,
    /// The capabilities that agents are told to ask for if these are denied. No decision depends on them.
    instead: BTreeMap<CapabilityName, CapabilityName>,
    /// The parameters of capabilities; others have none.
    parameters: BTreeMap<CapabilityName, CapabilityParameters>,
    snapshot: Digest,
}

impl Declarations {
    /// These capabilities and roles.
    #[must_use]
    pub fn new(capabilities: BTreeMap<CapabilityName, Capability>, roles: BTreeMap<RoleName, Role>) -> Self {
        Self::with_further(capabilities, roles, BTreeMap::new(), BTreeMap::new())
    }

    fn with_further(
        capabilities: BTreeMap<CapabilityName, Capability>,
        roles: BTreeMap<RoleName, Role>,
        environments: BTreeMap<CapabilityName, EnvironmentName>,
        parameters: BTreeMap<CapabilityName, CapabilityParameters>,
    ) -> Self {
        // Ordered maps of canonical names have one JSON form. What cannot be written down at all
        // hashes as nothing, which no set of declarations does.
        let text = if !parameters.is_empty() {
            serde_json::to_vec(&(&capabilities, &roles, &environments, &parameters))
        } else if environments.is_empty() {
            serde_json::to_vec(&(&capabilities, &roles))
        } else {
            serde_json::to_vec(&(&capabilities, &roles, &environments))
        };
        let (instead, snapshot) = (BTreeMap::new(), sha256(&text.unwrap_or_default()));
        Self { capabilities, roles, environments, instead, parameters, snapshot }
    }

    /// The hash of the snapshot, as decisions and tokens carry it.
    #[must_use]
    pub const fn snapshot(&self) -> Digest {
        self.snapshot
    }

    /// The capability of this name.
    #[must_use]
    pub fn capability(&self, name: &CapabilityName) -> Option<&Capability> {
        self.capabilities.get(name)
    }

    /// The role of this name.
    #[must_use]
    pub fn role(&self, name: &RoleName) -> Option<&Role> {
        self.roles.get(name)
    }

    /// The names of the capabilities that these roles hold: as often as roles hold them.
    pub fn capabilities_of<'d, 'r>(
        &'d self,
        roles: impl IntoIterator<Item = &'r RoleName>,
    ) -> impl Iterator<Item = &'d CapabilityName> {
        roles.into_iter().filter_map(|name| self.role(name)).flat_map(|role| &role.capabilities)
    }

    /// The environment of this capability, if it has one.
    #[must_use]
    pub fn environment_of(&self, capability: &CapabilityName) -> Option<&EnvironmentName> {
        self.environments.get(capability)
    }

    /// The environment of each capability that has one, by capability.
    pub fn environments(&self) -> impl Iterator<Item = (&CapabilityName, &EnvironmentName)> {
        self.environments.iter()
    }

    /// The capability to ask for if this one is denied.
    #[must_use]
    pub fn instead_of(&self, capability: &CapabilityName) -> Option<&CapabilityName> {
        self.instead.get(capability)
    }

    /// The parameters of this capability, if it has any.
    #[must_use]
    pub fn parameters_of(&self, capability: &CapabilityName) -> Option<&CapabilityParameters> {
        self.parameters.get(capability)
    }

    /// The parameters of each capability that has some, by capability.
    pub fn parameters(&self) -> impl Iterator<Item = (&CapabilityName, &CapabilityParameters)> {
        self.parameters.iter()
    }

    /// All capabilities, by name.
    pub fn capabilities(&self) -> impl Iterator<Item = &Capability> {
        self.capabilities.values()
    }

    /// All roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    pub(super) fn changed(
        &self,
        capabilities: &[Capability],
        removed_capabilities: &[CapabilityName],
        roles: &[Role],
        removed_roles: &[RoleName],
    ) -> Self {
        let (mut all, mut all_roles) = (self.capabilities.clone(), self.roles.clone());
        removed_capabilities.iter().for_each(|name| drop(all.remove(name)));
        all.extend(capabilities.iter().map(|one| (one.name.clone(), one.clone())));
        removed_roles.iter().for_each(|name| drop(all_roles.remove(name)));
        all_roles.extend(roles.iter().map(|one| (one.name.clone(), one.clone())));
        // A reference ends with what it means: another capability of this name is another one.
        let gone = removed_capabilities.iter().filter(|name| !all.contains_key(*name));
        let gone: BTreeSet<&CapabilityName> = gone.collect();
        for role in all_roles.values_mut() {
            role.capabilities.retain(|name| !gone.contains(&name));
        }
        let mut environments = self.environments.clone();
        environments.retain(|name, _| !gone.contains(name));
        let mut instead = self.instead.clone();
        instead.retain(|name, other| !gone.contains(name) && !gone.contains(other));
        let mut parameters = self.parameters.clone();
        parameters.retain(|name, _| !gone.contains(name));
        Self { instead, ..Self::with_further(all, all_roles, environments, parameters) }
    }

    pub(super) fn redirected(&self, changes: &[(CapabilityName, Option<CapabilityName>)]) -> Self {
        let mut changed = self.clone();
        for (capability, instead) in changes {
            match instead {
                Some(instead) => drop(changed.instead.insert(capability.clone(), instead.clone())),
                None => drop(changed.instead.remove(capability)),
            }
        }
        changed
    }

    pub(super) fn placed(&self, environments: &[(CapabilityName, Option<EnvironmentName>)]) -> Self {
        let mut all = self.environments.clone();
        for (capability, environment) in environments {
            match environment {
                Some(environment) => drop(all.insert(capability.clone(), environment.clone())),
                None => drop(all.remove(capability)),
            }
        }
        let (capabilities, roles) = (self.capabilities.clone(), self.roles.clone());
        let placed = Self::with_further(capabilities, roles, all, self.parameters.clone());
        Self { instead: self.instead.clone(), ..placed }
    }

    pub(super) fn parametrised(&self, changes: &[(CapabilityName, CapabilityParameters)]) -> Self {
        let mut all = self.parameters.clone();
        for (capability, parameters) in changes {
            if parameters.is_empty() {
                all.remove(capability);
            } else {
                all.insert(capability.clone(), parameters.clone());
            }
        }
        let (capabilities, roles) = (self.capabilities.clone(), self.roles.clone());
        let changed = Self::with_further(capabilities, roles, self.environments.clone(), all);
        Self { instead: self.instead.clone(), ..changed }
    }
}

impl Default for Declarations {
    fn default() -> Self {
        Self::new(BTreeMap::new(), BTreeMap::new())
    }
}
