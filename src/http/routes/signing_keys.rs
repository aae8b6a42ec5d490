use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};

use super::answers::answer;
use super::guard::{Operator, operator};
use crate::base::code;
use crate::base::limits::BODY_BYTES_MAX;
use crate::broker::{AdminDesk, AuthorityView, Force, SigningKey, StageChange, TokenKeyView};
use crate::http::documents::problem::Problem;
use crate::http::route::Table;
use crate::keyring::Stage;
use crate::policy::{OfSigningKeys, ReadSigningKeys, RotateSigningKeys};
use crate::wire::{AuthorityAnswer, CheckpointKeyAnswer, Items, StageBody, StagedAnswer, TokenKeyAnswer};

/// The routes of the keys that the broker signs with.
pub(crate) fn table() -> Table<AdminDesk> {
    let authority =
        |stage| move |desk, operator, path, request| stage_authority(stage, desk, operator, path, request);
    let token_key =
        |stage| move |desk, operator, path, request| stage_token_key(stage, desk, operator, path, request);
    vec![
        operator("GET", "/v1/authorities", authorities::<ReadSigningKeys>),
        operator("POST", "/v1/authorities", prepare_authority),
        operator("POST", "/v1/authorities/{generation}/activate", authority(Stage::Active)),
        operator("POST", "/v1/authorities/{generation}/taint", authority(Stage::Tainted)),
        operator("POST", "/v1/authorities/{generation}/revoke", authority(Stage::Revoked)),
        operator("GET", "/v1/token-keys", token_keys::<ReadSigningKeys>),
        operator("POST", "/v1/token-keys", prepare_token_key),
        operator("POST", "/v1/token-keys/{generation}/activate", token_key(Stage::Active)),
        operator("POST", "/v1/token-keys/{generation}/revoke", token_key(Stage::Revoked)),
        operator("POST", "/v1/checkpoint-key/rotate", rotate_checkpoint_key),
    ]
}

impl From<AuthorityView> for AuthorityAnswer {
    fn from(view: AuthorityView) -> Self {
        Self {
            generation: view.generation,
            stage: view.standing.stage.as_str().into(),
            since: view.standing.since.to_string(),
            pin: view.pin,
            not_after: view.not_after.map(|moment| moment.to_string()),
            behind: view.behind,
        }
    }
}

impl From<TokenKeyView> for TokenKeyAnswer {
    fn from(view: TokenKeyView) -> Self {
        let TokenKeyView { generation, standing } = view;
        Self { generation, stage: standing.stage.as_str().into(), since: standing.since.to_string() }
    }
}

async fn authorities<R: OfSigningKeys>(
    State(desk): State<AdminDesk>,
    operator: Operator<R>,
) -> Response<Body> {
    answer(StatusCode::OK, &Items { items: authority_answers(&desk, &operator) })
}

fn authority_answers<R: OfSigningKeys>(desk: &AdminDesk, operator: &Operator<R>) -> Vec<AuthorityAnswer> {
    desk.authorities(&operator.authorised).into_iter().map(Into::into).collect()
}

async fn prepare_authority(
    State(desk): State<AdminDesk>,
    operator: Operator<RotateSigningKeys>,
) -> Result<Response<Body>, Problem> {
    let once = operator.once(&desk, &[]);
    desk.prepare_key(&operator.authorised, SigningKey::Authority, once.as_ref()).await?;
    Ok(authorities(State(desk), operator).await)
}

async fn stage_authority(
    stage: Stage,
    State(desk): State<AdminDesk>,
    operator: Operator<RotateSigningKeys>,
    Path(generation): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (key, generation) = (SigningKey::Authority, number(&generation)?);
    let change = StageChange { key, generation, stage };
    let (body, once) = operator.json::<StageBody>(&desk, request, BODY_BYTES_MAX).await?;
    let force = if body.force { Force::Yes } else { Force::No };
    let ended = desk.stage_key(&operator.authorised, change, force, once.as_ref()).await?.into();
    let items = authority_answers(&desk, &operator);
    Ok(answer(StatusCode::OK, &StagedAnswer { items, ended }))
}

async fn token_keys<R: OfSigningKeys>(
    State(desk): State<AdminDesk>,
    operator: Operator<R>,
) -> Response<Body> {
    answer(StatusCode::OK, &Items { items: token_key_answers(&desk, &operator) })
}

fn token_key_answers<R: OfSigningKeys>(desk: &AdminDesk, operator: &Operator<R>) -> Vec<TokenKeyAnswer> {
    desk.token_keys(&operator.authorised).into_iter().map(Into::into).collect()
}

async fn prepare_token_key(
    State(desk): State<AdminDesk>,
    operator: Operator<RotateSigningKeys>,
) -> Result<Response<Body>, Problem> {
    let once = operator.once(&desk, &[]);
    desk.prepare_key(&operator.authorised, SigningKey::Token, once.as_ref()).await?;
    Ok(token_keys(State(desk), operator).await)
}

async fn stage_token_key(
    stage: Stage,
    State(desk): State<AdminDesk>,
    operator: Operator<RotateSigningKeys>,
    Path(generation): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (key, generation) = (SigningKey::Token, number(&generation)?);
    let change = StageChange { key, generation, stage };
    let (body, once) = operator.json::<StageBody>(&desk, request, BODY_BYTES_MAX).await?;
    let force = if body.force { Force::Yes } else { Force::No };
    let ended = desk.stage_key(&operator.authorised, change, force, once.as_ref()).await?.into();
    let items = token_key_answers(&desk, &operator);
    Ok(answer(StatusCode::OK, &StagedAnswer { items, ended }))
}

async fn rotate_checkpoint_key(
    State(desk): State<AdminDesk>,
    operator: Operator<RotateSigningKeys>,
) -> Result<Response<Body>, Problem> {
    let once = operator.once(&desk, &[]);
    let generation = desk.rotate_checkpoint_key(&operator.authorised, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &CheckpointKeyAnswer { generation }))
}

fn number(text: &str) -> Result<u32, Problem> {
    let number = text.parse::<u32>().ok().filter(|number| number.to_string() == text);
    number.ok_or_else(|| {
        let (why, fix) = ("a generation is a whole number", "take it from the listing");
        Problem::new(code::ID_NOT_CANONICAL).because(why).mended_by(fix)
    })
}
