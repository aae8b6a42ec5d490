//! The owners of objects and operators.

use std::collections::BTreeSet;

use super::world::World;
use crate::base::{OwnerName, near_texts};
use crate::wire::NewOwnerAnswer;

/// The owner of each object and operator that has one, repeated for each of them.
fn named(world: &World) -> impl Iterator<Item = &OwnerName> {
    let secrets = world.secrets.all().filter(|secret| !secret.is_deleted());
    let of_secrets = secrets.filter_map(|secret| secret.owner.as_ref());
    let of_operators = world.operators.all().filter_map(|operator| operator.scope.owner());
    of_operators.chain(of_secrets).chain(world.registry.owners().named()).chain(world.rules().owners())
}

/// Whether an object or an operator has this owner.
pub(super) fn has_owner(world: &World, owner: &OwnerName) -> bool {
    named(world).any(|one| one == owner)
}

/// The owners of all objects and operators.
pub(super) fn owners(world: &World) -> BTreeSet<&OwnerName> {
    named(world).collect()
}

/// Those of `declared` that nothing has, each with the owners of similar names.
pub(super) fn new_owners(world: &World, declared: &BTreeSet<&OwnerName>) -> Vec<NewOwnerAnswer> {
    let new: Vec<&OwnerName> = declared.iter().copied().filter(|owner| !has_owner(world, owner)).collect();
    if new.is_empty() {
        return Vec::new();
    }
    let known = owners(world);
    let near = |owner: &OwnerName| {
        let texts = near_texts(owner.as_str(), known.iter().map(|known| known.as_str()));
        known.iter().filter(|known| texts.contains(&known.as_str())).map(|known| (*known).clone()).collect()
    };
    new.into_iter().map(|owner| NewOwnerAnswer { name: owner.clone(), near: near(owner) }).collect()
}
