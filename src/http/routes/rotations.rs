use super::table::{AdminRequest, Routes};
use super::target::reason;
use crate::base::{Cancellation, SecretName, code};
use crate::broker::{
    AdminServices, Adopting, AdoptionProof, OperatorRequest, PreviousVersion, RotationUpdate,
};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::policy::{ReadSecretNames, RotateSecrets};
use crate::wire::{
    self, AdoptBody, AdoptedAnswer, Items, Nothing, PageAnswer, PageQuery, RotationAction, RotationAnswer,
    RotationPlanAnswer, SteerRotationBody, SteeredRotationAnswer, UpstreamCheckAnswer,
};

/// The routes of the rotations of secrets.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_ROTATIONS, list)
        .route(&wire::GET_ROTATION, get)
        .idempotent(&wire::STEER_ROTATION, steer)
        .heavy(&wire::PLAN_ROTATION, plan)
        .heavy(&wire::LIST_ROTATIONS_DUE, |services, call: &AdminRequest<ReadSecretNames>, work| {
            Ok(Items { items: services.calendar(&call.by, work)? })
        })
        .idempotent(&wire::ADOPT_VERSION, adopt)
        .route(&wire::CHECK_ROTATION, check)
}

async fn list(
    services: AdminServices,
    call: AdminRequest<ReadSecretNames, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<RotationAnswer>, Problem> {
    Ok(services.rotations(&call.by, &call.input.into()))
}

async fn get(
    services: AdminServices,
    call: AdminRequest<ReadSecretNames, SecretName>,
) -> Result<RotationAnswer, Problem> {
    Ok(services.rotation(&call.by, &call.target)?)
}

async fn steer(
    services: AdminServices,
    call: AdminRequest<RotateSecrets, SecretName, SteerRotationBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<SteeredRotationAnswer, Problem> {
    let SteerRotationBody { action, revoke_previous, rotation, reason: text } = &call.input;
    if *revoke_previous && !matches!(action, RotationAction::Rotate) {
        return Err(Problem::new(code::JSON_INVALID).because("`revoke_previous` is for the action `rotate`"));
    }
    if rotation.is_some() && !matches!(action, RotationAction::RevokePrevious) {
        return Err(
            Problem::new(code::JSON_INVALID).because("`rotation` is for the action `revoke-previous`")
        );
    }
    let reason = reason(text.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    let update = match action {
        RotationAction::Rotate => {
            let previous = if *revoke_previous { PreviousVersion::Revoked } else { PreviousVersion::Grace };
            let rotating = services.rotate(&call.by, &call.target, previous, request).await?;
            let (rotation, begun) = (Some(rotating.id), Some(rotating.begun));
            return Ok(SteeredRotationAnswer { rotation, begun, seq: None });
        }
        RotationAction::Pause => RotationUpdate::Pause,
        RotationAction::Resume => RotationUpdate::Resume,
        RotationAction::Retry => RotationUpdate::Retry,
        RotationAction::RevokePrevious => RotationUpdate::RevokePrevious { rotation: *rotation },
        RotationAction::ClearOrphans => RotationUpdate::ClearOrphans,
    };
    let seq = Some(services.update_rotation(&call.by, &call.target, update, request).await?);
    Ok(SteeredRotationAnswer { seq, ..SteeredRotationAnswer::default() })
}

fn plan(
    services: &AdminServices,
    call: &AdminRequest<ReadSecretNames, SecretName>,
    _: &Cancellation,
) -> Result<RotationPlanAnswer, Problem> {
    Ok(services.plan_rotation(&call.by, &call.target)?)
}

async fn adopt(
    services: AdminServices,
    call: AdminRequest<RotateSecrets, SecretName, AdoptBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<AdoptedAnswer, Problem> {
    let proof = if call.input.unverified { AdoptionProof::Unasked } else { AdoptionProof::Asked };
    let adopting = Adopting { version: call.input.version, proof };
    let adopted = services.adopt(&call.by, &call.target, adopting, idempotency.as_ref()).await?;
    Ok(AdoptedAnswer { version: adopted.version, seq: adopted.seq })
}

async fn check(
    services: AdminServices,
    call: AdminRequest<RotateSecrets, SecretName>,
) -> Result<UpstreamCheckAnswer, Problem> {
    Ok(services.check_rotation(&call.by, &call.target).await?)
}
