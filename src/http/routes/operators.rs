use super::table::{AdminRequest, Routes};
use super::target::{name, person, reason};
use crate::base::{BindingNetwork, Network, NetworkTooWide, OperatorName, OwnerName, Scope, code};
use crate::broker::{
    AdminServices, ExpectedProfile, OperatorInviteInput, OperatorPlace, OperatorPlaceInput,
    OperatorProfileInput, OperatorRequest, Revocation,
};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::operators::{OperatorKind, OperatorRole, UnknownKind, UnknownRole};
use crate::policy::{ContainOperators, PlaceOperators, ReadOperators};
use crate::wire::{
    self, ChangedAnswer, EndedAnswer, InviteOperatorBody, Nothing, OperatorAnswer, OperatorDeletedAnswer,
    OperatorInvitationAnswer, OperatorProfileAnswer, OperatorProfileBody, Optional, PageAnswer, PageQuery,
    PlaceOperatorBody, ReasonBody,
};

/// The routes of operators.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_OPERATORS, list)
        .route(&wire::GET_OPERATOR, get)
        .idempotent(&wire::INVITE_OPERATOR, invite)
        .idempotent(&wire::PLACE_OPERATOR, place)
        .idempotent(&wire::CHANGE_OPERATOR_PROFILE, change_profile)
        .idempotent(&wire::REVOKE_OPERATOR, |services, call, idempotency| {
            contain(services, call, idempotency, Revocation::Revoke)
        })
        .without_waiting()
        .idempotent(&wire::SUSPEND_OPERATOR, |services, call, idempotency| {
            contain(services, call, idempotency, Revocation::Suspend)
        })
        .without_waiting()
        .idempotent(&wire::RESUME_OPERATOR, |services, call, idempotency| {
            contain(services, call, idempotency, Revocation::Resume)
        })
        .idempotent(&wire::DELETE_OPERATOR, delete)
}

async fn list(
    services: AdminServices,
    call: AdminRequest<ReadOperators, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<OperatorAnswer>, Problem> {
    Ok(services.operators(&call.by, &call.input.into()))
}

async fn get(
    services: AdminServices,
    call: AdminRequest<ReadOperators, OperatorName>,
) -> Result<OperatorAnswer, Problem> {
    Ok(services.operator(&call.by, &call.target)?)
}

async fn invite(
    services: AdminServices,
    call: AdminRequest<PlaceOperators, OperatorName, InviteOperatorBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<OperatorInvitationAnswer, Problem> {
    let role = call.input.role.as_deref().map(role).transpose()?;
    let owner = call.input.owner.as_deref().map(name).transpose()?;
    let input = OperatorInviteInput {
        name: call.target,
        role,
        owner,
        kind: call.input.kind.as_deref().map(kind).transpose()?,
        networks: networks(&call.input.networks)?,
        life_s: call.input.life_s,
        person: person(call.input.person.as_deref())?,
    };
    let invitation = services.invite_operator(&call.by, input, idempotency.as_ref()).await?;
    Ok(OperatorInvitationAnswer {
        operator: invitation.operator,
        code: invitation.code.into(),
        code_id: invitation.id.to_string(),
        expires_at: invitation.expires_at.to_string(),
        certificate_life_s: u32::try_from(invitation.certificate_life_s).ok(),
    })
}

async fn place(
    services: AdminServices,
    call: AdminRequest<PlaceOperators, OperatorName, PlaceOperatorBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<ChangedAnswer, Problem> {
    let owner: Option<OwnerName> = call.input.owner.as_deref().map(name).transpose()?;
    let expected = call.input.expected.as_ref().map(|read| {
        let owner: Option<OwnerName> = read.owner.as_deref().map(name).transpose()?;
        Ok::<_, Problem>(OperatorPlace { role: role(&read.role)?, scope: Scope::of(owner) })
    });
    let input = OperatorPlaceInput {
        place: OperatorPlace { role: role(&call.input.role)?, scope: Scope::of(owner) },
        expected: expected.transpose()?,
    };
    let seq = services.place_operator(&call.by, &call.target, input, idempotency.as_ref()).await?;
    Ok(ChangedAnswer { seq })
}

async fn change_profile(
    services: AdminServices,
    call: AdminRequest<PlaceOperators, OperatorName, OperatorProfileBody>,
    idempotency: Option<IdempotencyKey>,
) -> Result<OperatorProfileAnswer, Problem> {
    let expected = call.input.expected.as_ref().map(|read| {
        let networks: Result<_, Problem> = read.networks.iter().map(|text| name(text)).collect();
        let person = person(read.person.as_deref())?;
        Ok::<_, Problem>(ExpectedProfile { networks: networks?, life_s: read.life_s, person })
    });
    let input = OperatorProfileInput {
        networks: networks(&call.input.networks)?,
        life_s: call.input.life_s,
        person: person(call.input.person.as_deref())?,
        expected: expected.transpose()?,
    };
    let changed = services.change_operator_profile(&call.by, &call.target, input, idempotency.as_ref());
    Ok(changed.await?)
}

async fn contain(
    services: AdminServices,
    call: AdminRequest<ContainOperators, OperatorName, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
    what: Revocation,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    let is_needless = what == Revocation::Resume && !services.is_operator_suspended(&call.by, &call.target);
    let ended: EndedAnswer = services.revoke_operator(&call.by, &call.target, what, request).await?.into();
    Ok(EndedAnswer { unchanged: is_needless, ..ended })
}

async fn delete(
    services: AdminServices,
    call: AdminRequest<PlaceOperators, OperatorName, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<OperatorDeletedAnswer, Problem> {
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    Ok(services.delete_operator(&call.by, &call.target, request).await?)
}

fn role(text: &str) -> Result<OperatorRole, Problem> {
    text.parse().map_err(|_: UnknownRole| Problem::new(code::OPERATOR_ROLE_UNKNOWN))
}

fn kind(text: &str) -> Result<OperatorKind, Problem> {
    text.parse()
        .map_err(|error: UnknownKind| Problem::new(code::OPERATOR_PROFILE_INVALID).because(error.to_string()))
}

/// Each network once, in the order of the request.
fn networks(texts: &[String]) -> Result<Vec<BindingNetwork>, Problem> {
    let mut networks = Vec::new();
    for text in texts {
        let network: Network = name(text)?;
        let network = BindingNetwork::try_from(network).map_err(|error: NetworkTooWide| {
            Problem::new(code::OPERATOR_PROFILE_INVALID)
                .because(error.to_string())
                .mended_by("name the networks from which the program calls, e.g. `10.0.0.0/8`")
        })?;
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    Ok(networks)
}
