//! The declarations of a past time, as ledger entries say them: who held which role, and what it delivered.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::ledger::Kind;
use crate::registry::{AgentDeleted, AgentInvited, DeclarationsApplied, DeclarationsNarrowed};
use crate::store::Event as _;
use crate::wire::{ChangedValue, DeclaredKind, PlannedAction, PlannedChange};

/// Agents, roles and capabilities after some entries.
#[derive(Debug, Default)]
pub(super) struct DeclaredThen {
    /// The secret that each capability delivers.
    secrets: BTreeMap<String, Option<String>>,
    /// The capabilities of each role.
    roles: BTreeMap<String, BTreeSet<String>>,
    /// The roles of each agent.
    agents: BTreeMap<String, BTreeSet<String>>,
    /// Entries that do not say all values of their changes.
    pub(super) incomplete: Vec<u64>,
}

/// What an agent could read a secret by.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Access {
    pub(super) agent: String,
    pub(super) roles: Vec<String>,
    pub(super) capabilities: Vec<String>,
}

#[derive(Deserialize)]
struct Applied {
    changes: Vec<PlannedChange>,
    #[serde(default)]
    values_left_out: usize,
}

#[derive(Deserialize)]
struct Narrowed {
    capabilities: BTreeSet<String>,
    roles: BTreeMap<String, BTreeSet<String>>,
    agents: BTreeMap<String, BTreeSet<String>>,
    removed_agents: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Invited {
    agent: String,
    created_with: Option<BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Deleted {
    agent: String,
}

impl DeclaredThen {
    /// The names of the events that it follows.
    pub(super) const EVENTS: [&str; 4] =
        [DeclarationsApplied::NAME, DeclarationsNarrowed::NAME, AgentInvited::NAME, AgentDeleted::NAME];

    /// Follows the event of entry `seq`, which comes after those before. Other events change nothing.
    pub(super) fn follow(&mut self, seq: u64, kind: Kind, event: &[u8]) {
        let is_told = if kind == DeclarationsApplied::KIND {
            self.applied(event)
        } else if kind == DeclarationsNarrowed::KIND {
            self.narrowed(event)
        } else if kind == AgentInvited::KIND {
            self.invited(event)
        } else if kind == AgentDeleted::KIND {
            self.deleted(event)
        } else {
            Some(())
        };
        if is_told.is_none() {
            self.incomplete.push(seq);
        }
    }

    fn applied(&mut self, event: &[u8]) -> Option<()> {
        let Applied { changes, values_left_out } = serde_json::from_slice(event).ok()?;
        // All of them, also after one that cannot be followed.
        let followed: Vec<bool> = changes.iter().map(|change| self.follow_change(change)).collect();
        (values_left_out == 0 && followed.into_iter().all(|is_told| is_told)).then_some(())
    }

    /// Follows a change. Whether it says all of its values.
    fn follow_change(&mut self, change: &PlannedChange) -> bool {
        let kind = change.kind.as_ref();
        if kind == DeclaredKind::Capability.as_str() {
            self.capability(change)
        } else if kind == DeclaredKind::Role.as_str() {
            // A new role without capabilities may have no values.
            change_list(&mut self.roles, change, "capabilities");
            !is_hidden(change, "capabilities")
        } else if kind == DeclaredKind::Agent.as_str() {
            change_list(&mut self.agents, change, "roles");
            !is_hidden(change, "roles") && !is_bare(change)
        } else {
            true
        }
    }

    fn capability(&mut self, change: &PlannedChange) -> bool {
        let secret = value_of(change, "secret");
        if is(change, PlannedAction::Remove) {
            self.secrets.remove(&change.name);
        } else if secret.is_some() || is(change, PlannedAction::Create) {
            self.secrets.insert(change.name.clone(), secret.and_then(|secret| secret.to.clone()));
        }
        !is_hidden(change, "secret") && !is_bare(change)
    }

    fn narrowed(&mut self, event: &[u8]) -> Option<()> {
        let narrowed: Narrowed = serde_json::from_slice(event).ok()?;
        narrowed.capabilities.iter().for_each(|name| drop(self.secrets.remove(name)));
        self.roles.extend(narrowed.roles);
        self.agents.extend(narrowed.agents);
        narrowed.removed_agents.iter().for_each(|name| drop(self.agents.remove(name)));
        Some(())
    }

    fn invited(&mut self, event: &[u8]) -> Option<()> {
        let Invited { agent, created_with } = serde_json::from_slice(event).ok()?;
        if let Some(roles) = created_with {
            self.agents.insert(agent, roles);
        }
        Some(())
    }

    fn deleted(&mut self, event: &[u8]) -> Option<()> {
        let Deleted { agent } = serde_json::from_slice(event).ok()?;
        self.agents.remove(&agent);
        Some(())
    }

    /// The agents whose roles had a capability that delivers `secret`, by name.
    pub(super) fn with_access_to(&self, secret: &str) -> Vec<Access> {
        let delivers =
            |name: &&String| self.secrets.get(*name).is_some_and(|one| one.as_deref() == Some(secret));
        let mut found = Vec::new();
        for (agent, held) in &self.agents {
            let (mut roles, mut capabilities) = (Vec::new(), BTreeSet::new());
            for role in held {
                let of_role = self.roles.get(role).into_iter().flatten();
                let delivering: Vec<&String> = of_role.filter(delivers).collect();
                if !delivering.is_empty() {
                    roles.push(role.clone());
                    capabilities.extend(delivering.into_iter().cloned());
                }
            }
            if !roles.is_empty() {
                let capabilities = capabilities.into_iter().collect();
                found.push(Access { agent: agent.clone(), roles, capabilities });
            }
        }
        found
    }
}

fn is(change: &PlannedChange, action: PlannedAction) -> bool {
    change.action == action.as_str()
}

fn value_of<'c>(change: &'c PlannedChange, field: &str) -> Option<&'c ChangedValue> {
    change.values.iter().find(|value| value.field == field)
}

/// Whether the change is an update of the field that does not say its values.
fn is_hidden(change: &PlannedChange, field: &str) -> bool {
    change.fields.iter().any(|one| one == field) && value_of(change, field).is_none_or(is_empty)
}

/// Whether the change is a new object without values, which the entry left out.
fn is_bare(change: &PlannedChange) -> bool {
    is(change, PlannedAction::Create) && change.values.is_empty()
}

/// Changes the list of an object as the change says it.
fn change_list(lists: &mut BTreeMap<String, BTreeSet<String>>, change: &PlannedChange, field: &str) {
    if is(change, PlannedAction::Remove) {
        lists.remove(&change.name);
        return;
    }
    let list = lists.entry(change.name.clone()).or_default();
    if is(change, PlannedAction::Create) {
        list.clear();
    }
    if let Some(value) = value_of(change, field) {
        for item in &value.removed {
            list.remove(item);
        }
        list.extend(value.added.iter().cloned());
    }
}

/// Whether the value says nothing.
fn is_empty(value: &ChangedValue) -> bool {
    value.from.is_none() && value.to.is_none() && value.added.is_empty() && value.removed.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn followed(events: &[(Kind, Value)]) -> DeclaredThen {
        let mut then = DeclaredThen::default();
        for (seq, (kind, event)) in (1..).zip(events) {
            then.follow(seq, *kind, &serde_json::to_vec(event).unwrap());
        }
        then
    }

    fn access(then: &DeclaredThen) -> Vec<String> {
        let line =
            |one: &Access| format!("{}: {} ({})", one.agent, one.roles.join(","), one.capabilities.join(","));
        then.with_access_to("a/b").iter().map(line).collect()
    }

    fn applied(changes: &Value) -> (Kind, Value) {
        (DeclarationsApplied::KIND, json!({ "operator": "o", "changes": changes, "snapshot": "" }))
    }

    fn declared() -> (Kind, Value) {
        applied(&json!([
            { "action": "create", "kind": "capability", "name": "c", "values": [{ "field": "secret", "to": "a/b" }] },
            { "action": "create", "kind": "capability", "name": "d", "values": [{ "field": "audience", "to": "x" }] },
            { "action": "create", "kind": "role", "name": "r", "values": [{ "field": "capabilities", "added": ["c", "d"] }] },
            { "action": "create", "kind": "role", "name": "empty" },
            { "action": "create", "kind": "agent", "name": "x", "values": [{ "field": "roles", "added": ["r"] }] },
            { "action": "create", "kind": "rotation", "name": "a/b" },
        ]))
    }

    fn updated(kind: &str, name: &str, value: Value) -> (Kind, Value) {
        let field = value["field"].clone();
        applied(
            &json!([{ "action": "update", "kind": kind, "name": name, "fields": [field], "values": [value] }]),
        )
    }

    #[test]
    fn agents_have_access_by_the_entries_of_then() {
        let mut events = vec![declared()];
        let now = |events: &[(Kind, Value)]| {
            let then = followed(events);
            assert!(then.incomplete.is_empty(), "{:?}", then.incomplete);
            access(&then)
        };
        assert_eq!(now(&events), ["x: r (c)"]);
        events.push((AgentInvited::KIND, json!({ "agent": "y", "created_with": ["r", "empty"] })));
        events.push((AgentInvited::KIND, json!({ "agent": "x", "created_with": null })));
        assert_eq!(now(&events), ["x: r (c)", "y: r (c)"]);
        events.push(updated("agent", "x", json!({ "field": "roles", "removed": ["r"], "added": ["empty"] })));
        assert_eq!(now(&events), ["y: r (c)"]);
        events.push(updated("role", "empty", json!({ "field": "capabilities", "added": ["c"] })));
        assert_eq!(now(&events), ["x: empty (c)", "y: empty,r (c)"]);
        events.push(updated("capability", "c", json!({ "field": "secret", "from": "a/b", "to": "other" })));
        events.push(updated("capability", "d", json!({ "field": "secret", "to": "a/b" })));
        assert_eq!(now(&events), ["y: r (d)"]);
        events.push((AgentDeleted::KIND, json!({ "agent": "y" })));
        assert_eq!(now(&events), Vec::<String>::new());
        let narrowed = json!({
            "by": "o", "capabilities": [], "roles": { "empty": ["d"] }, "agents": {}, "removed_agents": [], "removed": {},
        });
        events.push((DeclarationsNarrowed::KIND, narrowed));
        assert_eq!(now(&events), ["x: empty (d)"]);
        events.push(applied(&json!([{ "action": "remove", "kind": "role", "name": "empty" }])));
        assert_eq!(now(&events), Vec::<String>::new());
    }

    #[test]
    fn an_entry_without_its_values_is_named() {
        let hidden = json!([{ "action": "update", "kind": "role", "name": "r", "fields": ["capabilities"] }]);
        let bare = json!([{ "action": "create", "kind": "agent", "name": "z" }]);
        let then = followed(&[declared(), applied(&hidden), applied(&bare), declared()]);
        assert_eq!(then.incomplete, [2, 3]);
    }
}
