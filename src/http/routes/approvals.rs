use axum::http::request::Parts;
use schemars::SchemaGenerator;
use serde_json::json;

use super::answer::WithHeaders;
use super::answers::located;
use super::caller::AnonymousCaller;
use super::input::Input;
use super::table::{AdminRequest, RouteRequest, Routes};
use super::target::{id, line, name, reason};
use super::tokens::{requested_token, resource_named};
use crate::authn::AgentPrincipal;
use crate::base::encoding::from_base64url;
use crate::base::limits::{
    APPROVAL_GRANT_S_MAX, APPROVAL_GRANT_S_MIN, APPROVAL_PENDING_S, APPROVAL_UNUSED_S, APPROVAL_USES_MAX,
    DEVICE_POLL_S, PAGE_ENTRIES_MAX, TOKEN_LIFE_MIN_S,
};
use crate::base::{
    AgentName, ApprovalId, ApprovalReference, CapabilityName, Reason, Sensitive, code, has_secret_form,
};
use crate::broker::{
    AdminServices, AgentServices, ApprovalInput, ApprovalWait, AskedApproval, MintInput, VoteInput,
};
use crate::http::documents::operation::OperationDocument;
use crate::http::documents::problem::Problem;
use crate::policy::{AskedGrant, ReadApprovals, VoteApprovals};
use crate::wire::{
    self, AnyQuery, ApprovalAnswer, ApprovalState, ApprovalVerdict, ApprovalVoteBody, ApprovalsQuery,
    DeviceAuthorizationAnswer, DeviceAuthorizationForm, Form, Items, Nothing, OpenApprovalBody,
    OwnApprovalAnswer, PageAnswer, PreferWait, Text, VotedApprovalAnswer,
};

/// The routes of agents that ask for approvals.
pub(crate) fn agent_routes() -> Routes<AgentServices> {
    Routes::new()
        .route(&wire::OPEN_APPROVAL, open)
        .route(&wire::LIST_OWN_APPROVALS, list_own)
        .route(&wire::GET_OWN_APPROVAL, own)
        .route(&wire::WITHDRAW_APPROVAL, withdraw)
        .route(&wire::AUTHORIZE_DEVICE, authorize_device)
        .route(&wire::DEVICE_PAGE, device_page)
}

/// The routes of operators that approve.
pub(crate) fn operator_routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_APPROVALS, list)
        .route(&wire::GET_APPROVAL, get)
        .route(&wire::VOTE_APPROVAL, vote)
}

async fn open(
    services: AgentServices,
    call: RouteRequest<AgentPrincipal, Nothing, OpenApprovalBody>,
) -> Result<WithHeaders<OwnApprovalAnswer>, Problem> {
    let input = approval_input(&call.input)?;
    let asked = services.ask_approval(call.by.clone(), input).await?;
    let answer = services.own_approval(&call.by, asked.approval, ApprovalWait::default()).await?;
    Ok(located(answer))
}

async fn list_own(
    services: AgentServices,
    call: RouteRequest<AgentPrincipal, Nothing, Nothing>,
) -> Result<Items<OwnApprovalAnswer>, Problem> {
    Ok(Items { items: services.own_approvals(&call.by) })
}

async fn own(
    services: AgentServices,
    call: RouteRequest<AgentPrincipal, ApprovalId, PreferWait>,
) -> Result<OwnApprovalAnswer, Problem> {
    Ok(services.own_approval(&call.by, call.target, call.input.wait()).await?)
}

async fn withdraw(
    services: AgentServices,
    call: RouteRequest<AgentPrincipal, ApprovalId, Nothing>,
) -> Result<OwnApprovalAnswer, Problem> {
    Ok(services.withdraw_approval(&call.by, call.target).await?)
}

async fn authorize_device(
    services: AgentServices,
    call: RouteRequest<AgentPrincipal, Nothing, Form<DeviceAuthorizationForm>>,
) -> Result<DeviceAuthorizationAnswer, Problem> {
    let request = requested_token(&call.input.fields_of(call.by.certificate())?)?;
    let input = ApprovalInput { request, asked: AskedGrant::default(), with_device_code: true };
    let AskedApproval { approval, code, .. } = services.ask_approval(call.by, input).await?;
    let page = format!("{}{}", services.issuer(), wire::DEVICE_PAGE.path);
    // The code is valid while the request is pending, and then for a use within an hour.
    let expires_in = APPROVAL_PENDING_S.saturating_add(APPROVAL_UNUSED_S);
    Ok(DeviceAuthorizationAnswer {
        device_code: approval.to_string(),
        user_code: code,
        verification_uri_complete: format!("{page}?user_code={code}"),
        verification_uri: page,
        expires_in: u32::try_from(expires_in).unwrap_or(u32::MAX),
        interval: DEVICE_POLL_S,
    })
}

/// The page is the same for every code: it proves nothing, and shows nothing of a request.
const PAGE: &str = "Keyward: approval of a request\n\n\
    An agent asks for an approval. No browser approves it: an operator does, with the operator's own identity and approval key.\n\n\
    Show the request:     keyward approval show CODE\n\
    Approve the request:  keyward approval approve CODE\n\
    Deny the request:     keyward approval deny CODE\n\n\
    CODE is the code that the agent's program shows, e.g. WDJB-MJHT.\n";

async fn device_page(
    _: AgentServices,
    _: RouteRequest<AnonymousCaller, Nothing, AnyQuery>,
) -> Result<Text, Problem> {
    Ok(Text(PAGE.to_owned()))
}

fn approval_input(body: &OpenApprovalBody) -> Result<ApprovalInput, Problem> {
    let OpenApprovalBody { capabilities, reason, resource, life_s, grant_life_s, uses, parameters } = body;
    let is_life = |life_s: &u32| i64::from(*life_s) >= TOKEN_LIFE_MIN_S;
    if !life_s.as_ref().is_none_or(is_life) {
        return Err(Problem::new(code::EXPIRES_IN_INVALID));
    }
    let is_grant = |life_s: &u32| (APPROVAL_GRANT_S_MIN..=APPROVAL_GRANT_S_MAX).contains(life_s);
    if !grant_life_s.as_ref().is_none_or(is_grant) {
        let why = format!(
            "`grant_life_s` is not a number of seconds from {APPROVAL_GRANT_S_MIN} to {APPROVAL_GRANT_S_MAX}"
        );
        return Err(Problem::new(code::APPROVAL_REQUEST_INVALID).because(why));
    }
    if !uses.as_ref().is_none_or(|uses| (1..=APPROVAL_USES_MAX).contains(uses)) {
        let why = format!("`uses` is not a number from 1 to {APPROVAL_USES_MAX}");
        return Err(Problem::new(code::APPROVAL_REQUEST_INVALID).because(why));
    }
    if let Some(other) = parameters.keys().find(|name| !capabilities.contains(name)) {
        let why = format!("`parameters` names the capability `{other}`, and `capabilities` does not");
        return Err(Problem::new(code::APPROVAL_REQUEST_INVALID).because(why));
    }
    if has_secret_form(reason) {
        return Err(Problem::new(code::TEXT_CONTAINS_SECRET));
    }
    let resource = resource.as_deref().map(resource_named).transpose()?;
    let scope = capabilities.iter().cloned().collect();
    let request = MintInput {
        scope,
        resource,
        life_s: *life_s,
        details: None,
        parameters: parameters.clone(),
        approval: None,
        remediates: None,
    };
    let asked = asked_grant(*uses, *grant_life_s, line(reason)?);
    Ok(ApprovalInput { request, asked, with_device_code: false })
}

/// Several uses need a time, and a time allows several uses.
fn asked_grant(uses: Option<u32>, grant_life_s: Option<u32>, reason: Reason) -> AskedGrant {
    let uses = uses.unwrap_or(if grant_life_s.is_some() { APPROVAL_USES_MAX } else { 1 });
    let unused_s = u32::try_from(APPROVAL_UNUSED_S).ok();
    let grant_life_s = if uses > 1 { grant_life_s.or(unused_s) } else { None };
    AskedGrant { uses, grant_life_s, reason: Some(reason) }
}

async fn list(
    services: AdminServices,
    call: AdminRequest<ReadApprovals, Nothing, ApprovalsQuery>,
) -> Result<PageAnswer<ApprovalAnswer>, Problem> {
    Ok(services.approvals(&call.by, &call.input))
}

async fn get(
    services: AdminServices,
    call: AdminRequest<ReadApprovals, ApprovalReference>,
) -> Result<ApprovalAnswer, Problem> {
    Ok(services.approval(&call.by, call.target).await?)
}

async fn vote(
    services: AdminServices,
    call: AdminRequest<VoteApprovals, ApprovalId, ApprovalVoteBody>,
) -> Result<VotedApprovalAnswer, Problem> {
    let ApprovalVoteBody { verdict, digest, rules, signature, reason: said, tell_agent } = call.input;
    let signature = signature
        .map(|text| from_base64url(&text).ok_or_else(|| Problem::new(code::APPROVAL_SIGNATURE_INVALID)));
    let (signature, reason) = (signature.transpose()?, reason(said.as_deref())?);
    if tell_agent && (verdict == ApprovalVerdict::Approve || reason.is_none()) {
        return Err(Problem::new(code::APPROVAL_VOTE_INCOMPLETE)
            .because("`tell_agent` is for the reason of a denial, and the vote approves or has no reason")
            .mended_by("give a `reason` for the denial, or leave `tell_agent` out"));
    }
    let input = VoteInput { verdict, digest, rules, signature, reason, tells_agent: tell_agent };
    Ok(services.vote_approval(&call.by, call.target, &input).await?)
}

impl Input for ApprovalsQuery {
    type Head = Self;
    type Read = Self;

    const TAKES_QUERY: bool = true;

    fn head(parts: &Parts) -> Result<Self, Problem> {
        let mut query = Self::default();
        let refused = || Problem::new(code::QUERY_INVALID);
        let mut seen = Vec::new();
        for (field, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            if seen.contains(&field) {
                return Err(refused());
            }
            match field.as_ref() {
                "state" => query.state = Some(ApprovalState::named(&value).ok_or_else(refused)?),
                "agent" => query.agent = Some(name(&value)?),
                "capability" => query.capability = Some(name(&value)?),
                "after" => query.after = Some(id(&value)?),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=PAGE_ENTRIES_MAX).contains(limit));
                    query.limit = Some(limit.ok_or_else(refused)?);
                }
                _ => return Err(refused()),
            }
            seen.push(field);
        }
        Ok(query)
    }

    fn read(query: Self, _: Sensitive<Vec<u8>>) -> Result<Self, Problem> {
        Ok(query)
    }

    fn describe(document: &mut OperationDocument<'_>) {
        let states = ApprovalState::ALL.map(ApprovalState::as_str);
        document.parameter("state", "query", &json!({ "type": "string", "enum": states }));
        let mut settings = SchemaGenerator::default();
        let agent = settings.subschema_for::<AgentName>().to_value();
        document.parameter("agent", "query", &agent);
        let capability = settings.subschema_for::<CapabilityName>().to_value();
        document.parameter("capability", "query", &capability);
        let after = settings.subschema_for::<ApprovalId>().to_value();
        document.parameter("after", "query", &after);
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": PAGE_ENTRIES_MAX });
        document.parameter("limit", "query", &limit);
    }
}
