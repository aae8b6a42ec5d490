use super::super::desk::Core;
use super::super::failure::Failure;
use super::super::world::Effect;
use super::attempt::Step;
use super::carry_on::Halt;
use crate::base::SecretName;
use crate::base::limits::DRIFT_CHECK_S;
use crate::rotation::{self, RotationChecked, RotationDrifted, Trigger};
use crate::store::Change;
use crate::upstream::{Shape, Verdict};

impl Core {
    /// The secrets whose current values are to be tried upstream now: once a day each, when nothing is
    /// under way.
    #[must_use]
    pub fn drift_checks_due(&self) -> Vec<SecretName> {
        let now = self.clock.now();
        self.store.read(|world, _| {
            let is_due = |rotation: &&rotation::Rotation| {
                let current = world.secrets.named(&rotation.declared.secret).and_then(|one| one.current);
                let since = current
                    .map(|version| version.stored_at.max(rotation.checked_at.unwrap_or(version.stored_at)));
                rotation.run.is_none()
                    && rotation.paused_at.is_none()
                    && since.is_some_and(|since| now.seconds_since(since) >= DRIFT_CHECK_S)
            };
            let due = world.rotations.all().filter(is_due);
            due.map(|rotation| rotation.declared.secret.clone()).collect()
        })
    }

    /// Tries the current value of `secret` upstream. When upstream knows another one, that is an alarm,
    /// and a rotation begins at once, which mends it.
    ///
    /// # Errors
    /// [`Failure`] when the broker could not record or open what it takes. An upstream that does not
    /// answer is tried again the next day.
    pub async fn check_drift(&self, secret: &SecretName) -> Result<(), Failure> {
        let at = self.bench(secret)?;
        let current = at.secret.as_ref().and_then(|secret| secret.current);
        let (Some(current), None) = (current, &at.rotation.run) else { return Ok(()) };
        let works = if at.driver.shape() == Shape::Pulled {
            true
        } else {
            let lent = self.borrow(&at, Step::Check, &[current.number]).await?;
            let Some(value) = lent.values.first() else { return Ok(()) };
            match at.driver.verify(value).await {
                Ok(verdict) => verdict == Verdict::Works,
                Err(fault) => {
                    tracing::warn!(%secret, code = %fault.code, "whether the current value works could not be asked");
                    true
                }
            }
        };
        if works {
            let event = RotationChecked { secret, version: current.number };
            let effect = rotation::Effect::Check(secret.clone());
            let change = Change::new(&event)?.effect(Effect::Rotation(effect));
            self.record(change).await?;
            return Ok(());
        }
        tracing::warn!(%secret, "the current value does not work upstream any more: it is rotated now");
        self.record(Change::new(&RotationDrifted { secret, works: None })?).await?;
        match self.begin(&self.bench(secret)?, &Trigger::Drift).await {
            Ok(_) | Err(Halt::Overtaken) => Ok(()),
            Err(halt) => Err(halt.failure()),
        }
    }
}
