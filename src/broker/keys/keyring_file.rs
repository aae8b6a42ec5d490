use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::broker::services::Services;
use crate::keyring::{Keyring, KeyringChange, KeyringError};

/// How often a sealing asks for the keyring, and how long apart: nobody holds it while a disk is waited for.
const FORGET_TRIES: u32 = 40;
const FORGET_PAUSE: Duration = Duration::from_millis(5);

impl Services {
    /// Makes the change that `prepare` asks for durable in the keyring's file, then takes it in; gives the
    /// generations that went. The keyring itself is not held while the disk is waited for: a sealing wipes it
    /// meanwhile.
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

    /// The keyring, for a moment.
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
