use super::advance::next_of;
use super::in_progress::in_progress;
use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::base::{RotationId, SecretName};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed, OperatorRequest, ReadOutcome};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::retry::retry_on_conflict;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::idempotency::Remembered;
use crate::policy::{Authorised, RotateSecrets};
use crate::rotation::{self, Rotation, RotationBegun, RotationStage, RotationUpdated, Trigger};
use crate::store::CommitError;
use crate::upstream::stored_driver;
use serde::Deserialize;

/// A rotation that an operator requested.
#[derive(Clone, Copy, Debug)]
pub struct Rotating {
    /// The rotation.
    pub id: RotationId,
    /// Whether this request began it; otherwise it was in progress already.
    pub begun: bool,
}

/// What a requested rotation does with the version that it replaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PreviousVersion {
    /// It works until the declared grace period ends.
    Grace,
    /// It is revoked as soon as the new version is the current one.
    Revoked,
}

/// A change of a rotation by an operator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RotationUpdate {
    /// Pauses the schedule; a rotation in progress continues.
    Pause,
    /// Resumes the schedule; missed rotations are made up for by one.
    Resume,
    /// Retries a failed step now, also that of a dead letter.
    Retry,
    /// Ends the grace period of the previous version now.
    RevokePrevious {
        /// The rotation that must be in progress; `None` for any.
        rotation: Option<RotationId>,
    },
    /// Clears the orphans, which an operator has deleted at the upstream.
    ClearOrphans,
}

impl RotationUpdate {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Retry => "retried",
            Self::RevokePrevious { .. } => "previous-revoked",
            Self::ClearOrphans => "orphans-cleared",
        }
    }
}

impl AdminServices {
    /// Begins a rotation of the secret now. During a rotation, returns the one in progress. The entry records what happens to
    /// the previous version, so that it also happens after a restart.
    ///
    /// # Errors
    /// [`Failure`]; also during the grace period of a previous version, which a new rotation would end too early.
    pub async fn rotate(
        &self,
        by: &Authorised<RotateSecrets>,
        secret: &SecretName,
        previous: PreviousVersion,
        request: OperatorRequest<'_>,
    ) -> Result<Rotating, Failure> {
        let services = &*self.0;
        let (operator, request) = (by.operator(), ChangeRequest::of(by.operator(), request));
        let revokes_previous = previous == PreviousVersion::Revoked;
        retry_on_conflict!(async {
            let run = |reading: &Reading<'_>| {
                let rotation = reading.rotation_within(operator.scope(), secret)?;
                match &rotation.run {
                    // A new rotation would revoke the previous version too early. A first value has none: its rotation
                    // is about to end.
                    Some(run) if run.stage == RotationStage::Grace && run.versions.replaced.is_some() => {
                        Err(in_progress(rotation, run, reading.now()))
                    }
                    run => Ok(run.as_ref().map(|run| (run.id, run.versions.revokes_replaced))),
                }
            };
            let preconditions = match services.state.read_for(request, run)? {
                ReadOutcome::Before(before) => return Ok(services.begun_before(&before)?),
                ReadOutcome::Now(Some((id, is_without_grace)), preconditions) => {
                    if revokes_previous && !is_without_grace {
                        let draft = without_grace(secret, operator, id)?;
                        services.state.commit_draft(request, draft, preconditions).await?;
                        services.notifications.rotations_changed();
                    }
                    return Ok(Rotating { id, begun: false });
                }
                ReadOutcome::Now(None, preconditions) => preconditions,
            };
            let id = RotationId::mint(services.state.clock.now(), &*services.state.entropy);
            let trigger = Trigger::Operator(operator.name().clone());
            let event = RotationBegun {
                secret,
                rotation: id,
                trigger: trigger.as_str(),
                operator: Some(operator.name()),
                revokes_previous,
            };
            let mut draft = ChangeDraft::new(&event, ())?;
            let begin = rotation::Effect::Begin { secret: secret.clone(), id, trigger };
            draft = draft.effect(Effect::Rotation(begin));
            if revokes_previous {
                draft = draft.effect(Effect::Rotation(rotation::Effect::RevokePrevious(secret.clone())));
            }
            services.state.commit_draft(request, draft, preconditions).await?;
            services.notifications.rotations_changed();
            Ok(Rotating { id, begun: true })
        })
    }

    /// Changes the rotation of `secret`; returns the sequence of the entry.
    ///
    /// # Errors
    /// [`Failure`], also if the state of the rotation does not allow the change.
    pub async fn update_rotation(
        &self,
        by: &Authorised<RotateSecrets>,
        secret: &SecretName,
        update: RotationUpdate,
        request: OperatorRequest<'_>,
    ) -> Result<u64, Failure> {
        let services = &*self.0;
        let operator = by.operator();
        let changed = services.state.change(ChangeRequest::of(operator, request), |reading| {
            let rotation = reading.rotation_within(operator.scope(), secret)?;
            let place = stored_driver(&rotation.declared.upstream).ok().and_then(|driver| driver.place());
            let effect = services.effect_of_update(rotation, update)?;
            let (what, rotation) = (update.as_str(), None);
            let event = RotationUpdated { secret, operator: operator.name(), what, rotation };
            Ok(ChangeDraft::new(&event, place)?.effect(Effect::Rotation(effect)))
        });
        let changed = changed.await?;
        let seq = changed.seq();
        if let (RotationUpdate::Retry, Changed::Recorded { value: Some(place), .. }) = (update, changed) {
            services.try_again_at(&place);
        }
        services.notifications.rotations_changed();
        Ok(seq)
    }
}

/// Records that the rotation in progress gives the previous version no grace period.
fn without_grace(
    secret: &SecretName,
    operator: &OperatorPrincipal,
    id: RotationId,
) -> Result<ChangeDraft<()>, CommitError> {
    let (what, rotation) = ("without-grace", Some(id));
    let event = RotationUpdated { secret, operator: operator.name(), what, rotation };
    let effect = Effect::Rotation(rotation::Effect::RevokePrevious(secret.clone()));
    Ok(ChangeDraft::new(&event, ())?.effect(effect))
}

/// The refusal of a request that is for another rotation than the one in progress.
fn not_in_progress(secret: &SecretName, meant: RotationId) -> Failure {
    Failure::new(code::ROTATION_INVALID_STATE)
        .because(format!("the rotation {meant} of `{secret}` is not in progress; no grace period was ended"))
        .mended_by(format!(
            "`keyward rotation show {secret}` shows the present rotation; if its previous version must end, too: `keyward \
             rotation revoke-previous {secret}`"
        ))
}

impl Services {
    fn effect_of_update(
        &self,
        rotation: &Rotation,
        update: RotationUpdate,
    ) -> Result<rotation::Effect, Failure> {
        let secret = rotation.declared.secret.clone();
        let refuse = || Failure::new(code::ROTATION_INVALID_STATE);
        let run = rotation.run.as_ref();
        match update {
            RotationUpdate::Pause if rotation.paused_at.is_none() => Ok(rotation::Effect::Pause(secret)),
            RotationUpdate::Resume if rotation.paused_at.is_some() => {
                let last = rotation.last.as_ref().map(|last| last.at);
                let next = rotation
                    .next
                    .or_else(|| next_of(&rotation.declared, last.unwrap_or_else(|| self.state.clock.now())));
                Ok(rotation::Effect::Resume { secret, next })
            }
            RotationUpdate::Retry if run.is_some_and(|run| run.step.trouble.is_some()) => {
                Ok(rotation::Effect::Retry(secret))
            }
            RotationUpdate::RevokePrevious { rotation: Some(meant) }
                if run.is_none_or(|run| run.id != meant) =>
            {
                Err(not_in_progress(&secret, meant))
            }
            RotationUpdate::RevokePrevious { .. }
                if run.is_some_and(|run| run.stage == RotationStage::Grace) =>
            {
                let grace_until = Some(self.state.clock.now());
                Ok(rotation::Effect::Reach { secret, stage: RotationStage::Grace, grace_until })
            }
            RotationUpdate::ClearOrphans if !rotation.upstream.orphans.is_empty() => {
                Ok(rotation::Effect::ClearOrphans(secret))
            }
            RotationUpdate::Pause
            | RotationUpdate::Resume
            | RotationUpdate::Retry
            | RotationUpdate::RevokePrevious { .. }
            | RotationUpdate::ClearOrphans => Err(refuse()),
        }
    }

    /// The rotation of a repeated request.
    fn begun_before(&self, before: &Remembered) -> Result<Rotating, Failure> {
        #[derive(Deserialize)]
        struct Event {
            rotation: RotationId,
            /// Of the entry about a rotation that was in progress already.
            what: Option<String>,
        }
        let event: Event = self.state.said(before)?;
        Ok(Rotating { id: event.rotation, begun: event.what.is_none() })
    }
}
