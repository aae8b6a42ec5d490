//! What was denied in memory, and the rooms as entries alone make them.

use std::sync::Arc;

use super::World;
use crate::broker::denial::{DeniedEffect, restore};
use crate::broker::effect::Effect;
use crate::leases::Leases;
use crate::pki;
use crate::secrets::Catalogue;
use crate::store::At;
use crate::token::TokenKeys;

impl World {
    /// Secrets as entries alone say: nothing that is only denied is done to a key or a value for good.
    pub(crate) fn recorded_secrets(&self) -> &Catalogue {
        self.denied.recorded.secrets.as_ref().unwrap_or(&self.secrets)
    }

    /// Token keys as entries alone say, likewise.
    pub(crate) fn recorded_token_keys(&self) -> &TokenKeys {
        self.denied.recorded.token_keys.as_ref().unwrap_or(&self.keys.token_keys)
    }

    /// Authorities as entries alone say, likewise.
    pub(crate) fn recorded_authority(&self) -> &pki::Record {
        self.denied.recorded.authority.as_ref().unwrap_or(&self.keys.authority)
    }

    /// Leases as entries alone say: no server is called about an end that is only denied.
    pub(crate) fn recorded_leases(&self) -> &Leases {
        self.denied.recorded.leases.as_ref().unwrap_or(&self.leases)
    }

    pub(crate) fn end_before_its_entry(&mut self, ended: &Arc<DeniedEffect>) {
        let recorded = &mut self.denied.recorded;
        match &ended.effect {
            Effect::Secrets(_) => drop(recorded.secrets.get_or_insert_with(|| self.secrets.clone())),
            Effect::Pki(_) => drop(recorded.authority.get_or_insert_with(|| self.keys.authority.clone())),
            Effect::Token(_) => drop(recorded.token_keys.get_or_insert_with(|| self.keys.token_keys.clone())),
            Effect::Lease(_) => drop(recorded.leases.get_or_insert_with(|| self.leases.clone())),
            Effect::Registry(_) => drop(recorded.registry.get_or_insert_with(|| self.registry.clone())),
            // None of its constructors makes one of these.
            Effect::Operators(_)
            | Effect::Revocation(_)
            | Effect::Idempotency(_)
            | Effect::Rotation(_)
            | Effect::Custody(_)
            | Effect::Incident(_)
            | Effect::Rules(_)
            | Effect::Approval(_)
            | Effect::Clock { .. } => return,
        }
        self.end_again(ended);
        self.denied.ended.push(Arc::clone(ended));
    }

    /// Applies again the revocations that took effect before their entries, after later entries.
    pub(crate) fn end_all_again(&mut self) {
        for ended in self.denied.ended.clone() {
            self.end_again(&ended);
        }
    }

    fn end_again(&mut self, ended: &DeniedEffect) {
        // No entry has this sequence; none of these effects looks at it.
        let at = At { seq: 0, time: ended.at };
        match &ended.effect {
            Effect::Secrets(effect) => self.secrets.apply(at, effect),
            Effect::Pki(effect) => self.keys.authority.apply(at, effect),
            Effect::Token(effect) => self.keys.token_keys.apply(at, effect),
            Effect::Lease(effect) => self.leases.apply(at, effect),
            Effect::Registry(effect) => self.registry.apply(at, effect),
            Effect::Operators(_)
            | Effect::Revocation(_)
            | Effect::Idempotency(_)
            | Effect::Rotation(_)
            | Effect::Custody(_)
            | Effect::Incident(_)
            | Effect::Rules(_)
            | Effect::Approval(_)
            | Effect::Clock { .. } => {}
        }
    }

    /// What `ended` did is said by an entry, or by none; then what it ended is as entries say.
    pub(crate) fn forget_ended(&mut self, ended: &Arc<DeniedEffect>, is_recorded: bool) {
        let denied = &mut self.denied;
        denied.ended.retain(|one| !Arc::ptr_eq(one, ended));
        let room = std::mem::discriminant(&ended.effect);
        let is_of_room = |one: &Arc<DeniedEffect>| std::mem::discriminant(&one.effect) == room;
        let others: Vec<Arc<DeniedEffect>> =
            denied.ended.iter().filter(|one| is_of_room(one)).cloned().collect();
        if is_recorded && !others.is_empty() {
            // The room goes on being denied the others; its own entry said the same.
            return;
        }
        let recorded = &mut denied.recorded;
        match &ended.effect {
            Effect::Secrets(_) => restore(&mut self.secrets, &mut recorded.secrets),
            Effect::Pki(_) => restore(&mut self.keys.authority, &mut recorded.authority),
            Effect::Token(_) => restore(&mut self.keys.token_keys, &mut recorded.token_keys),
            Effect::Lease(_) => restore(&mut self.leases, &mut recorded.leases),
            Effect::Registry(_) => restore(&mut self.registry, &mut recorded.registry),
            Effect::Operators(_)
            | Effect::Revocation(_)
            | Effect::Idempotency(_)
            | Effect::Rotation(_)
            | Effect::Custody(_)
            | Effect::Incident(_)
            | Effect::Rules(_)
            | Effect::Approval(_)
            | Effect::Clock { .. } => {}
        }
        denied.ended.retain(|one| !is_of_room(one));
        for other in &others {
            self.end_before_its_entry(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::{CodeId, LeaseId, OperatorEnrolment, OperatorId, SystemEntropy};
    use crate::base::{SecretId, SecretName, Timestamp};
    use crate::broker::denial::MemoryRevocation;
    use crate::crypto::sha256;
    use crate::keyring::KeyStage;
    use crate::leases::LeaseStage;
    use crate::leases::{self, EndReason, LeaseSelection};
    use crate::registry::Removals;
    use crate::revocation::{Denial, Subject};
    use crate::secrets;
    use crate::secrets::{SealedValue, VersionStage};
    use crate::store::StoredState as _;
    use crate::token;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn at(seq: u64) -> At {
        At { seq, time: NOW }
    }

    fn name() -> SecretName {
        "a/b".parse().unwrap()
    }

    /// One group commit with this one effect.
    fn commit(world: &mut World, seq: u64, effect: Effect) {
        world.apply(at(seq), &effect);
        world.deny_again();
    }

    /// The entry that makes a lease known.
    fn intended() -> (LeaseId, Effect) {
        let intent = leases::tests::intended(NOW);
        (intent.id, Effect::Lease(leases::Effect::Intend(Box::new(intent))))
    }

    fn sealed() -> SealedValue {
        let digest = sha256(b"");
        serde_json::from_value(json!({ "wrapped_key": [1], "digest": digest, "value": [2] })).unwrap()
    }

    fn with_versions(id: SecretId) -> World {
        let mut world = World::default();
        for version in 1..=2 {
            let store = secrets::Effect::Store { id, name: name(), version, sealed: sealed() };
            commit(&mut world, u64::from(version), Effect::Secrets(store));
        }
        world
    }

    fn stage(world: &Catalogue, version: u32) -> VersionStage {
        world.named(&name()).unwrap().version(version).unwrap().stage
    }

    #[test]
    fn a_lease_that_was_ended_stays_so_whatever_is_committed_before_its_entry() {
        let (lease, intended) = intended();
        let which = LeaseSelection::Capability("orders.query".parse().unwrap());
        let denial = MemoryRevocation::leases(NOW, which.clone(), EndReason::Revoked, Vec::new());
        let mut world = World::default();
        world.deny(&denial);
        // In the group commit that hangs.
        commit(&mut world, 1, intended);
        commit(
            &mut world,
            2,
            Effect::Lease(leases::Effect::Issue { lease, sealed: vec![7], digest: leases::tests::digest() }),
        );
        let is_ending = |leases: &Leases| matches!(leases.lease(lease).unwrap().stage, LeaseStage::Ending(_));
        assert!(is_ending(&world.leases) && !is_ending(world.recorded_leases()));
        commit(&mut world, 3, Effect::Lease(leases::Effect::End { which, why: EndReason::Revoked }));
        world.recorded(&denial);
        assert!(is_ending(&world.leases) && world.denied.recorded.leases.is_none());
    }

    #[test]
    fn a_version_that_was_handed_out_again_before_is_as_entries_say() {
        let id = SecretId::mint(NOW, &SystemEntropy);
        let mut world = with_versions(id);
        let denial = MemoryRevocation::version(NOW, id, name(), 1);
        world.deny(&denial);
        commit(&mut world, 3, Effect::Secrets(secrets::Effect::Promote { name: name(), version: 1 }));
        assert_eq!(stage(&world.secrets, 1), VersionStage::Destroyed);
        assert_eq!(stage(world.recorded_secrets(), 1), VersionStage::Current);
        world.lift(&denial);
        assert_eq!(stage(&world.secrets, 1), VersionStage::Current, "nothing was lost");
    }

    #[test]
    fn one_denial_ends_and_another_of_the_same_room_goes_on() {
        let id = SecretId::mint(NOW, &SystemEntropy);
        let mut world = with_versions(id);
        let third = secrets::Effect::Store { id, name: name(), version: 3, sealed: sealed() };
        commit(&mut world, 3, Effect::Secrets(third));
        let (first, second) =
            (MemoryRevocation::version(NOW, id, name(), 1), MemoryRevocation::version(NOW, id, name(), 2));
        world.deny(&first);
        world.deny(&second);
        world.lift(&first);
        assert_eq!(
            (stage(&world.secrets, 1), stage(&world.secrets, 2)),
            (VersionStage::Former, VersionStage::Destroyed)
        );
        world.lift(&second);
        assert_eq!(stage(&world.secrets, 2), VersionStage::Former);
        assert!(world.denied.recorded.secrets.is_none() && world.denied.ended.is_empty());
    }

    #[test]
    fn a_key_that_was_revoked_in_memory_alone_is_not_revoked_for_good() {
        let mut world = World::default();
        let stage = |generation, stage| Effect::Token(token::Effect::Stage { generation, stage });
        commit(&mut world, 1, stage(1, KeyStage::Active));
        commit(&mut world, 2, stage(2, KeyStage::Prepared));
        commit(&mut world, 3, stage(2, KeyStage::Active));
        world.deny(&MemoryRevocation::token_key(NOW, 1));
        let first = |keys: &TokenKeys| keys.generations().all().next().unwrap().1.stage;
        assert_eq!(first(&world.keys.token_keys), KeyStage::Revoked);
        assert_eq!(first(world.recorded_token_keys()), KeyStage::Old, "its private key stays in the keyring");
    }

    #[test]
    fn relatives_are_denied_and_settled_with_their_subject() {
        let operator = OperatorId::mint(NOW, &SystemEntropy);
        let renewals = Subject::OperatorEnrolment(OperatorEnrolment { operator, enrolled_seq: 3 });
        let subjects = [Subject::Certificate([1; 16]), renewals];
        let mut all: Vec<MemoryRevocation> =
            subjects.iter().cloned().map(|one| MemoryRevocation::Subject(Denial::Kill(one))).collect();
        let code = CodeId::mint(NOW, &SystemEntropy);
        all.push(MemoryRevocation::Codes(vec![code]));
        let denial = MemoryRevocation::Several(all);
        let mut world = World::default();
        world.deny(&denial);
        assert!(subjects.iter().all(|one| world.revocations.is_unrecorded(one)));
        assert!(world.revocations.codes.contains(code));
        world.recorded(&denial);
        assert!(!subjects.iter().any(|one| world.revocations.is_unrecorded(one)));
        assert!(!world.revocations.codes.contains(code));
    }

    #[test]
    fn every_denial_takes_away() {
        let id = SecretId::mint(NOW, &SystemEntropy);
        let all = [
            MemoryRevocation::leases(NOW, LeaseSelection::All, EndReason::Revoked, Vec::new()),
            MemoryRevocation::version(NOW, id, name(), 1),
            MemoryRevocation::token_key(NOW, 1),
            MemoryRevocation::authority(NOW, 1, false),
            MemoryRevocation::authority(NOW, 1, true),
            MemoryRevocation::withdrawal(NOW, Removals::default(), Vec::new()),
        ];
        for denial in all {
            let MemoryRevocation::Other(ended) = &denial else { panic!("{denial:?}") };
            assert!(World::takes_away(&ended.effect), "{denial:?}");
        }
    }
}
