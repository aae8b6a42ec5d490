use super::caller::Operator;
use super::table::{Asked, Routes};
use super::target::reason;
use crate::broker::{AdminServices, Force, OperatorRequest, SigningKey, StageChange};
use crate::http::documents::problem::Problem;
use crate::idempotency::Once;
use crate::keyring::Stage;
use crate::policy::{ReadSigningKeys, RotateSigningKeys, RotateValueKey};
use crate::wire::{
    self, AuthorityAnswer, CheckpointKeyAnswer, Items, Nothing, StageBody, StagedAnswer, TokenKeyAnswer,
    ValueKeyAnswer,
};

type By<R, T = Nothing, I = Nothing> = Asked<Operator<R>, T, I>;

/// The routes of the broker's keys.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_AUTHORITIES, list_authorities)
        .once(&wire::PREPARE_AUTHORITY, prepare_authority)
        .once(&wire::ACTIVATE_AUTHORITY, |services, asked, once| {
            stage_authority(services, asked, once, Stage::Active)
        })
        .once(&wire::TAINT_AUTHORITY, |services, asked, once| {
            stage_authority(services, asked, once, Stage::Tainted)
        })
        .once(&wire::REVOKE_AUTHORITY, |services, asked, once| {
            stage_authority(services, asked, once, Stage::Revoked)
        })
        .without_waiting()
        .route(&wire::LIST_TOKEN_KEYS, list_token_keys)
        .once(&wire::PREPARE_TOKEN_KEY, prepare_token_key)
        .once(&wire::ACTIVATE_TOKEN_KEY, |services, asked, once| {
            stage_token_key(services, asked, once, Stage::Active)
        })
        .once(&wire::REVOKE_TOKEN_KEY, |services, asked, once| {
            stage_token_key(services, asked, once, Stage::Revoked)
        })
        .without_waiting()
        .once(&wire::ROTATE_CHECKPOINT_KEY, rotate_checkpoint_key)
        .once(&wire::ROTATE_VALUE_KEY, rotate_value_key)
}

async fn list_authorities(
    services: AdminServices,
    asked: By<ReadSigningKeys>,
) -> Result<Items<AuthorityAnswer>, Problem> {
    Ok(Items { items: services.authorities(&asked.by) })
}

async fn prepare_authority(
    services: AdminServices,
    asked: By<RotateSigningKeys>,
    once: Option<Once>,
) -> Result<Items<AuthorityAnswer>, Problem> {
    services.prepare_key(&asked.by, SigningKey::Authority, once.as_ref()).await?;
    Ok(Items { items: services.authorities(&asked.by) })
}

async fn stage_authority(
    services: AdminServices,
    asked: By<RotateSigningKeys, u32, StageBody>,
    once: Option<Once>,
    stage: Stage,
) -> Result<StagedAnswer<AuthorityAnswer>, Problem> {
    let change = StageChange { key: SigningKey::Authority, generation: asked.target, stage };
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { once: once.as_ref(), reason: reason.as_ref() };
    let ended = services.stage_key(&asked.by, change, force(&asked.input), request).await?.into();
    Ok(StagedAnswer { items: services.authorities(&asked.by), ended })
}

async fn list_token_keys(
    services: AdminServices,
    asked: By<ReadSigningKeys>,
) -> Result<Items<TokenKeyAnswer>, Problem> {
    Ok(Items { items: services.token_keys(&asked.by) })
}

async fn prepare_token_key(
    services: AdminServices,
    asked: By<RotateSigningKeys>,
    once: Option<Once>,
) -> Result<Items<TokenKeyAnswer>, Problem> {
    services.prepare_key(&asked.by, SigningKey::Token, once.as_ref()).await?;
    Ok(Items { items: services.token_keys(&asked.by) })
}

async fn stage_token_key(
    services: AdminServices,
    asked: By<RotateSigningKeys, u32, StageBody>,
    once: Option<Once>,
    stage: Stage,
) -> Result<StagedAnswer<TokenKeyAnswer>, Problem> {
    let change = StageChange { key: SigningKey::Token, generation: asked.target, stage };
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { once: once.as_ref(), reason: reason.as_ref() };
    let ended = services.stage_key(&asked.by, change, force(&asked.input), request).await?.into();
    Ok(StagedAnswer { items: services.token_keys(&asked.by), ended })
}

fn force(body: &StageBody) -> Force {
    if body.force { Force::Yes } else { Force::No }
}

async fn rotate_checkpoint_key(
    services: AdminServices,
    asked: By<RotateSigningKeys>,
    once: Option<Once>,
) -> Result<CheckpointKeyAnswer, Problem> {
    let generation = services.rotate_checkpoint_key(&asked.by, once.as_ref()).await?;
    Ok(CheckpointKeyAnswer { generation })
}

async fn rotate_value_key(
    services: AdminServices,
    asked: By<RotateValueKey>,
    once: Option<Once>,
) -> Result<ValueKeyAnswer, Problem> {
    let turned = services.rotate_value_key(&asked.by, once.as_ref()).await?;
    Ok(ValueKeyAnswer { generation: turned.generation, carried_over: turned.carried_over })
}
