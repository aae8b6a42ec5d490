use super::table::{AdminRequest, Routes};
use super::target::{name, reason};
use crate::base::{OperatorName, OwnerName, Scope, code};
use crate::broker::{AdminServices, OperatorInviteInput, OperatorRequest, Revocation};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::operators::{OperatorRole, UnknownRole};
use crate::policy::{ContainOperators, PlaceOperators, ReadOperators};
use crate::wire::{
    self, ChangedAnswer, EndedAnswer, InviteOperatorBody, Nothing, OperatorAnswer, OperatorDeletedAnswer,
    OperatorInvitationAnswer, Optional, PageAnswer, PageQuery, PlaceOperatorBody, ReasonBody,
};

/// The routes of operators.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_OPERATORS, list)
        .route(&wire::GET_OPERATOR, get)
        .idempotent(&wire::INVITE_OPERATOR, invite)
        .idempotent(&wire::PLACE_OPERATOR, place)
        .idempotent(&wire::REVOKE_OPERATOR, |services, asked, idempotency| {
            contain(services, asked, idempotency, Revocation::Revoke)
        })
        .without_waiting()
        .idempotent(&wire::SUSPEND_OPERATOR, |services, asked, idempotency| {
            contain(services, asked, idempotency, Revocation::Suspend)
        })
        .without_waiting()
        .idempotent(&wire::RESUME_OPERATOR, |services, asked, idempotency| {
            contain(services, asked, idempotency, Revocation::Resume)
        })
        .idempotent(&wire::DELETE_OPERATOR, delete)
}

async fn list(
    services: AdminServices,
    asked: AdminRequest<ReadOperators, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<OperatorAnswer>, Problem> {
    Ok(services.operators(&asked.by, &asked.input.into()))
}

async fn get(
    services: AdminServices,
    asked: AdminRequest<ReadOperators, OperatorName>,
) -> Result<OperatorAnswer, Problem> {
    Ok(services.operator(&asked.by, &asked.target)?)
}

async fn invite(
    services: AdminServices,
    asked: AdminRequest<PlaceOperators, OperatorName, InviteOperatorBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<OperatorInvitationAnswer, Problem> {
    let role = asked.input.role.as_deref().map(role).transpose()?;
    let owner = asked.input.owner.as_deref().map(name).transpose()?;
    let input = OperatorInviteInput { name: asked.target, role, owner };
    let invitation = services.invite_operator(&asked.by, input, idempotency.as_ref()).await?;
    Ok(OperatorInvitationAnswer {
        operator: invitation.operator,
        code: invitation.code.into(),
        code_id: invitation.id.to_string(),
        expires_at: invitation.expires_at.to_string(),
    })
}

async fn place(
    services: AdminServices,
    asked: AdminRequest<PlaceOperators, OperatorName, PlaceOperatorBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<ChangedAnswer, Problem> {
    let owner: Option<OwnerName> = asked.input.owner.as_deref().map(name).transpose()?;
    let (role, scope) = (role(&asked.input.role)?, Scope::of(owner));
    let seq = services.place_operator(&asked.by, &asked.target, role, scope, idempotency.as_ref()).await?;
    Ok(ChangedAnswer { seq })
}

async fn contain(
    services: AdminServices,
    asked: AdminRequest<ContainOperators, OperatorName, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
    what: Revocation,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    Ok(services.revoke_operator(&asked.by, &asked.target, what, request).await?.into())
}

async fn delete(
    services: AdminServices,
    asked: AdminRequest<PlaceOperators, OperatorName, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<OperatorDeletedAnswer, Problem> {
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    Ok(services.delete_operator(&asked.by, &asked.target, request).await?)
}

fn role(text: &str) -> Result<OperatorRole, Problem> {
    text.parse().map_err(|_: UnknownRole| Problem::new(code::OPERATOR_ROLE_UNKNOWN))
}
