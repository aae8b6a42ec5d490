use std::collections::{BTreeMap, BTreeSet};

use super::approver_groups::{PlannedGroups, check_named};
use super::policy_parameters::check_parameters;
use super::policy_values::policy_values;
use super::present::{Present, foreign, owner_changed};
use super::section::{Effects, Section, SectionContext, SectionFailure, SectionPlan};
use crate::base::limits::{
    APPROVER_GROUPS_MAX, ENVIRONMENTS_MAX, OWNER_APPROVER_GROUPS_MAX, OWNER_ENVIRONMENTS_MAX,
    OWNER_POLICIES_MAX, POLICIES_MAX,
};
use crate::base::{AgentName, CapabilityName, EnvironmentName, OwnerName, RoleName, Scope, near_texts};
use crate::broker::owners::new_owners;
use crate::broker::world::{Effect, World};
use crate::config::{FaultList, FaultMessage, Faults, SourcePosition, Tables};
use crate::crypto::{Digest, sha256};
use crate::registry::{Action, AgentKind, ChangedValue, Noun, Owned, PlannedChange, Undeclared};
use crate::rules::{self, DeclaredRules, Environment, NamedEntity, Policy, RulesChange};

/// Policies and environments.
pub(super) struct RulesSection(DeclaredRules);

impl Section for RulesSection {
    const TABLES: &'static [&'static str] = rules::TABLES;
    const NEEDS_EARLIER: bool = true;

    fn read(tables: &mut Tables<'_>, scope: &Scope) -> Result<Self, FaultList> {
        rules::parse(tables, scope).map(Self)
    }

    fn environments(&self, ground: &SectionContext<'_>) -> BTreeSet<EnvironmentName> {
        let stays = |one: &&Environment| match &one.owner {
            owner if ground.scope.covers(owner.as_ref()) => ground.rules.unnamed == Undeclared::Keep,
            // Every operator can name an environment without an owner.
            owner => owner.is_none(),
        };
        let kept = ground.world.rules().environments().filter(stays).map(|one| &one.name);
        kept.chain(self.0.environments.keys()).cloned().collect()
    }

    fn plan(&self, ground: &SectionContext<'_>, drawn: &mut SectionPlan) -> Result<Effects, SectionFailure> {
        let mut planned = PlannedRules::default();
        let mut faults = ground.faults();
        planned.environments(ground, &self.0, &mut faults);
        planned.policies(ground, &self.0, drawn, &mut faults);
        let groups = PlannedGroups::of(ground, &self.0, &mut faults);
        let after = ground.world.rules().after(&planned.change, &groups.change);
        check_named(ground, &self.0, &after, &mut faults);
        check_parameters(ground, &self.0, drawn, &after, &mut faults);
        still_named(ground, drawn, &planned.change.removed_environments, &mut faults);
        let (policies, environments) = (
            after.policies().map(|one| one.owner.as_ref()),
            after.environments().map(|one| one.owner.as_ref()),
        );
        OF_POLICIES.check(policies, &mut faults);
        OF_ENVIRONMENTS.check(environments, &mut faults);
        OF_GROUPS.check(after.groups().map(|one| one.owner.as_ref()), &mut faults);
        let (mut planned, mut groups) = faults.or((planned, groups))?;
        let of_groups = groups.change.groups.iter().filter_map(|one| one.owner.as_ref());
        let named: BTreeSet<&OwnerName> = planned.owners().chain(of_groups).collect();
        let new = new_owners(ground.world, &named);
        let new = new.into_iter().filter(|one| drawn.new_owners.iter().all(|known| known.name != one.name));
        let new: Vec<_> = new.collect();
        drawn.new_owners.extend(new);
        drawn.after.rules = after;
        drawn.changes.append(&mut groups.lines);
        drawn.changes.append(&mut planned.lines);
        drawn.replaced.append(&mut planned.replaced);
        let (change, groups) = (planned.change, groups.change);
        Ok(Box::new(move |mut draft, _| {
            if !groups.is_empty() {
                draft = draft.effect(Effect::Rules(rules::Effect::DeclareGroups(groups)));
            }
            if !change.is_empty() {
                draft = draft.effect(Effect::Rules(rules::Effect::Declare(change)));
            }
            draft
        }))
    }
}

/// How many objects of one kind there can be.
struct ObjectLimit {
    /// The kind, in the plural.
    noun: &'static str,
    all: usize,
    of_owner: usize,
}

const OF_POLICIES: ObjectLimit =
    ObjectLimit { noun: "policies", all: POLICIES_MAX, of_owner: OWNER_POLICIES_MAX };
const OF_ENVIRONMENTS: ObjectLimit =
    ObjectLimit { noun: "environments", all: ENVIRONMENTS_MAX, of_owner: OWNER_ENVIRONMENTS_MAX };

const OF_GROUPS: ObjectLimit = ObjectLimit {
    noun: "groups of approvers",
    all: APPROVER_GROUPS_MAX,
    of_owner: OWNER_APPROVER_GROUPS_MAX,
};

impl ObjectLimit {
    /// Checks the number of objects, which have these owners. No message has the number of all: an operator with an owner
    /// does not see the others.
    fn check<'o>(&self, owners: impl Iterator<Item = Option<&'o OwnerName>>, faults: &mut Faults<'_>) {
        let Self { noun, all, of_owner } = self;
        let mut counts: BTreeMap<Option<&OwnerName>, usize> = BTreeMap::new();
        for owner in owners {
            let count = counts.entry(owner).or_default();
            *count = count.saturating_add(1);
        }
        if counts.values().sum::<usize>() > *all {
            let message = format!("there would be more than {all} {noun} of all owners: remove some");
            faults.tell(SourcePosition::UPLOAD, message);
        }
        for (owner, count) in counts.iter().filter_map(|(owner, count)| Some(((*owner)?, count))) {
            if count > of_owner {
                let message = format!(
                    "owner `{owner}` would have {count} {noun}, and can have {of_owner}: remove some"
                );
                faults.tell(SourcePosition::UPLOAD, message);
            }
        }
    }
}

/// Environments that are removed although a capability stays in them.
fn still_named(
    ground: &SectionContext<'_>,
    drawn: &SectionPlan,
    removed: &[EnvironmentName],
    faults: &mut Faults<'_>,
) {
    for environment in removed {
        let mut places = drawn.after.declarations.environments();
        let Some((capability, _)) = places.find(|(_, one)| *one == environment) else { continue };
        let owner = ground.world.registry.owners().of(&Owned::Capability(capability.clone()));
        let named = if ground.scope.covers(owner) {
            FaultMessage::from(format!("capability `{capability}` names it"))
        } else {
            FaultMessage::foreign("a capability of another owner names it")
        };
        let message = named.map(|named| {
            format!("environment `{environment}` cannot be removed: {named}; change the capability first")
        });
        faults.tell(SourcePosition::UPLOAD, message);
    }
}

/// The changes of an application to policies and environments.
#[derive(Default)]
struct PlannedRules {
    lines: Vec<PlannedChange>,
    /// The present declarations of what it changes and removes.
    replaced: Vec<Digest>,
    change: RulesChange,
}

impl PlannedRules {
    fn owners(&self) -> impl Iterator<Item = &OwnerName> {
        let policies = self.change.policies.iter().filter_map(|one| one.owner.as_ref());
        policies.chain(self.change.environments.iter().filter_map(|one| one.owner.as_ref()))
    }

    fn note(&mut self, action: Action, kind: Noun, name: &str) {
        self.lines.push(PlannedChange::new(action, kind, name));
    }

    fn environments(
        &mut self,
        ground: &SectionContext<'_>,
        declared: &DeclaredRules,
        faults: &mut Faults<'_>,
    ) {
        for (name, (new, place)) in &declared.environments {
            let found = ground.world.rules().environment(name);
            match Present::of(ground, found, found.and_then(|one| one.owner.as_ref())) {
                Present::Own(old) if old == new => continue,
                Present::Own(old) => {
                    let values: Vec<_> = owner_changed(old.owner.as_ref(), new.owner.as_ref());
                    self.note_values(Noun::Environment, name.as_str(), Vec::new(), values);
                }
                Present::Absent => {
                    self.note_created(Noun::Environment, name.as_str(), Vec::new(), new.owner.as_ref());
                }
                Present::Foreign => {
                    faults.tell(*place, foreign());
                    continue;
                }
            }
            self.change.environments.push(new.clone());
        }
        if ground.rules.unnamed == Undeclared::Prune {
            for old in ground.world.rules().environments() {
                if ground.scope.covers(old.owner.as_ref()) && !declared.environments.contains_key(&old.name) {
                    self.note(Action::Remove, Noun::Environment, old.name.as_str());
                    self.change.removed_environments.push(old.name.clone());
                }
            }
        }
    }

    fn policies(
        &mut self,
        ground: &SectionContext<'_>,
        declared: &DeclaredRules,
        drawn: &SectionPlan,
        faults: &mut Faults<'_>,
    ) {
        let names = ExistingNames { ground, drawn };
        for (name, (new, place)) in &declared.policies {
            if ground.work.step().is_err() {
                return;
            }
            let found = ground.world.rules().policy(name);
            let present = Present::of(ground, found, found.and_then(|one| one.owner.as_ref()));
            // A rule that stays as it is can name objects that were removed since.
            if !matches!(&present, Present::Own(old) if old.rule == new.rule) {
                new.rule.names().iter().filter_map(|named| names.missing(named)).for_each(|message| {
                    faults.tell(*place, message);
                });
            }
            match present {
                Present::Own(old) if old == new => continue,
                Present::Own(old) => {
                    let fields = if old.rule == new.rule { Vec::new() } else { vec!["rule".to_owned()] };
                    let values = owner_changed(old.owner.as_ref(), new.owner.as_ref());
                    self.note_values(Noun::Policy, name.as_str(), fields, values);
                    self.replaced.push(sha256(old.rule.text().as_bytes()));
                }
                Present::Absent => {
                    let values = policy_values(new);
                    self.note_created(Noun::Policy, name.as_str(), values, new.owner.as_ref());
                }
                Present::Foreign => {
                    faults.tell(*place, foreign());
                    continue;
                }
            }
            self.change.policies.push(new.clone());
        }
        if ground.rules.unnamed == Undeclared::Prune {
            for old in ground.world.rules().policies().take_while(|_| ground.work.step().is_ok()) {
                if ground.scope.covers(old.owner.as_ref()) && !declared.policies.contains_key(&old.name) {
                    self.remove(old);
                }
            }
        }
    }

    fn remove(&mut self, policy: &Policy) {
        self.note(Action::Remove, Noun::Policy, policy.name.as_str());
        self.replaced.push(sha256(policy.rule.text().as_bytes()));
        self.change.removed_policies.push(policy.name.clone());
    }

    fn note_created(
        &mut self,
        kind: Noun,
        name: &str,
        mut values: Vec<ChangedValue>,
        owner: Option<&OwnerName>,
    ) {
        values.extend(owner_changed(None, owner));
        let change = PlannedChange::new(Action::Create, kind, name);
        self.lines.push(PlannedChange { values, ..change });
    }

    fn note_values(&mut self, kind: Noun, name: &str, mut fields: Vec<String>, values: Vec<ChangedValue>) {
        fields.extend(values.iter().map(|value| value.field.clone()));
        let change = PlannedChange::new(Action::Update, kind, name);
        self.lines.push(PlannedChange { fields, values, ..change });
    }
}

/// The objects that a rule can name: those after the application that are within the operator's scope.
struct ExistingNames<'a> {
    ground: &'a SectionContext<'a>,
    drawn: &'a SectionPlan,
}

impl ExistingNames<'_> {
    const fn world(&self) -> &World {
        self.ground.world
    }

    fn reaches(&self, thing: &Owned) -> bool {
        self.ground.scope.covers(self.world().registry.owners().of(thing))
    }

    /// Whether the plan creates this object. A plan that hides names of other owners says so of their names, too.
    fn is_created(&self, kind: Noun, name: &str) -> bool {
        let is_it = |change: &PlannedChange| {
            change.action == Action::Create.as_str() && change.kind == kind.as_str() && change.name == name
        };
        self.drawn.changes.iter().any(is_it)
    }

    /// The fault if there is no object of this name.
    fn missing(&self, named: &NamedEntity) -> Option<String> {
        let (noun, name, near) = match named {
            NamedEntity::Agent(name) => {
                if name.parse().is_ok_and(|name| self.has_agent(&name)) {
                    return None;
                }
                let known = self.world().registry.agents().filter(|one| self.has_agent(&one.name));
                ("agent", name, near(name, known.map(|one| one.name.as_str())))
            }
            NamedEntity::Role(name) => {
                if name.parse().is_ok_and(|name| self.has_role(&name)) {
                    return None;
                }
                let known = self.drawn.after.declarations.roles().filter(|one| self.has_role(&one.name));
                ("role", name, near(name, known.map(|one| one.name.as_str())))
            }
            NamedEntity::Capability(name) => {
                if name.parse().is_ok_and(|name| self.has_capability(&name)) {
                    return None;
                }
                let known = self.drawn.after.declarations.capabilities();
                let known = known.filter(|one| self.has_capability(&one.name));
                ("capability", name, near(name, known.map(|one| one.name.as_str())))
            }
            NamedEntity::Environment(name) => {
                let known = &self.drawn.announced.environments;
                if name.parse().is_ok_and(|name: EnvironmentName| known.contains(&name)) {
                    return None;
                }
                ("environment", name, near(name, known.iter().map(EnvironmentName::as_str)))
            }
        };
        let name = name.escape_debug();
        let whose = match self.ground.scope {
            Scope::Everything => "is not declared".to_owned(),
            Scope::Owner(owner) => format!("is not among the objects of owner `{owner}`"),
        };
        Some(format!("the rule names {noun} `{name}`, which {whose}{near}"))
    }

    fn has_agent(&self, name: &AgentName) -> bool {
        if self.drawn.removals.removed_agents.contains(name) {
            return false;
        }
        let known = self.world().registry.agent_named(name).filter(|one| one.kind() == AgentKind::Agent);
        match known {
            Some(_) => {
                self.reaches(&Owned::Agent(name.clone())) || self.is_created(Noun::Agent, name.as_str())
            }
            None => self.drawn.agent_roles.contains_key(name),
        }
    }

    fn has_role(&self, name: &RoleName) -> bool {
        let is_new = || self.world().registry.declarations().role(name).is_none();
        self.drawn.after.declarations.role(name).is_some()
            && (is_new()
                || self.reaches(&Owned::Role(name.clone()))
                || self.is_created(Noun::Role, name.as_str()))
    }

    fn has_capability(&self, name: &CapabilityName) -> bool {
        let is_new = || self.world().registry.declarations().capability(name).is_none();
        self.drawn.after.declarations.capability(name).is_some()
            && (is_new()
                || self.reaches(&Owned::Capability(name.clone()))
                || self.is_created(Noun::Capability, name.as_str()))
    }
}

/// The end of a message: the most similar name.
fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match near_texts(name, known).first() {
        Some(near) => format!(": did you mean `{near}`?"),
        None => ": declare it, or correct the name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Cancellation;

    #[test]
    fn so_many_policies_and_environments_can_be_declared() {
        let (work, payments) = (Cancellation::new(), "payments".parse().unwrap());
        for (owner, max, limits) in [
            (None, POLICIES_MAX, OF_POLICIES),
            (None, ENVIRONMENTS_MAX, OF_ENVIRONMENTS),
            (Some(&payments), OWNER_POLICIES_MAX, OF_POLICIES),
            (Some(&payments), OWNER_ENVIRONMENTS_MAX, OF_ENVIRONMENTS),
            (None, APPROVER_GROUPS_MAX, OF_GROUPS),
            (Some(&payments), OWNER_APPROVER_GROUPS_MAX, OF_GROUPS),
        ] {
            for (count, is_accepted) in [(max, true), (max + 1, false)] {
                let mut faults = Faults::of(&[], &work);
                limits.check(std::iter::repeat_n(owner, count), &mut faults);
                assert_eq!(faults.or(()).is_ok(), is_accepted, "{count}");
            }
        }
    }
}
