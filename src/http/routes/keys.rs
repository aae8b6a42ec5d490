use super::table::{AdminRequest, Routes};
use super::target::reason;
use crate::broker::{AdminServices, Force, OperatorRequest, SigningKey, StageChange};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::keyring::KeyStage;
use crate::policy::{ReadSigningKeys, RotateSigningKeys, RotateValueKey};
use crate::wire::{
    self, AuthorityAnswer, CheckpointKeyAnswer, Items, StageBody, StagedAnswer, TokenKeyAnswer,
    ValueKeyAnswer,
};

/// The routes of the broker's keys.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_AUTHORITIES, list_authorities)
        .idempotent(&wire::PREPARE_AUTHORITY, prepare_authority)
        .idempotent(&wire::ACTIVATE_AUTHORITY, |services, call, idempotency| {
            stage_authority(services, call, idempotency, KeyStage::Active)
        })
        .idempotent(&wire::TAINT_AUTHORITY, |services, call, idempotency| {
            stage_authority(services, call, idempotency, KeyStage::Tainted)
        })
        .idempotent(&wire::REVOKE_AUTHORITY, |services, call, idempotency| {
            stage_authority(services, call, idempotency, KeyStage::Revoked)
        })
        .without_waiting()
        .route(&wire::LIST_TOKEN_KEYS, list_token_keys)
        .idempotent(&wire::PREPARE_TOKEN_KEY, prepare_token_key)
        .idempotent(&wire::ACTIVATE_TOKEN_KEY, |services, call, idempotency| {
            stage_token_key(services, call, idempotency, KeyStage::Active)
        })
        .idempotent(&wire::REVOKE_TOKEN_KEY, |services, call, idempotency| {
            stage_token_key(services, call, idempotency, KeyStage::Revoked)
        })
        .without_waiting()
        .idempotent(&wire::ROTATE_CHECKPOINT_KEY, rotate_checkpoint_key)
        .idempotent(&wire::ROTATE_VALUE_KEY, rotate_value_key)
}

async fn list_authorities(
    services: AdminServices,
    call: AdminRequest<ReadSigningKeys>,
) -> Result<Items<AuthorityAnswer>, Problem> {
    Ok(Items { items: services.authorities(&call.by) })
}

async fn prepare_authority(
    services: AdminServices,
    call: AdminRequest<RotateSigningKeys>,
    idempotency: Option<IdempotencyKey>,
) -> Result<Items<AuthorityAnswer>, Problem> {
    services.prepare_key(&call.by, SigningKey::Authority, idempotency.as_ref()).await?;
    Ok(Items { items: services.authorities(&call.by) })
}

async fn stage_authority(
    services: AdminServices,
    call: AdminRequest<RotateSigningKeys, u32, StageBody>,
    idempotency: Option<IdempotencyKey>,
    stage: KeyStage,
) -> Result<StagedAnswer<AuthorityAnswer>, Problem> {
    let change = StageChange { key: SigningKey::Authority, generation: call.target, stage };
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    let ended = services.stage_key(&call.by, change, force(&call.input), request).await?.into();
    Ok(StagedAnswer { items: services.authorities(&call.by), ended })
}

async fn list_token_keys(
    services: AdminServices,
    call: AdminRequest<ReadSigningKeys>,
) -> Result<Items<TokenKeyAnswer>, Problem> {
    Ok(Items { items: services.token_keys(&call.by) })
}

async fn prepare_token_key(
    services: AdminServices,
    call: AdminRequest<RotateSigningKeys>,
    idempotency: Option<IdempotencyKey>,
) -> Result<Items<TokenKeyAnswer>, Problem> {
    services.prepare_key(&call.by, SigningKey::Token, idempotency.as_ref()).await?;
    Ok(Items { items: services.token_keys(&call.by) })
}

async fn stage_token_key(
    services: AdminServices,
    call: AdminRequest<RotateSigningKeys, u32, StageBody>,
    idempotency: Option<IdempotencyKey>,
    stage: KeyStage,
) -> Result<StagedAnswer<TokenKeyAnswer>, Problem> {
    let change = StageChange { key: SigningKey::Token, generation: call.target, stage };
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    let ended = services.stage_key(&call.by, change, force(&call.input), request).await?.into();
    Ok(StagedAnswer { items: services.token_keys(&call.by), ended })
}

fn force(body: &StageBody) -> Force {
    if body.force { Force::Yes } else { Force::No }
}

async fn rotate_checkpoint_key(
    services: AdminServices,
    call: AdminRequest<RotateSigningKeys>,
    idempotency: Option<IdempotencyKey>,
) -> Result<CheckpointKeyAnswer, Problem> {
    let generation = services.rotate_checkpoint_key(&call.by, idempotency.as_ref()).await?;
    Ok(CheckpointKeyAnswer { generation })
}

async fn rotate_value_key(
    services: AdminServices,
    call: AdminRequest<RotateValueKey>,
    idempotency: Option<IdempotencyKey>,
) -> Result<ValueKeyAnswer, Problem> {
    let turned = services.rotate_value_key(&call.by, idempotency.as_ref()).await?;
    Ok(ValueKeyAnswer { generation: turned.generation, carried_over: turned.carried_over })
}
