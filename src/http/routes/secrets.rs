use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::answers::{answer, page_of};
use super::guard::{Operator, operator};
use super::input::{BYTES, Wanted, body, name};
use crate::base::limits::{BODY_BYTES_MAX, SECRET_BYTES_MAX};
use crate::base::{SecretName, Sensitivity, code};
use crate::broker::{AdminDesk, Classified, Expected, Priority, PutSecret, Reader, SecretDetail, VersionAct};
use crate::http::documents::problem::Problem;
use crate::http::route::Table;
use crate::http::transport::edge::{OWNER, SENSITIVITY};
use crate::policy::{ReadSecretNames, RotateValueKey, StoreSecrets};
use crate::secrets::Version;
use crate::wire::{
    ClassifiedAnswer, ConsumerAnswer, EndedAnswer, ReaderAnswer, ReadersAnswer, SecretAnswer,
    SecretDetailAnswer, SensitivityBody, StoredAnswer, ValueKeyAnswer, VersionAction, VersionAnswer,
    VersionBody,
};

/// The operators' routes of secrets. None of them gives a value.
pub(crate) fn table() -> Table<AdminDesk> {
    vec![
        operator("GET", "/v1/secrets", secrets),
        operator("GET", "/v1/secrets/{*name}", secret),
        operator("PUT", "/v1/secrets/{*name}", put_secret),
        operator("GET", "/v1/secret-readers/{*name}", readers),
        operator("POST", "/v1/secret-versions/{*name}", change_version),
        operator("POST", "/v1/secret-sensitivity/{*name}", classify),
        operator("POST", "/v1/value-key/rotate", rotate_value_key),
    ]
}

async fn secrets(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
    Wanted(page): Wanted,
) -> Response<Body> {
    answer(StatusCode::OK, &page_of::<_, SecretAnswer>(desk.secrets(&operator.authorised, &page)))
}

impl From<Version> for VersionAnswer {
    fn from(version: Version) -> Self {
        Self {
            number: version.number,
            stage: version.stage.as_str().into(),
            stored_at: version.stored_at.to_string(),
            seq: version.seq,
        }
    }
}

impl From<SecretDetail> for SecretDetailAnswer {
    fn from(detail: SecretDetail) -> Self {
        Self {
            name: detail.name,
            owner: detail.owner,
            sensitivity: detail.sensitivity,
            current: detail.current,
            upstream: detail.upstream,
            versions: detail.versions.into_iter().map(VersionAnswer::from).collect(),
            consumers: detail.consumers.into_iter().map(ConsumerAnswer::from).collect(),
        }
    }
}

async fn secret(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
    Path(secret): Path<String>,
) -> Result<Response<Body>, Problem> {
    let detail = desk.secret(&operator.authorised, &name(&secret)?)?;
    let tag = detail.current.map(|version| format!("\"{version}\""));
    let mut response = answer(StatusCode::OK, &SecretDetailAnswer::from(detail));
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

impl From<Reader> for ReaderAnswer {
    fn from(reader: Reader) -> Self {
        Self { agent: reader.agent, version: reader.version, at: reader.at.to_string() }
    }
}

async fn readers(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
    Path(secret): Path<String>,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let heavy = desk.heavy(&operator.authorised)?;
    let found = heavy.run(Priority::Ordinary, move |work| {
        let (readers, since_seq) =
            desk.readers(&operator.authorised, &secret, work).map_err(Problem::from)?;
        let items = readers.into_iter().map(ReaderAnswer::from).collect();
        Ok(answer(StatusCode::OK, &ReadersAnswer { items, since_seq }))
    });
    found.await
}

async fn put_secret(
    State(desk): State<AdminDesk>,
    operator: Operator<StoreSecrets>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let owner = request.headers().get(OWNER).map(|value| name(value.to_str().unwrap_or_default()));
    let (owner, expected) = (owner.transpose()?, expected(request.headers())?);
    let sensitivity = request.headers().get(SENSITIVITY).map(sensitivity).transpose()?;
    let value = body(request, BYTES, SECRET_BYTES_MAX).await?;
    // No entry holds a digest of the value: it would outlive the value.
    let once = operator.once(&desk, &[]);
    let put = PutSecret { name: secret, owner, sensitivity, expected };
    let stored = desk.put_secret(&operator.authorised, put, value, once.as_ref()).await?;
    let answered = StoredAnswer { name: stored.name, version: stored.version, seq: stored.seq };
    Ok(answer(StatusCode::CREATED, &answered))
}

/// What `If-Match` and `If-None-Match` say that there is: a version by its number, or nothing.
fn expected(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let number = |tag: &str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(None),
        (None, Some("*")) => Ok(Some(Expected::Nothing)),
        (Some(tag), None) => match number(tag) {
            Some(version) => Ok(Some(Expected::Version(version))),
            None => Err(Problem::new(code::PRECONDITION_INVALID)),
        },
        (Some(_) | None, Some(_)) => Err(Problem::new(code::PRECONDITION_INVALID)),
    }
}

async fn change_version(
    State(desk): State<AdminDesk>,
    operator: Operator<StoreSecrets>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let (VersionBody { action, version }, once) = operator.json(&desk, request, BODY_BYTES_MAX).await?;
    let act = match action {
        VersionAction::RollBack => VersionAct::RollBack,
        VersionAction::Destroy => VersionAct::Destroy,
    };
    let ended = desk.change_version(&operator.authorised, (&secret, version), act, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndedAnswer::from(ended)))
}

fn sensitivity(word: &HeaderValue) -> Result<Sensitivity, Problem> {
    let word = word.to_str().unwrap_or_default();
    word.parse().map_err(|_| Problem::new(code::SENSITIVITY_UNKNOWN))
}

async fn classify(
    State(desk): State<AdminDesk>,
    operator: Operator<StoreSecrets>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let (SensitivityBody { sensitivity }, once) = operator.json(&desk, request, BODY_BYTES_MAX).await?;
    let Classified { seq, cut_off } =
        desk.classify(&operator.authorised, (&secret, sensitivity), once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &ClassifiedAnswer { seq, cut_off }))
}

async fn rotate_value_key(
    State(desk): State<AdminDesk>,
    operator: Operator<RotateValueKey>,
) -> Result<Response<Body>, Problem> {
    let once = operator.once(&desk, &[]);
    let turned = desk.rotate_value_key(&operator.authorised, once.as_ref()).await?;
    let answered = ValueKeyAnswer { generation: turned.generation, carried_over: turned.carried_over };
    Ok(answer(StatusCode::OK, &answered))
}
