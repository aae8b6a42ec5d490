//! By what an entry of the ledger is found. The rule goes by the names of fields, like the one for the links of entries, so
//! that no event can forget it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::event_node::EventNode;
use super::events::{event_name, outcome_of};
use crate::base::Network;
use crate::ledger::{Entry, Kind};
use crate::wire::EntryField;

/// A field of an entry, with its text.
pub(crate) type EntryTerm = (EntryField, String);

/// The number of the rule by which entries get terms. Blocks of the search index that were built by another rule are
/// built again: count it up with each change of [`terms_of`].
pub(crate) const TERMS_RULE: u16 = 4;

/// The fields of `entry` by which it is found. [`EntryField::Owner`] is none of them, because an owner changes.
pub(crate) fn terms_of(entry: &Entry) -> Vec<EntryTerm> {
    terms_with(entry.kind, &EventNode::read(&entry.event))
}

/// The same for an entry of this kind that its reader is shown with `event`.
pub(super) fn shown_terms(kind: Kind, event: &Value) -> Vec<EntryTerm> {
    terms_with(kind, &EventNode::from(event))
}

fn terms_with(kind: Kind, event: &EventNode<'_>) -> Vec<EntryTerm> {
    let mut terms = terms_in(event);
    terms.push((EntryField::Kind, event_name(kind).to_owned()));
    terms.extend(outcome_of(kind).map(|outcome| (EntryField::Outcome, outcome.as_str().to_owned())));
    terms
}

/// The field and text by which entries with a source in `network`, and few others, are found.
pub(crate) fn source_term(network: &Network) -> Option<EntryTerm> {
    let host = network.host().map(|address| address.to_string());
    let text = host.or_else(|| network.indexed_around().map(|around| around.to_string()))?;
    Some((EntryField::Source, text))
}

/// The fields of an event by which its entry is found.
pub(super) fn event_terms(event: &Value) -> Vec<EntryTerm> {
    terms_in(&EventNode::from(event))
}

fn terms_in(event: &EventNode<'_>) -> Vec<EntryTerm> {
    let mut found = Finder(Vec::new());
    found.take(event, None);
    found.0.sort_unstable();
    found.0.dedup();
    found.0
}

/// What texts stand for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Noun {
    Field(EntryField),
    /// No field, but a map of roles has their capabilities.
    Role,
}

impl Noun {
    /// What the texts in this field stand for.
    fn of_field(name: &str) -> Option<Self> {
        Some(Self::Field(match name {
            "agent" | "agents" | "removed_agents" => EntryField::Agent,
            "instance" | "first_instance" | "revoke-instance" => EntryField::Instance,
            "operator" | "operators" | "by" => EntryField::Operator,
            "capability" | "capabilities" | "cut_off" => EntryField::Capability,
            "secret" | "administering" => EntryField::SecretName,
            "token" | "revoke-token" => EntryField::Token,
            "lease" | "each" => EntryField::Lease,
            "approval" => EntryField::Approval,
            "decision" | "use_of" => EntryField::Decision,
            "incident" | "incidents" => EntryField::Incident,
            "source" | "peer" => EntryField::Source,
            "roles" => return Some(Self::Role),
            _ => return None,
        }))
    }

    /// What the values of this changed field of a declaration stand for.
    fn of_value(field: &str) -> Option<Self> {
        match field {
            "capabilities" => Some(Self::Field(EntryField::Capability)),
            "secret" | "upstream.admin_secret" => Some(Self::Field(EntryField::SecretName)),
            _ => None,
        }
    }

    /// What the name of an object of this kind stands for.
    fn of_named(kind: &str) -> Option<Self> {
        Some(Self::Field(match kind {
            "agent" | "resource-server" => EntryField::Agent,
            "capability" | "lease" => EntryField::Capability,
            "incident" => EntryField::Incident,
            "operator" => EntryField::Operator,
            "secret" | "rotation" => EntryField::SecretName,
            _ => return None,
        }))
    }

    /// What a subject with this text stands for, and its name or id: `secret/github/app`.
    fn of_subject(text: &str) -> Option<(Self, &str)> {
        let (kind, which) = text.split_once('/')?;
        // A lease is named by its id here, and a change of declarations names it by its capability.
        if kind == "lease" {
            return Some((Self::Field(EntryField::Lease), which));
        }
        Some((Self::of_named(kind).or_else(|| Self::of_id(kind))?, which))
    }

    /// What the id of a subject of this kind stands for.
    fn of_id(kind: &str) -> Option<Self> {
        Some(Self::Field(match kind {
            "approval" => EntryField::Approval,
            "instance" => EntryField::Instance,
            "token" => EntryField::Token,
            "capability" => EntryField::Capability,
            "secret" => EntryField::SecretName,
            _ => return None,
        }))
    }

    /// What the values stand for in a map whose keys are these names.
    const fn of_values(self) -> Option<Self> {
        match self {
            Self::Field(EntryField::Agent) => Some(Self::Role),
            Self::Role => Some(Self::Field(EntryField::Capability)),
            Self::Field(_) => None,
        }
    }
}

struct Finder(Vec<EntryTerm>);

impl Finder {
    fn take(&mut self, value: &EventNode<'_>, noun: Option<Noun>) {
        match value {
            EventNode::Text(text) => self.note(text, noun),
            EventNode::Items(items) => items.iter().for_each(|item| self.take(item, noun)),
            EventNode::Fields(fields) => match noun {
                Some(noun) => {
                    for (name, value) in fields {
                        self.note(name, Some(noun));
                        self.take(value, noun.of_values());
                    }
                }
                None => self.object(fields),
            },
            EventNode::Other => {}
        }
    }

    fn object(&mut self, fields: &[(Cow<'_, str>, EventNode<'_>)]) {
        const VALUES: [&str; 4] = ["added", "from", "removed", "to"];
        let text = |wanted: &str| {
            fields.iter().find_map(|(field, value)| match value {
                EventNode::Text(text) if field == wanted => Some(text.as_ref()),
                EventNode::Text(_) | EventNode::Items(_) | EventNode::Fields(_) | EventNode::Other => None,
            })
        };
        let (kind, changed) = (text("kind").unwrap_or_default(), text("field"));
        for (field, value) in fields {
            if let ("subject", EventNode::Text(subject)) = (field.as_ref(), value) {
                let found = Noun::of_subject(subject);
                found.into_iter().for_each(|(noun, which)| self.note(which, Some(noun)));
                continue;
            }
            let noun = match (field.as_ref(), changed) {
                (field, Some(changed)) if VALUES.contains(&field) => Noun::of_value(changed),
                ("name", _) => Noun::of_named(kind),
                ("id", _) => Noun::of_id(kind),
                (field, _) => Noun::of_field(field),
            };
            self.take(value, noun);
        }
    }

    fn note(&mut self, text: &str, noun: Option<Noun>) {
        let Some(Noun::Field(field)) = noun else { return };
        // A text with a space says that nobody with a name did it.
        if text.is_empty() || (field == EntryField::Operator && text.contains(' ')) {
            return;
        }
        self.0.push((field, text.to_owned()));
        if let Some(address) = address(text).filter(|_| field == EntryField::Source) {
            let networks = Network::indexed(address);
            self.0.extend(networks.map(|network| (field, network.to_string())));
            self.0.push((field, address.to_string()));
        }
    }
}

/// The address in the text of a source, with or without a port.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(event: &Value) -> Vec<String> {
        event_terms(event).into_iter().map(|(field, text)| format!("{field}={text}")).collect()
    }

    #[test]
    fn an_event_is_found_by_the_objects_that_it_names() {
        for (event, expected) in [
            (
                json!({ "agent": "a", "instance": "inst_1", "capabilities": ["x", "y"], "token": "tok_1", "decision": "dec_1" }),
                &[
                    "agent=a",
                    "instance=inst_1",
                    "capability=x",
                    "capability=y",
                    "token=tok_1",
                    "decision=dec_1",
                ][..],
            ),
            (json!({ "by": "host uid 0", "agent": null, "role": "admin" }), &[]),
            (
                json!({ "subject": { "kind": "agent", "id": "agent_1", "name": "a" }, "by": "o" }),
                &["agent=a", "operator=o"],
            ),
            (
                json!({ "subject": { "kind": "token", "id": "tok_1" }, "agent": "a", "by": "o" }),
                &["agent=a", "operator=o", "token=tok_1"],
            ),
            (
                json!({ "subject": { "kind": "capability", "id": "c" }, "by": "o" }),
                &["operator=o", "capability=c"],
            ),
            (
                json!({ "operator": "o", "changes": [
                    { "kind": "role", "name": "r", "field": "capabilities", "added": ["x"], "removed": ["y"] },
                    { "kind": "agent", "name": "a", "field": "roles", "from": ["r"], "to": [] },
                    { "kind": "lease", "name": "c" }, { "kind": "rotation", "name": "s" },
                ] }),
                &["agent=a", "operator=o", "capability=c", "capability=x", "capability=y", "secret=s"],
            ),
            (
                json!({ "by": "o", "removed": { "roles": { "r": ["x"] }, "agents": { "a": ["r"] } } }),
                &["agent=a", "operator=o", "capability=x"],
            ),
            (
                json!({ "by": "o", "what": { "contain": { "incident": "inc_1", "subject": "secret/github/app" } } }),
                &["operator=o", "secret=github/app", "incident=inc_1"],
            ),
            (json!({ "what": { "contain": { "subject": "instance/inst_1" } } }), &["instance=inst_1"]),
            (json!({ "callers": [{ "incidents": ["inc_1"] }] }), &["incident=inc_1"]),
            (
                json!({ "by": "o", "subject": { "kind": "incident", "name": "inc_1" } }),
                &["operator=o", "incident=inc_1"],
            ),
            (
                json!({ "operator": "o", "agent": "a", "subject": "approval/appr_1" }),
                &["agent=a", "operator=o", "approval=appr_1"],
            ),
            (json!({ "token": "tok_1", "approval": "appr_1" }), &["token=tok_1", "approval=appr_1"]),
            (json!({ "what": { "revoke-token": "tok_1" } }), &["token=tok_1"]),
            (json!({ "what": { "revoke-instance": "inst_1" } }), &["instance=inst_1"]),
            (
                json!({ "what": { "revoke-leases": { "each": ["lease_1", "lease_2"] } } }),
                &["lease=lease_1", "lease=lease_2"],
            ),
            (json!({ "lease": "lease_1", "use_of": "dec_1" }), &["lease=lease_1", "decision=dec_1"]),
        ] {
            assert_eq!(found(&event), expected, "{event}");
            let json = event.to_string();
            assert_eq!(terms_in(&EventNode::read(json.as_bytes())), event_terms(&event), "{event}");
        }
    }

    #[test]
    fn an_address_is_found_by_the_networks_around_it() {
        let networks = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3"];
        let expected = networks.map(|network| format!("source={network}"));
        assert_eq!(found(&json!({ "peer": "10.1.2.3" })), expected);
    }

    #[test]
    fn names_with_escapes_are_found_in_stored_events() {
        let json = br#"{ "agent": "a\u0062", "n": [1, 2.5, -3, true, null], "\u0062y": "o" }"#;
        let terms = terms_in(&EventNode::read(json));
        let expected = [(EntryField::Agent, "ab".to_owned()), (EntryField::Operator, "o".to_owned())];
        assert_eq!(terms, expected);
        assert_eq!(terms_in(&EventNode::read(b"no JSON")), Vec::new());
    }

    #[test]
    fn the_address_of_a_source_is_found_with_and_without_its_port() {
        assert!(found(&json!({ "source": "[2001:db8::1]:443" })).contains(&"source=2001:db8::1".to_owned()));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1:9"));
        assert_eq!(address("somewhere"), None);
    }
}
