//! What an application makes newly reachable: capabilities that existing agents get, and restrictions that end. A restriction
//! that cannot be compared with the earlier one counts as ended.

use std::collections::{BTreeMap, BTreeSet};

use super::section::{SectionContext, SectionPlan};
use super::widened::{Widened, WideningCause};
use crate::base::limits::WIDENINGS_LISTED_MAX;
use crate::base::{
    AgentName, ApproverGroupName, CapabilityName, OwnerName, PolicyName, RoleName, SecretName, Sensitivity,
    code,
};
use crate::broker::failure::Failure;
use crate::registry::{
    Action, Agent, AgentKind, Capability, CapabilityParameters, Declarations, ForeignNames, Noun, Owned,
    PlannedChange, Role,
};
use crate::rules::{AgentFacts, CapabilityFacts, NamedEntity, Policy, Rules};

/// What an application makes newly reachable.
#[derive(Clone, Debug, Default)]
pub(in crate::broker) struct Widening {
    /// In the order of agents and capabilities; at most `WIDENINGS_LISTED_MAX`.
    pub(in crate::broker) items: Vec<Widened>,
    /// The number of further ones.
    pub(in crate::broker) further: usize,
    /// The number of those outside of the operator's scope.
    pub(in crate::broker) others: usize,
}

impl Widening {
    /// The failure of an application that does not confirm it.
    pub(in crate::broker) fn unconfirmed(&self) -> Failure {
        let shown: Vec<String> = self.items.iter().take(UNCONFIRMED_SHOWN).map(Widened::text).collect();
        let count = self.items.len().saturating_add(self.further).saturating_add(self.others);
        let more = count.saturating_sub(shown.len());
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        let why =
            format!("the application gives more access: {}{more}; nothing was changed", shown.join("; "));
        Failure::new(code::WIDENING_NOT_CONFIRMED).because(why)
    }

    /// Whether nothing is newly reachable.
    pub(in crate::broker) const fn is_empty(&self) -> bool {
        self.items.is_empty() && self.others == 0
    }

    /// What the application that was `drawn` makes newly reachable.
    ///
    /// # Errors
    /// [`Failure`] if the work is cancelled.
    pub(in crate::broker) fn of(ground: &SectionContext<'_>, drawn: &SectionPlan) -> Result<Self, Failure> {
        let (found, concerning) = (BTreeSet::new(), BTreeSet::new());
        let mut finder = Finder { ground, drawn, found, further: 0, others: 0, concerning };
        finder.capabilities()?;
        finder.rotations()?;
        finder.administered()?;
        finder.agents()?;
        finder.returning()?;
        let Finder { found, further, others, .. } = finder;
        Ok(Self { items: found.into_iter().collect(), further, others })
    }
}

/// Lines that the refusal of an unconfirmed application has.
const UNCONFIRMED_SHOWN: usize = 5;
/// Fields of agents that policies test.
const AGENT_FACTS: [&str; 2] = ["owner", "person"];
/// Fields of capabilities that are facts for more than policies: resource servers read the access, and secrets of high
/// sensitivity are for capabilities of their owner alone.
const CAPABILITY_FACTS: [&str; 2] = ["access", "owner"];
/// Fields that say what a capability delivers.
const DELIVERY: [&str; 3] = ["audience", "delivery", "secret"];

struct Finder<'a> {
    ground: &'a SectionContext<'a>,
    drawn: &'a SectionPlan,
    /// At most `WIDENINGS_LISTED_MAX`.
    found: BTreeSet<Widened>,
    further: usize,
    others: usize,
    /// The policies that restrict requests of present agents less.
    concerning: BTreeSet<&'a PolicyName>,
}

impl<'a> Finder<'a> {
    fn updates(&self, noun: Noun) -> impl Iterator<Item = &'a PlannedChange> + use<'a> {
        let is_update =
            move |one: &&PlannedChange| one.action == Action::Update.as_str() && one.kind == noun.as_str();
        self.drawn.changes.iter().filter(is_update)
    }

    /// The owner after the application.
    fn owner(&self, thing: &Owned) -> Option<&'a OwnerName> {
        let present = || self.ground.world.registry.owners().of(thing);
        self.drawn.after.owners.get(thing).map_or_else(present, Option::as_ref)
    }

    /// Whether an object that exists and has this owner must not be told from one that does not exist.
    fn is_hidden(&self, owner: Option<&OwnerName>) -> bool {
        self.ground.rules.foreign_names == ForeignNames::Hidden && !self.ground.scope.covers(owner)
    }

    /// The role after the application. A hidden role stays as it is, also if the files declare its name.
    fn role_after(&self, name: &RoleName) -> Option<&'a Role> {
        let registry = &self.ground.world.registry;
        let before = registry.declarations().role(name);
        let is_hidden = self.is_hidden(registry.owners().of(&Owned::Role(name.clone())));
        before.filter(|_| is_hidden).or_else(|| self.drawn.after.declarations.role(name))
    }

    /// The capabilities that these roles hold after the application.
    fn held(&self, roles: &BTreeSet<RoleName>) -> Vec<&'a Capability> {
        let roles = roles.iter().filter_map(|name| self.role_after(name));
        let names: BTreeSet<&CapabilityName> = roles.flat_map(|role| &role.capabilities).collect();
        names.into_iter().filter_map(|name| self.drawn.after.declarations.capability(name)).collect()
    }

    /// The capabilities that these roles hold now.
    fn held_before(&self, roles: &BTreeSet<RoleName>) -> BTreeSet<&'a CapabilityName> {
        let declarations = self.ground.world.registry.declarations();
        declarations.capabilities_of(roles).filter(|name| declarations.capability(name).is_some()).collect()
    }

    fn note(&mut self, agent: Option<&AgentName>, capability: &CapabilityName, cause: WideningCause) {
        let of_agent = agent.and_then(|agent| self.owner(&Owned::Agent(agent.clone())));
        let of_capability = self.owner(&Owned::Capability(capability.clone()));
        let scope = self.ground.scope;
        let is_within = scope.covers(of_capability) && (agent.is_none() || scope.covers(of_agent));
        if !is_within {
            self.others = self.others.saturating_add(1);
            return;
        }
        let environment = self.drawn.after.declarations.environment_of(capability).cloned();
        self.list(Widened {
            agent: agent.cloned(),
            capability: Some(capability.clone()),
            environment,
            cause,
        });
    }

    /// Notes a policy that restricts less although it concerns no request now: an agent or a capability can come back later.
    fn note_policy(&mut self, policy: &Policy, cause: WideningCause) {
        self.note_of(policy.owner.as_ref(), cause);
    }

    /// Notes what is about no agent and no capability, but about an object of this owner.
    fn note_of(&mut self, owner: Option<&OwnerName>, cause: WideningCause) {
        if self.ground.scope.covers(owner) {
            self.list(Widened { agent: None, capability: None, environment: None, cause });
        } else {
            self.others = self.others.saturating_add(1);
        }
    }

    fn list(&mut self, widened: Widened) {
        self.found.insert(widened);
        if self.found.len() > WIDENINGS_LISTED_MAX && self.found.pop_last().is_some() {
            self.further = self.further.saturating_add(1);
        }
    }

    /// Changed capabilities.
    fn capabilities(&mut self) -> Result<(), Failure> {
        let has_policies = !self.ground.world.rules().is_empty();
        for change in self.updates(Noun::Capability) {
            self.ground.work.step()?;
            let Ok(name) = change.name.parse::<CapabilityName>() else { continue };
            let fields = || change.values.iter().map(|value| value.field.as_str());
            if fields().any(|field| DELIVERY.contains(&field)) {
                self.note(None, &name, WideningCause::DeliveredOtherwise);
            }
            let declared = |of: &Declarations| of.capability(&name).map(|one| one.max_life_s);
            let before = declared(self.ground.world.registry.declarations());
            if declared(&self.drawn.after.declarations) > before {
                self.note(None, &name, WideningCause::LongerLife);
            }
            self.parameters(&name);
            let counts =
                |field: &&str| CAPABILITY_FACTS.contains(field) || (has_policies && *field == "environment");
            for field in fields().filter(counts) {
                self.note(None, &name, WideningCause::FactsChanged(format!("{field} of the capability")));
            }
        }
        // Logins have the rights that their upstream gives.
        for change in self.updates(Noun::Lease) {
            self.ground.work.step()?;
            let Ok(name) = change.name.parse::<CapabilityName>() else { continue };
            if change.fields.iter().any(|field| field == "upstream") {
                self.note(None, &name, WideningCause::DeliveredOtherwise);
            }
        }
        self.resource_servers()
    }

    /// New rotations and leases that are administered with a secret of the sensitivity `high`: their upstream gets its value.
    fn administered(&mut self) -> Result<(), Failure> {
        let (ground, drawn) = (self.ground, self.drawn);
        for change in &drawn.changes {
            ground.work.step()?;
            let is_upstream = [Noun::Rotation, Noun::Lease].iter().any(|noun| change.kind == noun.as_str());
            if change.action != Action::Create.as_str() || !is_upstream {
                continue;
            }
            let secret = change.values.iter().find(|value| value.field == "upstream.admin_secret");
            let secret = secret.and_then(|value| value.to.as_deref()?.parse::<SecretName>().ok());
            let known = secret.as_ref().and_then(|name| ground.world.secrets.existing(name));
            if let Some(known) = known.filter(|known| known.sensitivity == Sensitivity::High) {
                self.note_of(known.owner.as_ref(), WideningCause::SecretSent(known.name.clone()));
            }
        }
        Ok(())
    }

    /// Rotations with another upstream: it gets the values of the secret.
    fn rotations(&mut self) -> Result<(), Failure> {
        for change in self.updates(Noun::Rotation) {
            self.ground.work.step()?;
            let Ok(name) = change.name.parse::<SecretName>() else { continue };
            if change.fields.iter().any(|field| field == "upstream") {
                let ground = self.ground;
                let secret = ground.world.secrets.existing(&name);
                let owner = secret.and_then(|secret| secret.owner.as_ref());
                self.note_of(owner, WideningCause::RotationRedirected(name.clone()));
            }
        }
        Ok(())
    }

    /// The parameters of a capability that restrict its requests less.
    fn parameters(&mut self, name: &CapabilityName) {
        let none = CapabilityParameters::default();
        let (before, after) = (self.ground.world.registry.declarations(), &self.drawn.after.declarations);
        let (before, after) = (before.parameters_of(name), after.parameters_of(name));
        for parameter in after.unwrap_or(&none).loosened(before.unwrap_or(&none)) {
            self.note(None, name, WideningCause::ParameterLoosened(parameter.clone()));
        }
    }

    /// Resource servers that get another audience, with the capabilities of which they then introspect tokens.
    fn resource_servers(&mut self) -> Result<(), Failure> {
        for change in self.updates(Noun::ResourceServer) {
            let Ok(name) = change.name.parse::<AgentName>() else { continue };
            let served = change.values.iter().find(|value| value.field == "audience");
            let Some(served) = served.and_then(|value| value.to.as_ref()) else { continue };
            for capability in self.drawn.after.declarations.capabilities() {
                self.ground.work.step()?;
                if capability.delivery.audience().is_some_and(|audience| audience.as_str() == served) {
                    let fact = "audience of the resource server".to_owned();
                    self.note(Some(&name), &capability.name, WideningCause::FactsChanged(fact));
                }
            }
        }
        Ok(())
    }

    /// Existing agents, with what they get and what restricts them less.
    fn agents(&mut self) -> Result<(), Failure> {
        let loosened = self.loosened()?;
        let gaining = self.gaining()?;
        let facts = self.changed_agents();
        if loosened.is_empty() && gaining.is_empty() && facts.is_empty() && self.drawn.agent_roles.is_empty()
        {
            return Ok(());
        }
        for agent in self.ground.world.registry.agents() {
            self.ground.work.step()?;
            let is_removed = self.drawn.removals.removed_agents.contains(&agent.name);
            if agent.kind() == AgentKind::Agent && !is_removed {
                self.agent(agent, &loosened, &gaining, facts.get(agent.name.as_str()))?;
            }
        }
        for (policy, cause) in loosened {
            if !self.concerning.contains(&policy.name) {
                self.note_policy(policy, cause);
            }
        }
        Ok(())
    }

    /// New agents of names that agents had before. Otherwise a removed agent comes back with other roles, and the policies about
    /// its earlier roles do not concern it.
    fn returning(&mut self) -> Result<(), Failure> {
        let (registry, drawn) = (&self.ground.world.registry, self.drawn);
        for (agent, roles) in &drawn.agent_roles {
            self.ground.work.step()?;
            let is_former = registry.former().knows(&Owned::Agent(agent.clone()));
            if !is_former || registry.agent_named(agent).is_some() {
                continue;
            }
            for capability in self.held(roles) {
                self.ground.work.step()?;
                self.note(Some(agent), &capability.name, WideningCause::Granted);
            }
        }
        Ok(())
    }

    fn agent(
        &mut self,
        agent: &'a Agent,
        loosened: &[(&'a Policy, WideningCause)],
        gaining: &BTreeSet<RoleName>,
        facts: Option<&Vec<String>>,
    ) -> Result<(), Failure> {
        let roles = self.drawn.agent_roles.get(&agent.name).unwrap_or(&agent.roles);
        let is_unchanged = *roles == *agent.roles && !roles.iter().any(|role| gaining.contains(role));
        if is_unchanged && loosened.is_empty() && facts.is_none() {
            return Ok(());
        }
        let before = self.held_before(&agent.roles);
        for capability in self.held(roles) {
            self.ground.work.step()?;
            if !before.contains(&capability.name) {
                self.note(Some(&agent.name), &capability.name, WideningCause::Granted);
                continue;
            }
            for fact in facts.into_iter().flatten() {
                self.note(Some(&agent.name), &capability.name, WideningCause::FactsChanged(fact.clone()));
            }
            for (policy, cause) in loosened {
                if self.concerned(policy, agent, capability) {
                    self.concerning.insert(&policy.name);
                    self.note(Some(&agent.name), &capability.name, cause.clone());
                }
            }
        }
        Ok(())
    }

    /// Whether the head of the present policy fits requests of the agent for the capability, as they are now.
    fn concerned(&self, policy: &Policy, agent: &Agent, capability: &Capability) -> bool {
        let registry = &self.ground.world.registry;
        let facts = AgentFacts {
            name: &agent.name,
            roles: &agent.roles,
            owner: registry.owners().of(&Owned::Agent(agent.name.clone())),
            person: agent.person.as_ref(),
        };
        let capability = CapabilityFacts {
            name: &capability.name,
            access: capability.access.as_str(),
            delivery: capability.delivery.as_str(),
            owner: registry.owners().of(&Owned::Capability(capability.name.clone())),
            environment: registry.declarations().environment_of(&capability.name),
            sensitivity: Sensitivity::default(),
        };
        policy.can_concern(&facts, &capability)
    }

    /// The present policies that are removed, or changed so that they may restrict less.
    fn loosened(&self) -> Result<Vec<(&'a Policy, WideningCause)>, Failure> {
        let mut loosened = Vec::new();
        let nouns = [Noun::Policy, Noun::ApproverGroup];
        if self.drawn.changes.iter().all(|change| nouns.iter().all(|noun| change.kind != noun.as_str())) {
            return Ok(loosened);
        }
        for before in self.ground.world.rules().policies() {
            self.ground.work.step()?;
            if self.is_hidden(before.owner.as_ref()) {
                continue;
            }
            let cause = match self.drawn.after.rules.policy(&before.name) {
                None => WideningCause::PolicyRemoved(before.name.clone()),
                Some(after) => {
                    let covers = after.owner.is_none() || after.owner == before.owner;
                    if covers
                        && after.rule.restricts_as_much_as(&before.rule)
                        && !self.approvers_change(after)
                    {
                        continue;
                    }
                    WideningCause::PolicyChanged(before.name.clone())
                }
            };
            loosened.push((before, cause));
        }
        Ok(loosened)
    }

    /// Whether the group of approvers of a policy changes, or one that an escalation adds. Groups are not compared.
    fn approvers_change(&self, policy: &Policy) -> bool {
        let Some(group) = policy.rule.approvers() else { return false };
        let (before, after) = (self.ground.world.rules(), &self.drawn.after.rules);
        let changes = |name: &ApproverGroupName| {
            let present = before.group(name);
            let is_hidden = present.is_some_and(|group| self.is_hidden(group.owner.as_ref()));
            !is_hidden && present != after.group(name)
        };
        let escalates_to = |rules: &'a Rules| rules.group(group)?.escalation.as_ref().map(|one| &one.to);
        let reached = escalates_to(before).into_iter().chain(escalates_to(after));
        changes(group) || reached.into_iter().any(changes)
    }

    /// The roles that get a capability.
    fn gaining(&self) -> Result<BTreeSet<RoleName>, Failure> {
        let before = self.ground.world.registry.declarations();
        let mut gaining = BTreeSet::new();
        let named =
            self.drawn.changes.iter().filter(|change| {
                [Noun::Role, Noun::Capability].iter().any(|noun| change.kind == noun.as_str())
            });
        if named.count() == 0 {
            return Ok(gaining);
        }
        for role in self.drawn.after.declarations.roles() {
            self.ground.work.step()?;
            let owner = self.ground.world.registry.owners().of(&Owned::Role(role.name.clone()));
            if before.role(&role.name).is_some() && self.is_hidden(owner) {
                continue;
            }
            let gains = |name: &CapabilityName| {
                let had = before.role(&role.name).is_some_and(|role| role.capabilities.contains(name));
                !had || before.capability(name).is_none()
            };
            if role.capabilities.iter().any(gains) {
                gaining.insert(role.name.clone());
            }
        }
        Ok(gaining)
    }

    /// The facts that change of each agent, if there are policies.
    fn changed_agents(&self) -> BTreeMap<&'a str, Vec<String>> {
        let rules = self.ground.world.rules();
        let mut changed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        if rules.is_empty() {
            return changed;
        }
        let names_role = |role: &String| {
            rules.policies().any(|policy| policy.rule.names().contains(&NamedEntity::Role(role.clone())))
        };
        for change in self.updates(Noun::Agent) {
            for value in &change.values {
                let fact = value.field.as_str();
                // A role can be what a policy restricts, and what it spares.
                let named = value.removed.iter().chain(&value.added);
                let named = named.filter(|role| fact == "roles" && names_role(role)).min();
                if let Some(role) = named {
                    changed.entry(&change.name).or_default().push(format!("role `{role}` of the agent"));
                } else if AGENT_FACTS.contains(&fact) {
                    changed.entry(&change.name).or_default().push(format!("{fact} of the agent"));
                }
            }
        }
        changed
    }
}
