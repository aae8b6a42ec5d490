use super::desk::{AdminDesk, AgentDesk};
use super::failure::Failure;
use crate::authn::AgentPrincipal;
use crate::base::code;
use crate::base::encoding::hex;
use crate::base::{AgentId, AgentName, CapabilityName, InstanceId, RoleName, SecretName, Timestamp};
use crate::policy::{Authorised, ReadDeclared, ReadSecretNames};
use crate::registry::{Access, Agent, Capability, Delivery, InstanceState};

/// An agent as operators see it.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: AgentName,
    /// Its roles.
    pub roles: Vec<RoleName>,
    /// Most live instances at a time.
    pub max_instances: u32,
    /// Its instances.
    pub instances: Vec<InstanceView>,
}

/// An instance as operators see it.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// Its id.
    pub id: InstanceId,
    /// Its certificate's serial, in hex.
    pub serial: String,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// When its certificate ends.
    pub not_after: Timestamp,
    /// Whether it can act.
    pub state: InstanceState,
}

/// A capability as everybody sees it who may.
#[derive(Clone, Debug)]
pub struct CapabilityView {
    /// Its name.
    pub name: CapabilityName,
    /// What it lets its holder do.
    pub access: Access,
    /// How it reaches the agent.
    pub delivery: &'static str,
    /// Whom its tokens are for.
    pub audience: String,
    /// The secret it reads, if any.
    pub secret: Option<SecretName>,
    /// Longest life of a token, in seconds.
    pub max_life_s: u32,
}

/// A role as operators see it.
#[derive(Clone, Debug)]
pub struct RoleView {
    /// Its name.
    pub name: RoleName,
    /// What it holds.
    pub capabilities: Vec<CapabilityName>,
}

/// A secret as operators see it: everything but its value.
#[derive(Clone, Debug)]
pub struct SecretView {
    /// Its name.
    pub name: SecretName,
    /// Its current version.
    pub version: u32,
    /// When that version came.
    pub updated_at: Timestamp,
}

/// What an agent may know of itself.
#[derive(Clone, Debug)]
pub struct AgentOverview {
    /// Its roles.
    pub roles: Vec<RoleName>,
    /// What it may ask for.
    pub capabilities: Vec<CapabilityView>,
}

impl AgentDesk {
    /// What `principal` may ask for.
    #[must_use]
    pub fn overview(&self, principal: &AgentPrincipal) -> AgentOverview {
        self.0.store.read(|world, _| {
            let declarations = world.registry.declarations();
            let held = principal.roles().iter().filter_map(|name| declarations.role(name));
            let names: std::collections::BTreeSet<_> = held.flat_map(|role| &role.capabilities).collect();
            let capabilities = names.into_iter().filter_map(|name| declarations.capability(name));
            AgentOverview {
                roles: principal.roles().iter().cloned().collect(),
                capabilities: capabilities.map(|one| capability_view(one, self.issuer())).collect(),
            }
        })
    }
}

impl AdminDesk {
    /// All agents, by name.
    #[must_use]
    pub fn agents(&self, _by: &Authorised<ReadDeclared>) -> Vec<AgentView> {
        let now = self.0.clock.now();
        self.0.store.read(|world, _| world.registry.agents().map(|agent| agent_view(agent, now)).collect())
    }

    /// The agent called `name`.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    pub fn agent(&self, _by: &Authorised<ReadDeclared>, name: &AgentName) -> Result<AgentView, Failure> {
        let now = self.0.clock.now();
        let found =
            self.0.store.read(|world, _| world.registry.agent_named(name).map(|one| agent_view(one, now)));
        found.ok_or_else(|| Failure::new(code::AGENT_UNKNOWN))
    }

    /// All capabilities, by name.
    #[must_use]
    pub fn capabilities(&self, _by: &Authorised<ReadDeclared>) -> Vec<CapabilityView> {
        let broker = self.0.settings.tokens.broker.as_str();
        let view = |one: &Capability| capability_view(one, broker);
        self.0.store.read(|world, _| world.registry.declarations().capabilities().map(view).collect())
    }

    /// All roles, by name.
    #[must_use]
    pub fn roles(&self, _by: &Authorised<ReadDeclared>) -> Vec<RoleView> {
        let view = |role: &crate::registry::Role| RoleView {
            name: role.name.clone(),
            capabilities: role.capabilities.iter().cloned().collect(),
        };
        self.0.store.read(|world, _| world.registry.declarations().roles().map(view).collect())
    }

    /// All secrets, by name, without their values.
    #[must_use]
    pub fn secrets(&self, _by: &Authorised<ReadSecretNames>) -> Vec<SecretView> {
        let view = |secret: &crate::secrets::Secret| SecretView {
            name: secret.name.clone(),
            version: secret.current.number,
            updated_at: secret.current.stored_at,
        };
        self.0.store.read(|world, _| world.secrets.all().map(view).collect())
    }
}

fn agent_view(agent: &Agent, now: Timestamp) -> AgentView {
    let instances = agent.instances.values().map(|instance| InstanceView {
        id: instance.id,
        serial: hex(&instance.current.serial),
        enrolled_at: instance.enrolled_at,
        not_after: instance.not_after(),
        state: instance.state(now),
    });
    AgentView {
        id: agent.id,
        name: agent.name.clone(),
        roles: agent.roles.iter().cloned().collect(),
        max_instances: agent.max_instances,
        instances: instances.collect(),
    }
}

fn capability_view(capability: &Capability, broker: &str) -> CapabilityView {
    let (audience, secret) = match &capability.delivery {
        Delivery::Mint { audience } => (audience.to_string(), None),
        Delivery::Reveal { secret } => (broker.to_owned(), Some(secret.clone())),
    };
    CapabilityView {
        name: capability.name.clone(),
        access: capability.access,
        delivery: capability.delivery.as_str(),
        audience,
        secret,
        max_life_s: capability.max_life_s,
    }
}
