use super::table::{AdminRequest, Routes};
use super::target::{name, person, reason};
use crate::base::{AgentName, CodeId, InstanceId, Serial, TokenId};
use crate::broker::{AdminServices, CodeUse, InviteInput, OperatorRequest, Revocation, RevokedCode};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::policy::{Contain, DeleteAgents, InviteAgents, ReadDeclared, RevokeTokens};
use crate::wire::{
    self, AgentAnswer, AgentDeletedAnswer, AgentInvitationAnswer, CapabilityAnswer, CodeRevokedAnswer,
    EndedAnswer, InviteAgentBody, Nothing, Optional, PageAnswer, PageQuery, ReasonBody, RoleAnswer,
};

/// The routes of agents, capabilities and roles.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_AGENTS, list)
        .route(&wire::GET_AGENT, get)
        .idempotent(&wire::INVITE_AGENT, invite)
        .idempotent(&wire::REVOKE_AGENT, |services, call, idempotency| {
            contain(services, call, idempotency, Revocation::Revoke)
        })
        .without_waiting()
        .idempotent(&wire::SUSPEND_AGENT, |services, call, idempotency| {
            contain(services, call, idempotency, Revocation::Suspend)
        })
        .without_waiting()
        .idempotent(&wire::RESUME_AGENT, |services, call, idempotency| {
            contain(services, call, idempotency, Revocation::Resume)
        })
        .idempotent(&wire::DELETE_AGENT, delete)
        .idempotent(&wire::REVOKE_INSTANCE, revoke_instance)
        .without_waiting()
        .idempotent(&wire::REVOKE_CERTIFICATE, revoke_certificate)
        .without_waiting()
        .idempotent(&wire::REVOKE_CODE, revoke_code)
        .without_waiting()
        .idempotent(&wire::REVOKE_TOKEN, revoke_token)
        .without_waiting()
        .route(&wire::LIST_CAPABILITIES, list_capabilities)
        .route(&wire::LIST_ROLES, list_roles)
}

async fn list(
    services: AdminServices,
    call: AdminRequest<ReadDeclared, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<AgentAnswer>, Problem> {
    Ok(services.agents(&call.by, &call.input.into()))
}

async fn get(
    services: AdminServices,
    call: AdminRequest<ReadDeclared, AgentName>,
) -> Result<AgentAnswer, Problem> {
    Ok(services.agent(&call.by, &call.target)?)
}

async fn invite(
    services: AdminServices,
    call: AdminRequest<InviteAgents, AgentName, InviteAgentBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<AgentInvitationAnswer, Problem> {
    let body = call.input;
    let input = InviteInput {
        agent: call.target,
        roles: body.roles.iter().map(|role| name(role)).collect::<Result<_, _>>()?,
        uses: body.uses,
        life_s: body.life_s,
        network: body.network.as_deref().map(name).transpose()?,
        person: person(body.person.as_deref())?,
    };
    let invitation = services.invite(&call.by, input, idempotency.as_ref()).await?;
    Ok(AgentInvitationAnswer {
        agent: invitation.agent,
        code: invitation.code.into(),
        code_id: invitation.id.to_string(),
        expires_at: invitation.expires_at.to_string(),
    })
}

async fn contain(
    services: AdminServices,
    call: AdminRequest<Contain, AgentName, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
    what: Revocation,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    let is_needless = what == Revocation::Resume && !services.is_agent_suspended(&call.by, &call.target);
    let ended: EndedAnswer = services.revoke_agent(&call.by, &call.target, what, request).await?.into();
    Ok(EndedAnswer { unchanged: is_needless, ..ended })
}

async fn delete(
    services: AdminServices,
    asked: AdminRequest<DeleteAgents, AgentName, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<AgentDeletedAnswer, Problem> {
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    Ok(services.delete_agent(&asked.by, &asked.target, request).await?)
}

async fn revoke_instance(
    services: AdminServices,
    call: AdminRequest<Contain, InstanceId, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    Ok(services.revoke_instance(&call.by, call.target, request).await?.into())
}

async fn revoke_certificate(
    services: AdminServices,
    call: AdminRequest<Contain, Serial, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    Ok(services.revoke_certificate(&call.by, call.target, request).await?.into())
}

async fn revoke_code(
    services: AdminServices,
    call: AdminRequest<Contain, CodeId, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<CodeRevokedAnswer, Problem> {
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    let RevokedCode { ended, had_ended, enrolled } =
        services.revoke_code(&call.by, call.target, request).await?;
    let ended = EndedAnswer { unchanged: had_ended, ..ended.into() };
    Ok(match enrolled {
        CodeUse::Agent { name, instances } => {
            CodeRevokedAnswer { ended, agent: Some(name), operator: None, instances, serial: None }
        }
        CodeUse::Operator { name, serial } => CodeRevokedAnswer {
            ended,
            agent: None,
            operator: Some(name),
            instances: Vec::new(),
            serial: serial.map(|serial| serial.to_string()),
        },
    })
}

async fn revoke_token(
    services: AdminServices,
    call: AdminRequest<RevokeTokens, TokenId, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    Ok(services.revoke_token(&call.by, call.target, request).await?.into())
}

async fn list_capabilities(
    services: AdminServices,
    call: AdminRequest<ReadDeclared, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<CapabilityAnswer>, Problem> {
    Ok(services.capabilities(&call.by, &call.input.into()))
}

async fn list_roles(
    services: AdminServices,
    call: AdminRequest<ReadDeclared, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<RoleAnswer>, Problem> {
    Ok(services.roles(&call.by, &call.input.into()))
}
