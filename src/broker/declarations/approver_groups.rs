use super::present::{Present, foreign, owner_changed};
use super::section::SectionContext;
use crate::base::{ApproverGroupName, OwnerName, length_text, near_texts};
use crate::config::{FaultMessage, Faults};
use crate::registry::{Action, ChangedValue, Noun, PlannedChange, Undeclared};
use crate::rules::{ApproverGroup, DeclaredRules, GroupsChange, Policy, PolicyOutcome, Rules};

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
                    let mut values = changed_values(None, new);
                    values.extend(owner_changed(None, new.owner.as_ref()));
                    planned.lines.push(PlannedChange { values, ..change });
                }
                Present::Foreign => {
                    faults.tell(*place, foreign());
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
        values.extend(changed_values(Some(old), new));
        let fields = values.iter().map(|value| value.field.clone()).collect();
        let change = PlannedChange::new(Action::Update, Noun::ApproverGroup, new.name.as_str());
        self.lines.push(PlannedChange { fields, values, ..change });
    }
}

/// The values apart from the owner in which `new` differs from `old`; all of a new group.
fn changed_values(old: Option<&ApproverGroup>, new: &ApproverGroup) -> Vec<ChangedValue> {
    let before = old.map(|group| group.operators.clone()).unwrap_or_default();
    let owner = |group: &ApproverGroup| group.operators_of.clone();
    let after = |group: &ApproverGroup| group.escalation.as_ref().map(|one| length_text(one.after_s));
    let to = |group: &ApproverGroup| group.escalation.as_ref().map(|one| one.to.clone());
    let values = [
        ChangedValue::list("operators", &before, &new.operators),
        ChangedValue::single("operators_of", old.and_then(owner), owner(new)),
        ChangedValue::single("escalate_after", old.and_then(after), after(new)),
        ChangedValue::single("escalate_to", old.and_then(to), to(new)),
    ];
    values.into_iter().flatten().collect()
}

/// Checks that each policy and each group that is declared anew names groups that exist afterwards and that it can name, that
/// their operators can meet the quorum, and that no group is removed that a policy or group still names.
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
        } else if let Some(message) = after.group(name).and_then(|group| unmeetable(policy, group, "")) {
            faults.tell(*place, message);
        }
    }
    for (group, place) in declared.groups.values() {
        let unnamed = |policy: &&Policy| {
            !declared.policies.contains_key(&policy.name) && ground.scope.covers(policy.owner.as_ref())
        };
        let stays = after.policies().filter(|one| one.rule.approvers() == Some(&group.name)).filter(unnamed);
        for policy in stays {
            if let Some(message) = unmeetable(policy, group, &format!(" of policy `{}`", policy.name)) {
                faults.tell(*place, message);
            }
        }
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
            let by = if ground.scope.covers(owner) {
                FaultMessage::from(by)
            } else {
                FaultMessage::foreign("an object of another owner")
            };
            let message = by.map(|by| {
                let name = &removed.name;
                format!("group of approvers `{name}` cannot be removed: {by} names it; change that first")
            });
            faults.tell(crate::config::SourcePosition::UPLOAD, message);
        }
    }
}

/// The fault if the quorum of `policy` is greater than the number of operators that `group` can have.
fn unmeetable(policy: &Policy, group: &ApproverGroup, of: &str) -> Option<String> {
    let PolicyOutcome::NeedsApproval { demand, .. } = policy.rule.outcome() else { return None };
    let has_others = group.operators_of.is_some() || group.escalation.is_some();
    let (quorum, count) = (demand.quorum, group.operators.len());
    if has_others || usize::try_from(quorum).is_ok_and(|quorum| quorum <= count) {
        return None;
    }
    let (name, noun) = (&group.name, if count == 1 { "operator" } else { "operators" });
    Some(format!(
        "the quorum{of} is {quorum}, and group `{name}` has {count} {noun}: lower the quorum or add operators"
    ))
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
