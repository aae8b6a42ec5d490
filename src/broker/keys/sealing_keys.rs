use crate::base::Timestamp;
use crate::base::limits::{EARLIER_DIGEST_LIFE_S, SEALS_DUE};
use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::reading::Reading;
use crate::broker::services::Services;
use crate::broker::world::{Effect, World};
use crate::custody::{self, SealingKeysRotated};
use crate::keyring::{Family, Keyring};
use crate::store::{Change, History, Store};

/// The step of a start for the delta, index and digest keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SealingKeys {
    /// No step: the ledger names them, or will name them with a new root key.
    InUse,
    /// Record them: no entry under the newest delta key binds the earlier entries.
    Unrecorded,
    /// Rotate them: their life has ended.
    Due,
}

/// The step of a start at `now` for the delta, index and digest keys of `keyring`, with a life of `life_s` seconds.
///
/// # Errors
/// [`Failure`] if `keyring` has no such keys.
pub fn sealing_keys(
    store: &Store<World>,
    keyring: &Keyring,
    now: Timestamp,
    life_s: i64,
) -> Result<SealingKeys, Failure> {
    let newest = newest_sealing_keys(keyring)?;
    let ((root, is_bound, since), _) = Reading::in_store(store, now, |reading| {
        let custody = reading.slots();
        (custody.root(), custody.is_bound_under(newest.delta), custody.sealing_keys_since())
    });
    Ok(if root != Some(keyring.root_id()) {
        SealingKeys::InUse
    } else if !is_bound {
        SealingKeys::Unrecorded
    } else if now.seconds_since(since.unwrap_or_else(|| keyring.created_at())) >= life_s {
        SealingKeys::Due
    } else {
        SealingKeys::InUse
    })
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

/// Records the rotation of the delta, index and digest keys. The entry is under the new delta key and contains the
/// root over the earlier entries, which a holder of an earlier key cannot make. If another entry comes between, the
/// root is missing, and the entry is repeated.
///
/// # Errors
/// [`Failure`].
pub async fn record_sealing_keys(
    store: &Store<World>,
    now: Timestamp,
    rotated: &SealingKeysRotated,
) -> Result<(), Failure> {
    // The tree is not older than the preconditions.
    let ((), preconditions) = Reading::in_store(store, now, |reading| {
        reading.slots();
    });
    let tree = store.tree();
    let before = History { through: tree.size(), root: tree.root() };
    let change = Change::new(rotated)?
        .effect(Effect::Custody(custody::Effect::SealingKeys(rotated.delta)))
        .effect(Effect::Custody(custody::Effect::Before(before)));
    store.commit(preconditions.added_to(change), ()).await?.redeem();
    Ok(())
}

impl Services {
    /// Records a rotation of the delta, index and digest keys that the start could not record. Then removes unused
    /// keys from the keyring: index keys after the index is rebuilt, digest keys after all outcomes under them are
    /// forgotten. Delta keys stay, because entries are never encrypted again.
    ///
    /// # Errors
    /// [`Failure`]; the next check tries again.
    pub async fn keep_sealing_keys(&self) -> Result<(), Failure> {
        let newest = newest_sealing_keys(&self.keyring())?;
        let now = self.state.clock.now();
        if !self.state.read(|reading| reading.slots().is_bound_under(newest.delta)).0 {
            record_sealing_keys(&self.state.store, now, &newest).await?;
            tracing::info!(?newest, "the rotation of the delta, index and digest keys is recorded");
        }
        let since = self.state.read(|reading| reading.slots().sealing_keys_since()).0;
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

    /// The number of keys that are due for rotation by the schedule or the next start: the delta, index and digest
    /// keys together, and the value key. 0 in read-only mode, which rotates no key.
    pub(crate) fn keys_due(&self) -> usize {
        if self.state.store.is_read_only() {
            return 0;
        }
        let since = self.state.read(|reading| reading.slots().sealing_keys_since()).0;
        let since = since.unwrap_or_else(|| self.keyring().created_at());
        let is_over = self.state.clock.now().seconds_since(since) >= self.settings.sealing_key_life_s;
        usize::from(is_over).saturating_add(usize::from(self.values.sealer.seals() >= SEALS_DUE))
    }
}
