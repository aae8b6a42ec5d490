use std::sync::PoisonError;

use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::base::limits::{ROTATION_RETRY_FIRST_S, ROTATION_RETRY_MAX_S, ROTATION_TRIES_MAX};
use crate::base::{LedgerId, SecretName};
use crate::broker::failure::Failure;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::upstreams::{Call, RetryWaits};
use crate::broker::world::{Effect, World};
use crate::issuance::Loan;
use crate::rotation::{
    self, Rotation, RotationAttempted, RotationFailed, Run, Slots, Stage, UpstreamValue, keys,
};
use crate::secrets::{Secret, SecretValue};
use crate::store::{Change, CommitError};
use crate::telemetry::Alarm;
use crate::upstream::{
    Called, Driver, DriverContext, MarkedEntry, RotationCall, UpstreamFault, UpstreamOutcome, Verdict,
    stored_driver,
};

const RETRY_WAITS: RetryWaits =
    RetryWaits { first_s: ROTATION_RETRY_FIRST_S, longest_s: ROTATION_RETRY_MAX_S };

/// What upstream is called for.
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

/// A rotation as it was read at one moment, with what its steps need.
pub(super) struct RotationContext {
    pub(super) rotation: Rotation,
    pub(super) secret: Option<Secret>,
    pub(super) administering: Option<Secret>,
    pub(super) driver: Box<dyn Driver>,
    /// The driver's surroundings, which say whether it has called the upstream.
    with: DriverContext,
    /// What fails together with this upstream.
    pub(super) place: Option<String>,
    pub(super) as_of: u64,
}

/// The values that a step was lent, in the order in which their versions were asked for.
pub(super) struct OpenedValues {
    pub(super) admin: Option<SecretValue>,
    pub(super) values: Vec<SecretValue>,
    /// The entry that says so.
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

    /// Whether `value` works upstream now.
    pub(super) async fn verify(&self, value: &SecretValue) -> Result<Verdict, UpstreamFault> {
        self.driver.verify(&self.with, value).await
    }

    /// A change that commits only while the rotation is as it was read. A decision on the rotation that was made
    /// meanwhile is made again.
    pub(super) fn relying(&self, change: Change<Effect>) -> Change<Effect> {
        let key = keys::rotation(self.name());
        change.rely(key, self.as_of).advance(key)
    }

    /// A change that commits only while the secrets are as they were read: the one that is rotated, and the one
    /// that administers its upstream.
    pub(super) fn relying_on_secrets(&self, change: Change<Effect>) -> Change<Effect> {
        let of = crate::secrets::keys::secret;
        let change = change.rely(of(self.name()), self.as_of);
        match self.driver.admin_secret() {
            Some(administering) => change.rely(of(administering), self.as_of),
            None => change,
        }
    }
}

impl Services {
    /// The rotation of `name` as it is now, and its driver.
    ///
    /// # Errors
    /// [`Failure`] when there is none, or its upstream is none that this version knows.
    pub(super) fn context(&self, name: &SecretName) -> Result<RotationContext, Failure> {
        self.state.store.read(|world, as_of| {
            let rotation = world.rotations.of(name).cloned();
            let rotation = rotation.ok_or_else(|| Failure::new(code::ROTATION_UNKNOWN))?;
            self.context_of(world, as_of, rotation)
        })
    }

    /// `rotation`, declared or not yet, with what its steps need.
    pub(super) fn context_of(
        &self,
        world: &World,
        as_of: u64,
        rotation: Rotation,
    ) -> Result<RotationContext, Failure> {
        let driver = stored_driver(&rotation.declared.upstream);
        let driver = driver.map_err(|error| Failure::internal(code::RECORD_UNREADABLE, &error))?;
        let administering = driver.admin_secret().and_then(|admin| world.secrets.named(admin).cloned());
        let secret = world.secrets.named(&rotation.declared.secret).cloned();
        let with = DriverContext { called: Called::default(), ..self.upstream.driver_context.clone() };
        let place = driver.place();
        Ok(RotationContext { rotation, secret, administering, driver, with, place, as_of })
    }

    /// Records that upstream is about to be called for `step`, and opens the values of `versions` for
    /// it, that of what administers upstream too.
    ///
    /// # Errors
    /// [`Failure`]; upstream was not called then.
    pub(super) async fn open_values(
        &self,
        at: &RotationContext,
        step: Step,
        versions: &[u32],
    ) -> Result<OpenedValues, Failure> {
        self.open_values_for(at, step, versions, None).await
    }

    /// The same, because an operator asked for it.
    ///
    /// # Errors
    /// [`Failure`]; upstream was not called then.
    pub(super) async fn open_values_for(
        &self,
        at: &RotationContext,
        step: Step,
        versions: &[u32],
        operator: Option<&OperatorPrincipal>,
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
            operator: operator.map(OperatorPrincipal::name),
        };
        let mut change = at.relying_on_secrets(at.relying(Change::new(&event)?));
        if let Some(operator) = operator {
            change = self.while_allowed(change, operator)?;
        }
        if step == Step::Apply || (step == Step::Prepare && at.driver.capabilities().creates) {
            change = change.effect(Effect::Rotation(rotation::Effect::Touch(at.name().clone())));
            if step == Step::Apply && at.rotation.declared.slots == Slots::One {
                // A decision to hand out the old value is made again: it is about to end.
                change = change.advance(crate::secrets::keys::secret(at.name()));
            }
        }
        let loan = Loan(wanted.into_iter().map(|(id, version)| (id, version.number)).collect());
        let receipt = self.state.store.commit(change, loan).await?;
        self.notifications.rotations_changed();
        let entry = MarkedEntry { seq: receipt.seq(), time: receipt.time() };
        let mut values = self.signing.issuer.lend(receipt, &stored)?.deliver();
        let own = values.split_off(values.len().saturating_sub(versions.len()));
        Ok(OpenedValues { admin: values.pop(), values: own, entry })
    }

    /// Whether the ledger has an entry with this sequence and time before the entry `own`, or an order on the host has
    /// said since then that every other copy of this broker has stopped for good: since that time, or, as the other
    /// copy's clock may be ahead, since this mark was found.
    pub(super) fn knows_entry(&self, at: &RotationContext, entry: MarkedEntry, own: MarkedEntry) -> bool {
        let MarkedEntry { seq, time } = entry;
        let entries = self.state.store.entries(seq, 1);
        let is_own = seq < own.seq
            && entries.is_ok_and(|entries| entries.iter().any(|one| (one.seq, one.time) == (seq, time)));
        let Some((adopted, adopted_at)) = self.state.store.read(|world, _| world.custody.adopted()) else {
            return is_own;
        };
        let was_found = at
            .rotation
            .foreign_mark
            .as_ref()
            .is_some_and(|(found, mark)| *found < adopted && *mark == entry.to_string());
        is_own || time <= adopted_at || was_found
    }

    /// The id of the ledger.
    pub(super) fn ledger_id(&self) -> LedgerId {
        self.keyring.ring.lock().unwrap_or_else(PoisonError::into_inner).ledger()
    }

    /// The permission to call the upstream now; none while its circuit is open.
    pub(super) fn lets_call(&self, at: &RotationContext) -> Option<Call<'_>> {
        match &at.place {
            Some(place) => self.lets_call_at(place),
            None => Some(Call::unlimited(self)),
        }
    }

    /// The result of a step, once the answer of the upstream is noted, if the step called it.
    pub(super) fn noted<T>(
        &self,
        at: &RotationContext,
        step: Result<T, UpstreamFault>,
    ) -> Result<T, UpstreamFault> {
        if at.with.called.take() {
            self.note_answer(at, step.as_ref().err());
        }
        step
    }

    fn note_answer(&self, at: &RotationContext, fault: Option<&UpstreamFault>) {
        let Some(place) = &at.place else { return };
        // What failed by a declaration that was corrected meanwhile says nothing of the corrected one.
        let declared = &at.rotation.declared.upstream;
        let is_corrected = || {
            self.state.store.read(|world, _| {
                world.rotations.of(at.name()).is_some_and(|now| now.declared.upstream != *declared)
            })
        };
        if fault.is_none() || !is_corrected() {
            self.note_answer_of(place, fault);
        }
    }

    /// Records `change`, and wakes the requests that wait for a rotation.
    pub(super) async fn record(&self, change: Change<Effect>) -> Result<u64, CommitError> {
        let receipt = self.state.store.commit(change, ()).await?;
        self.notifications.rotations_changed();
        Ok(receipt.seq())
    }

    /// Records that a step failed, and when it is tried again. `run` is what it was when the step began.
    pub(super) async fn record_failed_step(
        &self,
        name: &SecretName,
        run: &Run,
        fault: UpstreamFault,
    ) -> Result<(), Failure> {
        tracing::warn!(
            secret = %name, rotation = %run.id, code = %fault.code, upstream = fault.detail,
            reason = %fault.explained().why, "a step of a rotation failed"
        );
        retry_on_conflict!(self.try_record_failed_step(name, run, &fault))
    }

    /// An operator may have had it retried while the step was under way: how often it has failed is read anew.
    async fn try_record_failed_step(
        &self,
        name: &SecretName,
        run: &Run,
        fault: &UpstreamFault,
    ) -> Result<(), AttemptError> {
        let at = self.context(name)?;
        let now = at.rotation.run.as_ref().filter(|now| now.id == run.id && now.stage == run.stage);
        // It was ended meanwhile.
        let Some(now) = now else { return Ok(()) };
        let failures = now.failures.saturating_add(1);
        let retry_at = (failures < ROTATION_TRIES_MAX).then(|| self.retry_at(failures, RETRY_WAITS));
        let unknown = fault.outcome == UpstreamOutcome::Unknown;
        // Upstream may have made a value that nobody will ever hear of.
        let orphaned = unknown && run.stage == Stage::Begun && at.driver.capabilities().creates;
        let event = RotationFailed {
            secret: name,
            rotation: run.id,
            stage: run.stage.as_str(),
            code: fault.code.as_str(),
            upstream: fault.detail.clone(),
            unknown,
            orphaned,
            failures,
            retry_at: retry_at.map(|at| at.to_string()),
        };
        if fault.code == code::UPSTREAM_CHANGED_BY_COPY {
            self.notifications.meters.alarms().raise(
                Alarm::CopyActive,
                format_args!("another copy of this broker has acted at the upstream of secret `{name}`"),
            );
        }
        let effect = rotation::Effect::FailFor {
            secret: name.clone(),
            code: fault.code.as_str().to_owned(),
            detail: fault.detail.clone(),
            retry_at,
            // What this very step was about to send counts only when nobody knows what became of it.
            touched: run.touched || (unknown && !orphaned),
        };
        let mut change = at.relying(Change::new(&event)?.effect(Effect::Rotation(effect)));
        if orphaned {
            let value = UpstreamValue { rotation: run.id, version: None, slot: None };
            change =
                change.effect(Effect::Rotation(rotation::Effect::Orphan { secret: name.clone(), value }));
        }
        self.record(change).await?;
        if retry_at.is_none() {
            tracing::error!(secret = %name, rotation = %run.id, failures, "a rotation waits for an operator");
        }
        Ok(())
    }
}
