use super::assemble::{
    Surroundings, broker_failure, keyring_failure, keyring_path, store_failure, store_options,
};
use crate::broker::{World, record_sealing_keys, sealing_keys_are_due};
use crate::cli::Failure;
use crate::config::Config;
use crate::custody::SealingKeysRotated;
use crate::keyring::Keyring;
use crate::store::{OnLostEntries, Store};

/// Rotates the delta, index and digest keys when their life is over. The store is opened again: the ledger goes on
/// in a segment under the new delta key, the index is built anew, and nobody is served yet whose request the digest
/// key before would know.
///
/// Keys that cannot be rotated, for want of room on the disk, keep no broker from starting.
pub(super) async fn rotate_sealing_keys(
    store: Store<World>,
    keyring: &mut Keyring,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Store<World>, Failure> {
    let (now, life_s) = (surroundings.clock.now(), config.ledger.key_life_s);
    if store.is_read_only() || !sealing_keys_are_due(&store, keyring, now, life_s) {
        return Ok(store);
    }
    let rotated = keyring.rotate_sealing_keys(&keyring_path(config), &*surroundings.entropy);
    let [delta, index, digest] = match rotated {
        Ok(generations) => generations,
        Err(error) => {
            tracing::error!(%error, "the delta, index and digest keys cannot be rotated: the next start tries again");
            return Ok(store);
        }
    };
    // The keyring of before, put back, is refused from here on.
    store.keys_changed(keyring).map_err(|error| keyring_failure(&error))?;
    store.close().await;
    drop(store);
    let options = store_options(config, surroundings, OnLostEntries::Refuse);
    let (store, report) = Store::open(&options, keyring).map_err(|error| store_failure(&error))?;
    let recorded = record_sealing_keys(&store, &SealingKeysRotated { delta, index, digest }).await;
    recorded.map_err(|failure| broker_failure(&failure))?;
    tracing::info!(delta, index, digest, ?report, "the delta, index and digest keys were rotated");
    Ok(store)
}
