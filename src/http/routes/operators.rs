use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admins::{ChangedAnswer, EndedAnswer};
use super::answers::{PageAnswer, answer};
use super::guard::{Operator, operator};
use super::input::{Wanted, name};
use crate::base::code;
use crate::base::limits::BODY_BYTES_MAX;
use crate::base::{OperatorName, OwnerName, Scope};
use crate::broker::{AdminDesk, OperatorInviteInput, OperatorView, Revocation};
use crate::http::documents::problem::Problem;
use crate::http::route::Table;
use crate::operators::{OperatorRole, UnknownRole};
use crate::policy::{ContainOperators, PlaceOperators, ReadOperators};

/// The routes of the people who administer.
pub(crate) fn table() -> Table<AdminDesk> {
    let contain = |what| move |desk, operator, path| contain(what, desk, operator, path);
    vec![
        operator("GET", "/v1/operators", operators),
        operator("GET", "/v1/operators/{name}", operator_named),
        operator("POST", "/v1/operators/{name}/invitations", invite),
        operator("PUT", "/v1/operators/{name}/role", place),
        operator("POST", "/v1/operators/{name}/revoke", contain(Revocation::Revoke)),
        operator("POST", "/v1/operators/{name}/suspend", contain(Revocation::Suspend)),
        operator("POST", "/v1/operators/{name}/resume", contain(Revocation::Resume)),
    ]
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct OperatorAnswer {
    id: String,
    name: String,
    role: &'static str,
    owner: Option<String>,
    state: &'static str,
    certificates: Vec<CertificateAnswer>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct CertificateAnswer {
    serial: String,
    not_after: String,
}

impl From<OperatorView> for OperatorAnswer {
    fn from(view: OperatorView) -> Self {
        let certificates = view.certificates.into_iter();
        let certificates = certificates
            .map(|(serial, not_after)| CertificateAnswer { serial, not_after: not_after.to_string() });
        Self {
            id: view.id.to_string(),
            name: view.name.to_string(),
            role: view.role.as_str(),
            owner: view.owner.map(|owner| owner.to_string()),
            state: view.state.as_str(),
            certificates: certificates.collect(),
        }
    }
}

async fn operators(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadOperators>,
    Wanted(page): Wanted,
) -> Response<Body> {
    answer(StatusCode::OK, &PageAnswer::<OperatorAnswer>::of(desk.operators(&operator.authorised, &page)))
}

async fn operator_named(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadOperators>,
    Path(wanted): Path<String>,
) -> Result<Response<Body>, Problem> {
    let found = desk.operator(&operator.authorised, &name(&wanted)?)?;
    Ok(answer(StatusCode::OK, &OperatorAnswer::from(found)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteBody {
    role: Option<String>,
    owner: Option<String>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct InviteAnswer<'a> {
    operator: String,
    code: &'a str,
    code_id: String,
    expires_at: String,
}

async fn invite(
    State(desk): State<AdminDesk>,
    operator: Operator<PlaceOperators>,
    Path(invited): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let invited: OperatorName = name(&invited)?;
    let (body, once) = operator.json::<InviteBody>(&desk, request, BODY_BYTES_MAX).await?;
    let role = body.role.as_deref().map(role).transpose()?;
    let owner = body.owner.as_deref().map(name).transpose()?;
    let input = OperatorInviteInput { name: invited, role, owner };
    let invitation = desk.invite_operator(&operator.authorised, input, once.as_ref()).await?;
    let answered = InviteAnswer {
        operator: invitation.operator.to_string(),
        code: invitation.code.expose(),
        code_id: invitation.id.to_string(),
        expires_at: invitation.expires_at.to_string(),
    };
    Ok(answer(StatusCode::CREATED, &answered))
}

/// Both are said: a reach that is left out would be one without an end.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceBody {
    role: String,
    #[serde(deserialize_with = "Option::deserialize")]
    owner: Option<String>,
}

async fn place(
    State(desk): State<AdminDesk>,
    operator: Operator<PlaceOperators>,
    Path(placed): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let placed: OperatorName = name(&placed)?;
    let (body, once) = operator.json::<PlaceBody>(&desk, request, BODY_BYTES_MAX).await?;
    let owner: Option<OwnerName> = body.owner.as_deref().map(name).transpose()?;
    let place = (role(&body.role)?, Scope::of(owner));
    let seq = desk.place_operator(&operator.authorised, &placed, place, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &ChangedAnswer { seq }))
}

async fn contain(
    what: Revocation,
    State(desk): State<AdminDesk>,
    operator: Operator<ContainOperators>,
    Path(contained): Path<String>,
) -> Result<Response<Body>, Problem> {
    let once = operator.once(&desk, &[]);
    let contained = name(&contained)?;
    let ended = desk.revoke_operator(&operator.authorised, &contained, what, once.as_ref()).await?;
    Ok(answer(StatusCode::OK, &EndedAnswer::from(ended)))
}

fn role(text: &str) -> Result<OperatorRole, Problem> {
    text.parse().map_err(|_: UnknownRole| Problem::new(code::OPERATOR_ROLE_UNKNOWN))
}
