//! Names that no object has, e.g. in a filter of entries: they may be misspelt.

use super::near_names::{NamedKind, PresentNames, unknown_among};
use crate::base::{AgentName, CapabilityName, OperatorName, OwnerName, Scope, SecretName, near_texts};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::identity::revoke::agent_with;
use crate::broker::owners::has_owner;
use crate::broker::requested_object::RequestedObject;
use crate::broker::world::World;
use crate::registry::{DeletedName, Owned};
use crate::wire::{self, EntryField, FieldFilter, UnknownNameAnswer};

/// Most similar names of one unknown name.
const NEAR_NAMES_MAX: usize = 3;

impl AdminServices {
    /// The names in `filter` that no object within `scope` has, or had.
    pub(super) fn unknown_names(&self, scope: &Scope, filter: &wire::EntryFilter) -> Vec<UnknownNameAnswer> {
        let store = &self.0.state.store;
        let is_unknown = |one: &&FieldFilter| {
            store.read(|world, _| Names { world, scope }.is_known(one.field, &one.text) == Some(false))
        };
        let answer = |one: &FieldFilter| {
            let present = |kind| store.read(|world, _| PresentNames { world, scope }.of(kind));
            let present = NamedKind::of_field(one.field).map(present).unwrap_or_default();
            let near = near_texts(&one.text, present.iter().map(String::as_str));
            UnknownNameAnswer {
                field: one.field.as_str().into(),
                name: one.text.clone(),
                near: near.into_iter().take(NEAR_NAMES_MAX).map(str::to_owned).collect(),
            }
        };
        filter.fields.iter().filter(is_unknown).map(answer).collect()
    }

    /// `failure`, and if it is that the object of the request does not exist within the scope of this owner, also the similar
    /// names of those that do.
    #[must_use]
    pub fn with_near_names(
        &self,
        failure: Failure,
        object: Option<&RequestedObject>,
        owner: Option<&OwnerName>,
    ) -> Failure {
        let Some(RequestedObject::Subject(name)) = object else { return failure };
        let Some(kind) = NamedKind::of_refusal(failure.code, name) else { return failure };
        let scope = owner.map_or(Scope::Everything, |owner| Scope::Owner(owner.clone()));
        let text = name.name().unwrap_or_default();
        // Compared when the records are free again.
        let present = self.0.state.store.read(|world, _| PresentNames { world, scope: &scope }.of(kind));
        unknown_among(failure, &present, &text)
    }
}

/// The names of the objects within a scope.
struct Names<'a> {
    world: &'a World,
    scope: &'a Scope,
}

impl Names<'_> {
    /// Whether an object has this name, or had it; `None` if the operator may not know it, or the records do not say it.
    fn is_known(&self, field: EntryField, text: &str) -> Option<bool> {
        let world = self.world;
        let is_deleted = |name: DeletedName| world.registry.former().is_deleted(&name);
        let has_all = matches!(self.scope, Scope::Everything);
        match field {
            EntryField::Agent => Some(text.parse().is_ok_and(|name: AgentName| {
                let is_there = world.registry.agent_named(&name).is_some();
                let is_deleted = is_deleted(DeletedName::Agent(name.clone()));
                self.knows(&Owned::Agent(name), is_there || is_deleted)
            })),
            EntryField::Capability => Some(text.parse().is_ok_and(|name: CapabilityName| {
                let is_there = world.registry.declarations().capability(&name).is_some();
                self.knows(&Owned::Capability(name), is_there)
            })),
            EntryField::SecretName => Some(text.parse().is_ok_and(|name: SecretName| {
                world.secrets.named(&name).is_some_and(|secret| self.scope.covers(secret.owner.as_ref()))
            })),
            EntryField::Operator => has_all.then_some(text.parse().is_ok_and(|name: OperatorName| {
                world.operators.named(&name).is_some() || is_deleted(DeletedName::Operator(name))
            })),
            EntryField::Owner => Some(text.parse().is_ok_and(|name: OwnerName| match self.scope.owner() {
                Some(own) => *own == name,
                None => has_owner(world, &name),
            })),
            EntryField::Instance => {
                has_all.then_some(text.parse().is_ok_and(|id| agent_with(world, id).is_some()))
            }
            EntryField::Token
            | EntryField::Incident
            | EntryField::Lease
            | EntryField::Approval
            | EntryField::Kind
            | EntryField::Outcome
            | EntryField::Decision
            | EntryField::Source => None,
        }
    }

    /// Whether `thing`, which may be there, is within the scope, or was when it was removed.
    fn knows(&self, thing: &Owned, is_there: bool) -> bool {
        let (owners, former) = (self.world.registry.owners(), self.world.registry.former());
        let owner = owners.of(thing).or_else(|| former.owner_of(thing));
        (is_there || former.knows(thing)) && self.scope.covers(owner)
    }
}
