use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::json;

use super::answer::{OCTETS, SecretBytes, WithHeaders};
use super::caller::TokenBearer;
use super::input::Input;
use super::table::{AdminRequest, RouteRequest, Routes};
use super::target::{name, reason};
use super::tokens::scope_of;
use crate::base::encoding::from_base64url;
use crate::base::{OwnerName, SecretName, Sensitive, Sensitivity, Timestamp, code};
use crate::broker::{
    AdminServices, AgentServices, Classification, Classified, Expected, OperatorRequest, PutSecret,
    SensitivityApproval, StoredSecret, VersionAct,
};
use crate::http::documents::operation::OperationDocument;
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::policy::{ReadSecretNames, StoreSecrets};
use crate::wire::{
    self, ClassifiedAnswer, DECISION_ID_HEADER, EndedAnswer, NEXT_ROTATION_HEADER, Nothing, OWNER_HEADER,
    Optional, PageAnswer, PageQuery, ReasonBody, SECRET_VERSION_HEADER, SENSITIVITY_HEADER, SecretAccessBody,
    SecretAnswer, SecretDeletedAnswer, SecretDetailAnswer, SecretUpload, SensitivityApprovalBody,
    SensitivityBallot, SensitivityBody, StoredAnswer, VersionAction, VersionBody, WIDEN_HEADER,
};

/// The operators' routes of secrets. None of them returns a value.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_SECRETS, list)
        .route(&wire::GET_SECRET, get)
        .idempotent(&wire::PUT_SECRET, put)
        .heavy(
            &wire::LIST_SECRET_READERS,
            |services, call: &AdminRequest<ReadSecretNames, SecretName>, work| {
                Ok(services.readers(&call.by, &call.target, work)?)
            },
        )
        .heavy(
            &wire::LIST_SECRET_ACCESS,
            |services, call: &AdminRequest<ReadSecretNames, SecretName, SecretAccessBody>, work| {
                Ok(services.access_then(&call.by, &call.target, &call.input, work)?)
            },
        )
        .idempotent(&wire::CHANGE_SECRET_VERSION, change_version)
        .idempotent(&wire::DELETE_SECRET, delete)
        .idempotent(&wire::CLASSIFY_SECRET, classify)
}

/// The agents' route of secrets.
pub(crate) fn agent_routes() -> Routes<AgentServices> {
    Routes::new().route(&wire::REVEAL_SECRET, reveal)
}

async fn list(
    services: AdminServices,
    call: AdminRequest<ReadSecretNames, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<SecretAnswer>, Problem> {
    Ok(services.secrets(&call.by, &call.input.into()))
}

async fn get(
    services: AdminServices,
    call: AdminRequest<ReadSecretNames, SecretName>,
) -> Result<WithHeaders<SecretDetailAnswer>, Problem> {
    let answer = services.secret(&call.by, &call.target)?;
    let tag = answer.current.and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok());
    Ok(WithHeaders { answer, headers: tag.into_iter().map(|tag| (header::ETAG, tag)).collect() })
}

/// Owner, sensitivity and conditions of a stored secret.
pub(crate) struct UploadHead {
    owner: Option<OwnerName>,
    sensitivity: Option<Sensitivity>,
    expected: Option<Expected>,
    widen: bool,
    value: Sensitive<Vec<u8>>,
}

impl Input for SecretUpload {
    type Head = UploadHead;
    type Read = UploadHead;

    const CONTENT: Option<&'static str> = Some(OCTETS);

    fn head(parts: &Parts) -> Result<UploadHead, Problem> {
        let headers = &parts.headers;
        let owner = headers.get(OWNER_HEADER).map(|value| name(value.to_str().unwrap_or_default()));
        let (owner, expected) = (owner.transpose()?, expected(headers)?);
        let sensitivity = headers.get(SENSITIVITY_HEADER).map(sensitivity).transpose()?;
        let widen = headers.get(WIDEN_HEADER).is_some_and(|value| value == "true");
        Ok(UploadHead { owner, sensitivity, expected, widen, value: Sensitive::new(Vec::new()) })
    }

    fn read(upload: UploadHead, value: Sensitive<Vec<u8>>) -> Result<UploadHead, Problem> {
        Ok(UploadHead { value, ..upload })
    }

    /// The value is not part of it: its digest in the ledger would outlive the value.
    fn digested(_: &Sensitive<Vec<u8>>) -> &[u8] {
        &[]
    }

    fn describe(document: &mut OperationDocument<'_>) {
        for name in [
            OWNER_HEADER,
            SENSITIVITY_HEADER,
            WIDEN_HEADER,
            header::IF_MATCH.as_str(),
            header::IF_NONE_MATCH.as_str(),
        ] {
            document.parameter(name, "header", &json!({ "type": "string" }));
        }
        document.body::<serde_json::Value>(OCTETS);
    }
}

async fn put(
    services: AdminServices,
    call: AdminRequest<StoreSecrets, SecretName, SecretUpload>,
    idempotency: Option<IdempotencyKey>,
) -> Result<StoredAnswer, Problem> {
    let UploadHead { owner, sensitivity, expected, widen, value } = call.input;
    let put = PutSecret { name: call.target, owner, sensitivity, expected, widen };
    let stored = services.put_secret(&call.by, put, value, idempotency.as_ref()).await?;
    let StoredSecret { name, version, seq, upstream } = stored;
    Ok(StoredAnswer { name, version, seq, upstream })
}

/// The expectation in `If-Match` and `If-None-Match`: a version, or no secret.
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
    services: AdminServices,
    call: AdminRequest<StoreSecrets, SecretName, VersionBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<EndedAnswer, Problem> {
    let VersionBody { action, version, reason: said } = call.input;
    let reason = reason(said.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    let act = match action {
        VersionAction::RollBack => VersionAct::RollBack,
        VersionAction::Destroy => VersionAct::Destroy,
    };
    Ok(services.change_version(&call.by, &call.target, version, act, request).await?.into())
}

async fn delete(
    services: AdminServices,
    asked: AdminRequest<StoreSecrets, SecretName, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<SecretDeletedAnswer, Problem> {
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    let heavy = services.heavy(&asked.by)?;
    Ok(services.delete_secret(&asked.by, &heavy, &asked.target, request).await?)
}

fn sensitivity(word: &HeaderValue) -> Result<Sensitivity, Problem> {
    let word = word.to_str().unwrap_or_default();
    word.parse().map_err(|_| Problem::new(code::SENSITIVITY_UNKNOWN))
}

async fn classify(
    services: AdminServices,
    call: AdminRequest<StoreSecrets, SecretName, SensitivityBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<ClassifiedAnswer, Problem> {
    let SensitivityBody { sensitivity: to, widen, approval } = call.input;
    let approval = approval.map(sensitivity_approval).transpose()?;
    let classification = Classification { to, widen, approval };
    let Classified { seq, cut_off } =
        services.classify(&call.by, &call.target, classification, idempotency.as_ref()).await?;
    Ok(ClassifiedAnswer { seq, cut_off })
}

fn sensitivity_approval(body: SensitivityApprovalBody) -> Result<SensitivityApproval, Problem> {
    let SensitivityApprovalBody {
        kind,
        operator,
        secret,
        sensitivity: to,
        classified_seq,
        expires_at,
        signature,
    } = body;
    let expires_at = Timestamp::parse(&expires_at).filter(|_| kind == SensitivityBallot::KIND);
    let (Some(expires_at), Some(signature)) = (expires_at, from_base64url(&signature)) else {
        return Err(Problem::new(code::PLAN_APPROVAL_MALFORMED).because(
            "the approval of a lower sensitivity is not one that `keyward secret classify --approve` wrote",
        ));
    };
    Ok(SensitivityApproval { operator, secret, to, classified_seq, expires_at, signature })
}

async fn reveal(
    services: AgentServices,
    call: RouteRequest<TokenBearer, SecretName, Nothing>,
) -> Result<WithHeaders<SecretBytes>, Problem> {
    let (agent, secret) = (call.by.agent, call.target);
    let scope = |agent| scope_of(&services, agent, |read| *read == secret);
    let Some(token) = call.by.token else {
        return Err(Problem::new(code::TOKEN_MISSING).for_scope(scope(&agent)));
    };
    let revealed = services.reveal(agent.clone(), token.expose(), &secret).await;
    let revealed = revealed.map_err(|failure| Problem::from(failure).for_scope(scope(&agent)))?;
    let version = HeaderName::from_static(SECRET_VERSION_HEADER);
    let mut headers = vec![
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (version, HeaderValue::from(revealed.version)),
    ];
    if let Ok(decision) = HeaderValue::from_str(&revealed.decision.to_string()) {
        headers.push((HeaderName::from_static(DECISION_ID_HEADER), decision));
    }
    if let Some(Ok(next)) = revealed.next_rotation.map(|next| HeaderValue::from_str(&next.to_string())) {
        headers.push((HeaderName::from_static(NEXT_ROTATION_HEADER), next));
    }
    Ok(WithHeaders { answer: SecretBytes(revealed.value.expose().to_vec()), headers })
}
