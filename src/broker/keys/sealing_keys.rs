use crate::base::Timestamp;
use crate::base::limits::{EARLIER_DIGEST_LIFE_S, SEALS_DUE};
use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::services::Services;
use crate::broker::world::{Effect, World};
use crate::custody::{self, SealingKeysRotated, keys};
use crate::keyring::{Family, Keyring};
use crate::store::{Change, History, Store};

/// What a start has to do about the delta, index and digest keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SealingKeys {
    /// Nothing: the ledger knows them, or learns of them with the root key that replaced another one.
    InUse,
    /// Record them: no entry under the newest delta key says which entries came before it.
    Unrecorded,
    /// Rotate them: their life is over.
    Due,
}

/// What a start has to do at `now` about the delta, index and digest keys of `keyring`, which live `life_s` seconds.
///
/// # Errors
/// [`Failure`] when `keyring` has no such keys.
pub fn sealing_keys(
    store: &Store<World>,
    keyring: &Keyring,
    now: Timestamp,
    life_s: i64,
) -> Result<SealingKeys, Failure> {
    let newest = newest_sealing_keys(keyring)?;
    let (root, is_bound) =
        store.read(|world, _| (world.custody.root(), world.custody.is_bound_under(newest.delta)));
    Ok(if root != Some(keyring.root_id()) {
        SealingKeys::InUse
    } else if !is_bound {
        SealingKeys::Unrecorded
    } else if is_over(store, now, life_s, || keyring.created_at()) {
        SealingKeys::Due
    } else {
        SealingKeys::InUse
    })
}

/// Whether the delta, index and digest keys are `life_s` seconds old at `now`.
fn is_over(
    store: &Store<World>,
    now: Timestamp,
    life_s: i64,
    created_at: impl FnOnce() -> Timestamp,
) -> bool {
    let since = store.read(|world, _| world.custody.sealing_keys_since());
    now.seconds_since(since.unwrap_or_else(created_at)) >= life_s
}

/// The newest generations of the delta, index and digest keys.
///
/// # Errors
/// [`Failure`] if it does not exist.
pub fn newest_sealing_keys(keyring: &Keyring) -> Result<SealingKeysRotated, Failure> {
    let newest = |family| {
        let newest = keyring.current(family).map(|(id, _)| id.generation);
        newest.map_err(|error| broken(&error))
    };
    let (delta, index, digest) = (newest(Family::Delta)?, newest(Family::Index)?, newest(Family::Digest)?);
    Ok(SealingKeysRotated { delta, index, digest })
}

/// Records that the delta, index and digest keys were rotated. The entry is under the new delta key and says what the
/// entries before are, and a holder of an earlier key cannot; an entry that comes between leaves that unsaid.
///
/// # Errors
/// [`Failure`].
pub async fn record_sealing_keys(store: &Store<World>, rotated: &SealingKeysRotated) -> Result<(), Failure> {
    let (as_of, tree) = (store.read(|_, as_of| as_of), store.tree());
    let before = History { through: tree.size(), root: tree.root() };
    let change = Change::new(rotated)?
        .effect(Effect::Custody(custody::Effect::SealingKeys(rotated.delta)))
        .effect(Effect::Custody(custody::Effect::Before(before)))
        .rely(keys::slots(), as_of);
    store.commit(change, ()).await?.redeem();
    Ok(())
}

impl Services {
    /// Records a rotation of the delta, index and digest keys that its start could not record. Then takes index and
    /// digest keys out of the keyring that nothing is sealed or known by any more: those of the index once it is
    /// built anew, those of digests when every outcome of then is forgotten. Delta keys stay: the ledger is never written
    /// anew.
    ///
    /// # Errors
    /// [`Failure`]; the next look tries again.
    pub async fn keep_sealing_keys(&self) -> Result<(), Failure> {
        let newest = newest_sealing_keys(&self.keyring())?;
        if !self.state.store.read(|world, _| world.custody.is_bound_under(newest.delta)) {
            record_sealing_keys(&self.state.store, &newest).await?;
            tracing::info!(?newest, "the rotation of the delta, index and digest keys is recorded");
        }
        let since = self.state.store.read(|world, _| world.custody.sealing_keys_since());
        let now = self.state.clock.now();
        let is_forgotten =
            since.is_some_and(|since| now.seconds_since(since) > i64::from(EARLIER_DIGEST_LIFE_S));
        let kept = [
            (Family::Index, newest.index, self.state.store.is_indexed()),
            (Family::Digest, newest.digest, is_forgotten),
        ];
        for (family, newest, goes) in kept {
            let earlier = |generation| goes && generation < newest;
            let gone = self.change_keyring(|keyring| keyring.reduction(&self.keyring.path, family, earlier));
            gone.map_err(|error| broken(&error))?;
        }
        Ok(())
    }

    /// How many keys are due to be rotated, which is done by the schedule or at the next start: the delta, index
    /// and digest keys together, and the value key when it has sealed much. None in read-only mode, which rotates
    /// no key.
    pub(crate) fn keys_due(&self) -> usize {
        if self.state.store.is_read_only() {
            return 0;
        }
        let (now, life_s) = (self.state.clock.now(), self.settings.sealing_key_life_s);
        let is_over = is_over(&self.state.store, now, life_s, || self.keyring().created_at());
        usize::from(is_over).saturating_add(usize::from(self.values.sealer.seals() >= SEALS_DUE))
    }
}
