use std::collections::{BTreeMap, BTreeSet};

use super::agent::Agent;
use super::agent_spec::AgentSpec;
use super::declaration::Declaration;
use super::declared::{Capability, Declarations, Delivery, Role};
use super::owners::Owned;
use super::parameters::{CapabilityParameters, PARAMETER_FIELD};
use super::plan_context::{PlanContext, Undeclared, dangling, out_of_reach, still_named, turned};
use super::removals::Removals;
use super::state::Registry;
use crate::base::limits::HIGH_TOKEN_LIFE_MAX_S;
use crate::base::{
    AgentName, Audience, CapabilityName, EnvironmentName, OwnerName, Person, RoleName, Sensitivity,
};
use crate::config::{FaultList, FaultMessage, Faults, SourceFile, SourcePosition};
pub use crate::wire::{ChangedValue, DeclaredKind as Noun, PlannedAction as Action, PlannedChange};

/// The difference between what is declared and what there is.
#[derive(Debug, Default)]
pub struct Plan {
    /// Line by line, for people and for the ledger.
    pub changes: Vec<PlannedChange>,
    /// Capabilities to declare or replace.
    pub capabilities: Vec<Capability>,
    /// Capabilities to take away.
    pub removed_capabilities: Vec<CapabilityName>,
    /// Roles to declare or replace.
    pub roles: Vec<Role>,
    /// Roles to take away.
    pub removed_roles: Vec<RoleName>,
    /// Agents and resource servers to create or change.
    pub agents: Vec<(AgentSpec, PlannedTies)>,
    /// Agents to take away.
    pub removed_agents: Vec<AgentName>,
    /// Objects that belong elsewhere from here on.
    pub moved: PlannedMoves,
}

/// Objects that belong to another owner or environment.
#[derive(Debug, Default)]
pub struct PlannedMoves {
    /// Objects that have another owner from here on, or none.
    pub owners: Vec<(Owned, Option<OwnerName>)>,
    /// Capabilities that are in another environment from here on, or in none.
    pub environments: Vec<(CapabilityName, Option<EnvironmentName>)>,
    /// Capabilities for which agents are told to ask for another one from here on, or for none.
    pub instead: Vec<(CapabilityName, Option<CapabilityName>)>,
    /// Capabilities that have other parameters from here on.
    pub parameters: Vec<(CapabilityName, CapabilityParameters)>,
}

/// The properties of a planned agent or resource server besides its specification.
#[derive(Clone, Debug, Default)]
pub struct PlannedTies {
    /// The audience that it serves.
    pub serves: Option<Audience>,
    /// The person for whom it acts.
    pub person: Option<Person>,
}

/// Draws the plan that turns `ground` into what `declaration` says.
///
/// # Errors
/// A fault for every reference that would dangle afterwards, and for everything that is out of
/// reach.
pub fn draw(
    ground: &PlanContext<'_>,
    declaration: &Declaration,
    unnamed: Undeclared,
    files: &[SourceFile],
) -> Result<Plan, FaultList> {
    let mut faults = Faults::of(files, ground.work);
    let mut report = |place: SourcePosition, message: FaultMessage| faults.tell(place, message);
    out_of_reach(ground, declaration, &mut report);
    turned(ground, declaration, &mut report);
    dangling(ground, declaration, unnamed, &mut report);
    let judged = faults.or(Plan::default());
    let mut plan = match declaration.faults() {
        None => judged?,
        Some(unread) => {
            let more = judged.err().unwrap_or_default();
            return Err(FaultList::merged(vec![unread.clone(), more], files));
        }
    };
    plan.capabilities(ground, declaration, unnamed);
    plan.roles(ground, declaration, unnamed);
    plan.agents(ground, declaration, unnamed);
    // What was not looked at any more is missing from it.
    let mut faults = Faults::of(files, ground.work);
    still_named(ground, &plan.removed_capabilities, &plan.removed_roles, &mut |place, message| {
        faults.tell(place, message)
    });
    faults.or(plan)
}

impl Plan {
    /// Makes the plan change nothing of owners out of reach. The lines stay: they are the same for names of other owners and
    /// for free ones, and so is the id of the plan.
    pub fn hide_foreign(&mut self, ground: &PlanContext<'_>) {
        let declared = ground.registry.declarations();
        self.capabilities
            .retain(|one| declared.capability(&one.name).is_none() || ground.capability(&one.name).is_some());
        self.roles.retain(|one| declared.role(&one.name).is_none() || ground.role(&one.name).is_some());
        let known = |name: &AgentName| ground.registry.agent_named(name).is_some();
        self.agents.retain(|(one, _)| !known(&one.name) || ground.agent(&one.name).is_some());
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn note(&mut self, action: Action, kind: Noun, name: &str) {
        self.changes.push(PlannedChange::new(action, kind, name));
    }

    /// Notes an update of these values.
    fn note_values(&mut self, kind: Noun, name: &str, values: Vec<ChangedValue>) {
        let mut fields: Vec<String> = values.iter().map(|value| field_of(kind, value).to_owned()).collect();
        fields.dedup();
        let change = PlannedChange::new(Action::Update, kind, name);
        self.changes.push(PlannedChange { fields, values, ..change });
    }

    /// Notes a new object with these values, and with its owner.
    fn note_created<T: PartialEq + ToString>(
        &mut self,
        kind: Noun,
        name: &str,
        values: impl Iterator<Item = ChangedValue>,
        owner: Option<T>,
    ) {
        let values = values.chain(ChangedValue::single("owner", None, owner)).collect();
        self.changes.push(PlannedChange { values, ..PlannedChange::new(Action::Create, kind, name) });
    }

    /// The owner of `thing`, if it gets another one, which is noted then.
    fn owner(
        &mut self,
        ground: &PlanContext<'_>,
        declaration: &Declaration,
        thing: Owned,
    ) -> Option<ChangedValue> {
        let (old, new) = (ground.registry.owners().of(&thing), declaration.owners.get(&thing));
        let changed = ChangedValue::single("owner", old, new)?;
        self.moved.owners.push((thing, new.cloned()));
        Some(changed)
    }

    /// The environment of a capability, if it gets another one, which is noted then.
    fn environment(
        &mut self,
        ground: &PlanContext<'_>,
        declaration: &Declaration,
        name: &CapabilityName,
    ) -> Option<ChangedValue> {
        // Of a name that is planned as a new one, nothing is told.
        let old = ground.capability(name).and_then(|_| ground.registry.declarations().environment_of(name));
        let new = declaration.environments.get(name).map(|(environment, _)| environment);
        let changed = ChangedValue::single("environment", old, new)?;
        self.moved.environments.push((name.clone(), new.cloned()));
        Some(changed)
    }

    /// The capability to ask for instead of this one, if that changes, which is noted then.
    fn instead(
        &mut self,
        ground: &PlanContext<'_>,
        declaration: &Declaration,
        name: &CapabilityName,
    ) -> Option<ChangedValue> {
        let old = ground.capability(name).and_then(|_| ground.registry.declarations().instead_of(name));
        let new = declaration.instead.get(name).map(|(instead, _)| instead);
        let changed = ChangedValue::single("instead", old, new)?;
        self.moved.instead.push((name.clone(), new.cloned()));
        Some(changed)
    }

    /// The parameters of this capability that change, which is noted then.
    fn parameters(
        &mut self,
        ground: &PlanContext<'_>,
        declaration: &Declaration,
        name: &CapabilityName,
    ) -> Vec<ChangedValue> {
        let none = CapabilityParameters::default();
        let old = ground.capability(name).and_then(|_| ground.registry.declarations().parameters_of(name));
        let (old, new) = (old.unwrap_or(&none), declaration.parameters_of(name).unwrap_or(&none));
        if old != new {
            self.moved.parameters.push((name.clone(), new.clone()));
        }
        new.changed_from(old)
    }

    fn capabilities(&mut self, ground: &PlanContext<'_>, declaration: &Declaration, unnamed: Undeclared) {
        for (name, (new, _)) in &declaration.capabilities {
            if ground.work.step().is_err() {
                return;
            }
            let owner = self.owner(ground, declaration, Owned::Capability(name.clone()));
            let environment = self.environment(ground, declaration, name);
            let moved = [environment, self.instead(ground, declaration, name)];
            let parameters = self.parameters(ground, declaration, name);
            let moved: Vec<ChangedValue> = moved.into_iter().flatten().chain(parameters).collect();
            match ground.capability(name) {
                Some(old) if old == new && owner.is_none() && moved.is_empty() => continue,
                Some(old) => {
                    let values = changed_capability(Some(old), new).chain(moved).chain(owner).collect();
                    self.note_values(Noun::Capability, name.as_str(), values);
                }
                None => {
                    let owner = declaration.owners.get(&Owned::Capability(name.clone()));
                    let values = changed_capability(None, new).chain(moved);
                    self.note_created(Noun::Capability, name.as_str(), values, owner);
                }
            }
            self.remark(ground, new);
            self.remark_required(ground, name);
            self.capabilities.push(new.clone());
        }
        if unnamed == Undeclared::Prune {
            for old in
                ground.registry.declarations().capabilities().take_while(|_| ground.work.step().is_ok())
            {
                let unnamed = !declaration.capabilities.contains_key(&old.name);
                if unnamed && ground.capability(&old.name).is_some() {
                    self.note(Action::Remove, Noun::Capability, old.name.as_str());
                    self.removed_capabilities.push(old.name.clone());
                }
            }
        }
    }

    /// Adds to the line about `capability` what its secret asks of it.
    fn remark(&mut self, ground: &PlanContext<'_>, capability: &Capability) {
        let Delivery::Reveal { secret } = &capability.delivery else { return };
        let is_high = (ground.secret)(secret).is_some_and(|secret| secret.sensitivity == Sensitivity::High);
        if let Some(line) = self.changes.last_mut().filter(|_| is_high) {
            let text = format!(
                "its secret has the sensitivity `high`: tokens live at most {HIGH_TOKEN_LIFE_MAX_S} s"
            );
            line.remark = Some(text);
        }
    }

    /// Adds to the line about an existing capability which parameters requests have to give from here on.
    fn remark_required(&mut self, ground: &PlanContext<'_>, name: &CapabilityName) {
        let Some((_, new)) = self.moved.parameters.last().filter(|(changed, _)| changed == name) else {
            return;
        };
        let none = CapabilityParameters::default();
        let old = ground.registry.declarations().parameters_of(name).unwrap_or(&none);
        let required: Vec<String> = new.newly_required(old).map(|one| format!("`{one}`")).collect();
        let is_update = ground.capability(name).is_some() && !required.is_empty();
        if let Some(line) = self.changes.last_mut().filter(|_| is_update) {
            let names = required.join(", ");
            line.remark =
                Some(format!("requests without the newly required parameters are refused: {names}"));
        }
    }

    fn roles(&mut self, ground: &PlanContext<'_>, declaration: &Declaration, unnamed: Undeclared) {
        for (name, (new, _)) in &declaration.roles {
            if ground.work.step().is_err() {
                return;
            }
            let owner = self.owner(ground, declaration, Owned::Role(name.clone()));
            match ground.role(name) {
                Some(old) if old == new && owner.is_none() => continue,
                Some(old) => {
                    let capabilities =
                        ChangedValue::list("capabilities", &old.capabilities, &new.capabilities);
                    let values = capabilities.into_iter().chain(owner).collect();
                    self.note_values(Noun::Role, name.as_str(), values);
                }
                None => {
                    let owner = declaration.owners.get(&Owned::Role(name.clone()));
                    let capabilities =
                        ChangedValue::list("capabilities", &BTreeSet::new(), &new.capabilities);
                    self.note_created(Noun::Role, name.as_str(), capabilities.into_iter(), owner);
                }
            }
            self.roles.push(new.clone());
        }
        if unnamed == Undeclared::Prune {
            for old in ground.registry.declarations().roles().take_while(|_| ground.work.step().is_ok()) {
                if !declaration.roles.contains_key(&old.name) && ground.role(&old.name).is_some() {
                    self.note(Action::Remove, Noun::Role, old.name.as_str());
                    self.removed_roles.push(old.name.clone());
                }
            }
        }
    }

    fn agents(&mut self, ground: &PlanContext<'_>, declaration: &Declaration, unnamed: Undeclared) {
        for (name, (new, _)) in &declaration.agents {
            if ground.work.step().is_err() {
                return;
            }
            let serves = declaration.serving.get(name);
            let noun = noun_of(serves);
            let owner = self.owner(ground, declaration, Owned::Agent(name.clone()));
            let (old, person) = (ground.agent(name), declaration.persons.get(name));
            let values = changed_agent(old, new, serves, person);
            match old {
                Some(_) => {
                    let values: Vec<ChangedValue> = values.chain(owner).collect();
                    if values.is_empty() {
                        continue;
                    }
                    self.note_values(noun, name.as_str(), values);
                }
                None => {
                    let owner = declaration.owners.get(&Owned::Agent(name.clone()));
                    self.note_created(noun, name.as_str(), values, owner);
                }
            }
            self.agents.push((new.clone(), PlannedTies { serves: serves.cloned(), person: person.cloned() }));
        }
        if unnamed == Undeclared::Prune {
            for old in ground.registry.agents().take_while(|_| ground.work.step().is_ok()) {
                if !declaration.agents.contains_key(&old.name) && ground.agent(&old.name).is_some() {
                    self.note(Action::Remove, noun_of(old.serves.as_ref()), old.name.as_str());
                    self.removed_agents.push(old.name.clone());
                }
            }
        }
    }
}

impl Removals {
    /// The removals of `plan` from `registry`.
    #[must_use]
    pub fn of(registry: &Registry, plan: &Plan) -> Self {
        let declared = registry.declarations();
        let is_delivered_otherwise = |name: &CapabilityName, after: &Delivery| {
            declared.capability(name).is_some_and(|before| before.delivery != *after)
        };
        let changed = plan.capabilities.iter().filter(|one| is_delivered_otherwise(&one.name, &one.delivery));
        let capabilities = plan.removed_capabilities.iter().chain(changed.map(|one| &one.name));
        let none = BTreeSet::new();
        let kept = plan.roles.iter().map(|role| (&role.name, &role.capabilities));
        let kept: BTreeMap<_, _> = kept.chain(plan.removed_roles.iter().map(|name| (name, &none))).collect();
        let agents = plan.agents.iter().filter_map(|(spec, _)| {
            let before = &registry.agent_named(&spec.name)?.roles;
            let lost: BTreeSet<_> = before.difference(&spec.roles).cloned().collect();
            (!lost.is_empty()).then(|| (spec.name.clone(), lost))
        });
        let removals = Self {
            capabilities: capabilities.cloned().collect(),
            agents: agents.collect(),
            removed_agents: plan.removed_agents.iter().cloned().collect(),
            ..Self::default()
        };
        let loses =
            |role: &RoleName, name: &CapabilityName| kept.get(role).is_some_and(|kept| !kept.contains(name));
        removals.of_roles(declared, loses).with_ids(|name| registry.agent_named(name))
    }
}

impl Declarations {
    /// These declarations once `plan` has been carried out.
    #[must_use]
    pub fn after(&self, plan: &Plan) -> Self {
        let changed =
            self.changed(&plan.capabilities, &plan.removed_capabilities, &plan.roles, &plan.removed_roles);
        let changed = if plan.moved.environments.is_empty() {
            changed
        } else {
            changed.placed(&plan.moved.environments)
        };
        let changed =
            if plan.moved.instead.is_empty() { changed } else { changed.redirected(&plan.moved.instead) };
        if plan.moved.parameters.is_empty() { changed } else { changed.parametrised(&plan.moved.parameters) }
    }
}

const fn noun_of(serves: Option<&Audience>) -> Noun {
    if serves.is_some() { Noun::ResourceServer } else { Noun::Agent }
}

/// The values of a capability that are others in `new` than in `old`; all values of a new capability.
fn changed_capability(old: Option<&Capability>, new: &Capability) -> impl Iterator<Item = ChangedValue> {
    let access = |one: &Capability| one.access.as_str();
    let delivery = |one: &Capability| one.delivery.as_str();
    let (audience, secret) =
        (old.and_then(|old| old.delivery.audience()), old.and_then(|old| old.delivery.secret()));
    let changed = [
        ChangedValue::single("access", old.map(access), Some(access(new))),
        ChangedValue::single("delivery", old.map(delivery), Some(delivery(new))),
        ChangedValue::single("audience", audience, new.delivery.audience()),
        ChangedValue::single("secret", secret, new.delivery.secret()),
        ChangedValue::single("max_life_s", old.map(|old| old.max_life_s), Some(new.max_life_s)),
    ];
    changed.into_iter().flatten()
}

/// The values of an agent or a resource server, except its owner, that are others than in `old`; all values of a new one.
fn changed_agent(
    old: Option<&Agent>,
    new: &AgentSpec,
    serves: Option<&Audience>,
    person: Option<&Person>,
) -> impl Iterator<Item = ChangedValue> {
    let none = BTreeSet::new();
    let roles = old.map_or(&none, |old| &old.roles);
    let changed = [
        ChangedValue::list("roles", roles, &new.roles),
        ChangedValue::single("max_instances", old.map(|old| old.max_instances), Some(new.max_instances)),
        ChangedValue::single("audience", old.and_then(|old| old.serves.as_ref()), serves),
        ChangedValue::single("person", old.and_then(|old| old.person.as_ref()), person),
    ];
    changed.into_iter().flatten()
}

/// The field that a change is listed under: a delivery with its audience or its secret is one field.
fn field_of(kind: Noun, value: &ChangedValue) -> &str {
    match (kind, value.field.as_str()) {
        (Noun::Capability, "audience" | "secret") => "delivery",
        (Noun::Capability, field) if field.starts_with(PARAMETER_FIELD) => "parameters",
        (_, field) => field,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
