use super::context::{RotationContext, Step};
use super::step_error::StepError;
use crate::base::SecretName;
use crate::base::limits::DRIFT_CHECK_S;
use crate::broker::changes::Initiator;
use crate::broker::failure::Failure;
use crate::broker::reading::Preconditions;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::rotation::{self, RotationChecked, RotationDrifted, RotationUnchecked, Trigger};
use crate::store::Change;
use crate::telemetry::Alarm;
use crate::upstream::{SlotCount, UpstreamFault, Verdict, stored_driver};

impl Services {
    /// The secrets whose current values are due for a check at the upstream: once a day each, without a rotation in
    /// progress and without an open circuit.
    #[must_use]
    pub fn drift_checks_due(&self) -> Vec<SecretName> {
        let now = self.state.clock.now();
        self.state.store.read(|world, _| {
            let is_due = |rotation: &&rotation::Rotation| {
                let current = world.secrets.named(&rotation.declared.secret).and_then(|one| one.current);
                let since = current.map(|version| {
                    version.stored_at.max(rotation.check.asked_at.unwrap_or(version.stored_at))
                });
                rotation.run.is_none()
                    && rotation.paused_at.is_none()
                    && since.is_some_and(|since| now.seconds_since(since) >= DRIFT_CHECK_S)
                    && !place(rotation).is_some_and(|place| self.leaves_alone(&place))
            };
            let due = world.rotations.all().filter(is_due);
            due.map(|rotation| rotation.declared.secret.clone()).collect()
        })
    }

    /// Checks the current value of `secret` at the upstream. If the upstream does not accept it, the broker raises an
    /// alarm and begins a rotation at once.
    ///
    /// # Errors
    /// [`Failure`] if an entry could not be recorded or the value not opened. An upstream that does not respond is
    /// checked again the next day.
    pub async fn check_drift(&self, secret: &SecretName) -> Result<(), Failure> {
        let at = self.context(secret)?;
        let current = at.secret.as_ref().and_then(|secret| secret.current);
        let (Some(current), None) = (current, &at.rotation.run) else { return Ok(()) };
        let works = if at.driver.capabilities().shape == SlotCount::Pulled {
            true
        } else {
            let Some(call) = self.lets_call(&at) else { return Ok(()) };
            let lent = self.open_values(&at, Initiator::Schedule, Step::Check, &[current.number]).await?;
            let Some(value) = lent.values.first() else { return Ok(()) };
            let asked = self.noted(&at, at.verify(value).await);
            drop(call);
            match asked {
                Ok(verdict) => verdict == Verdict::Works,
                Err(fault) => return self.record_unchecked(secret, current.number, fault).await,
            }
        };
        // The result is about the checked value: another one may have been stored in the meantime.
        let at = self.context(secret)?;
        let is_current = at.secret.as_ref().and_then(|secret| secret.current) == Some(current);
        if at.rotation.run.is_some() || !is_current {
            return Ok(());
        }
        let found =
            if works { self.record_works(&at, current.number).await } else { self.start_rotation(&at).await };
        match found {
            Ok(()) | Err(StepError::Overtaken) => Ok(()),
            Err(halt) => Err(halt.failure()),
        }
    }

    async fn record_works(&self, at: &RotationContext, version: u32) -> Result<(), StepError> {
        let secret = at.name();
        let effect = rotation::Effect::Check(secret.clone());
        let change = Change::new(&RotationChecked { secret, version })?.effect(Effect::Rotation(effect));
        Ok(self.record(change, at.preconditions.clone()).await?)
    }

    /// Raises the alarm, and begins a rotation.
    async fn start_rotation(&self, at: &RotationContext) -> Result<(), StepError> {
        let secret = at.name();
        let change = at.announced(&RotationDrifted { secret, works: None })?;
        let recorded = self.record(change, at.preconditions.clone()).await.map_err(StepError::from);
        if matches!(recorded, Err(StepError::Overtaken)) {
            return recorded;
        }
        self.notifications.meters.alarms().raise(
            Alarm::RotationDrifted,
            format_args!("secret {secret}: the current value no longer works upstream; it is rotated now"),
        );
        recorded?;
        let now = self.context(secret)?;
        let current = |at: &RotationContext| at.secret.as_ref().and_then(|secret| secret.current);
        if now.rotation.run.is_some() || current(&now) != current(at) {
            // A rotation has begun in the meantime, or a value was stored.
            return Ok(());
        }
        self.begin(&now, &Trigger::Drift).await
    }

    /// Records that the upstream gave no result for the current value.
    async fn record_unchecked(
        &self,
        secret: &SecretName,
        version: u32,
        fault: UpstreamFault,
    ) -> Result<(), Failure> {
        let code = fault.code.as_str();
        tracing::warn!(%secret, code, "the current value of a rotated secret could not be checked at the upstream");
        let event = RotationUnchecked { secret, version, code, upstream: fault.detail };
        let effect = rotation::Effect::Unchecked(secret.clone());
        let change = Change::new(&event)?.effect(Effect::Rotation(effect));
        Ok(self.record(change, Preconditions::none()).await?)
    }
}

fn place(rotation: &rotation::Rotation) -> Option<String> {
    stored_driver(&rotation.declared.upstream).ok()?.place()
}
