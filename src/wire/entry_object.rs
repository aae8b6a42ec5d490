//! The actor and the object of a ledger entry, as tables and timelines show them.

use std::collections::BTreeSet;

use serde_json::Value;

/// The fields that name an actor, the most telling first.
const ACTORS: [&str; 3] = ["by", "operator", "agent"];

/// The fields of events that name an object, the most telling first, each with the noun before its value. A test compares
/// them with the fields of all events.
const FIELDS: [(&str, &str); 25] = [
    ("capabilities", ""),
    ("secret", ""),
    ("agent", ""),
    ("operator", ""),
    ("capability", ""),
    ("right", ""),
    ("code", ""),
    ("instance", ""),
    ("serial", ""),
    ("token", ""),
    ("id", ""),
    ("trust_domain", ""),
    ("names", ""),
    ("generation", "generation "),
    ("generations", "generations "),
    ("added", "added "),
    ("removed", "removed "),
    ("login", ""),
    ("logins", ""),
    ("what", ""),
    ("upstream", ""),
    ("agents", ""),
    ("peer", ""),
    ("count", ""),
    ("filter", ""),
];

/// Most names of a list that are shown.
const NAMES_SHOWN: usize = 3;

/// The actor of `event`; empty if the broker acted by itself.
#[must_use]
pub fn actor_of(event: &Value) -> String {
    actor(event).map(|(_, text)| text).unwrap_or_default()
}

/// The object of `event`: what the actor did something to.
#[must_use]
pub fn object_of(event: &Value) -> String {
    object(event, actor(event).map(|(field, _)| field))
}

/// The field that names the actor, with its text.
fn actor(event: &Value) -> Option<(&'static str, String)> {
    // The caller with a used enrolment code is unknown: the agent or operator is the one that the code was for.
    if event.get("other_key").is_some() {
        return Some(("peer", text_of(event, "peer")?));
    }
    ACTORS.iter().find_map(|field| Some((*field, text_of(event, field)?)))
}

/// The object of `event`; `actor` is the field that names the actor, which is not the object.
fn object(event: &Value, actor: Option<&str>) -> String {
    let subject = event.get("subject").filter(|subject| subject.is_object());
    if let Some(subject) = subject {
        let agent = text_of(event, "agent").filter(|_| actor != Some("agent"));
        let holder = agent.or_else(|| text_of(event, "operator").filter(|_| actor != Some("operator")));
        return with_holder(named(subject), holder);
    }
    // The object of a refused request, e.g. `secret/github/app`.
    if let Some(Value::String(subject)) = event.get("subject") {
        let holder = text_of(event, "agent").filter(|_| actor != Some("agent"));
        return with_holder(subject.clone(), holder);
    }
    if let Some(Value::Array(callers)) = event.get("callers") {
        return shortened(callers.iter().map(refused).collect());
    }
    if let Some(Value::Array(things)) = ["changes", "found"].iter().find_map(|field| event.get(*field)) {
        return shortened(things.iter().map(named).collect());
    }
    if event.get("removed").is_some_and(Value::is_object) {
        return shortened(narrowed(event));
    }
    if let Some(lease) = text_of(event, "lease") {
        let capability = text_of(event, "capability").map_or_else(String::new, |name| format!("{name} "));
        let holder = text_of(event, "agent").filter(|_| actor != Some("agent"));
        return with_holder(format!("{capability}{lease}"), holder);
    }
    let fields = FIELDS.iter().filter(|(field, _)| Some(*field) != actor);
    let mut texts = fields.filter_map(|(field, noun)| Some((noun, text_of(event, field)?)));
    let object = texts.next().map(|(noun, text)| format!("{noun}{text}")).unwrap_or_default();
    // The events of keys have one name for all stages.
    match text_of(event, "stage").filter(|_| event.get("generation").is_some()) {
        Some(stage) => format!("{object} {stage}"),
        None => object,
    }
}

/// A thing with a kind, and a name or an id.
fn named(thing: &Value) -> String {
    let kind = text_of(thing, "kind").unwrap_or_default();
    let name = text_of(thing, "name").or_else(|| text_of(thing, "id")).unwrap_or_default();
    format!("{kind} {name}").trim().to_owned()
}

/// A caller whose certificates were refused, with how often and from where.
fn refused(caller: &Value) -> String {
    let sources = caller.get("sources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let times = |source: &Value| {
        ["presented", "requests"].iter().filter_map(|field| source.get(*field)?.as_u64()).sum::<u64>()
    };
    let count: u64 = sources.iter().map(times).sum();
    let Some(last) = sources.last().and_then(|source| text_of(source, "source")) else {
        return named(caller);
    };
    let more = sources.len().saturating_sub(1);
    let others = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} ({count} from {last}{others})", named(caller))
}

fn with_holder(object: String, holder: Option<String>) -> String {
    match holder {
        Some(holder) => format!("{object} of {holder}"),
        None => object,
    }
}

/// The objects that lose something.
fn narrowed(event: &Value) -> Vec<String> {
    let fields =
        [("capabilities", "capability"), ("roles", "role"), ("agents", "agent"), ("removed_agents", "agent")];
    let names = fields.into_iter().flat_map(|(field, noun)| {
        event.get(field).map(names).unwrap_or_default().into_iter().map(move |name| format!("{noun} {name}"))
    });
    names.collect()
}

/// The text of a field that is neither missing nor empty.
fn text_of(event: &Value, field: &str) -> Option<String> {
    let text = match event.get(field)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        value @ (Value::Array(_) | Value::Object(_)) => shortened(names(value)),
        Value::Null | Value::Bool(_) => String::new(),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// The names in a list, or in the keys of a map.
fn names(value: &Value) -> Vec<String> {
    let name = |item: &Value| match item {
        Value::String(text) => text.clone(),
        Value::Object(_) => text_of(item, "id").unwrap_or_default(),
        item @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => item.to_string(),
    };
    match value {
        Value::Array(items) => items.iter().map(name).collect(),
        Value::Object(fields) => fields.keys().cloned().collect::<BTreeSet<String>>().into_iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The first names, and the number of the others.
fn shortened(names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let shown: Vec<String> = names.into_iter().take(NAMES_SHOWN).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_of_event_names_its_object() {
        let change = |name: &str| json!({ "kind": "agent", "name": name, "action": "add" });
        for (event, actor, object_of) in [
            (
                json!({ "by": "eve", "subject": { "kind": "agent", "id": "agent_1", "name": "a" } }),
                "by",
                "agent a",
            ),
            (json!({ "by": "eve", "subject": { "kind": "token", "id": "tok_1" } }), "by", "token tok_1"),
            (
                json!({ "by": "eve", "agent": "a", "subject": { "kind": "instance", "id": "inst_1" } }),
                "by",
                "instance inst_1 of a",
            ),
            (
                json!({ "operator": "eve", "changes": [change("a"), change("b")] }),
                "operator",
                "agent a, agent b",
            ),
            (
                json!({ "operator": "eve", "changes": [change("a"), change("b"), change("c"), change("d")] }),
                "operator",
                "agent a, agent b, agent c and 1 more",
            ),
            (
                json!({
                    "by": "eve", "capabilities": [], "roles": { "r": [] }, "agents": {}, "removed_agents": ["a"],
                    "removed": { "roles": {}, "agents": {} },
                }),
                "by",
                "role r, agent a",
            ),
            (
                json!({ "operator": "eve", "right": "r", "subject": "approval/appr_1", "agent": "a" }),
                "operator",
                "approval/appr_1 of a",
            ),
            (json!({ "operator": "eve", "right": "r", "subject": "secret/s" }), "operator", "secret/s"),
            (json!({ "agent": "a", "capability": "c", "lease": "lease_1" }), "agent", "c lease_1"),
            (json!({ "operator": "eve", "agent": "a", "lease": "lease_1" }), "operator", "lease_1 of a"),
            (json!({ "agent": "a", "capabilities": ["c", "d"] }), "agent", "c, d"),
            (json!({ "operator": "eve", "agent": "a" }), "operator", "a"),
            (
                json!({ "by": "host", "added": [{ "id": "slot_1", "kind": "key-file" }] }),
                "by",
                "added slot_1",
            ),
            (json!({ "by": "eve", "generation": 3 }), "by", "generation 3"),
            (
                json!({ "by": "eve", "generation": 3, "pin": "x", "stage": "tainted" }),
                "by",
                "generation 3 tainted",
            ),
            (json!({ "by": "host", "what": { "revoke-instance": "inst_1" } }), "by", "revoke-instance"),
            (json!({ "by": "eve", "agents": [], "count": 5 }), "by", "5"),
            (json!({ "wall": "x" }), "by", ""),
        ] {
            assert_eq!(object(&event, Some(actor)), object_of, "{event}");
        }
    }

    #[test]
    fn refused_callers_are_named_with_their_sources() {
        for (event, object_of) in [
            (
                json!({ "callers": [{ "kind": "agent", "name": "a" }, { "kind": "unknown" }] }),
                "agent a, unknown",
            ),
            (
                json!({ "callers": [{ "kind": "agent", "name": "a", "sources": [
                    { "source": "192.0.2.1", "presented": 2, "requests": 0 },
                    { "source": "192.0.2.2", "presented": 1, "requests": 4 },
                ] }] }),
                "agent a (7 from 192.0.2.2 and 1 more)",
            ),
        ] {
            assert_eq!(object(&event, Some("")), object_of, "{event}");
        }
    }

    #[test]
    fn the_actor_is_no_object_and_a_missing_one_no_actor() {
        for (event, actor, object) in [
            (json!({ "by": "eve", "agent": "a" }), "eve", "a"),
            (json!({ "operator": null, "agent": "a", "secret": "s" }), "a", "s"),
            (json!({ "secret": "s" }), "", "s"),
            (
                json!({ "operator": "eve", "code": "code_1", "other_key": "aa", "peer": "192.0.2.1" }),
                "192.0.2.1",
                "eve",
            ),
        ] {
            assert_eq!(
                (actor_of(&event), object_of(&event)),
                (actor.to_owned(), object.to_owned()),
                "{event}"
            );
        }
    }
}
