use crate::base::{SecretId, SecretName, code};
use crate::broker::failure::{Failure, broken};
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::keyring::{Family, Keyring};
use crate::secrets::{ActiveValueKey, KEYS, StoredVersion, VALUES, Version, VersionStage, keys};
use crate::store::Store;

/// That the keyring has the value key that wraps. With an older copy nothing would open, and what was put
/// meanwhile would open no more once the right one is back.
///
/// # Errors
/// [`Failure`] when it is an older copy.
pub fn value_key_is_there(store: &Store<World>, keyring: &Keyring) -> Result<(), Failure> {
    let wraps = store.read(|world, _| world.secrets.turned());
    let newest = keyring.current(Family::Value).map_err(|error| broken(&error))?.0.generation;
    let is_older = wraps.is_some_and(|wraps| newest < wraps.generation);
    if is_older { Err(Failure::new(code::SIGNING_KEY_MISSING)) } else { Ok(()) }
}

/// A version of the secret called `name`.
pub(super) struct HeldVersion {
    pub(super) name: SecretName,
    pub(super) id: SecretId,
    pub(super) version: Version,
}

impl Services {
    /// What is kept of a version.
    pub(crate) async fn stored_version(
        &self,
        id: SecretId,
        version: Version,
    ) -> Result<StoredVersion, Failure> {
        let key = keys::value(id, version.number);
        let record = self.state.store.record(VALUES, &key, version.seq).await?;
        let rewrapped = match version.rewrapped {
            Some(seq) => Some(self.state.store.record(KEYS, &key, seq).await?),
            None => None,
        };
        Ok(StoredVersion { record, rewrapped })
    }

    /// The value key that wraps since its entry; none before the first rotation.
    pub(super) fn wrapping_key(&self) -> Option<ActiveValueKey> {
        self.state.store.read(|world, _| world.secrets.turned())
    }

    /// Every version that lives, also those whose destruction is in force in memory alone: it may never be recorded.
    pub(super) fn living_versions(&self) -> Vec<HeldVersion> {
        self.state.store.read(|world, _| {
            let versions = world.recorded_secrets().all().flat_map(|secret| {
                let living = secret.versions().filter(|version| version.stage != VersionStage::Destroyed);
                living.map(|version| HeldVersion { name: secret.name.clone(), id: secret.id, version })
            });
            versions.collect()
        })
    }
}
