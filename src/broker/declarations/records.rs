use std::sync::Arc;

use serde::Serialize;

use super::section::{Announced, Effects, NewAgent, Section, SectionContext, SectionFailure, SectionPlan};
use crate::base::{AgentId, Audience, Scope, Sensitivity};
use crate::broker::owners::new_owners;
use crate::broker::world::{Effect, World};
use crate::config::{FaultList, Tables};
use crate::crypto::{Digest, sha256};
use crate::registry::{
    self, AgentSpec, Declaration, Delivery, ForeignNames, Plan, PlannedTies, Registry, Removals, SecretFacts,
    TABLES, draw, keys, parse,
};
use crate::secrets;
use crate::store::Change;

/// Capabilities, roles, agents and resource servers.
pub(super) struct RegistrySection(Declaration);

impl Section for RegistrySection {
    const TABLES: &'static [&'static str] = TABLES;

    fn read(tables: &mut Tables<'_>, scope: &Scope) -> Result<Self, FaultList> {
        Ok(Self(parse(tables, scope)))
    }

    fn unread(&self) -> Option<&FaultList> {
        self.0.faults()
    }

    fn plan(&self, ground: &SectionContext<'_>, drawn: &mut SectionPlan) -> Result<Effects, SectionFailure> {
        let SectionContext { world, scope, work, broker, rules, .. } = *ground;
        let Announced { first_values, environments } = &drawn.announced;
        let secret = |name: &_| match world.secrets.existing(name) {
            Some(secret) if scope.covers(secret.owner.as_ref()) => {
                Some(SecretFacts { owner: secret.owner.clone(), sensitivity: secret.sensitivity })
            }
            None if first_values.contains(name) => {
                // A deleted secret keeps its owner and its sensitivity.
                let before = world.secrets.named(name);
                let sensitivity = before.map_or(Sensitivity::default(), |one| one.sensitivity);
                Some(SecretFacts { owner: before.and_then(|one| one.owner.clone()), sensitivity })
            }
            Some(_) | None => None,
        };
        let registry = &world.registry;
        let foreign_names = rules.foreign_names;
        let secret = &secret;
        let on = registry::PlanContext { registry, scope, foreign_names, secret, environments, broker, work };
        let mut plan = draw(&on, &self.0, rules.unnamed, ground.files)?;
        drawn.after.declarations = registry.declarations().after(&plan);
        if foreign_names == ForeignNames::Hidden {
            plan.hide_foreign(&on);
        }
        drawn.removals = Removals::of(registry, &plan);
        drawn.agent_roles =
            plan.agents.iter().map(|(spec, _)| (spec.name.clone(), spec.roles.clone())).collect();
        drawn.after.owners = plan.moved.owners.iter().cloned().collect();
        drawn.replaced.extend(removed_objects(registry, &plan));
        let owners = plan.moved.owners.iter().filter_map(|(_, owner)| owner.as_ref()).collect();
        drawn.new_owners = new_owners(world, &owners);
        drawn.changes.append(&mut plan.changes);
        let agents = plan.agents.drain(..).map(|(spec, PlannedTies { serves, person })| {
            let known = registry.agent_named(&spec.name);
            let before = known.and_then(|agent| agent.serves.as_ref());
            let serves_anew = before != serves.as_ref();
            let acts_anew = known.and_then(|agent| agent.person.as_ref()) != person.as_ref();
            let agent = spec.name.clone();
            let acts_for = acts_anew.then_some(registry::Effect::ActsFor { agent, person });
            PlannedAgent { known: known.map(|agent| agent.id), spec, serves, serves_anew, acts_for }
        });
        let agents: Vec<PlannedAgent> = agents.collect();
        let removed = removed_agents(world, &plan);
        let new_agent = Arc::clone(ground.new_agent);
        Ok(Box::new(move |change, as_of| effects(plan, agents, removed, &new_agent, change, as_of)))
    }
}

/// An agent or resource server to create or change.
struct PlannedAgent {
    known: Option<AgentId>,
    spec: AgentSpec,
    serves: Option<Audience>,
    /// Whether its audience changes.
    serves_anew: bool,
    /// Changes its person.
    acts_for: Option<registry::Effect>,
}

/// The objects that `plan` removes, as they are declared.
fn removed_objects(registry: &Registry, plan: &Plan) -> Vec<Digest> {
    let declared = registry.declarations();
    let capabilities = plan.removed_capabilities.iter().map(|name| digest_of(&declared.capability(name)));
    let roles = plan.removed_roles.iter().map(|name| digest_of(&declared.role(name)));
    let agents = plan.removed_agents.iter().map(|name| {
        let agent = registry.agent_named(name);
        digest_of(&agent.map(|agent| (&*agent.roles, agent.max_instances, &agent.serves, &agent.person)))
    });
    let parameters = plan.removed_capabilities.iter().filter_map(|name| declared.parameters_of(name));
    let parameters = parameters.map(digest_of);
    capabilities.chain(roles).chain(agents).chain(parameters).collect()
}

fn digest_of(object: &impl Serialize) -> Digest {
    sha256(&serde_json::to_vec(object).unwrap_or_default())
}

fn removed_agents(world: &World, plan: &Plan) -> Vec<AgentId> {
    let removed = plan.removed_agents.iter().filter_map(|name| world.registry.agent_named(name));
    removed.map(|agent| agent.id).collect()
}

fn effects(
    plan: Plan,
    agents: Vec<PlannedAgent>,
    removed: Vec<AgentId>,
    new_agent: &NewAgent,
    mut change: Change<Effect>,
    as_of: u64,
) -> Change<Effect> {
    for capability in &plan.capabilities {
        if let Delivery::Reveal { secret } = &capability.delivery {
            change = change.rely(secrets::keys::existence(secret), as_of);
        }
    }
    change = change.effect(Effect::Registry(registry::Effect::Declare {
        capabilities: plan.capabilities,
        removed_capabilities: plan.removed_capabilities,
        roles: plan.roles,
        removed_roles: plan.removed_roles,
    }));
    for PlannedAgent { known, spec, serves, serves_anew, acts_for } in agents {
        let id = known.unwrap_or_else(|| new_agent());
        change = change
            .rely(keys::agent_name(&spec.name), as_of)
            .rely(keys::agent(id), as_of)
            .effect(Effect::Registry(registry::Effect::PutAgent { id, spec }));
        if serves_anew {
            let effect = registry::Effect::Serve { agent: id, audience: serves };
            change = change.effect(Effect::Registry(effect));
        }
        if let Some(acts_for) = acts_for {
            change = change.effect(Effect::Registry(acts_for));
        }
    }
    for id in removed {
        change =
            change.rely(keys::agent(id), as_of).effect(Effect::Registry(registry::Effect::RemoveAgent(id)));
    }
    if !plan.moved.environments.is_empty() {
        change = change.effect(Effect::Registry(registry::Effect::Place(plan.moved.environments)));
    }
    if !plan.moved.instead.is_empty() {
        change = change.effect(Effect::Registry(registry::Effect::Redirect(plan.moved.instead)));
    }
    if !plan.moved.parameters.is_empty() {
        change = change.effect(Effect::Registry(registry::Effect::Parametrise(plan.moved.parameters)));
    }
    for (thing, owner) in plan.moved.owners {
        change = change.effect(Effect::Registry(registry::Effect::Own { thing, owner }));
    }
    change
}
