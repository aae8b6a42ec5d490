use crate::wire::{
    AppliedAnswer, ChangedValue, LiveCounts, LossAnswer, PlannedAction, PlannedChange, WidenedAnswer,
};

/// The lines of a plan: its changes, the access that agents lose, and the access that they gain.
pub(super) fn lines(planned: &AppliedAnswer) -> impl Iterator<Item = String> {
    planned.changes.iter().map(line).chain(losses(planned)).chain(widening(planned))
}

pub(super) fn dry_run(changes: &[PlannedChange]) -> String {
    format!("dry run: {}", counts(changes))
}

pub(super) fn counts(changes: &[PlannedChange]) -> String {
    let count =
        |action: PlannedAction| changes.iter().filter(|change| change.action == action.as_str()).count();
    format!(
        "{} to add, {} to change, {} to remove",
        count(PlannedAction::Create),
        count(PlannedAction::Update),
        count(PlannedAction::Remove)
    )
}

fn line(change: &PlannedChange) -> String {
    let signs = [(PlannedAction::Create, '+'), (PlannedAction::Remove, '-'), (PlannedAction::Update, '~')];
    let known = signs.iter().find(|(action, _)| change.action == action.as_str());
    // A newer broker may have more actions.
    let sign = known.map_or_else(|| change.action.to_string(), |(_, sign)| sign.to_string());
    let fields = match (change.values.as_slice(), change.fields.as_slice()) {
        ([], []) => String::new(),
        ([], fields) => format!("  ({})", fields.join(", ")),
        (values, _) => {
            let is_new = change.action == PlannedAction::Create.as_str();
            let shown = if is_new { new_value } else { value };
            format!("  {}", values.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
    };
    let remark = change.remark.as_deref().filter(|remark| !remark.is_empty());
    let remark = remark.map_or_else(String::new, |remark| format!("  {remark}"));
    format!("{sign} {} {}{fields}{remark}", change.kind, change.name)
}

/// A value of a new object.
fn new_value(ChangedValue { field, to, added, .. }: &ChangedValue) -> String {
    match to {
        Some(to) => format!("{field}: {to}"),
        None if added.is_empty() => format!("{field} set"),
        None => format!("{field}: {}", added.join(" ")),
    }
}

fn value(changed: &ChangedValue) -> String {
    let ChangedValue { field, from, to, added, removed } = changed;
    let items = added.iter().map(|item| format!("+{item}"));
    let items: Vec<String> = items.chain(removed.iter().map(|item| format!("-{item}"))).collect();
    match (from, to) {
        (None, None) if items.is_empty() => format!("{field} changed"),
        (None, None) => format!("{field}: {}", items.join(" ")),
        (from, to) => {
            let [from, to] = [from, to].map(|value| value.as_deref().unwrap_or("none"));
            format!("{field}: {from} → {to}")
        }
    }
}

/// Lines about what becomes newly reachable.
fn widening(planned: &AppliedAnswer) -> Vec<String> {
    let Some(widening) = &planned.widening else { return Vec::new() };
    let mut lines = vec!["newly reachable (apply it with `--widen`):".to_owned()];
    lines.extend(widening.items.iter().map(widened));
    if widening.further > 0 {
        lines.push(format!("  {} more", widening.further));
    }
    if widening.others > 0 {
        lines.push(format!("  {} of other owners", widening.others));
    }
    lines
}

fn widened(one: &WidenedAnswer) -> String {
    let agent = one.agent.as_ref().map_or_else(|| "all agents".to_owned(), ToString::to_string);
    let environment = one.environment.as_ref().map_or_else(String::new, |one| format!(" in {one}"));
    let what = one.what.as_deref().unwrap_or_default();
    let cause = match one.cause.as_ref() {
        "rotation-redirected" => return format!("  secret {what}  its rotation has another upstream"),
        "secret-sent" => return format!("  secret {what}  a new rotation or lease sends it to its upstream"),
        "granted" => "granted".to_owned(),
        "policy-removed" => format!("policy {what} is removed"),
        "policy-changed" => format!("policy {what} changes, and may restrict less"),
        "facts-changed" => format!("the {what} changes, which policies test"),
        "longer-life" => "longer life".to_owned(),
        "parameter-loosened" => format!("the parameter {what} restricts less"),
        "delivered-otherwise" => "delivered in another way".to_owned(),
        // Of a newer broker.
        other => format!("{other} {what}"),
    };
    let capability = one.capability.as_ref();
    let capability = capability.map_or_else(|| "all capabilities".to_owned(), ToString::to_string);
    format!("  {agent}  {capability}{environment}  {cause}")
}

/// Lines about what agents lose.
fn losses(planned: &AppliedAnswer) -> Vec<String> {
    let Some(losses) = &planned.losses else { return Vec::new() };
    let mut lines = vec!["agents that lose access:".to_owned()];
    lines.extend(losses.items.iter().map(loss));
    let more = losses.agents.saturating_sub(losses.items.len());
    if more > 0 {
        lines.push(format!("  {}", counted(more, "more agent")));
    }
    if losses.other_agents > 0 {
        lines.push(format!("  {} of other owners", counted(losses.other_agents, "agent")));
    }
    lines.push(format!("  in total: {}", live(&losses.live)));
    if !losses.tokens_complete {
        lines.push("  only the newest ledger entries were read: there may be more tokens".to_owned());
    }
    lines
}

fn loss(loss: &LossAnswer) -> String {
    let lost = loss.capabilities.iter().map(|name| format!("-{name}"));
    let redelivered = loss.redelivered.iter().map(|name| format!("{name} (delivered in another way)"));
    let secrets = loss.secrets.iter().map(|name| format!("-secret {name}"));
    let others =
        [(loss.other_capabilities, "capability", "capabilities"), (loss.other_secrets, "secret", "secrets")];
    let others = others.into_iter().filter(|(count, ..)| *count > 0).map(|(count, one, several)| {
        format!("-{count} {} of other owners", if count == 1 { one } else { several })
    });
    let lost: Vec<String> = lost.chain(redelivered).chain(secrets).chain(others).collect();
    let removed = if loss.removed { " (removed)" } else { "" };
    let lost = if lost.is_empty() { String::new() } else { format!("  {}", lost.join(" ")) };
    format!("  {}{removed}  {}{lost}", loss.agent, live(&loss.live))
}

fn live(LiveCounts { instances, tokens, leases }: &LiveCounts) -> String {
    let counts = [(*instances, "live instance"), (*tokens, "token"), (*leases, "lease")];
    counts.map(|(count, noun)| counted(count, noun)).join(", ")
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn change_of_a_newer_broker_is_shown() {
        let shown = |change| line(&serde_json::from_value(change).unwrap());
        let known =
            json!({ "action": "update", "kind": "resource-server", "name": "a", "fields": ["audience"] });
        assert_eq!(shown(known), "~ resource-server a  (audience)", "of an older broker");
        let valued = json!({ "action": "update", "kind": "role", "name": "a", "fields": ["x"], "values": [
            { "field": "capabilities", "added": ["b"], "removed": ["c"] },
            { "field": "owner", "to": "red" },
            { "field": "upstream.ca" },
        ] });
        assert_eq!(shown(valued), "~ role a  capabilities: +b -c, owner: none → red, upstream.ca changed");
        let created = json!({ "action": "create", "kind": "agent", "name": "a", "values": [
            { "field": "roles", "added": ["b", "c"] },
            { "field": "max_instances", "to": "2" },
            { "field": "upstream.ca" },
        ] });
        assert_eq!(shown(created), "+ agent a  roles: b c, max_instances: 2, upstream.ca set");
        let newer = json!({ "action": "adopt", "kind": "queue", "name": "a", "remark": "of tomorrow" });
        assert_eq!(shown(newer), "adopt queue a  of tomorrow");
    }
}
