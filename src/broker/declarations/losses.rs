use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::section::{SectionContext, SectionPlan};
use crate::base::limits::LOSS_NAMES_READ_MAX;
use crate::base::{AgentName, CapabilityName, InstanceId, RoleName, SecretName, code};
use crate::broker::failure::Failure;
use crate::broker::identity::standing::InstanceStanding;
use crate::leases::LeaseStage;
use crate::registry::{Agent, Declarations, Owned};

/// What one agent or resource server loses by an application.
#[derive(Debug, Default)]
pub(in crate::broker) struct Loss {
    pub(in crate::broker) is_removed: bool,
    /// Whether the agent is within the operator's scope.
    pub(in crate::broker) is_within: bool,
    pub(in crate::broker) access: Arc<LostAccess>,
    /// Instances with a valid certificate.
    pub(in crate::broker) instances: BTreeSet<InstanceId>,
    /// The number of leases that end.
    pub(in crate::broker) leases: usize,
}

impl Loss {
    /// Whether a credential for `capability` ends.
    pub(in crate::broker) fn ends(&self, capability: &CapabilityName) -> bool {
        self.is_removed || self.access.all.contains(capability)
    }
}

/// What all agents with the same roles lose.
#[derive(Debug, Default)]
pub(in crate::broker) struct LostAccess {
    /// Capabilities whose credentials end, those outside of the operator's scope too.
    all: BTreeSet<CapabilityName>,
    /// Capabilities within the scope that they do not have any more.
    pub(in crate::broker) capabilities: BTreeSet<CapabilityName>,
    /// Capabilities within the scope that they keep, delivered in another way: present tokens and leases end.
    pub(in crate::broker) redelivered: BTreeSet<CapabilityName>,
    /// Secrets within the scope.
    pub(in crate::broker) secrets: BTreeSet<SecretName>,
    /// The number of capabilities outside of the scope.
    pub(in crate::broker) other_capabilities: usize,
    /// The number of secrets outside of the scope.
    pub(in crate::broker) other_secrets: usize,
}

impl LostAccess {
    /// The number of names in it.
    pub(in crate::broker) fn names(&self) -> usize {
        let capabilities = self.capabilities.len().saturating_add(self.redelivered.len());
        capabilities.saturating_add(self.secrets.len())
    }
}

/// What agents and resource servers lose by the application that was `drawn`, by their names.
///
/// # Errors
/// [`Failure`] if the work is cancelled, or agents with different roles have too many capabilities.
pub(in crate::broker) fn losses(
    ground: &SectionContext<'_>,
    drawn: &SectionPlan,
) -> Result<BTreeMap<AgentName, Loss>, Failure> {
    let mut losses = BTreeMap::new();
    if drawn.removals.is_empty() {
        return Ok(losses);
    }
    let none = BTreeSet::new();
    let mut shared = SharedAccess { ground, drawn, known: BTreeMap::new(), names_read: 0 };
    for agent in ground.world.registry.agents() {
        ground.work.step()?;
        let is_removed = drawn.removals.removed_agents.contains(&agent.name);
        let is_changed = is_removed || drawn.removals.agents.contains_key(&agent.name);
        if !is_changed && !agent.roles.iter().any(|role| drawn.removals.roles.contains_key(role)) {
            continue;
        }
        let after = drawn.agent_roles.get(&agent.name).unwrap_or(&agent.roles);
        let access = shared.of(&agent.roles, if is_removed { &none } else { after })?;
        if is_removed || !access.all.is_empty() {
            losses.insert(agent.name.clone(), loss_of(ground, agent, is_removed, access));
        }
    }
    Ok(losses)
}

fn loss_of(ground: &SectionContext<'_>, agent: &Agent, is_removed: bool, access: Arc<LostAccess>) -> Loss {
    let owner = ground.world.registry.owners().of(&Owned::Agent(agent.name.clone()));
    let is_live = |standing| standing == InstanceStanding::Live;
    let live = agent
        .instances
        .iter()
        .filter(|one| is_live(InstanceStanding::of(ground.world, agent, one, ground.now)));
    let instances = live.map(|instance| instance.id).collect();
    let mut loss = Loss { is_removed, is_within: ground.scope.covers(owner), access, instances, leases: 0 };
    let leases = ground.world.leases.of_agent(agent.id);
    let outstanding = leases.filter(|lease| !matches!(lease.stage, LeaseStage::Ending(_)));
    loss.leases = outstanding.filter(|lease| loss.ends(&lease.capability)).count();
    loss
}

/// The roles of agents before and after an application.
type RoleSets<'a> = (&'a BTreeSet<RoleName>, &'a BTreeSet<RoleName>);

/// Lost access, found once for all agents with the same roles.
struct SharedAccess<'a> {
    ground: &'a SectionContext<'a>,
    drawn: &'a SectionPlan,
    known: BTreeMap<RoleSets<'a>, Arc<LostAccess>>,
    names_read: usize,
}

impl<'a> SharedAccess<'a> {
    fn of(
        &mut self,
        before: &'a BTreeSet<RoleName>,
        after: &'a BTreeSet<RoleName>,
    ) -> Result<Arc<LostAccess>, Failure> {
        if let Some(known) = self.known.get(&(before, after)) {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(self.find(before, after)?);
        self.known.insert((before, after), Arc::clone(&found));
        Ok(found)
    }

    fn find(
        &mut self,
        roles_before: &BTreeSet<RoleName>,
        roles_after: &BTreeSet<RoleName>,
    ) -> Result<LostAccess, Failure> {
        let (ground, drawn) = (self.ground, self.drawn);
        let (before, after) = (&**ground.world.registry.declarations(), &drawn.after.declarations);
        let held = self.capabilities(before, roles_before)?;
        let kept = self.capabilities(after, roles_after)?;
        let mut lost = LostAccess::default();
        for name in &held {
            let is_kept = kept.contains(name);
            if is_kept && !drawn.removals.capabilities.contains(*name) {
                continue;
            }
            lost.all.insert((*name).clone());
            let owner = ground.world.registry.owners().of(&Owned::Capability((*name).clone()));
            if !ground.scope.covers(owner) {
                lost.other_capabilities = lost.other_capabilities.saturating_add(1);
            } else if is_kept {
                lost.redelivered.insert((*name).clone());
            } else {
                lost.capabilities.insert((*name).clone());
            }
        }
        for secret in secrets(before, &held).difference(&secrets(after, &kept)) {
            let known = ground.world.secrets.named(secret);
            if known.is_some_and(|known| ground.scope.covers(known.owner.as_ref())) {
                lost.secrets.insert((*secret).clone());
            } else {
                lost.other_secrets = lost.other_secrets.saturating_add(1);
            }
        }
        Ok(lost)
    }

    /// The capabilities of `roles`.
    fn capabilities<'d>(
        &mut self,
        declarations: &'d Declarations,
        roles: &BTreeSet<RoleName>,
    ) -> Result<BTreeSet<&'d CapabilityName>, Failure> {
        let mut found = BTreeSet::new();
        for name in declarations.capabilities_of(roles) {
            self.ground.work.step()?;
            self.names_read = self.names_read.saturating_add(1);
            if self.names_read > LOSS_NAMES_READ_MAX {
                return Err(Failure::new(code::ENTRY_TOO_LARGE).because(format!(
                    "agents with different roles that lose something have more than {LOSS_NAMES_READ_MAX} capabilities: a \
                     plan of these changes does not say what agents lose"
                )));
            }
            if declarations.capability(name).is_some() {
                found.insert(name);
            }
        }
        Ok(found)
    }
}

/// The secrets that the `held` capabilities deliver.
fn secrets<'a>(declarations: &'a Declarations, held: &BTreeSet<&CapabilityName>) -> BTreeSet<&'a SecretName> {
    let declared = held.iter().filter_map(|name| declarations.capability(name));
    declared.filter_map(|capability| capability.delivery.secret()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{AgentId, Cancellation, Scope, SystemEntropy, Timestamp};
    use crate::broker::declarations::section::{DeclaredAfter, NewAgent, PlanRules};
    use crate::broker::world::World;
    use crate::registry::{
        Access, AgentSpec, Capability, Delivery, Effect, ForeignNames, Plan, Removals, Role, Undeclared,
    };
    use crate::store::At;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);
    const CAPABILITIES: usize = 200;

    fn world(agents: usize) -> World {
        let mut world = World::default();
        let capability = |number: usize| Capability {
            name: format!("c.n{number}").parse().unwrap(),
            access: Access::Read,
            delivery: Delivery::Lease,
            max_life_s: 60,
        };
        let capabilities: Vec<Capability> = (0..CAPABILITIES).map(capability).collect();
        let all = capabilities.iter().map(|one| one.name.clone()).collect();
        let role = Role { name: "all".parse().unwrap(), capabilities: all };
        let at = At { seq: 1, time: NOW };
        let declare = Effect::Declare {
            capabilities,
            removed_capabilities: Vec::new(),
            roles: vec![role.clone()],
            removed_roles: Vec::new(),
        };
        world.registry.apply(at, &declare);
        for number in 0..agents {
            let spec = AgentSpec {
                name: format!("a-{number}").parse().unwrap(),
                roles: [role.name.clone()].into(),
                max_instances: 1,
            };
            let id = AgentId::mint(NOW, &SystemEntropy);
            world.registry.apply(at, &Effect::PutAgent { id, spec });
        }
        world
    }

    /// The result of `look` at the removal of all capabilities from `agents` agents, and its steps.
    fn looked_at<T>(agents: usize, look: impl FnOnce(&SectionContext<'_>, &SectionPlan) -> T) -> (T, u64) {
        let (world, work) = (world(agents), Cancellation::new());
        let declared = world.registry.declarations();
        let removed_capabilities = declared.capabilities().map(|one| one.name.clone()).collect();
        let plan = Plan { removed_capabilities, ..Plan::default() };
        let drawn = SectionPlan {
            after: DeclaredAfter { declarations: declared.after(&plan), ..DeclaredAfter::default() },
            removals: Removals::of(&world.registry, &plan),
            ..SectionPlan::default()
        };
        let new_agent: NewAgent = Arc::new(|| AgentId::mint(NOW, &SystemEntropy));
        let broker = "https://broker.test".parse().unwrap();
        let ground = SectionContext {
            world: &world,
            now: NOW,
            scope: &Scope::Everything,
            rules: PlanRules { unnamed: Undeclared::Keep, foreign_names: ForeignNames::Told },
            files: &[],
            work: &work,
            broker: &broker,
            new_agent: &new_agent,
        };
        (look(&ground, &drawn), work.steps())
    }

    fn lost(agents: usize) -> (BTreeMap<AgentName, Loss>, u64) {
        looked_at(agents, |ground, drawn| losses(ground, drawn).unwrap())
    }

    #[test]
    fn so_many_names_are_read_for_what_agents_lose() {
        for (more, is_read) in [(0, true), (1, false)] {
            let names_read = LOSS_NAMES_READ_MAX - CAPABILITIES + more;
            let (found, _) = looked_at(1, |ground, drawn| {
                let roles = &ground.world.registry.agents().next().unwrap().roles;
                SharedAccess { ground, drawn, known: BTreeMap::new(), names_read }
                    .find(roles, &BTreeSet::new())
                    .map_err(|failure| failure.code)
                    .err()
            });
            assert_eq!(found, (!is_read).then_some(code::ENTRY_TOO_LARGE));
        }
    }

    #[test]
    fn agents_with_the_same_roles_share_what_they_lose() {
        let (losses, once) = lost(100);
        let mut found = losses.values().map(|loss| &loss.access);
        let first = found.next().unwrap();
        assert_eq!((losses.len(), first.capabilities.len()), (100, CAPABILITIES));
        assert!(found.all(|access| Arc::ptr_eq(access, first)));
        let (_, twice) = lost(200);
        assert!(once >= 100 && twice <= once * 2, "{once} steps, then {twice}");
        assert!(twice - once <= 100, "names are read once: {once} steps, then {twice}");
    }
}
