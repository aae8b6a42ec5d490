use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::broker::services::Services;
use crate::keyring::{Keyring, KeyringChange, KeyringError};

/// The attempts of a seal to lock the keyring, and the pause between them: no thread holds it while it waits for a
/// disk.
const FORGET_TRIES: u32 = 40;
const FORGET_PAUSE: Duration = Duration::from_millis(5);

impl Services {
    /// Makes the change of `prepare` durable in the keyring's file, then applies it in memory; returns the removed
    /// generations. The keyring is not locked during the wait for the disk, so that a seal can wipe it.
    pub(crate) fn change_keyring(
        &self,
        prepare: impl FnOnce(&Keyring) -> Result<Option<KeyringChange>, KeyringError>,
    ) -> Result<Vec<u32>, KeyringError> {
        let _writing = self.keyring.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = prepare(&self.keyring())?;
        let Some(change) = prepared else { return Ok(Vec::new()) };
        let gone = change.gone();
        let written = change.write(&self.keyring.path)?;
        let mut keyring = self.keyring();
        keyring.adopt(written)?;
        self.anchor_keys(&keyring);
        Ok(gone)
    }

    /// Locks the keyring.
    pub(crate) fn keyring(&self) -> MutexGuard<'_, Keyring> {
        self.keyring.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wipes the keyring in place.
    pub(crate) fn forget_keyring(&self) {
        for _ in 0..FORGET_TRIES {
            match self.keyring.ring.try_lock() {
                Ok(mut keyring) => return keyring.forget(),
                Err(TryLockError::Poisoned(keyring)) => return keyring.into_inner().forget(),
                Err(TryLockError::WouldBlock) => std::thread::sleep(FORGET_PAUSE),
            }
        }
        tracing::error!(
            "the keyring is in use and cannot be wiped: its keys stay in memory until the process is replaced"
        );
    }
}
