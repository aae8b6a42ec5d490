use std::sync::PoisonError;

use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::identity::bootstrap::broken;
use crate::broker::keys::signing_keys::checkpoint_key;
use crate::broker::once::{Asker, done_before, once_of};
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::Effect;
use crate::custody::{self, CheckpointKeyTurned, keys};
use crate::idempotency::Once;
use crate::keyring::Family;
use crate::policy::{Authorised, RotateSigningKeys};
use crate::store::Change;

/// The generation that signs until the ledger says otherwise.
pub(in crate::broker) const FIRST: u32 = 1;

impl AdminDesk {
    /// Turns to a new checkpoint key, announced under the old one, which then goes for good; gives its
    /// generation.
    ///
    /// # Errors
    /// [`Failure`]; what is done stays done, and the next turn goes on from there.
    pub async fn turn_checkpoint_key(
        &self,
        by: &Authorised<RotateSigningKeys>,
        once: Option<&Once>,
    ) -> Result<u32, Failure> {
        let _turn = self.0.keyring.checkpoint_turn.lock().await;
        let generation = deciding_again!(self.0.next_checkpoint_key(Some((by.operator(), once))))?;
        self.0.shed_checkpoint_keys()?;
        Ok(generation)
    }
}

impl Core {
    /// Turns the checkpoint key when its time has come, and finishes a turn that was stopped.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn keep_checkpoint_key(&self) -> Result<(), Failure> {
        let _turn = self.keyring.checkpoint_turn.lock().await;
        let since = match self.state.store.read(|world, _| world.custody.checkpoint_key()) {
            Some((_, since)) => since,
            None => self.keyring.ring.lock().unwrap_or_else(PoisonError::into_inner).created_at(),
        };
        if self.state.clock.now().seconds_since(since) >= self.settings.checkpoint_key_life_s {
            deciding_again!(self.next_checkpoint_key(None))?;
        }
        self.shed_checkpoint_keys()
    }

    /// The key in the keyring first, then the ledger's word, then it signs: a stop in between leaves a
    /// key that nobody knows of, which the next turn takes up.
    async fn next_checkpoint_key(&self, by: Option<Asker<'_>>) -> Result<u32, Again> {
        let now = self.state.clock.now();
        let (known, before, as_of) = self.state.store.read(|world, as_of| {
            (world.custody.checkpoint_key(), done_before(world, once_of(by), now), as_of)
        });
        if let Some(before) = before? {
            return Ok(self.turned_before(&before)?);
        }
        let signs = known.map_or(FIRST, |(generation, _)| generation);
        // Whoever was to say so may have gone after the entry was durable.
        self.signing.notaries.take_over(signs);
        let generation = signs.saturating_add(1);
        let next = {
            let key = (Family::Checkpoint, generation);
            let extended = self
                .change_keyring(|keyring| keyring.extension(&self.keyring.path, key, &*self.state.entropy));
            extended.map_err(|error| broken(&error))?;
            checkpoint_key(&self.keyring(), generation, &self.settings.trust_domain)?
        };
        let announcement = self.signing.notaries.prepare(generation, next);
        let operator = by.map(|(operator, _)| operator.name());
        let event = CheckpointKeyTurned { operator, generation, announcement: &announcement };
        let change = Change::new(&event)?
            .effect(Effect::Custody(custody::Effect::CheckpointKey(generation)))
            .rely(keys::checkpoint_key(), as_of);
        let change = self.asked_by(change, by, as_of)?;
        self.state.store.commit(change, ()).await?.redeem();
        self.signing.notaries.take_over(generation);
        Ok(generation)
    }

    /// Takes the checkpoint keys before the one that signs out of the keyring, if there are any left.
    fn shed_checkpoint_keys(&self) -> Result<(), Failure> {
        let known = self.state.store.read(|world, _| world.custody.checkpoint_key());
        let signs = known.map_or(FIRST, |(generation, _)| generation);
        let goes = |generation| generation < signs;
        let shed =
            self.change_keyring(|keyring| keyring.reduction(&self.keyring.path, Family::Checkpoint, goes));
        shed.map(drop).map_err(|error| broken(&error))
    }
}
