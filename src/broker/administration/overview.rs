use std::collections::BTreeSet;

use crate::authn::{AgentPrincipal, Credential, blocking, blocking_agent, blocking_issue};
use crate::base::code;
use crate::base::encoding::hex;
use crate::base::{AgentName, CapabilityName, IncidentId, ParameterName, RoleName, SecretName, Timestamp};
use crate::broker::caller_services::{AdminServices, AgentServices};
use crate::broker::failure::Failure;
use crate::broker::identity::revoke_code::open_codes_of_agent;
use crate::broker::identity::standing::InstanceStanding;
use crate::broker::incidents::containing::ContainingIncidents;
use crate::broker::page::Page;
use crate::broker::rotation::next_rotation;
use crate::broker::world::{World, records};
use crate::policy::{Authorised, CapabilityConstraints, ReadDeclared, ReadSecretNames, Requester};
use crate::registry::{
    Agent, Capability, Delivery, Instance, Owned, ParameterKind, ParameterRule, Registry, Role,
};
use crate::revocation::Subject;
use crate::secrets::{Secret, Version};
use crate::wire::PageAnswer;
use crate::wire::{
    AgentAnswer, CapabilityAnswer, ContainmentAnswer, InstanceAnswer, ParameterAnswer, RoleAnswer,
    SecretAnswer, SecretVersionAnswer,
};

/// An agent's view of itself.
#[derive(Clone, Debug)]
pub struct AgentOverview {
    /// Its roles.
    pub roles: Vec<RoleName>,
    /// Its capabilities.
    pub capabilities: Vec<CapabilityAnswer>,
    /// The secrets that these deliver.
    pub secrets: Vec<SecretVersionAnswer>,
}

impl AgentServices {
    /// The capabilities of `principal`.
    #[must_use]
    pub fn overview(&self, principal: &AgentPrincipal) -> AgentOverview {
        self.0.state.store.read(|world, _| {
            let declarations = world.registry.declarations();
            let names: BTreeSet<_> = declarations.capabilities_of(principal.roles()).collect();
            let demands = CapabilityConstraints::of(
                records(world),
                Some(&Requester::of(principal)),
                names.iter().copied(),
            );
            let capabilities: Vec<&Capability> =
                names.into_iter().filter_map(|name| declarations.capability(name)).collect();
            AgentOverview {
                secrets: versions_delivered(world, &capabilities),
                roles: principal.roles().iter().cloned().collect(),
                capabilities: capabilities
                    .into_iter()
                    .map(|one| {
                        // An agent learns of no incident.
                        let view = capability_view(&world.registry, one, self.issuer(), None);
                        let demanded = demands.life_max_s(&one.name).unwrap_or(u32::MAX);
                        CapabilityAnswer { max_life_s: view.max_life_s.min(demanded), ..view }
                    })
                    .collect(),
            }
        })
    }
}

impl AdminServices {
    /// The agents within the operator's scope, by name.
    #[must_use]
    pub fn agents(&self, by: &Authorised<ReadDeclared>, page: &Page) -> PageAnswer<AgentAnswer> {
        let (now, scope) = (self.0.state.clock.now(), by.operator().scope());
        let connections = &self.0.notifications.connections;
        self.0.state.store.read(|world, _| {
            let owners = world.registry.owners();
            let owner = |agent: &Agent| owners.of(&Owned::Agent(agent.name.clone()));
            let within = world.registry.agents().filter(|agent| scope.covers(owner(agent)));
            let incidents = ContainingIncidents::shown_to(by.operator(), world);
            let view = |agent: &Agent| {
                let last_seen = last_seen(agent, connections.last_seen(&agent.name, now));
                AgentAnswer { last_seen, ..agent_view(world, agent, &incidents, now) }
            };
            page.of(within, |agent| agent.name.as_str(), view)
        })
    }

    /// The agent called `name`.
    ///
    /// # Errors
    /// [`Failure`] if it does not exist within the operator's scope.
    pub fn agent(&self, by: &Authorised<ReadDeclared>, name: &AgentName) -> Result<AgentAnswer, Failure> {
        let (now, scope) = (self.0.state.clock.now(), by.operator().scope());
        let seen = self.0.notifications.connections.last_seen(name, now);
        let found = self.0.state.store.read(|world, _| {
            let agent = world.registry.agent_named(name)?;
            let incidents = ContainingIncidents::shown_to(by.operator(), world);
            let open_codes = open_codes_of_agent(world, agent.id, now);
            let last_seen = last_seen(agent, seen);
            Some(AgentAnswer { open_codes, last_seen, ..agent_view(world, agent, &incidents, now) })
        });
        let found = found.filter(|view| scope.covers(view.owner.as_ref()));
        found.ok_or_else(|| Failure::new(code::AGENT_UNKNOWN))
    }

    /// The capabilities within the operator's scope, by name.
    #[must_use]
    pub fn capabilities(&self, by: &Authorised<ReadDeclared>, page: &Page) -> PageAnswer<CapabilityAnswer> {
        let (broker, scope) = (self.0.settings.tokens.broker.as_str(), by.operator().scope());
        self.0.state.store.read(|world, _| {
            let owners = world.registry.owners();
            let owner = |one: &Capability| owners.of(&Owned::Capability(one.name.clone()));
            let all = world.registry.declarations().capabilities();
            let within = all.filter(|one| scope.covers(owner(one)));
            let incidents = ContainingIncidents::shown_to(by.operator(), world);
            let view = |one: &Capability| {
                let incident = incidents.of_subject(&Subject::Capability(one.name.clone()));
                capability_view(&world.registry, one, broker, incident)
            };
            page.of(within, |one| one.name.as_str(), view)
        })
    }

    /// The roles within the operator's scope, by name.
    #[must_use]
    pub fn roles(&self, by: &Authorised<ReadDeclared>, page: &Page) -> PageAnswer<RoleAnswer> {
        let scope = by.operator().scope();
        self.0.state.store.read(|world, _| {
            let owners = world.registry.owners();
            let owner = |role: &Role| owners.of(&Owned::Role(role.name.clone()));
            let within = world.registry.declarations().roles().filter(|role| scope.covers(owner(role)));
            let incidents = ContainingIncidents::shown_to(by.operator(), world);
            let view = |role: &Role| RoleAnswer {
                incident: incidents.of_subject(&Subject::Role(role.name.clone())),
                name: role.name.clone(),
                capabilities: role.capabilities.iter().cloned().collect(),
                owner: owner(role).cloned(),
            };
            page.of(within, |role| role.name.as_str(), view)
        })
    }

    /// The secrets within the operator's scope with a value, by name, without values.
    #[must_use]
    pub fn secrets(&self, by: &Authorised<ReadSecretNames>, page: &Page) -> PageAnswer<SecretAnswer> {
        let (now, scope) = (self.0.state.clock.now(), by.operator().scope());
        self.0.state.store.read(|world, _| {
            let within = world.secrets.all().filter(|secret| scope.covers(secret.owner.as_ref()));
            let held = within.filter_map(|secret| Some((secret, secret.current?)));
            let incidents = ContainingIncidents::shown_to(by.operator(), world);
            let view = |(secret, current): (&Secret, Version)| SecretAnswer {
                incident: incidents.of_subject(&Subject::Secret(secret.name.clone())),
                name: secret.name.clone(),
                version: current.number,
                updated_at: current.stored_at.to_string(),
                owner: secret.owner.clone(),
                sensitivity: secret.sensitivity.as_str().into(),
                next_rotation: world
                    .rotations
                    .of(&secret.name)
                    .and_then(|rotation| next_rotation(rotation, now))
                    .map(|next| next.to_string()),
            };
            page.of(held, |(secret, _)| secret.name.as_str(), view)
        })
    }
}

/// The last time at which the agent was connected: `since_start`, or its last enrolment or renewal. A certificate begins
/// before its issue, and so before the enrolment.
fn last_seen(agent: &Agent, since_start: Option<Timestamp>) -> Option<String> {
    let certified = agent.instances.iter().map(|one| one.enrolled_at.max(one.current.not_before)).max();
    since_start.max(certified).map(|at| at.to_string())
}

fn agent_view(world: &World, agent: &Agent, incidents: &ContainingIncidents, now: Timestamp) -> AgentAnswer {
    let standings: Vec<(&Instance, InstanceStanding)> = agent
        .instances
        .iter()
        .map(|instance| (instance, InstanceStanding::of(world, agent, instance, now)))
        .collect();
    let live = standings.iter().filter(|(_, standing)| *standing == InstanceStanding::Live).count();
    let containments = containments_of(world, agent, &standings, incidents);
    let (subject, refusing) = (Subject::Agent(agent.id), containments.iter().find(|one| !one.partial));
    let reason = world.revocations.reason(&subject).map(ToString::to_string);
    let instances = standings.iter().map(|(instance, standing)| InstanceAnswer {
        id: instance.id,
        serial: hex(&instance.current.serial),
        enrolled_at: instance.enrolled_at.to_string(),
        not_after: instance.not_after().to_string(),
        state: standing.as_str().into(),
    });
    AgentAnswer {
        id: agent.id,
        name: agent.name.clone(),
        owner: world.registry.owners().of(&Owned::Agent(agent.name.clone())).cloned(),
        roles: agent.roles.iter().cloned().collect(),
        audience: agent.serves.as_ref().map(ToString::to_string),
        max_instances: agent.max_instances,
        person: agent.person.as_ref().map(ToString::to_string),
        state: agent_state(world, agent, &standings).into(),
        incident: incidents.of_subject(&subject).or_else(|| refusing.map(|one| one.incident)),
        reason: reason.or_else(|| refusing.and_then(|one| one.reason.clone())),
        instances: instances.collect(),
        live_instances: u32::try_from(live).unwrap_or(u32::MAX),
        open_codes: Vec::new(),
        last_seen: None,
        containments,
    }
}

/// Whether something of the agent is accepted: its own suspension, and the containment of its owner or everything, refuse
/// all of it; the containment of a network refuses the instances that enrolled there.
fn agent_state(world: &World, agent: &Agent, standings: &[(&Instance, InstanceStanding)]) -> &'static str {
    let has = |wanted| standings.iter().any(|(_, standing)| *standing == wanted);
    if world.revocations.is_blocked(&Subject::Agent(agent.id)) {
        "suspended"
    } else if !blocking_agent(agent, records(world)).is_empty()
        || (has(InstanceStanding::Suspended) && !has(InstanceStanding::Live))
    {
        "contained"
    } else {
        "active"
    }
}

/// The containments that refuse the agent, one of its instances, or a part of what it may get.
fn containments_of(
    world: &World,
    agent: &Agent,
    standings: &[(&Instance, InstanceStanding)],
    incidents: &ContainingIncidents,
) -> Vec<ContainmentAnswer> {
    let mut found = Vec::new();
    if incidents.is_empty() {
        return found;
    }
    let records = records(world);
    incidents.add_to(&mut found, &blocking_agent(agent, records), world, false);
    let is_live = standings.iter().any(|(_, standing)| *standing == InstanceStanding::Live);
    for (instance, _) in standings.iter().filter(|(_, one)| *one == InstanceStanding::Suspended) {
        for holding in instance.holdings() {
            let certificate = Credential::Certificate { agent, instance, holding, from: None };
            incidents.add_to(&mut found, &blocking(certificate, records), world, is_live);
        }
    }
    let declarations = world.registry.declarations();
    let capabilities: BTreeSet<&CapabilityName> = declarations.capabilities_of(&*agent.roles).collect();
    for capability in capabilities {
        incidents.add_to(&mut found, &blocking_issue(agent, capability, records), world, true);
    }
    found
}

/// The secrets that `capabilities` deliver, once each, with their current versions.
fn versions_delivered(world: &World, capabilities: &[&Capability]) -> Vec<SecretVersionAnswer> {
    let secret_of = |one: &&Capability| match &one.delivery {
        Delivery::Reveal { secret } => Some(secret.clone()),
        Delivery::Mint { .. } | Delivery::Lease => None,
    };
    let names: BTreeSet<SecretName> = capabilities.iter().filter_map(secret_of).collect();
    let current = |name: &SecretName| world.secrets.named(name).and_then(|secret| secret.current);
    let version = |name: &SecretName| current(name).map(|version| version.number);
    names.into_iter().map(|name| SecretVersionAnswer { version: version(&name), name }).collect()
}

fn capability_view(
    registry: &Registry,
    capability: &Capability,
    broker: &str,
    incident: Option<IncidentId>,
) -> CapabilityAnswer {
    let (audience, secret) = match &capability.delivery {
        Delivery::Mint { audience } => (audience.to_string(), None),
        Delivery::Reveal { secret } => (broker.to_owned(), Some(secret.clone())),
        Delivery::Lease => (broker.to_owned(), None),
    };
    CapabilityAnswer {
        name: capability.name.clone(),
        access: capability.access.as_str().into(),
        delivery: capability.delivery.as_str().into(),
        audience,
        secret,
        max_life_s: capability.max_life_s,
        owner: registry.owners().of(&Owned::Capability(capability.name.clone())).cloned(),
        environment: registry.declarations().environment_of(&capability.name).cloned(),
        incident,
        parameters: registry
            .declarations()
            .parameters_of(&capability.name)
            .into_iter()
            .flat_map(|parameters| parameters.iter().map(|(name, rule)| parameter_view(name, rule)))
            .collect(),
    }
}

fn parameter_view(name: &ParameterName, rule: &ParameterRule) -> ParameterAnswer {
    let ParameterRule { kind, required, sensitive } = rule;
    let answer = ParameterAnswer {
        name: name.clone(),
        kind: kind.value_type().as_str().into(),
        required: *required,
        sensitive: *sensitive,
        min: None,
        max: None,
        values: Vec::new(),
        max_length: None,
    };
    match kind {
        ParameterKind::Integer { min, max } => ParameterAnswer { min: *min, max: *max, ..answer },
        ParameterKind::Text { values, max_length } => {
            ParameterAnswer { values: values.iter().cloned().collect(), max_length: *max_length, ..answer }
        }
        ParameterKind::Boolean => answer,
    }
}
