use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answers::{PageAnswer, SecretAnswer, answer};
use super::guard::{Operator, operator};
use super::input::{BYTES, Wanted, body, name};
use super::rotations::ConsumerAnswer;
use crate::base::limits::{BODY_BYTES_MAX, SECRET_BYTES_MAX};
use crate::base::{SecretName, Sensitivity, code};
use crate::broker::{AdminDesk, Classified, Expected, Priority, PutSecret, Reader, SecretDetail, VersionAct};
use crate::http::documents::problem::Problem;
use crate::http::route::Table;
use crate::http::transport::edge::{OWNER, SENSITIVITY};
use crate::policy::{ReadSecretNames, StoreSecrets, TurnValueKey};
use crate::secrets::Version;

/// The operators' routes of secrets. None of them gives a value.
pub(crate) fn table() -> Table<AdminDesk> {
    vec![
        operator("GET", "/v1/secrets", secrets),
        operator("GET", "/v1/secrets/{*name}", secret),
        operator("PUT", "/v1/secrets/{*name}", put_secret),
        operator("GET", "/v1/secret-readers/{*name}", readers),
        operator("POST", "/v1/secret-versions/{*name}", change_version),
        operator("POST", "/v1/secret-sensitivity/{*name}", classify),
        operator("POST", "/v1/value-key/turn", turn_value_key),
    ]
}

async fn secrets(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadSecretNames>,
    Wanted(page): Wanted,
) -> Response<Body> {
    answer(StatusCode::OK, &PageAnswer::<SecretAnswer>::of(desk.secrets(&operator.authorised, &page)))
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct SecretDetailAnswer {
    name: String,
    owner: Option<String>,
    sensitivity: &'static str,
    current: Option<u32>,
    upstream: Option<String>,
    versions: Vec<VersionAnswer>,
    consumers: Vec<ConsumerAnswer>,
}

#[derive(JsonSchema, Serialize)]
struct VersionAnswer {
    number: u32,
    stage: &'static str,
    stored_at: String,
    seq: u64,
}

impl From<Version> for VersionAnswer {
    fn from(version: Version) -> Self {
        Self {
            number: version.number,
            stage: version.stage.as_str(),
            stored_at: version.stored_at.to_string(),
            seq: version.seq,
        }
    }
}

impl From<SecretDetail> for SecretDetailAnswer {
    fn from(detail: SecretDetail) -> Self {
        Self {
            name: detail.name.to_string(),
            owner: detail.owner.map(|owner| owner.to_string()),
            sensitivity: detail.sensitivity.as_str(),
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

#[derive(JsonSchema, Serialize)]
pub(crate) struct ReadersAnswer {
    items: Vec<ReaderAnswer>,
    /// The oldest entry that was looked at: earlier readings are not told.
    since_seq: u64,
}

#[derive(JsonSchema, Serialize)]
struct ReaderAnswer {
    agent: String,
    version: u32,
    at: String,
}

impl From<Reader> for ReaderAnswer {
    fn from(reader: Reader) -> Self {
        Self { agent: reader.agent.to_string(), version: reader.version, at: reader.at.to_string() }
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

#[derive(JsonSchema, Serialize)]
pub(crate) struct StoredAnswer {
    name: String,
    version: u32,
    seq: u64,
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
    let answered = StoredAnswer { name: stored.name.to_string(), version: stored.version, seq: stored.seq };
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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionBody {
    action: Action,
    version: u32,
}

/// What is done with a version.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Action {
    RollBack,
    Destroy,
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
        Action::RollBack => VersionAct::RollBack,
        Action::Destroy => VersionAct::Destroy,
    };
    let ended = desk.change_version(&operator.authorised, (&secret, version), act, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &super::admins::EndedAnswer::from(ended)))
}

fn sensitivity(word: &HeaderValue) -> Result<Sensitivity, Problem> {
    let word = word.to_str().unwrap_or_default();
    word.parse().map_err(|_| Problem::new(code::SENSITIVITY_UNKNOWN))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SensitivityBody {
    /// `ordinary` or `high`.
    #[schemars(with = "String")]
    sensitivity: Sensitivity,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct ClassifiedAnswer {
    /// The entry that says so; null when it was that before.
    seq: Option<u64>,
    /// The capabilities that do not reach the secret, because they are somebody else's.
    cut_off: Vec<String>,
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
    let cut_off = cut_off.iter().map(ToString::to_string).collect();
    Ok(answer(StatusCode::OK, &ClassifiedAnswer { seq, cut_off }))
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct TurnedAnswer {
    generation: u32,
    /// How many versions were carried over; not said when the request had been carried out before.
    carried_over: Option<usize>,
}

async fn turn_value_key(
    State(desk): State<AdminDesk>,
    operator: Operator<TurnValueKey>,
) -> Result<Response<Body>, Problem> {
    let once = operator.once(&desk, &[]);
    let turned = desk.turn_value_key(&operator.authorised, once.as_ref()).await?;
    let answered = TurnedAnswer { generation: turned.generation, carried_over: turned.carried_over };
    Ok(answer(StatusCode::OK, &answered))
}
