use std::collections::BTreeSet;

use crate::base::{ApprovalDemand, DemandKind};
use crate::registry::ChangedValue;
use crate::rules::{Action, HeadDescription, Policy, PolicyOutcome};

/// The values of a new policy, as a plan shows them: its effect, and the requests that its head can match.
pub(super) fn policy_values(policy: &Policy) -> Vec<ChangedValue> {
    let HeadDescription { actions, principal, resource } = policy.rule.described_head();
    let actions: BTreeSet<&str> = actions.into_iter().map(Action::as_str).collect();
    let values = [
        ChangedValue::single("effect", None, Some(effect_of(&policy.rule.outcome()))),
        ChangedValue::list("actions", &BTreeSet::new(), &actions),
        ChangedValue::single("principal", None, principal),
        ChangedValue::single("resource", None, resource),
    ];
    values.into_iter().flatten().collect()
}

fn effect_of(outcome: &PolicyOutcome) -> String {
    match outcome {
        PolicyOutcome::Denied => "deny".to_owned(),
        PolicyOutcome::Failed => "unreadable: deny".to_owned(),
        PolicyOutcome::Limited { max_s } => format!("limit life to {max_s} s"),
        PolicyOutcome::NeedsApproval { demand, max_s } => {
            let life = max_s.map_or_else(String::new, |max_s| format!(" (life at most {max_s} s)"));
            format!("{}{life}", approval_of(demand))
        }
    }
}

fn approval_of(ApprovalDemand { kind, group, quorum }: &ApprovalDemand) -> String {
    match (kind, group) {
        (DemandKind::Confirmation, _) => "need confirmation by the person for whom the agent acts".to_owned(),
        (DemandKind::Approval, Some(group)) => format!("need approval by {quorum} of `{group}`"),
        (DemandKind::Approval, None) => format!("need approval by {quorum} of all approvers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rule;

    fn shown(text: &str) -> Vec<String> {
        let rule = Rule::declared(text).unwrap();
        let policy = Policy { name: "p".parse().unwrap(), rule, owner: None };
        let line = |value: ChangedValue| match value.to {
            Some(to) => format!("{} = {to}", value.field),
            None => format!("{} = {}", value.field, value.added.join(", ")),
        };
        policy_values(&policy).into_iter().map(line).collect()
    }

    #[test]
    fn new_policy_is_shown_with_its_effect_and_head() {
        let head = "forbid (principal, action == Keyward::Action::\"token\", \
                    resource in Keyward::Environment::\"production\");";
        let lines = |effect: &str| {
            [
                format!("effect = {effect}"),
                "actions = token".to_owned(),
                "resource = environment production".to_owned(),
            ]
        };
        assert_eq!(shown(head), lines("deny"));
        assert_eq!(shown(&format!("@max_ttl(\"5m\") {head}")), lines("limit life to 300 s"));
        let approval = "@decision(\"require_approval\") @approvers(\"leads\") @quorum(\"2\")";
        assert_eq!(shown(&format!("{approval} {head}")), lines("need approval by 2 of `leads`"));
    }
}
