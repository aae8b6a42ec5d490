use super::value_key::HeldVersion;
use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::base::limits::{REWRAPPED_AT_ONCE_MAX, SEALS_DUE};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, ReadOutcome};
use crate::broker::failure::Failure;
use crate::broker::failure::broken;
use crate::broker::reading::Reading;
use crate::broker::retry::AttemptError;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::idempotency::IdempotencyKey;
use crate::keyring::{Family, KeyringError};
use crate::policy::{Authorised, RotateValueKey};
use crate::secrets::{self, ValueKeyRotated, ValueKeyShed, VersionsRewrapped};

/// The result of a rotation of the value key.
#[derive(Clone, Copy, Debug)]
pub struct ValueKeyChange {
    /// The generation that wraps now.
    pub generation: u32,
    /// The number of versions wrapped with the new key; unknown for a repeated request.
    pub carried_over: Option<usize>,
}

impl AdminServices {
    /// Rotates the value key: live versions are wrapped with the new key. Destroyed versions can then not be opened,
    /// from any copy of the ledger or the index. An interrupted rotation is finished first.
    ///
    /// # Errors
    /// [`Failure`]; the next rotation continues after the completed steps.
    pub async fn rotate_value_key(
        &self,
        by: &Authorised<RotateValueKey>,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<ValueKeyChange, Failure> {
        self.0.rotate_value_key(ChangeRequest::by(by.operator(), idempotency)).await
    }
}

impl Services {
    /// Rotates the value key if its life has ended or it has sealed many records, and finishes an interrupted
    /// rotation.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn keep_value_key(&self) -> Result<(), Failure> {
        let now = self.state.clock.now();
        let since =
            self.wrapping_key().map(|wraps| wraps.since).unwrap_or_else(|| self.keyring().created_at());
        let is_over = now.seconds_since(since) >= self.settings.value_key_life_s;
        if is_over || self.values.sealer.seals() >= SEALS_DUE {
            self.rotate_value_key(ChangeRequest::by_schedule()).await?;
        } else {
            let _turn = self.values.key_lock.lock().await;
            self.finish_turn().await?;
        }
        Ok(())
    }

    async fn rotate_value_key(&self, request: ChangeRequest<'_>) -> Result<ValueKeyChange, Failure> {
        let _turn = self.values.key_lock.lock().await;
        self.finish_turn().await?;
        if let ReadOutcome::Before(before) = self.state.read_for(request, |_| Ok(()))? {
            return Ok(ValueKeyChange {
                generation: self.state.rotated_before(&before)?,
                carried_over: None,
            });
        }
        let generation = self.new_value_key()?;
        self.record_turn(generation, request).await?;
        let carried_over = self.finish_turn().await?;
        Ok(ValueKeyChange { generation, carried_over: Some(carried_over) })
    }

    async fn record_turn(&self, generation: u32, request: ChangeRequest<'_>) -> Result<(), Failure> {
        let operator = request.by.operator().map(OperatorPrincipal::name);
        let recorded = self.state.change(request, |reading| {
            // Values that the earlier key sealed, and that are not in the ledger yet, are sealed again.
            reading.value_key();
            let turn = secrets::Effect::Turn(generation);
            Ok(ChangeDraft::new(&ValueKeyRotated { operator, generation }, ())?.effect(Effect::Secrets(turn)))
        });
        recorded.await.map(drop)
    }

    /// Makes the next generation durable in the keyring, then wraps with it.
    fn new_value_key(&self) -> Result<u32, Failure> {
        let failed = |error: KeyringError| broken(&error);
        let next = self.keyring().current(Family::Value).map_err(failed)?.0.generation.saturating_add(1);
        let key = (Family::Value, next);
        self.change_keyring(|keyring| keyring.extension(&self.keyring.path, key, &*self.state.entropy))
            .map_err(failed)?;
        let keyring = self.keyring();
        let key = || keyring.aead_of(Family::Value, next).map_err(failed);
        // The key opens before it seals.
        self.signing.issuer.learn_value_key(key()?);
        self.values.sealer.turn_to(key()?);
        Ok(next)
    }

    /// Wraps all live versions with the newest value key, then removes the older keys from the keyring. The same
    /// steps finish an interrupted rotation.
    async fn finish_turn(&self) -> Result<usize, Failure> {
        let newest = {
            let keyring = self.keyring();
            if keyring.generations(Family::Value).count() < 2 {
                return Ok(0);
            }
            keyring.current(Family::Value).map_err(|error| broken(&error))?.0.generation
        };
        if self.wrapping_key().map(|wraps| wraps.generation) != Some(newest) {
            // A stop came before the entry: a key is removed only after the ledger names its successor.
            self.record_turn(newest, ChangeRequest::by_schedule()).await?;
        }
        let mut carried_over = 0_usize;
        loop {
            let carried = self.carry_over().await?;
            if carried == 0 {
                break;
            }
            carried_over = carried_over.saturating_add(carried);
        }
        let goes = |generation| generation < newest;
        let shed = self.change_keyring(|keyring| keyring.reduction(&self.keyring.path, Family::Value, goes));
        let shed = shed.map_err(|error| broken(&error))?;
        self.signing.issuer.shed_value_keys();
        self.state.record(&ValueKeyShed { generations: shed }).await?;
        Ok(carried_over)
    }

    /// One pass over all live versions; returns how many an older key had wrapped.
    async fn carry_over(&self) -> Result<usize, Failure> {
        let mut carried = 0_usize;
        for held in self.living_versions().chunks(REWRAPPED_AT_ONCE_MAX) {
            carried = carried.saturating_add(self.carry_over_some(held).await?);
        }
        Ok(carried)
    }

    async fn carry_over_some(&self, held: &[HeldVersion]) -> Result<usize, Failure> {
        let mut rewrapped = Vec::new();
        for one in held {
            let HeldVersion { id, version, .. } = one;
            let stored = self.stored_version(*id, *version).await?;
            let (sealer, entropy) = (&self.values.sealer, &*self.state.entropy);
            let wrapped = self.signing.issuer.rewrap(*id, version.number, &stored, sealer, entropy)?;
            rewrapped.extend(wrapped.map(|wrapped_key| (one, wrapped_key)));
        }
        if rewrapped.is_empty() {
            return Ok(0);
        }
        let count = rewrapped.len();
        let decide = |reading: &Reading<'_>| {
            let mut draft = ChangeDraft::new(&VersionsRewrapped { versions: count }, ())?;
            for (HeldVersion { name, id, version }, wrapped_key) in &rewrapped {
                // A version that was destroyed in the meantime stays destroyed; requests that read a version before
                // are decided again.
                if reading.recorded_version(name, version.number) != Some(*version) {
                    return Err(Failure::new(code::MODIFIED_CONCURRENTLY));
                }
                let (name, version, wrapped_key) = (name.clone(), version.number, wrapped_key.clone());
                let rewrap = secrets::Effect::Rewrap { id: *id, name, version, wrapped_key };
                draft = draft.effect(Effect::Secrets(rewrap));
            }
            Ok(draft)
        };
        match self.state.change_once(ChangeRequest::by_schedule(), &decide).await {
            Err(AttemptError::Stop(failure)) if failure.code != code::MODIFIED_CONCURRENTLY => Err(failure),
            // Some versions may have changed: the next pass reads them again.
            Ok(_) | Err(AttemptError::Stop(_) | AttemptError::Retry) => Ok(count),
        }
    }
}
