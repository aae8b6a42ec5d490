use std::collections::{BTreeMap, BTreeSet};

use super::section::{SectionContext, SectionPlan};
use crate::base::{AgentName, Cancelled, CapabilityName, InstanceId, RoleName, SecretName};
use crate::broker::identity::standing::InstanceStanding;
use crate::leases::LeaseStage;
use crate::registry::{Agent, Declarations, Owned};

/// What one agent or resource server loses by an application.
#[derive(Debug, Default)]
pub(in crate::broker) struct Loss {
    pub(in crate::broker) is_removed: bool,
    /// Whether the agent is within the operator's scope.
    pub(in crate::broker) is_within: bool,
    pub(in crate::broker) capabilities: BTreeSet<CapabilityName>,
    /// Capabilities that it keeps, delivered in another way: present tokens and leases end.
    pub(in crate::broker) redelivered: BTreeSet<CapabilityName>,
    pub(in crate::broker) secrets: BTreeSet<SecretName>,
    /// Instances with a valid certificate.
    pub(in crate::broker) instances: BTreeSet<InstanceId>,
    /// The number of leases that end.
    pub(in crate::broker) leases: usize,
}

impl Loss {
    /// Whether a credential for `capability` ends.
    pub(in crate::broker) fn ends(&self, capability: &CapabilityName) -> bool {
        self.is_removed || self.capabilities.contains(capability) || self.redelivered.contains(capability)
    }
}

/// What agents and resource servers lose by the application that was `drawn`, by their names.
///
/// # Errors
/// [`Cancelled`].
pub(in crate::broker) fn losses(
    ground: &SectionContext<'_>,
    drawn: &SectionPlan,
) -> Result<BTreeMap<AgentName, Loss>, Cancelled> {
    let mut losses = BTreeMap::new();
    if drawn.narrowing.is_empty() {
        return Ok(losses);
    }
    let before = ground.world.registry.declarations();
    let narrower = narrower_roles(before, drawn);
    for agent in ground.world.registry.agents() {
        ground.work.step()?;
        let is_changed = drawn.narrowing.removed_agents.contains(&agent.name)
            || drawn.narrowing.agents.contains_key(&agent.name);
        if !is_changed && !agent.roles.iter().any(|role| narrower.contains(role)) {
            continue;
        }
        let loss = loss_of(ground, drawn, agent);
        if loss.is_removed || !loss.capabilities.is_empty() || !loss.redelivered.is_empty() {
            losses.insert(agent.name.clone(), loss);
        }
    }
    Ok(losses)
}

/// The roles through which an agent may lose something.
fn narrower_roles<'a>(before: &'a Declarations, drawn: &'a SectionPlan) -> BTreeSet<&'a RoleName> {
    let narrowing = &drawn.narrowing;
    let has_narrower = |capabilities: &BTreeSet<CapabilityName>| {
        capabilities.iter().any(|name| narrowing.capabilities.contains(name))
    };
    let through = before.roles().filter(|role| has_narrower(&role.capabilities)).map(|role| &role.name);
    through.chain(narrowing.roles.keys()).collect()
}

fn loss_of(ground: &SectionContext<'_>, drawn: &SectionPlan, agent: &Agent) -> Loss {
    let (before, after) = (ground.world.registry.declarations(), &drawn.declarations);
    let is_removed = drawn.narrowing.removed_agents.contains(&agent.name);
    let none = BTreeSet::new();
    let roles_after =
        if is_removed { &none } else { drawn.agent_roles.get(&agent.name).unwrap_or(&agent.roles) };
    let held = capabilities(before, &agent.roles);
    let kept = capabilities(after, roles_after);
    let owner = ground.world.registry.owners().of(&Owned::Agent(agent.name.clone()));
    let is_redelivered = |name: &&CapabilityName| drawn.narrowing.capabilities.contains(*name);
    let mut loss = Loss {
        is_removed,
        is_within: ground.scope.covers(owner),
        capabilities: held.difference(&kept).map(|name| (*name).clone()).collect(),
        redelivered: held.intersection(&kept).copied().filter(is_redelivered).cloned().collect(),
        secrets: secrets(before, &held)
            .difference(&secrets(after, &kept))
            .map(|one| (*one).clone())
            .collect(),
        ..Loss::default()
    };
    let is_live = |standing| standing == InstanceStanding::Live;
    let live = agent
        .instances
        .iter()
        .filter(|one| is_live(InstanceStanding::of(ground.world, agent, one, ground.now)));
    loss.instances = live.map(|instance| instance.id).collect();
    let leases = ground.world.leases.of_agent(agent.id);
    let outstanding = leases.filter(|lease| !matches!(lease.stage, LeaseStage::Ending(_)));
    loss.leases = outstanding.filter(|lease| loss.ends(&lease.capability)).count();
    loss
}

/// The capabilities of `roles`.
fn capabilities<'a>(
    declarations: &'a Declarations,
    roles: &BTreeSet<RoleName>,
) -> BTreeSet<&'a CapabilityName> {
    let roles = roles.iter().filter_map(|name| declarations.role(name));
    let named = roles.flat_map(|role| &role.capabilities);
    named.filter(|name| declarations.capability(name).is_some()).collect()
}

/// The secrets that the `held` capabilities deliver.
fn secrets<'a>(declarations: &'a Declarations, held: &BTreeSet<&CapabilityName>) -> BTreeSet<&'a SecretName> {
    let declared = held.iter().filter_map(|name| declarations.capability(name));
    declared.filter_map(|capability| capability.delivery.secret()).collect()
}
