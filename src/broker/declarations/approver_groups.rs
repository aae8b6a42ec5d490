use super::present::{FOREIGN, Present, owner_changed};
use super::section::SectionContext;
use crate::base::{ApproverGroupName, OwnerName, length_text, near_texts};
use crate::config::Faults;
use crate::registry::{Action, ChangedValue, Noun, PlannedChange, Undeclared};
use crate::rules::{ApproverGroup, DeclaredRules, GroupsChange, Policy, Rules};

/// The changes of an application to groups of approvers.
#[derive(Default)]
pub(super) struct PlannedGroups {
    pub(super) lines: Vec<PlannedChange>,
    pub(super) change: GroupsChange,
}

impl PlannedGroups {
    pub(super) fn of(ground: &SectionContext<'_>, declared: &DeclaredRules, faults: &mut Faults<'_>) -> Self {
        let mut planned = Self::default();
        for (name, (new, place)) in &declared.groups {
            let found = ground.world.rules().group(name);
            match Present::of(ground, found, found.and_then(|one| one.owner.as_ref())) {
                Present::Own(old) if old == new => continue,
                Present::Own(old) => planned.note_changed(old, new),
                Present::Absent => {
                    let change = PlannedChange::new(Action::Create, Noun::ApproverGroup, name.as_str());
                    let values = owner_changed(None, new.owner.as_ref());
                    planned.lines.push(PlannedChange { values, ..change });
                }
                Present::Foreign => {
                    faults.tell(*place, FOREIGN);
                    continue;
                }
            }
            planned.change.groups.push(new.clone());
        }
        if ground.rules.unnamed == Undeclared::Prune {
            for old in ground.world.rules().groups() {
                if ground.scope.covers(old.owner.as_ref()) && !declared.groups.contains_key(&old.name) {
                    let change = PlannedChange::new(Action::Remove, Noun::ApproverGroup, old.name.as_str());
                    planned.lines.push(change);
                    planned.change.removed.push(old.name.clone());
                }
            }
        }
        planned
    }

    fn note_changed(&mut self, old: &ApproverGroup, new: &ApproverGroup) {
        let mut values = owner_changed(old.owner.as_ref(), new.owner.as_ref());
        values.extend(ChangedValue::list("operators", &old.operators, &new.operators));
        values.extend(ChangedValue::single(
            "operators_of",
            old.operators_of.as_ref(),
            new.operators_of.as_ref(),
        ));
        let after = |group: &ApproverGroup| group.escalation.as_ref().map(|one| length_text(one.after_s));
        let to = |group: &ApproverGroup| group.escalation.as_ref().map(|one| one.to.clone());
        values.extend(ChangedValue::single("escalate_after", after(old).as_ref(), after(new).as_ref()));
        values.extend(ChangedValue::single("escalate_to", to(old).as_ref(), to(new).as_ref()));
        let fields = values.iter().map(|value| value.field.clone()).collect();
        let change = PlannedChange::new(Action::Update, Noun::ApproverGroup, new.name.as_str());
        self.lines.push(PlannedChange { fields, values, ..change });
    }
}

/// Checks that each policy and each group that is declared anew names groups that exist afterwards and that it can name, and
/// that no group is removed that a policy or group still names.
pub(super) fn check_named(
    ground: &SectionContext<'_>,
    declared: &DeclaredRules,
    after: &Rules,
    faults: &mut Faults<'_>,
) {
    for (policy, place) in declared.policies.values() {
        let Some(name) = policy.rule.approvers() else { continue };
        if let Some(message) = missing(ground, after, policy.owner.as_ref(), name) {
            faults.tell(*place, format!("the rule names group of approvers `{name}`, which {message}"));
        }
    }
    for (group, place) in declared.groups.values() {
        let Some(escalation) = &group.escalation else { continue };
        if let Some(message) = missing(ground, after, group.owner.as_ref(), &escalation.to) {
            faults.tell(
                *place,
                format!("`escalate_to` names group of approvers `{}`, which {message}", escalation.to),
            );
        }
    }
    for removed in ground.world.rules().groups().filter(|one| after.group(&one.name).is_none()) {
        let names_it = |policy: &&Policy| policy.rule.approvers() == Some(&removed.name);
        let by = after
            .policies()
            .find(names_it)
            .map(|policy| (policy.owner.as_ref(), format!("policy `{}`", policy.name)));
        let escalates =
            |group: &&ApproverGroup| group.escalation.as_ref().is_some_and(|one| one.to == removed.name);
        let by = by.or_else(|| {
            let group = after.groups().find(escalates)?;
            Some((group.owner.as_ref(), format!("group of approvers `{}`", group.name)))
        });
        if let Some((owner, by)) = by {
            let by = if ground.scope.covers(owner) { by } else { "an object of another owner".to_owned() };
            let message = format!(
                "group of approvers `{}` cannot be removed: {by} names it; change that first",
                removed.name
            );
            faults.tell(crate::config::SourcePosition::UPLOAD, message);
        }
    }
}

/// The end of a fault if an object of `owner` cannot name the group.
fn missing(
    ground: &SectionContext<'_>,
    after: &Rules,
    owner: Option<&OwnerName>,
    name: &ApproverGroupName,
) -> Option<String> {
    let is_nameable = |group: &&ApproverGroup| owner.is_none() || group.owner.as_ref() == owner;
    if after.group(name).filter(is_nameable).is_some() {
        return None;
    }
    let known = after.groups().filter(|one| is_nameable(one) && ground.scope.covers(one.owner.as_ref()));
    let near = near_texts(name.as_str(), known.map(|one| one.name.as_str()));
    let near = match near.first() {
        Some(near) => format!(": did you mean `{near}`?"),
        None => ": declare it, or correct the name".to_owned(),
    };
    Some(match owner.or_else(|| ground.scope.owner()) {
        Some(owner) => format!("is not among the objects of owner `{owner}`{near}"),
        None => format!("is not declared{near}"),
    })
}
