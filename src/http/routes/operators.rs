use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};

use super::answers::{answer, page_of};
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
use crate::wire::{
    CertificateAnswer, ChangedAnswer, EndedAnswer, InviteOperatorBody, OperatorAnswer,
    OperatorInvitationAnswer, PlaceOperatorBody,
};

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

impl From<OperatorView> for OperatorAnswer {
    fn from(view: OperatorView) -> Self {
        let certificates = view.certificates.into_iter();
        let certificates = certificates
            .map(|(serial, not_after)| CertificateAnswer { serial, not_after: not_after.to_string() });
        Self {
            id: view.id,
            name: view.name,
            role: view.role.as_str().into(),
            owner: view.owner,
            state: view.state.as_str().into(),
            certificates: certificates.collect(),
        }
    }
}

async fn operators(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadOperators>,
    Wanted(page): Wanted,
) -> Response<Body> {
    answer(StatusCode::OK, &page_of::<_, OperatorAnswer>(desk.operators(&operator.authorised, &page)))
}

async fn operator_named(
    State(desk): State<AdminDesk>,
    operator: Operator<ReadOperators>,
    Path(wanted): Path<String>,
) -> Result<Response<Body>, Problem> {
    let found = desk.operator(&operator.authorised, &name(&wanted)?)?;
    Ok(answer(StatusCode::OK, &OperatorAnswer::from(found)))
}

async fn invite(
    State(desk): State<AdminDesk>,
    operator: Operator<PlaceOperators>,
    Path(invited): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let invited: OperatorName = name(&invited)?;
    let (body, once) = operator.json::<InviteOperatorBody>(&desk, request, BODY_BYTES_MAX).await?;
    let role = body.role.as_deref().map(role).transpose()?;
    let owner = body.owner.as_deref().map(name).transpose()?;
    let input = OperatorInviteInput { name: invited, role, owner };
    let invitation = desk.invite_operator(&operator.authorised, input, once.as_ref()).await?;
    let answered = OperatorInvitationAnswer {
        operator: invitation.operator,
        code: invitation.code.into(),
        code_id: invitation.id.to_string(),
        expires_at: invitation.expires_at.to_string(),
    };
    Ok(answer(StatusCode::CREATED, &answered))
}

async fn place(
    State(desk): State<AdminDesk>,
    operator: Operator<PlaceOperators>,
    Path(placed): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let placed: OperatorName = name(&placed)?;
    let (body, once) = operator.json::<PlaceOperatorBody>(&desk, request, BODY_BYTES_MAX).await?;
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
