use super::context::{RotationContext, Step};
use super::record_retries::RecordRetries;
use super::step_error::StepError;
use crate::base::code;
use crate::base::limits::ORPHANS_MAX;
use crate::base::{RotationId, SecretId, SecretName, Timestamp};
use crate::broker::changes::Initiator;
use crate::broker::failure::Failure;
use crate::broker::secrets::surplus::Surplus;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::crypto::sha256;
use crate::rotation::{
    self, RotationAdvanced, RotationBegun, RotationFinished, RotationOrphaned, RotationPrepared,
    RotationStage, Run, Slots, Trigger, UpstreamValue,
};
use crate::secrets::{self, Secret};
use crate::store::Change;
use crate::upstream::{Mark, Prepared, RotationCall, SlotCount, UpstreamFault, stored_driver};

/// Whether a rotation continues at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Yes: its next step is due.
    Continue,
    /// No: it waits for a later time, or for an operator.
    Wait,
}

impl Services {
    /// The secrets whose rotations have a due step, the longest overdue first.
    #[must_use]
    pub fn rotations_due(&self) -> Vec<(SecretName, Progress)> {
        let now = self.state.clock.now();
        let mut due = self.state.store.read(|world, _| {
            let waiting = |rotation: &rotation::Rotation| {
                let current = world.secrets.named(&rotation.declared.secret).and_then(|one| one.current);
                let since = due(rotation, current.is_some(), now).filter(|at| *at <= now)?;
                // A new rotation can be delayed; one in progress continues.
                let pace = if rotation.run.is_some() { Progress::Continue } else { Progress::Wait };
                Some((since, rotation.declared.secret.clone(), pace))
            };
            world.rotations.all().filter_map(waiting).collect::<Vec<_>>()
        });
        due.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        due.into_iter().map(|(_, secret, pace)| (secret, pace)).collect()
    }

    /// Does the next step of the rotation of `secret`, if it is due: begins a rotation, or continues the one in
    /// progress. The same code continues after a start.
    ///
    /// # Errors
    /// [`Failure`] if an entry could not be recorded or a value not opened; the upstream was not called then.
    pub async fn advance_rotation(&self, secret: &SecretName) -> Result<Progress, Failure> {
        let at = self.context(secret)?;
        let now = self.state.clock.now();
        if due(&at.rotation, !at.current().is_empty(), now).is_none_or(|due| due > now) {
            return Ok(Progress::Wait);
        }
        let Some(run) = at.rotation.run.clone() else {
            return match self.begin(&at, &Trigger::Schedule).await {
                Ok(()) | Err(StepError::Overtaken) => Ok(Progress::Continue),
                Err(halt) => Err(halt.failure()),
            };
        };
        let call = if run.stage == RotationStage::Verified { None } else { Some(self.lets_call(&at)) };
        if matches!(call, Some(None)) {
            return Ok(Progress::Wait);
        }
        let stepped = match run.stage {
            RotationStage::Begun => self.prepare(&at, &run).await,
            RotationStage::Prepared | RotationStage::Applied => self.apply_value(&at, &run).await,
            RotationStage::Verified => self.promote(&at, &run).await,
            RotationStage::Grace => self.retire(&at, &run).await,
        };
        drop(call);
        match stepped {
            Ok(()) | Err(StepError::Overtaken) => Ok(Progress::Continue),
            Err(StepError::Upstream(fault)) => {
                self.record_failed_step(&at, &run, &fault).await?;
                Ok(Progress::Wait)
            }
            Err(halt @ StepError::Broker(_)) => Err(halt.failure()),
        }
    }

    /// Records that a rotation begins.
    pub(super) async fn begin(&self, at: &RotationContext, trigger: &Trigger) -> Result<(), StepError> {
        let id = RotationId::mint(self.state.clock.now(), &*self.state.entropy);
        let secret = at.name();
        let operator = match trigger {
            Trigger::Operator(operator) => Some(operator),
            Trigger::Schedule | Trigger::Drift => None,
        };
        let event = RotationBegun {
            secret,
            rotation: id,
            trigger: trigger.as_str(),
            operator,
            revokes_previous: false,
        };
        let effect = rotation::Effect::Begin { secret: secret.clone(), id, trigger: trigger.clone() };
        let change = Change::new(&event)?.effect(Effect::Rotation(effect));
        Ok(self.record(change, at.preconditions.clone()).await?)
    }

    /// Makes the new value durable before it is sent to the upstream. If the upstream makes the value, it is durable
    /// before it is returned to any agent.
    async fn prepare(&self, at: &RotationContext, run: &Run) -> Result<(), StepError> {
        self.values.sealer.has_room().map_err(Failure::from)?;
        if at.driver.capabilities().creates {
            if run.touched {
                return self.record_lost_answer(at, run).await;
            }
            if at.rotation.upstream.orphans.len() >= ORPHANS_MAX {
                return Err(UpstreamFault::refused(code::ROTATION_HAS_ORPHANS).into());
            }
        }
        let lent = self.open_values(at, Initiator::Schedule, Step::Prepare, &at.current()).await?;
        let (admin, current) = (lent.admin.as_ref(), lent.values.first());
        let call = RotationCall { admin, current, rotation: Some(run.id), ..at.call() };
        let prepared = self.noted(at, at.driver.prepare(call).await)?;
        let mut retries = RecordRetries::new();
        loop {
            match self.store_value(at, run, &prepared).await {
                Ok(()) => return Ok(()),
                Err(error) => tokio::time::sleep(retries.wait_after(error)?).await,
            }
        }
    }

    /// Makes a new value durable.
    async fn store_value(
        &self,
        at: &RotationContext,
        run: &Run,
        prepared: &Prepared,
    ) -> Result<(), StepError> {
        let (_, still) = self.still(at, run)?;
        let (known, preconditions) = self.state.read(|reading| {
            reading.value_key();
            reading.versions_of(at.name()).cloned()
        });
        let secret = at.name().clone();
        let version = known.as_ref().map_or(0, Secret::newest).saturating_add(1);
        let id = known.as_ref().map(|secret| secret.id);
        let id = id.unwrap_or_else(|| SecretId::mint(self.state.clock.now(), &*self.state.entropy));
        let sealed = self
            .values
            .sealer
            .seal(id, version, &prepared.value, &*self.state.entropy)
            .map_err(Failure::from)?;
        let event = RotationPrepared { secret: &secret, rotation: run.id, version };
        let stored = secrets::Effect::Prepare { id, name: secret.clone(), version, sealed };
        let replaces = known.and_then(|secret| secret.current).map(|version| version.number);
        let effect = rotation::Effect::Prepare { secret: secret.clone(), version, replaces };
        let change = Change::new(&event)?.effect(Effect::Secrets(stored));
        let mut change = change.effect(Effect::Rotation(effect));
        if at.driver.capabilities().creates {
            let value =
                UpstreamValue { rotation: run.id, version: Some(version), slot: prepared.slot.clone() };
            change = change.effect(Effect::Rotation(rotation::Effect::Make { secret, value }));
        }
        Ok(self.record(change, preconditions.and(still)).await?)
    }

    /// Records that the response of the upstream to a request for a value was lost by a stop of the broker: the value
    /// may exist as an orphan.
    async fn record_lost_answer(&self, at: &RotationContext, run: &Run) -> Result<(), StepError> {
        let secret = at.name().clone();
        tracing::warn!(%secret, rotation = %run.id, "the upstream may have made a value, but its response was lost");
        let event = RotationOrphaned { secret: &secret, rotation: run.id };
        let value = UpstreamValue { rotation: run.id, version: None, slot: None };
        let effect = rotation::Effect::Orphan { secret: secret.clone(), value };
        let change = Change::new(&event)?.effect(Effect::Rotation(effect));
        Ok(self.record(change, at.preconditions.clone()).await?)
    }

    /// Makes the new version the current one; the grace period of the previous version begins.
    async fn promote(&self, at: &RotationContext, run: &Run) -> Result<(), StepError> {
        let version = run.versions.new.unwrap_or(0);
        let secret = at.name().clone();
        let surplus = Surplus::of(at.secret.as_ref(), Some(&at.rotation), self.settings.keep_versions);
        let event = RotationAdvanced {
            secret: &secret,
            rotation: run.id,
            stage: RotationStage::Grace.as_str(),
            version,
            destroyed: surplus.numbers(),
        };
        let grace_s = match (at.rotation.declared.slots, run.versions.replaced) {
            (Slots::Two, Some(_)) if !run.versions.revokes_replaced => {
                i64::from(at.rotation.declared.grace_s)
            }
            // No previous version still works, or the request gave it no grace period.
            (Slots::Two, _) | (Slots::One, _) => 0,
        };
        let grace_until = Some(self.state.clock.now().plus_s(grace_s));
        let handed = secrets::Effect::Promote { name: secret.clone(), version };
        let effect =
            rotation::Effect::Reach { secret: secret.clone(), stage: RotationStage::Grace, grace_until };
        let change = Change::new(&event)?.effect(Effect::Secrets(handed)).effect(Effect::Rotation(effect));
        let change = surplus.effects(at.secret.as_ref()).into_iter().fold(change, Change::effect);
        Ok(self.record(change, at.preconditions.clone()).await?)
    }

    /// Revokes the previous version at the upstream, and finishes the rotation.
    async fn retire(&self, at: &RotationContext, run: &Run) -> Result<(), StepError> {
        let mut left = None;
        if let (Slots::Two, Some(old), Some(new)) =
            (at.rotation.declared.slots, run.versions.replaced, run.versions.new)
        {
            let slot = at.rotation.slot(old);
            if slot.is_none() && at.driver.capabilities().retires_by_slot {
                // An operator stored it: its slot at the upstream is unknown.
                left = Some(old);
            } else {
                let lent = self.open_values(at, Initiator::Schedule, Step::Retire, &[old, new]).await?;
                let [old, new] = lent.values.as_slice() else {
                    return Err(UpstreamFault::refused(code::RECORD_UNREADABLE).into());
                };
                let (admin, current, rotation) = (lent.admin.as_ref(), Some(new), Some(run.id));
                let knows = |found| self.knows_entry(at, found, lent.entry);
                let mark = Some(Mark::new(self.ledger_id(), lent.entry, &knows));
                let call = RotationCall { admin, current, slot, rotation, mark, ..at.call() };
                self.noted(at, at.driver.retire(call, old).await)?;
            }
        }
        let (now, preconditions) = self.still(at, run)?;
        let version = run.versions.new.unwrap_or(0);
        let next = next_of(&now.declared, run.begun_at);
        let secret = at.name().clone();
        let next_text = next.map(|next| next.to_string());
        let event = RotationFinished { secret: &secret, rotation: run.id, version, left, next: next_text };
        let mut change = Change::new(&event)?;
        if left.is_some() {
            let value = UpstreamValue { rotation: run.id, version: left, slot: None };
            let effect = rotation::Effect::Orphan { secret: secret.clone(), value };
            change = change.effect(Effect::Rotation(effect));
        }
        let change = change.effect(Effect::Rotation(rotation::Effect::Finish { secret, next }));
        Ok(self.record(change, preconditions).await?)
    }
}

/// The due time of the next step of `rotation`. A first value that no upstream has to accept is made at any time of day:
/// no agent uses the secret yet.
fn due(rotation: &rotation::Rotation, has_value: bool, now: Timestamp) -> Option<Timestamp> {
    let is_first = !has_value && rotation.run.is_none() && rotation.paused_at.is_none();
    if is_first && rotation.next.is_some_and(|next| next <= now) {
        let upstream = &rotation.declared.upstream;
        return rotation.next.filter(|_| makes_without_upstream(upstream)).or_else(|| rotation.due(now));
    }
    rotation.due(now)
}

/// Whether the driver of `upstream` makes values without a call.
pub(super) fn makes_without_upstream(upstream: &str) -> bool {
    stored_driver(upstream).is_ok_and(|driver| driver.capabilities().shape == SlotCount::Pulled)
}

/// The due time of the rotation after the one at `last`, with the jitter of this secret.
pub(in crate::broker) fn next_of(declared: &rotation::Declared, last: Timestamp) -> Option<Timestamp> {
    let place = sha256(format!("{} {}", declared.secret, last.ms()).as_bytes());
    let salt = place.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    declared.schedule.as_ref().and_then(|schedule| schedule.next_after(last, salt))
}
