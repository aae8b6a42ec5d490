//! The names of present objects, which a person may have misspelt.

use crate::base::code::{self, Code};
use crate::base::{NAMES_COMPARED_MAX, Scope, SubjectName, did_you_mean};
use crate::broker::failure::Failure;
use crate::broker::owners::owners;
use crate::broker::world::World;
use crate::registry::Owned;
use crate::secrets::Secret;
use crate::wire::EntryField;

/// A kind of object that has a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::broker) enum NamedKind {
    Agent,
    Capability,
    Operator,
    Owner,
    Policy,
    Role,
    Rotation,
    Secret,
}

impl NamedKind {
    /// The kind whose names the field of entries has.
    pub(super) const fn of_field(field: EntryField) -> Option<Self> {
        match field {
            EntryField::Agent => Some(Self::Agent),
            EntryField::Capability => Some(Self::Capability),
            EntryField::SecretName => Some(Self::Secret),
            EntryField::Operator => Some(Self::Operator),
            EntryField::Owner => Some(Self::Owner),
            EntryField::Instance
            | EntryField::Incident
            | EntryField::Token
            | EntryField::Lease
            | EntryField::Approval
            | EntryField::Kind
            | EntryField::Outcome
            | EntryField::Decision
            | EntryField::Source => None,
        }
    }

    /// The kind of the object that a request named and that is unknown by the code of its refusal.
    pub(super) fn of_refusal(refused: Code, name: &SubjectName) -> Option<Self> {
        match name {
            SubjectName::Agent(_) if refused == code::AGENT_UNKNOWN => Some(Self::Agent),
            SubjectName::Capability(_) if refused == code::CAPABILITY_UNKNOWN => Some(Self::Capability),
            SubjectName::Operator(_) if refused == code::OPERATOR_UNKNOWN => Some(Self::Operator),
            SubjectName::Secret(_) if refused == code::ROTATION_UNKNOWN => Some(Self::Rotation),
            SubjectName::Secret(_) if refused == code::SECRET_UNKNOWN => Some(Self::Secret),
            SubjectName::Agent(_)
            | SubjectName::Capability(_)
            | SubjectName::Certificate(_)
            | SubjectName::Everything
            | SubjectName::Instance(_)
            | SubjectName::Network(_)
            | SubjectName::Operator(_)
            | SubjectName::Owner(_)
            | SubjectName::Role(_)
            | SubjectName::Secret(_)
            | SubjectName::Token(_) => None,
        }
    }
}

/// The end of a message that no object of this kind within `scope` has the name `text`: the similar names of those that exist.
pub(in crate::broker) fn near_within(world: &World, scope: &Scope, kind: NamedKind, text: &str) -> String {
    let present = PresentNames { world, scope }.of(kind);
    did_you_mean(text, present.iter().map(String::as_str))
}

/// `failure`, that no object of this kind within `scope` has the name `text`, with the name and the similar ones.
pub(in crate::broker) fn unknown_within(
    failure: Failure,
    world: &World,
    scope: &Scope,
    kind: NamedKind,
    text: &str,
) -> Failure {
    unknown_among(failure, &PresentNames { world, scope }.of(kind), text)
}

/// `failure`, that none of the `present` names is `text`, with the name and the similar ones.
pub(in crate::broker) fn unknown_among(failure: Failure, present: &[String], text: &str) -> Failure {
    let near = did_you_mean(text, present.iter().map(String::as_str));
    if near.is_empty() {
        return failure;
    }
    let named = format!("`{text}`");
    let why = if failure.why.contains(&named) {
        format!("{}{near}", failure.why)
    } else {
        format!("{}: {named}{near}", failure.why)
    };
    failure.because(why)
}

/// The present objects within a scope.
pub(in crate::broker) struct PresentNames<'a> {
    pub(in crate::broker) world: &'a World,
    pub(in crate::broker) scope: &'a Scope,
}

impl PresentNames<'_> {
    /// The names of this kind, some of them if there are very many.
    pub(in crate::broker) fn of(&self, kind: NamedKind) -> Vec<String> {
        let (world, scope) = (self.world, self.scope);
        let declared = world.registry.declarations();
        let is_within = |thing: Owned| scope.covers(world.registry.owners().of(&thing));
        match kind {
            NamedKind::Agent => {
                let names = world.registry.agents().map(|agent| &agent.name);
                some(names.filter(|name| is_within(Owned::Agent((*name).clone()))))
            }
            NamedKind::Capability => {
                let names = declared.capabilities().map(|capability| &capability.name);
                some(names.filter(|name| is_within(Owned::Capability((*name).clone()))))
            }
            NamedKind::Role => {
                let names = declared.roles().map(|role| &role.name);
                some(names.filter(|name| is_within(Owned::Role((*name).clone()))))
            }
            NamedKind::Policy => {
                let within = world.rules().policies().filter(|policy| scope.covers(policy.owner.as_ref()));
                some(within.map(|policy| &policy.name))
            }
            NamedKind::Secret => some(self.secrets().map(|secret| &secret.name)),
            NamedKind::Rotation => {
                let has_rotation = |secret: &&Secret| world.rotations.of(&secret.name).is_some();
                some(self.secrets().filter(has_rotation).map(|secret| &secret.name))
            }
            // Operators have no owner.
            NamedKind::Operator if matches!(scope, Scope::Owner(_)) => Vec::new(),
            NamedKind::Operator => some(world.operators.all().map(|operator| &operator.name)),
            NamedKind::Owner => some(owners(world).into_iter().filter(|owner| scope.covers(Some(owner)))),
        }
    }

    fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let present = self.world.secrets.all().filter(|secret| !secret.is_deleted());
        present.filter(|secret| self.scope.covers(secret.owner.as_ref()))
    }
}

fn some<T: ToString>(names: impl Iterator<Item = T>) -> Vec<String> {
    names.take(NAMES_COMPARED_MAX).map(|name| name.to_string()).collect()
}
