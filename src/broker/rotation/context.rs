use super::step_error::StepError;
use crate::authn::OperatorPrincipal;
use crate::base::SecretName;
use crate::base::code;
use crate::base::limits::{ROTATION_RETRY_FIRST_S, ROTATION_RETRY_MAX_S, ROTATION_TRIES_MAX};
use crate::broker::changes::Initiator;
use crate::broker::failure::Failure;
use crate::broker::reading::{Preconditions, Reading};
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::upstreams::RetryWaits;
use crate::broker::world::Effect;
use crate::issuance::NeededVersions;
use crate::rotation::{
    self, Rotation, RotationAttempted, RotationFailed, RotationStage, Run, Slots, UpstreamValue, keys,
};
use crate::secrets::{Secret, SecretValue};
use crate::store::{Change, CommitError, Event};
use crate::telemetry::Alarm;
use crate::upstream::{
    Called, Driver, DriverContext, MarkedEntry, RotationCall, UpstreamFault, UpstreamOutcome, Verdict,
    stored_driver,
};

const RETRY_WAITS: RetryWaits =
    RetryWaits { first_s: ROTATION_RETRY_FIRST_S, longest_s: ROTATION_RETRY_MAX_S };

/// The purpose of a call of the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Prepare,
    Apply,
    Verify,
    Retire,
    Check,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Apply => "apply",
            Self::Verify => "verify",
            Self::Retire => "retire",
            Self::Check => "check",
        }
    }
}

/// A rotation as it was read, with the facts for its steps.
pub(super) struct RotationContext {
    pub(super) rotation: Rotation,
    pub(super) secret: Option<Secret>,
    pub(super) administering: Option<Secret>,
    pub(super) driver: Box<dyn Driver>,
    /// The driver's context, which knows whether the driver has called the upstream.
    with: DriverContext,
    /// The place of the upstream: upstreams with the same place share a circuit.
    pub(super) place: Option<String>,
    /// The preconditions: the rotation, the rotated secret and the administering secret are unchanged.
    pub(super) preconditions: Preconditions,
}

/// The opened values for a step, in the order of the requested versions.
pub(super) struct OpenedValues {
    pub(super) admin: Option<SecretValue>,
    pub(super) values: Vec<SecretValue>,
    /// The ledger entry.
    pub(super) entry: MarkedEntry,
}

impl RotationContext {
    pub(super) const fn name(&self) -> &SecretName {
        &self.rotation.declared.secret
    }

    /// A call of the upstream, without any value.
    pub(super) const fn call(&self) -> RotationCall<'_> {
        RotationCall::new(&self.with)
    }

    /// Whether the upstream accepts `value` now.
    pub(super) async fn verify(&self, value: &SecretValue) -> Result<Verdict, UpstreamFault> {
        self.driver.verify(&self.with, value).await
    }

    /// Whether the upstream was called since the last call of this function.
    pub(super) fn has_called(&self) -> bool {
        self.with.called.take()
    }

    /// A change with `event`. It advances the rotation, so that earlier decisions on it are made again.
    pub(super) fn announced<V: Event>(&self, event: &V) -> Result<Change<Effect>, CommitError> {
        Ok(Change::new(event)?.advance(keys::rotation(self.name())))
    }

    /// The number of the current version, if there is one.
    pub(super) fn current(&self) -> Vec<u32> {
        let current = self.secret.as_ref().and_then(|secret| secret.current);
        current.iter().map(|version| version.number).collect()
    }
}

impl Services {
    /// The present rotation of `name`, and its driver.
    ///
    /// # Errors
    /// [`Failure`] if there is none, or if this version does not know its upstream.
    pub(super) fn context(&self, name: &SecretName) -> Result<RotationContext, Failure> {
        let declared = |reading: &Reading<'_>| reading.rotation(name).cloned();
        self.context_of(|reading| declared(reading).ok_or_else(|| Failure::new(code::ROTATION_UNKNOWN)))
    }

    /// The rotation that `find` returns, declared or not yet, with the facts for its steps.
    pub(super) fn context_of(
        &self,
        find: impl FnOnce(&Reading<'_>) -> Result<Rotation, Failure>,
    ) -> Result<RotationContext, Failure> {
        let (read, preconditions) = self.state.read(|reading| {
            let rotation = find(reading)?;
            let name = &rotation.declared.secret;
            reading.rotation(name);
            let driver = stored_driver(&rotation.declared.upstream);
            let driver = driver.map_err(|error| Failure::internal(code::RECORD_UNREADABLE, &error))?;
            let versions_of = |name: &SecretName| reading.versions_of(name).cloned();
            let (secret, administering) = (versions_of(name), driver.admin_secret().and_then(versions_of));
            Ok::<_, Failure>((rotation, driver, secret, administering))
        });
        let (rotation, driver, secret, administering) = read?;
        let with = DriverContext { called: Called::default(), ..self.upstream.driver_context.clone() };
        let place = driver.place();
        Ok(RotationContext { rotation, secret, administering, driver, with, place, preconditions })
    }

    /// The present rotation of `at`, if `run` is at the same stage.
    pub(super) fn still(
        &self,
        at: &RotationContext,
        run: &Run,
    ) -> Result<(Rotation, Preconditions), StepError> {
        let (now, preconditions) = self.state.read(|reading| reading.rotation(at.name()).cloned());
        Ok((
            now.filter(|now| now.run.as_ref().is_some_and(|now| now.is_at(run)))
                .ok_or(StepError::Overtaken)?,
            preconditions,
        ))
    }

    /// Records the intent of a call of the upstream for `step` by `by`, and opens the values of `versions` and the
    /// administering secret.
    ///
    /// # Errors
    /// [`Failure`]; the upstream was not called then.
    pub(super) async fn open_values(
        &self,
        at: &RotationContext,
        by: Initiator<'_>,
        step: Step,
        versions: &[u32],
    ) -> Result<OpenedValues, Failure> {
        let unknown = || Failure::new(code::SECRET_UNKNOWN);
        let mut wanted = Vec::new();
        if let Some(admin) = &at.administering {
            wanted.push((admin.id, admin.current.ok_or_else(unknown)?));
        }
        if let Some(secret) = &at.secret {
            for number in versions {
                wanted.push((secret.id, secret.version(*number).ok_or_else(unknown)?));
            }
        }
        let mut stored = Vec::new();
        for (id, version) in &wanted {
            stored.push(self.stored_version(*id, *version).await?);
        }
        let event = RotationAttempted {
            secret: at.name(),
            rotation: at.rotation.run.as_ref().map(|run| run.id),
            step: step.as_str(),
            versions: versions.to_vec(),
            administering: at.administering.as_ref().map(|admin| &admin.name),
            operator: by.operator().map(OperatorPrincipal::name),
        };
        let mut change = at.announced(&event)?;
        if step == Step::Apply || (step == Step::Prepare && at.driver.capabilities().creates) {
            change = change.effect(Effect::Rotation(rotation::Effect::Touch(at.name().clone())));
            if step == Step::Apply && at.rotation.declared.slots == Slots::One {
                // Decisions to return the previous value are made again: its end begins.
                change = change.advance(crate::secrets::keys::secret(at.name()));
            }
        }
        let loan = NeededVersions(wanted.into_iter().map(|(id, version)| (id, version.number)).collect());
        let preconditions = at.preconditions.clone().and(self.state.still_allowed(by)?);
        let receipt = self.state.commit(change, preconditions, loan).await?;
        self.notifications.rotations_changed();
        let entry = MarkedEntry { seq: receipt.seq(), time: receipt.time() };
        let mut values = self.signing.issuer.lend(receipt, &stored)?.deliver();
        let own = values.split_off(values.len().saturating_sub(versions.len()));
        Ok(OpenedValues { admin: values.pop(), values: own, entry })
    }

    /// Records `change` if `preconditions` hold, and wakes the requests that wait for a rotation.
    pub(super) async fn record(
        &self,
        change: Change<Effect>,
        preconditions: Preconditions,
    ) -> Result<(), CommitError> {
        self.state.commit(change, preconditions, ()).await?.redeem();
        self.notifications.rotations_changed();
        Ok(())
    }

    /// Records the failure of a step, and the time of the next attempt. `run` is the rotation at the beginning of the
    /// step.
    pub(super) async fn record_failed_step(
        &self,
        at: &RotationContext,
        run: &Run,
        fault: &UpstreamFault,
    ) -> Result<(), Failure> {
        let name = at.name();
        tracing::warn!(
            secret = %name, rotation = %run.id, upstream = at.driver.describe(), logins = at.driver.logins(),
            code = %fault.code, detail = fault.detail, reason = %fault.explained().why, "a step of a rotation failed"
        );
        if fault.code == code::UPSTREAM_CHANGED_BY_COPY {
            self.notifications.meters.alarms().raise(
                Alarm::CopyActive,
                format_args!("another copy of this broker has acted at the upstream of secret `{name}`"),
            );
        }
        retry_on_conflict!(self.try_record_failed_step(at, run, fault))
    }

    /// The number of failures is read again: an operator may have ordered a retry during the step.
    async fn try_record_failed_step(
        &self,
        at: &RotationContext,
        run: &Run,
        fault: &UpstreamFault,
    ) -> Result<(), AttemptError> {
        // Otherwise it has ended in the meantime.
        let Ok((now, preconditions)) = self.still(at, run) else { return Ok(()) };
        let failures = now.run.map_or(0, |now| now.step.failures).saturating_add(1);
        let retry_at = (failures < ROTATION_TRIES_MAX).then(|| self.retry_at(failures, RETRY_WAITS));
        let unknown = fault.outcome == UpstreamOutcome::Unknown;
        // The upstream may have made a value whose response was lost.
        let orphaned = unknown && run.stage == RotationStage::Begun && at.driver.capabilities().creates;
        let secret = at.name().clone();
        let event = RotationFailed {
            secret: &secret,
            rotation: run.id,
            stage: run.stage.as_str(),
            code: fault.code.as_str(),
            upstream: fault.detail.clone(),
            unknown,
            orphaned,
            failures,
            retry_at: retry_at.map(|at| at.to_string()),
            logins: at.driver.logins(),
        };
        let effect = rotation::Effect::FailFor {
            secret: secret.clone(),
            code: fault.code.as_str().to_owned(),
            detail: fault.detail.clone(),
            retry_at,
            // The value of this step counts as sent only if the outcome is unknown.
            touched: run.touched || (unknown && !orphaned),
        };
        let mut change = Change::new(&event)?.effect(Effect::Rotation(effect));
        if orphaned {
            let value = UpstreamValue { rotation: run.id, version: None, slot: None };
            change = change.effect(Effect::Rotation(rotation::Effect::Orphan { secret, value }));
        }
        self.record(change, preconditions).await?;
        if retry_at.is_none() {
            let (upstream, logins) = (at.driver.describe(), at.driver.logins());
            tracing::error!(
                secret = %at.name(), rotation = %run.id, upstream, logins, failures, "a rotation waits for an operator"
            );
        }
        Ok(())
    }
}
