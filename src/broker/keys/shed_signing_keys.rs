use std::collections::BTreeSet;

use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::services::Services;
use crate::keyring::{Family, Generations, KeyStage, Keyring};

impl Services {
    /// Removes the private keys of revoked generations from the keyring, after the ledger has the revocation. A start
    /// does not need them. After a stop before the removal, the next check removes them.
    ///
    /// # Errors
    /// [`Failure`]; the revocation stays in force.
    pub fn shed_signing_keys(&self) -> Result<(), Failure> {
        let revoked = self.state.store.read(|world, _| {
            // A revocation that is only in memory may never be recorded: then the next start needs the key.
            let token_keys = (Family::Token, revoked(world.recorded_token_keys().generations()));
            [token_keys, (Family::Authority, revoked(world.recorded_authority().generations()))]
        });
        for (family, revoked) in revoked {
            let goes = |generation: u32| revoked.contains(&generation);
            let shed = self.change_keyring(|keyring| keyring.reduction(&self.keyring.path, family, goes));
            shed.map_err(|error| broken(&error))?;
        }
        Ok(())
    }

    /// Makes anchors name the newest keyring, so that an older copy is detected.
    pub(crate) fn anchor_keys(&self, keyring: &Keyring) {
        if let Err(error) = self.state.store.keys_changed(keyring) {
            tracing::error!(%error, "a revoked key left the keyring, but the anchor still names it");
        }
    }

    /// The same after a change to `stage`. A failure is only logged, because it is no part of the request; the next
    /// check tries again.
    pub(crate) fn shed_after(&self, stage: KeyStage) {
        if stage == KeyStage::Revoked {
            self.shed_signing_keys().unwrap_or_default();
        }
    }
}

/// Generations that the ledger does not name stay: they are about to be prepared.
fn revoked(generations: &Generations) -> BTreeSet<u32> {
    let all = generations.all();
    all.filter(|(_, stage_since)| !stage_since.stage.counts()).map(|(generation, _)| generation).collect()
}
