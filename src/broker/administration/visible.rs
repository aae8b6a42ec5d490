//! What an operator who is bound to an owner sees of an entry: the names of its owner's objects, of agents that have a right
//! on them, and of operators, and no names of other objects. The rule goes by the names of fields, like the one for the
//! links of entries.

use serde_json::{Map, Value};

use crate::base::{CapabilityName, OperatorName, OwnerName};
use crate::broker::world::World;
use crate::registry::Owned;
use crate::wire::{EntryField, actor_of};

/// An event as an operator may see it.
pub(super) struct VisibleEvent {
    pub(super) event: Value,
    /// Whether names of other owners' objects were removed.
    pub(super) is_redacted: bool,
    /// Whether the name of the actor was: then the actor is an agent of another owner.
    pub(super) hides_actor: bool,
}

impl VisibleEvent {
    /// The whole event.
    pub(super) const fn whole(event: Value) -> Self {
        Self { event, is_redacted: false, hides_actor: false }
    }
}

/// The part of `event` that `operator`, who is bound to `owner`, may see; `None` if the entry does not concern them.
pub(super) fn visible(
    world: &World,
    owner: &OwnerName,
    operator: &OperatorName,
    event: Value,
) -> Option<VisibleEvent> {
    let mut filter = Filter { world, owner, operator: Some(operator), found: Found::default() };
    let has_actor = !actor_of(&event).is_empty();
    let mut event = filter.part(event, None)?;
    let Found { own, foreign, oneself } = filter.found;
    if !own && (foreign || !oneself) {
        return None;
    }
    if let Some(fields) = event.as_object_mut().filter(|_| foreign) {
        fields.retain(|name, _| !UNDIVIDED.contains(&name.as_str()));
        hide_texts(fields);
    }
    let hides_actor = has_actor && actor_of(&event).is_empty();
    Some(VisibleEvent { event, is_redacted: foreign, hides_actor })
}

/// Whether `event` names an object of `owner`.
pub(super) fn names_object_of(world: &World, owner: &OwnerName, event: &Value) -> bool {
    let mut filter = Filter { world, owner, operator: None, found: Found::default() };
    drop(filter.part(event.clone(), None));
    filter.found.own
}

/// Whether `name` is the name of an object of `owner`.
pub(super) fn is_object_of(world: &World, owner: &OwnerName, field: EntryField, name: &str) -> bool {
    let noun = match field {
        EntryField::Agent => Noun::Agent,
        EntryField::Capability => Noun::Capability,
        EntryField::SecretName => Noun::Secret,
        EntryField::Instance
        | EntryField::Operator
        | EntryField::Owner
        | EntryField::Token
        | EntryField::Lease
        | EntryField::Approval
        | EntryField::Kind
        | EntryField::Outcome
        | EntryField::Decision
        | EntryField::Incident
        | EntryField::Source => return false,
    };
    Filter { world, owner, operator: None, found: Found::default() }.shows(noun, name)
}

/// Fields with a whole request: its parameters, and names of roles, environments and secrets, which can be those of other
/// owners. They are not for operators with an owner.
const REQUESTS: [&str; 2] = ["canonical_request", "facts"];

/// Fields that say something about all objects of an entry at once.
const UNDIVIDED: [&str; 6] = ["constrained", "count", "left_out", "others", "rules", "values_left_out"];

/// Fields whose texts name no object: ids, codes, times, keys and fixed words; and those of changes, which are judged by
/// their objects.
const TEXTS_SHOWN: [&str; 34] = [
    "action",
    "added",
    "agent_id",
    "approval",
    "approval_key",
    "at",
    "code",
    "digest",
    "entry",
    "expires_at",
    "field",
    "fields",
    "from",
    "id",
    "instance",
    "key",
    "kind",
    "lease",
    "name",
    "not_after",
    "previous",
    "public_key",
    "removed",
    "request",
    "retry_at",
    "role",
    "rules_hash",
    "secret_id",
    "serial",
    "signature",
    "snapshot",
    "stage",
    "thumbprint",
    "to",
];

/// Removes texts about which nobody can say whose object they describe, e.g. an audience or an upstream.
fn hide_texts(fields: &mut Map<String, Value>) {
    fields.retain(|field, value| {
        let is_judged = Noun::of_field(field).is_some();
        if !is_judged {
            value.as_object_mut().into_iter().for_each(hide_texts);
            let items = value.as_array_mut().into_iter().flatten();
            items.filter_map(Value::as_object_mut).for_each(hide_texts);
        }
        is_judged || TEXTS_SHOWN.contains(&field.as_str()) || !has_text(value)
    });
}

fn has_text(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(items) => items.iter().any(Value::is_string),
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The fields of a changed value that have values.
const VALUES: [&str; 4] = ["added", "from", "removed", "to"];

/// What names stand for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Noun {
    Agent,
    ApproverGroup,
    Capability,
    Environment,
    Operator,
    Owner,
    Policy,
    Role,
    Secret,
}

impl Noun {
    /// What the names in this field stand for.
    fn of_field(field: &str) -> Option<Self> {
        match field {
            "agent" | "agents" | "removed_agents" => Some(Self::Agent),
            "capability" | "capabilities" | "cut_off" => Some(Self::Capability),
            "operator" | "operators" | "by" => Some(Self::Operator),
            "roles" | "created_with" => Some(Self::Role),
            "secret" | "administering" => Some(Self::Secret),
            _ => None,
        }
    }

    /// What the values of this changed field of a declaration stand for.
    fn of_value(field: &str) -> Option<Self> {
        match field {
            "capabilities" => Some(Self::Capability),
            "environment" => Some(Self::Environment),
            "roles" => Some(Self::Role),
            "secret" | "upstream.admin_secret" => Some(Self::Secret),
            _ => None,
        }
    }

    /// What the name of an object of this kind stands for.
    fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "agent" | "resource-server" => Some(Self::Agent),
            "approver-group" => Some(Self::ApproverGroup),
            "capability" | "lease" => Some(Self::Capability),
            "environment" => Some(Self::Environment),
            "operator" => Some(Self::Operator),
            "owner" => Some(Self::Owner),
            "policy" => Some(Self::Policy),
            "role" => Some(Self::Role),
            "secret" | "rotation" => Some(Self::Secret),
            _ => None,
        }
    }

    /// What the values stand for in a map whose keys are these names.
    const fn of_values(self) -> Option<Self> {
        match self {
            Self::Agent => Some(Self::Role),
            Self::Role => Some(Self::Capability),
            Self::ApproverGroup
            | Self::Capability
            | Self::Environment
            | Self::Operator
            | Self::Owner
            | Self::Policy
            | Self::Secret => None,
        }
    }
}

/// The names that an event has.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// Names of objects of the owner.
    own: bool,
    /// Names of other objects.
    foreign: bool,
    /// The operator's own name.
    oneself: bool,
}

/// What a name is to an owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// The name of an operator.
    Operator,
    /// The name of an object of the owner.
    Own,
    /// The name of another owner's agent that has a right on an object of the owner.
    Known,
    /// Another name.
    Foreign,
}

struct Filter<'a> {
    world: &'a World,
    owner: &'a OwnerName,
    /// The operator who reads, if the operator's own name counts.
    operator: Option<&'a OperatorName>,
    found: Found,
}

impl Filter<'_> {
    /// `value` without foreign names; `None` if it is one.
    fn part(&mut self, value: Value, noun: Option<Noun>) -> Option<Value> {
        match value {
            Value::String(name) => {
                noun.is_none_or(|noun| self.shows(noun, &name)).then_some(Value::String(name))
            }
            Value::Array(items) => {
                Some(Value::Array(items.into_iter().filter_map(|item| self.part(item, noun)).collect()))
            }
            Value::Object(fields) => match noun {
                Some(noun) => Some(Value::Object(self.names(fields, noun))),
                None => self.object(fields).map(Value::Object),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => Some(value),
        }
    }

    /// A map whose keys are names.
    fn names(&mut self, fields: Map<String, Value>, noun: Noun) -> Map<String, Value> {
        let shown = |(name, value): (String, Value)| {
            let shows = self.shows(noun, &name);
            let value = self.part(value, noun.of_values()).filter(|_| shows)?;
            Some((name, value))
        };
        fields.into_iter().filter_map(shown).collect()
    }

    /// An object with fields; `None` if it describes a foreign one.
    fn object(&mut self, mut fields: Map<String, Value>) -> Option<Map<String, Value>> {
        fields.retain(|field, _| !REQUESTS.contains(&field.as_str()));
        let text = |field: &str| fields.get(field).and_then(Value::as_str);
        if let (Some(noun), Some(name)) = (text("kind").and_then(Noun::of_kind), text("name")) {
            match self.standing(noun, name) {
                Standing::Own | Standing::Operator => {
                    self.shows(noun, name);
                }
                standing @ (Standing::Known | Standing::Foreign) => return self.of_foreign(fields, standing),
            }
        }
        let changed = text("field").map(ToOwned::to_owned);
        let shown = |(field, value): (String, Value)| {
            if let ("subject", Value::String(subject)) = (field.as_str(), &value) {
                let is_shown = self.shows_subject(subject);
                return Some((field, value)).filter(|_| is_shown);
            }
            let value = match changed.as_deref().filter(|_| VALUES.contains(&field.as_str())) {
                Some("owner") => self.owner_name(value),
                Some(changed) => self.part(value, Noun::of_value(changed)),
                None => self.part(value, Noun::of_field(&field)),
            };
            Some((field, value?))
        };
        Some(fields.into_iter().filter_map(shown).collect())
    }

    /// What a changed object of another owner got or lost of the owner's objects, e.g. a role; `None` if nothing.
    fn of_foreign(&mut self, fields: Map<String, Value>, standing: Standing) -> Option<Map<String, Value>> {
        self.found.foreign = true;
        let mut shown = Map::new();
        let mut names_own = false;
        for (field, value) in fields {
            match (field.as_str(), value) {
                ("action" | "kind", value) => drop(shown.insert(field, value)),
                ("name", value) if standing == Standing::Known => drop(shown.insert(field, value)),
                ("values", Value::Array(values)) => {
                    let own: Vec<Value> =
                        values.into_iter().filter_map(|value| self.own_value(value)).collect();
                    names_own |= !own.is_empty();
                    shown.insert(field, Value::Array(own));
                }
                _ => {}
            }
        }
        names_own.then_some(shown)
    }

    /// A changed value, if it names an object of the owner.
    fn own_value(&mut self, value: Value) -> Option<Value> {
        let before = std::mem::replace(&mut self.found.own, false);
        let shown = self.part(value, None);
        let names_own = self.found.own;
        self.found.own |= before;
        shown.filter(|_| names_own)
    }

    /// Whether a subject in this text is shown, e.g. `secret/github/app`.
    fn shows_subject(&mut self, subject: &str) -> bool {
        let named = subject.split_once('/');
        // Whose they are is not in the text, and an operator with an owner must not learn which ones exist.
        if named.is_some_and(|(kind, _)| ["approval", "lease", "code"].contains(&kind)) {
            self.found.foreign = true;
            return false;
        }
        let named = named.and_then(|(kind, name)| Some((Noun::of_kind(kind)?, name)));
        named.is_none_or(|(noun, name)| self.shows(noun, name))
    }

    /// The name of an owner, if it is the operator's own.
    fn owner_name(&mut self, value: Value) -> Option<Value> {
        let is_own = value.as_str() == Some(self.owner.as_str());
        self.found.foreign |= !is_own;
        is_own.then_some(value)
    }

    /// Whether the name is shown. The names of operators are: who acted on an object is part of what happened to it.
    fn shows(&mut self, noun: Noun, name: &str) -> bool {
        match self.standing(noun, name) {
            Standing::Operator => {
                self.found.oneself |= self.operator.is_some_and(|operator| name == operator.as_str());
                true
            }
            Standing::Own => {
                self.found.own = true;
                true
            }
            Standing::Known => {
                self.found.foreign = true;
                true
            }
            Standing::Foreign => {
                self.found.foreign = true;
                false
            }
        }
    }

    fn standing(&self, noun: Noun, name: &str) -> Standing {
        let is_own = match noun {
            Noun::Operator => return Standing::Operator,
            Noun::Owner => name == self.owner.as_str(),
            Noun::Agent
            | Noun::ApproverGroup
            | Noun::Capability
            | Noun::Environment
            | Noun::Policy
            | Noun::Role
            | Noun::Secret => self.owner_of(noun, name).is_some_and(|owner| owner == self.owner),
        };
        match is_own {
            true => Standing::Own,
            false if noun == Noun::Agent && self.has_right(name) => Standing::Known,
            false => Standing::Foreign,
        }
    }

    /// Whether an agent has a role, a capability or a secret of the owner.
    fn has_right(&self, agent: &str) -> bool {
        let registry = &self.world.registry;
        let is_own = |thing: &Owned| registry.owners().of(thing) == Some(self.owner);
        let is_own_secret = |capability: &CapabilityName| {
            let delivered = registry.declarations().capability(capability);
            let secret = delivered.and_then(|one| self.world.secrets.named(one.delivery.secret()?));
            secret.is_some_and(|secret| secret.owner.as_ref() == Some(self.owner))
        };
        let agent = agent.parse().ok().and_then(|name| registry.agent_named(&name));
        agent.is_some_and(|agent| {
            agent.roles.iter().any(|role| {
                let held = registry.declarations().role(role).into_iter().flat_map(|one| &one.capabilities);
                let is_reached =
                    |one: &CapabilityName| is_own(&Owned::Capability(one.clone())) || is_own_secret(one);
                is_own(&Owned::Role(role.clone())) || held.into_iter().any(is_reached)
            })
        })
    }

    /// The owner of an object, also of one that was removed; an operator has none.
    fn owner_of(&self, noun: Noun, name: &str) -> Option<&OwnerName> {
        let registry = &self.world.registry;
        let owner = |thing: &Owned| registry.owners().of(thing).or_else(|| registry.former().owner_of(thing));
        match noun {
            Noun::Agent => owner(&Owned::Agent(name.parse().ok()?)),
            Noun::Capability => owner(&Owned::Capability(name.parse().ok()?)),
            Noun::Role => owner(&Owned::Role(name.parse().ok()?)),
            Noun::Environment => self.world.rules().environment(&name.parse().ok()?)?.owner.as_ref(),
            Noun::ApproverGroup => self.world.rules().group(&name.parse().ok()?)?.owner.as_ref(),
            Noun::Policy => self.world.rules().policy(&name.parse().ok()?)?.owner.as_ref(),
            Noun::Secret => self.world.secrets.named(&name.parse().ok()?)?.owner.as_ref(),
            Noun::Operator | Noun::Owner => None,
        }
    }
}
