use std::collections::BTreeSet;

use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::services::Services;
use crate::keyring::{Family, Generations, KeyStage, Keyring};

impl Services {
    /// Takes the private keys whose generation is revoked out of the keyring: they sign nothing any more,
    /// and nobody verifies by them. The ledger has said so first, and a start asks for none of them; a
    /// stop before they went leaves them to the next look.
    ///
    /// # Errors
    /// [`Failure`]; what is revoked is so all the same.
    pub fn shed_signing_keys(&self) -> Result<(), Failure> {
        let revoked = self.state.store.read(|world, _| {
            // A revocation that is in force in memory alone may never be recorded: the next start asks for the key.
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

    /// Has anchors name the keyring as it was written last, so that an older copy of it is noticed.
    pub(crate) fn anchor_keys(&self, keyring: &Keyring) {
        if let Err(error) = self.state.store.keys_changed(keyring) {
            tracing::error!(%error, "a revoked key left the keyring, but the anchor still names it");
        }
    }

    /// The same, once a generation came to `stage`. It is no part of what was asked for: what fails is
    /// logged, and tried again by the next look.
    pub(crate) fn shed_after(&self, stage: KeyStage) {
        if stage == KeyStage::Revoked {
            self.shed_signing_keys().unwrap_or_default();
        }
    }
}

/// Not what the ledger has never heard of: that is about to be prepared.
fn revoked(generations: &Generations) -> BTreeSet<u32> {
    let all = generations.all();
    all.filter(|(_, standing)| !standing.stage.counts()).map(|(generation, _)| generation).collect()
}
