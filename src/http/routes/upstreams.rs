use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};

use super::answers::answer;
use super::guard::{Operator, operator};
use super::input::{JSON, body, name, parse_json};
use crate::base::SecretName;
use crate::base::limits::{BODY_BYTES_MAX, DECLARATION_BYTES_MAX};
use crate::broker::{AdminDesk, Adopting, Priority, Proof, Uploaded, UpstreamCheck};
use crate::http::documents::problem::Problem;
use crate::http::route::Table;
use crate::policy::{Declare, RotateSecrets};
use crate::upstream::Finding;
use crate::wire::{AdoptBody, AdoptedAnswer, DeclareBody, FindingAnswer, UpstreamCheckAnswer};

/// The routes that ask an upstream something for an operator.
pub(crate) fn table() -> Table<AdminDesk> {
    vec![
        operator("POST", "/v1/rotation-adoptions/{*name}", adopt),
        operator("POST", "/v1/rotation-checks/{*name}", check),
        operator("POST", "/v1/plan-checks/{*name}", check_plan),
    ]
}

async fn adopt(
    State(desk): State<AdminDesk>,
    operator: Operator<RotateSecrets>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let (AdoptBody { version, unverified }, once) = operator.json(&desk, request, BODY_BYTES_MAX).await?;
    let proof = if unverified { Proof::Unasked } else { Proof::Asked };
    let adopting = Adopting { version, proof };
    let adopted = desk.adopt(&operator.authorised, &secret, adopting, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &AdoptedAnswer { version: adopted.version, seq: adopted.seq }))
}

impl From<Finding> for FindingAnswer {
    fn from(Finding { what, ok, says, fix }: Finding) -> Self {
        Self { what: what.into(), ok, says, fix }
    }
}

impl From<UpstreamCheck> for UpstreamCheckAnswer {
    fn from(check: UpstreamCheck) -> Self {
        Self {
            secret: check.secret,
            upstream: check.upstream,
            ok: check.findings.iter().all(|finding| finding.ok),
            findings: check.findings.into_iter().map(FindingAnswer::from).collect(),
        }
    }
}

async fn check(
    State(desk): State<AdminDesk>,
    operator: Operator<RotateSecrets>,
    Path(secret): Path<String>,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let checked = desk.check_rotation(&operator.authorised, &secret).await?;
    Ok(answer(StatusCode::OK, &UpstreamCheckAnswer::from(checked)))
}

async fn check_plan(
    State(desk): State<AdminDesk>,
    operator: Operator<Declare>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let secret: SecretName = name(&secret)?;
    let heavy = desk.heavy(&operator.authorised)?;
    let body = body(request, JSON, DECLARATION_BYTES_MAX).await?;
    let parsed = heavy.run(Priority::Low, move |_| parse_json::<DeclareBody>(&body)?.uploaded());
    let Uploaded { files, .. } = parsed.await?;
    let checked = desk.check_planned(&operator.authorised, &heavy, files, &secret).await?;
    Ok(answer(StatusCode::OK, &UpstreamCheckAnswer::from(checked)))
}
