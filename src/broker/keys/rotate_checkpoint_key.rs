use crate::authn::OperatorPrincipal;
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, ReadOutcome};
use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::keys::notaries::FIRST;
use crate::broker::keys::signing_keys::checkpoint_key;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::custody::{self, CheckpointKeyRotated};
use crate::idempotency::IdempotencyKey;
use crate::keyring::Family;
use crate::policy::{Authorised, RotateSigningKeys};

impl AdminServices {
    /// Rotates the checkpoint key; returns the new generation. The old key signs the announcement, then it is
    /// destroyed.
    ///
    /// # Errors
    /// [`Failure`]; the next rotation continues after the completed steps.
    pub async fn rotate_checkpoint_key(
        &self,
        by: &Authorised<RotateSigningKeys>,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<u32, Failure> {
        let _turn = self.0.keyring.checkpoint_lock.lock().await;
        let generation =
            retry_on_conflict!(self.0.next_checkpoint_key(ChangeRequest::by(by.operator(), idempotency)))?;
        self.0.shed_checkpoint_keys()?;
        Ok(generation)
    }
}

impl Services {
    /// Rotates the checkpoint key if that is due, and finishes an interrupted rotation.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn keep_checkpoint_key(&self) -> Result<(), Failure> {
        let _turn = self.keyring.checkpoint_lock.lock().await;
        let since = self.state.read(|reading| reading.checkpoint_key().map(|(_, since)| since)).0;
        let since = since.unwrap_or_else(|| self.keyring().created_at());
        if self.state.clock.now().seconds_since(since) >= self.settings.checkpoint_key_life_s {
            retry_on_conflict!(self.next_checkpoint_key(ChangeRequest::by_schedule()))?;
        }
        self.shed_checkpoint_keys()
    }

    /// The order: the keyring has the new key, then the ledger has the entry, then the key signs. After a stop in
    /// between, the next rotation uses the key in the keyring.
    async fn next_checkpoint_key(&self, request: ChangeRequest<'_>) -> Result<u32, AttemptError> {
        let (known, preconditions) =
            match self.state.read_for(request, |reading| Ok(reading.checkpoint_key()))? {
                ReadOutcome::Now(known, preconditions) => (known, preconditions),
                ReadOutcome::Before(before) => return Ok(self.state.rotated_before(&before)?),
            };
        let signs = known.map_or(FIRST, |(generation, _)| generation);
        // An earlier task may have ended after the entry was durable.
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
        let operator = request.by.operator().map(OperatorPrincipal::name);
        let event = CheckpointKeyRotated { operator, generation, announcement: &announcement };
        let effect = Effect::Custody(custody::Effect::CheckpointKey(generation));
        self.state.commit_draft(request, ChangeDraft::new(&event, ())?.effect(effect), preconditions).await?;
        self.signing.notaries.take_over(generation);
        Ok(generation)
    }

    /// Removes earlier checkpoint keys from the keyring.
    fn shed_checkpoint_keys(&self) -> Result<(), Failure> {
        let signs = self.signing_generation();
        let goes = |generation| generation < signs;
        let shed =
            self.change_keyring(|keyring| keyring.reduction(&self.keyring.path, Family::Checkpoint, goes));
        shed.map(drop).map_err(|error| broken(&error))
    }
}
