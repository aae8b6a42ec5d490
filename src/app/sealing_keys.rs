use super::data_dir::{keyring_path, store_options};
use super::duty::ServeMode;
use super::environment::Environment;
use crate::broker::{SealingKeys, World, newest_sealing_keys, record_sealing_keys, sealing_keys};
use crate::config::Config;
use crate::console::CommandFailure;
use crate::keyring::Keyring;
use crate::store::{OnLostEntries, Store};

/// Rotates the delta, index and digest keys at the end of their life. The store is opened again: the ledger continues in
/// a segment under the new delta key, the index is rebuilt, and no request under the former digest key is in progress. An
/// interrupted rotation is only recorded.
///
/// A read-only keyring or a full ledger does not prevent the start.
pub(super) async fn keep_sealing_keys(
    store: Store<World>,
    keyring: &mut Keyring,
    config: &Config,
    environment: &Environment,
) -> Result<Store<World>, CommandFailure> {
    if store.is_read_only() {
        return Ok(store);
    }
    let (now, life_s) = (environment.clock.now(), config.ledger.key_life_s);
    let store = match sealing_keys(&store, keyring, now, life_s)? {
        SealingKeys::InUse => return Ok(store),
        SealingKeys::Unrecorded => store,
        SealingKeys::Due => {
            if let Err(error) = keyring.rotate_sealing_keys(&keyring_path(config), &*environment.entropy) {
                tracing::error!(%error, "the delta, index and digest keys cannot be rotated: the next start tries again");
                return Ok(store);
            }
            reopened(store, keyring, config, environment).await?
        }
    };
    let newest = newest_sealing_keys(keyring)?;
    match record_sealing_keys(&store, now, &newest).await {
        Ok(()) => tracing::info!(?newest, "the delta, index and digest keys were rotated"),
        Err(failure) => tracing::error!(
            code = %failure.code, ?newest,
            "the rotation of the delta, index and digest keys is not recorded yet: the broker tries again every minute"
        ),
    }
    Ok(store)
}

/// The store under the newest keys of `keyring`.
async fn reopened(
    store: Store<World>,
    keyring: &Keyring,
    config: &Config,
    environment: &Environment,
) -> Result<Store<World>, CommandFailure> {
    // From here on the former keyring is refused.
    store.keys_changed(keyring)?;
    store.close().await;
    drop(store);
    let options = store_options(config, environment, OnLostEntries::Refuse, ServeMode::Full)?;
    let (store, report) = Store::open(&options, keyring)?;
    tracing::info!(?report, "the ledger is open under a new delta key");
    Ok(store)
}
