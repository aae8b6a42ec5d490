use super::caller::Operator;
use super::table::{Asked, Routes};
use super::target::{name, reason};
use crate::base::{AgentName, InstanceId, Serial, TokenId};
use crate::broker::{AdminDesk, InviteInput, OperatorRequest, Revocation};
use crate::http::documents::problem::Problem;
use crate::idempotency::Once;
use crate::policy::{Contain, InviteAgents, ReadDeclared, RevokeTokens};
use crate::wire::{
    self, AgentAnswer, AgentInvitationAnswer, CapabilityAnswer, EndedAnswer, InviteAgentBody, Nothing,
    Optional, PageAnswer, PageQuery, ReasonBody, RoleAnswer,
};

type By<R, T = Nothing, I = Nothing> = Asked<Operator<R>, T, I>;

/// The routes of agents and of what they are declared to do.
pub(crate) fn routes() -> Routes<AdminDesk> {
    Routes::new()
        .route(&wire::LIST_AGENTS, list)
        .route(&wire::GET_AGENT, get)
        .once(&wire::INVITE_AGENT, invite)
        .once(&wire::REVOKE_AGENT, |desk, asked, once| contain(desk, asked, once, Revocation::Revoke))
        .without_waiting()
        .once(&wire::SUSPEND_AGENT, |desk, asked, once| contain(desk, asked, once, Revocation::Suspend))
        .without_waiting()
        .once(&wire::RESUME_AGENT, |desk, asked, once| contain(desk, asked, once, Revocation::Resume))
        .once(&wire::REVOKE_INSTANCE, revoke_instance)
        .without_waiting()
        .once(&wire::REVOKE_CERTIFICATE, revoke_certificate)
        .without_waiting()
        .once(&wire::REVOKE_TOKEN, revoke_token)
        .without_waiting()
        .route(&wire::LIST_CAPABILITIES, list_capabilities)
        .route(&wire::LIST_ROLES, list_roles)
}

async fn list(
    desk: AdminDesk,
    asked: By<ReadDeclared, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<AgentAnswer>, Problem> {
    Ok(desk.agents(&asked.by, &asked.input.into()))
}

async fn get(desk: AdminDesk, asked: By<ReadDeclared, AgentName>) -> Result<AgentAnswer, Problem> {
    Ok(desk.agent(&asked.by, &asked.target)?)
}

async fn invite(
    desk: AdminDesk,
    asked: By<InviteAgents, AgentName, InviteAgentBody>,
    once: Option<Once>,
) -> Result<AgentInvitationAnswer, Problem> {
    let body = asked.input;
    let input = InviteInput {
        agent: asked.target,
        roles: body.roles.iter().map(|role| name(role)).collect::<Result<_, _>>()?,
        uses: body.uses,
        life_s: body.life_s,
        network: body.network.as_deref().map(name).transpose()?,
    };
    let invitation = desk.invite(&asked.by, input, once.as_ref()).await?;
    Ok(AgentInvitationAnswer {
        agent: invitation.agent,
        code: invitation.code.into(),
        code_id: invitation.id.to_string(),
        expires_at: invitation.expires_at.to_string(),
    })
}

async fn contain(
    desk: AdminDesk,
    asked: By<Contain, AgentName, Optional<ReasonBody>>,
    once: Option<Once>,
    what: Revocation,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { once: once.as_ref(), reason: reason.as_ref() };
    Ok(desk.revoke_agent(&asked.by, &asked.target, what, request).await?.into())
}

async fn revoke_instance(
    desk: AdminDesk,
    asked: By<Contain, InstanceId, Optional<ReasonBody>>,
    once: Option<Once>,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { once: once.as_ref(), reason: reason.as_ref() };
    Ok(desk.revoke_instance(&asked.by, asked.target, request).await?.into())
}

async fn revoke_certificate(
    desk: AdminDesk,
    asked: By<Contain, Serial, Optional<ReasonBody>>,
    once: Option<Once>,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { once: once.as_ref(), reason: reason.as_ref() };
    Ok(desk.revoke_certificate(&asked.by, asked.target, request).await?.into())
}

async fn revoke_token(
    desk: AdminDesk,
    asked: By<RevokeTokens, TokenId, Optional<ReasonBody>>,
    once: Option<Once>,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(asked.input.reason.as_deref())?;
    let request = OperatorRequest { once: once.as_ref(), reason: reason.as_ref() };
    Ok(desk.revoke_token(&asked.by, asked.target, request).await?.into())
}

async fn list_capabilities(
    desk: AdminDesk,
    asked: By<ReadDeclared, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<CapabilityAnswer>, Problem> {
    Ok(desk.capabilities(&asked.by, &asked.input.into()))
}

async fn list_roles(
    desk: AdminDesk,
    asked: By<ReadDeclared, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<RoleAnswer>, Problem> {
    Ok(desk.roles(&asked.by, &asked.input.into()))
}
