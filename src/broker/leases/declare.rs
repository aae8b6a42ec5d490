use std::collections::{BTreeMap, BTreeSet};

use super::lease_upstream::revocations_at;
use crate::base::{CapabilityName, Scope};
use crate::broker::declarations::missing::missing_admin_secret;
use crate::broker::declarations::section::{Effects, Section, SectionContext, SectionFailure, SectionPlan};
use crate::broker::world::{Effect, World};
use crate::config::{FaultList, FaultMessage, SourcePosition, Tables};
use crate::crypto::{Digest, sha256};
use crate::leases::{self, DeclaredLease, LeaseOffer, LeaseSelection, keys};
use crate::registry::{
    Action, Capability, ChangedValue, Delivery, ForeignNames, Noun, Owned, PlannedChange, Undeclared,
};
use crate::store::Change;
use crate::upstream::{changed_fields, declared_lease_driver, stored_lease_driver, stored_upstream};
use crate::wire::UnchangedObject;

/// The changes of an application to lease offers.
#[derive(Debug, Default)]
struct PlannedLeases {
    /// The changes.
    changes: Vec<PlannedChange>,
    /// The declared leases that stay as they are.
    unchanged: Vec<UnchangedObject>,
    /// The present upstreams of what it changes and removes.
    replaced: Vec<Digest>,
    put: Vec<LeaseOffer>,
    removed: BTreeSet<CapabilityName>,
}

/// The lease offers in declaration files.
pub(in crate::broker) struct Offers(BTreeMap<CapabilityName, DeclaredLease>);

impl Section for Offers {
    const TABLES: &'static [&'static str] = leases::TABLES;
    const NEEDS_EARLIER: bool = true;

    fn read(tables: &mut Tables<'_>, _scope: &Scope) -> Result<Self, FaultList> {
        leases::parse(tables).map(Self)
    }

    /// Checks that after the plan exactly the capabilities with delivery by lease have an offer.
    fn plan(&self, ground: &SectionContext<'_>, drawn: &mut SectionPlan) -> Result<Effects, SectionFailure> {
        let SectionContext { world, scope, .. } = *ground;
        let declared = &drawn.after.declarations;
        let leased = |name: &CapabilityName| {
            declared.capability(name).is_some_and(|capability| capability.delivery == Delivery::Lease)
        };
        let (mut planned, mut faults) = (PlannedLeases::default(), ground.faults());
        // A plan that hides names is as if other owners had no capabilities and no leases.
        let is_visible = |name: &CapabilityName| {
            ground.rules.foreign_names == ForeignNames::Told || scope.covers(owner(world, name))
        };
        let is_new = |line: &&PlannedChange| {
            (&*line.kind, &*line.action) == (Noun::Capability.as_str(), Action::Create.as_str())
        };
        let created: BTreeSet<String> =
            drawn.changes.iter().filter(is_new).map(|line| line.name.clone()).collect();
        let is_here = |name: &CapabilityName| is_visible(name) || created.contains(name.as_str());
        let known = |name: &CapabilityName| world.leases.offer(name).filter(|_| is_visible(name));
        for (capability, asked) in &self.0 {
            ground.work.step()?;
            match offer(world, scope, ground.rules.foreign_names, capability, asked) {
                Ok(_) if !(leased(capability) && is_here(capability)) => faults.tell(asked.place, NOT_LEASED),
                Ok(offer) => planned.put(known(&offer.capability), offer),
                Err((place, message)) => faults.tell(place, message),
            }
        }
        for offer in world.leases.offers().filter(|offer| !self.0.contains_key(&offer.capability)) {
            let within = scope.covers(owner(world, &offer.capability));
            let pruned = ground.rules.unnamed == Undeclared::Prune && within;
            // The offer of a capability that is removed, or delivered in another way, is removed too.
            if pruned || (!leased(&offer.capability) && is_visible(&offer.capability)) {
                planned.remove(&offer.capability);
                planned.replaced.push(sha256(offer.upstream.as_bytes()));
                planned.removed.insert(offer.capability.clone());
            }
        }
        let offered = |name: &CapabilityName| {
            self.0.contains_key(name) || (known(name).is_some() && !planned.removed.contains(name))
        };
        let is_bare =
            |one: &&Capability| one.delivery == Delivery::Lease && is_here(&one.name) && !offered(&one.name);
        let bare = declared.capabilities().find(is_bare);
        if let Some(bare) = bare {
            let name = &bare.name;
            let message = format!(
                "capability `{name}` has the delivery `lease`, but no `[[lease]]` is declared for it"
            );
            faults.tell(SourcePosition::UPLOAD, message);
        }
        let mut planned = faults.or(planned)?;
        drawn.changes.append(&mut planned.changes);
        drawn.upstreams.unchanged.append(&mut planned.unchanged);
        drawn.replaced.append(&mut planned.replaced);
        drawn.upstreams.places.extend(planned.places());
        Ok(Box::new(move |change, as_of| planned.added_to(change, as_of)))
    }
}

const NOT_LEASED: &str = "this `capability` is not declared with the delivery `lease`";

fn owner<'a>(world: &'a World, capability: &CapabilityName) -> Option<&'a crate::base::OwnerName> {
    world.registry.owners().of(&Owned::Capability(capability.clone()))
}

/// The declared lease, if it is valid.
pub(super) fn offer(
    world: &World,
    scope: &Scope,
    foreign_names: ForeignNames,
    capability: &CapabilityName,
    asked: &DeclaredLease,
) -> Result<LeaseOffer, (SourcePosition, FaultMessage)> {
    let refuse = |place, message: FaultMessage| Err((place, message));
    let driver = declared_lease_driver(&asked.upstream)
        .map_err(|error| (asked.upstream_place, error.to_string().into()))?;
    let is_there = world.registry.declarations().capability(capability).is_some();
    let is_own = is_there && scope.covers(owner(world, capability));
    if is_there && !is_own && foreign_names == ForeignNames::Told {
        return refuse(asked.place, FaultMessage::foreign("this `capability` belongs to another owner"));
    }
    let admin = world.secrets.existing(driver.admin_secret());
    if admin.is_none_or(|admin| !scope.covers(admin.owner.as_ref())) {
        return refuse(asked.upstream_place, missing_admin_secret(driver.admin_secret(), scope));
    }
    let upstream = stored_upstream(&asked.upstream);
    Ok(LeaseOffer { capability: capability.clone(), upstream, per_agent: asked.per_agent })
}

impl PlannedLeases {
    /// `known` is the present offer.
    fn put(&mut self, known: Option<&(LeaseOffer, u64)>, offer: LeaseOffer) {
        match known {
            Some((old, _)) if *old == offer => {
                let (kind, name) = (Noun::Lease.as_str().into(), offer.capability.to_string());
                self.unchanged.push(UnchangedObject { kind, name });
                return;
            }
            Some((old, _)) => {
                let mut change = PlannedChange::new(Action::Update, Noun::Lease, offer.capability.as_str());
                if old.upstream != offer.upstream {
                    change.fields.push("upstream".to_owned());
                    change.values = changed_fields(Some(&old.upstream), &offer.upstream);
                    self.replaced.push(sha256(old.upstream.as_bytes()));
                }
                let per_agent = ChangedValue::single("per_agent", Some(old.per_agent), Some(offer.per_agent));
                change.fields.extend(per_agent.iter().map(|value| value.field.clone()));
                change.values.extend(per_agent);
                self.changes.push(change);
            }
            None => {
                let change = PlannedChange::new(Action::Create, Noun::Lease, offer.capability.as_str());
                let mut values = changed_fields(None, &offer.upstream);
                values.extend(ChangedValue::single("per_agent", None, Some(offer.per_agent)));
                self.changes.push(PlannedChange { values, ..change });
            }
        }
        self.put.push(offer);
    }

    fn remove(&mut self, capability: &CapabilityName) {
        self.changes.push(PlannedChange::new(Action::Remove, Noun::Lease, capability.as_str()));
    }

    /// The places of upstreams whose declaration changes: their circuits are closed.
    fn places(&self) -> impl Iterator<Item = String> {
        let targets = self.put.iter().filter_map(|offer| stored_lease_driver(&offer.upstream).ok());
        targets.flat_map(|target| [revocations_at(&target.place()), target.place()])
    }

    /// Adds these changes to `change`, which relies on the existence of the administering secrets.
    fn added_to(self, mut change: Change<Effect>, as_of: u64) -> Change<Effect> {
        for offer in self.put {
            let admin = stored_lease_driver(&offer.upstream).map(|driver| driver.admin_secret().clone());
            if let Ok(admin) = admin {
                change = change.rely(crate::secrets::keys::existence(&admin), as_of);
            }
            let key = keys::offer(&offer.capability);
            // Failed revocations are retried with the new declaration.
            let failed = LeaseSelection::Capability(offer.capability.clone());
            let effect = leases::Effect::Offer(Box::new(offer));
            change = change.rely(key, as_of).effect(Effect::Lease(effect));
            change = change.effect(Effect::Lease(leases::Effect::Retry(failed)));
        }
        for capability in self.removed {
            let key = keys::offer(&capability);
            let effect = leases::Effect::Withdraw(capability);
            change = change.rely(key, as_of).effect(Effect::Lease(effect));
        }
        change
    }
}
