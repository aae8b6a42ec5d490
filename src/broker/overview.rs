use super::desk::{AdminDesk, AgentDesk};
use super::failure::Failure;
use crate::authn::AgentPrincipal;
use crate::base::code;
use crate::base::encoding::hex;
use crate::base::{
    AgentId, AgentName, Audience, CapabilityName, InstanceId, OwnerName, RoleName, SecretName, Timestamp,
};
use crate::policy::{Authorised, ReadDeclared, ReadSecretNames};
use crate::registry::{Access, Agent, Capability, Delivery, InstanceState, Owned, Registry};

/// An agent as operators see it.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: AgentName,
    /// Whose it is, if anybody's.
    pub owner: Option<OwnerName>,
    /// Its roles.
    pub roles: Vec<RoleName>,
    /// The audience that it serves, when it is a resource server.
    pub serves: Option<Audience>,
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
    /// Whose it is, if anybody's.
    pub owner: Option<OwnerName>,
}

/// A role as operators see it.
#[derive(Clone, Debug)]
pub struct RoleView {
    /// Its name.
    pub name: RoleName,
    /// What it holds.
    pub capabilities: Vec<CapabilityName>,
    /// Whose it is, if anybody's.
    pub owner: Option<OwnerName>,
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
    /// Whose it is, if anybody's.
    pub owner: Option<OwnerName>,
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
                capabilities: capabilities
                    .map(|one| capability_view(&world.registry, one, self.issuer()))
                    .collect(),
            }
        })
    }
}

impl AdminDesk {
    /// All agents within the operator's reach, by name.
    #[must_use]
    pub fn agents(&self, by: &Authorised<ReadDeclared>) -> Vec<AgentView> {
        let (now, scope) = (self.0.clock.now(), by.operator().scope());
        self.0.store.read(|world, _| {
            let views = world.registry.agents().map(|agent| agent_view(&world.registry, agent, now));
            views.filter(|view| scope.covers(view.owner.as_ref())).collect()
        })
    }

    /// The agent called `name`.
    ///
    /// # Errors
    /// [`Failure`] when there is none within the operator's reach.
    pub fn agent(&self, by: &Authorised<ReadDeclared>, name: &AgentName) -> Result<AgentView, Failure> {
        let (now, scope) = (self.0.clock.now(), by.operator().scope());
        let found = self.0.store.read(|world, _| {
            world.registry.agent_named(name).map(|one| agent_view(&world.registry, one, now))
        });
        let found = found.filter(|view| scope.covers(view.owner.as_ref()));
        found.ok_or_else(|| Failure::new(code::AGENT_UNKNOWN))
    }

    /// All capabilities within the operator's reach, by name.
    #[must_use]
    pub fn capabilities(&self, by: &Authorised<ReadDeclared>) -> Vec<CapabilityView> {
        let (broker, scope) = (self.0.settings.tokens.broker.as_str(), by.operator().scope());
        self.0.store.read(|world, _| {
            let all = world.registry.declarations().capabilities();
            let views = all.map(|one| capability_view(&world.registry, one, broker));
            views.filter(|view| scope.covers(view.owner.as_ref())).collect()
        })
    }

    /// All roles within the operator's reach, by name.
    #[must_use]
    pub fn roles(&self, by: &Authorised<ReadDeclared>) -> Vec<RoleView> {
        let scope = by.operator().scope();
        self.0.store.read(|world, _| {
            let owners = world.registry.owners();
            let views = world.registry.declarations().roles().map(|role| RoleView {
                name: role.name.clone(),
                capabilities: role.capabilities.iter().cloned().collect(),
                owner: owners.of(&Owned::Role(role.name.clone())).cloned(),
            });
            views.filter(|view| scope.covers(view.owner.as_ref())).collect()
        })
    }

    /// All secrets within the operator's reach that have a value to hand out, by name, without values.
    #[must_use]
    pub fn secrets(&self, by: &Authorised<ReadSecretNames>) -> Vec<SecretView> {
        let scope = by.operator().scope();
        let view = |secret: &crate::secrets::Secret| {
            let (name, owner, current) = (secret.name.clone(), secret.owner.clone(), secret.current?);
            Some(SecretView { name, version: current.number, updated_at: current.stored_at, owner })
        };
        self.0.store.read(|world, _| {
            let within = world.secrets.all().filter(|secret| scope.covers(secret.owner.as_ref()));
            within.filter_map(view).collect()
        })
    }
}

fn agent_view(registry: &Registry, agent: &Agent, now: Timestamp) -> AgentView {
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
        owner: registry.owners().of(&Owned::Agent(agent.name.clone())).cloned(),
        roles: agent.roles.iter().cloned().collect(),
        serves: agent.serves.clone(),
        max_instances: agent.max_instances,
        instances: instances.collect(),
    }
}

fn capability_view(registry: &Registry, capability: &Capability, broker: &str) -> CapabilityView {
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
        owner: registry.owners().of(&Owned::Capability(capability.name.clone())).cloned(),
    }
}
