use super::bootstrap::broken;
use super::desk::Core;
use super::failure::Failure;
use super::world::{Effect, World};
use crate::base::Timestamp;
use crate::base::limits::{OUTCOME_LIFE_S, SEALS_DUE};
use crate::custody::{self, SealingKeysRotated, keys};
use crate::keyring::{Family, Keyring};
use crate::store::{Change, History, Store};

/// Whether the delta, index and digest keys of `keyring` are `life_s` seconds old at `now`.
#[must_use]
pub fn sealing_keys_are_due(store: &Store<World>, keyring: &Keyring, now: Timestamp, life_s: i64) -> bool {
    now.seconds_since(in_use_since(store, keyring)) >= life_s
}

/// Since when the delta, index and digest keys are in use.
fn in_use_since(store: &Store<World>, keyring: &Keyring) -> Timestamp {
    let since = store.read(|world, _| world.custody.sealing_keys_since());
    since.unwrap_or_else(|| keyring.created_at())
}

/// Records that the delta, index and digest keys were rotated. It is to be the first entry under the new delta key,
/// before anybody is served: it says what the entries before are, and whoever has an earlier key cannot.
///
/// # Errors
/// [`Failure`].
pub async fn record_sealing_keys(store: &Store<World>, rotated: &SealingKeysRotated) -> Result<(), Failure> {
    let (as_of, tree) = (store.read(|_, as_of| as_of), store.tree());
    let before = History { through: tree.size(), root: tree.root() };
    let change = Change::new(rotated)?
        .effect(Effect::Custody(custody::Effect::SealingKeys))
        .effect(Effect::Custody(custody::Effect::Before(before)))
        .rely(keys::slots(), as_of)
        .advance(keys::slots());
    store.commit(change, ()).await?.redeem();
    Ok(())
}

/// How many records the value key has sealed, as far as the ledger can tell: one with each entry since it took over,
/// and one for each version that may have been carried over to it.
#[must_use]
pub fn value_key_seals(store: &Store<World>) -> u64 {
    store.read(|world, as_of| {
        let versions = world.secrets.all().map(|secret| secret.versions().count() as u64);
        let since = world.secrets.turned().map_or(0, |wraps| wraps.seq);
        versions.fold(as_of.saturating_sub(since), u64::saturating_add)
    })
}

impl Core {
    /// Takes index and digest keys out of the keyring that nothing is sealed or known by any more: those of the
    /// index once it is built anew, those of digests when every outcome of then is forgotten. Delta keys stay:
    /// the ledger is never written anew.
    ///
    /// # Errors
    /// [`Failure`]; the next look tries again.
    pub fn drop_sealing_keys(&self) -> Result<(), Failure> {
        let is_forgotten = {
            let since = in_use_since(&self.store, &self.keyring());
            self.clock.now().seconds_since(since) > i64::from(OUTCOME_LIFE_S)
        };
        for (family, goes) in [(Family::Index, self.store.is_indexed()), (Family::Digest, is_forgotten)] {
            let newest = self.keyring().current(family).map_err(|error| broken(&error))?.0.generation;
            let earlier = |generation| goes && generation < newest;
            let gone = self.change_keyring(|keyring| keyring.reduction(&self.keyring_path, family, earlier));
            gone.map_err(|error| broken(&error))?;
        }
        Ok(())
    }

    /// How many keys are due to be rotated, which is done by the schedule or at the next start: the delta, index
    /// and digest keys together, and the value key when it has sealed much.
    pub(super) fn keys_due(&self) -> usize {
        let (now, life_s) = (self.clock.now(), self.settings.sealing_key_life_s);
        let is_over = sealing_keys_are_due(&self.store, &self.keyring(), now, life_s);
        usize::from(is_over).saturating_add(usize::from(self.sealer.seals() >= SEALS_DUE))
    }
}
