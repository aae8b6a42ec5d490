use super::caller::{
    Anyone, AuthorisedOperator, EnrolledCaller, Renewing, RenewingOperatorCaller, ResourceServer,
};
use super::table::{AdminRequest, RouteRequest, Routes};
use super::target::reason;
use crate::authn::{AgentPrincipal, Timeliness};
use crate::base::encoding::from_base64url;
use crate::base::{Connection, Sensitive, code};
use crate::broker::{
    AdminServices, AgentServices, EnrolInput, Enrolled as Certified, OperatorRequest, RenewInput,
};
use crate::http::documents::problem::Problem;
use crate::idempotency::IdempotencyKey;
use crate::pki::{AuthorityCertificate, PeerCertificate, SpiffeId, authorities_pem, certificate_pem};
use crate::policy::BeOneself;
use crate::wire::{
    self, AgentWhoamiAnswer, CertificateAnswer, EndedAnswer, EnrolBody, IdentityAnswer, Nothing,
    OperatorWhoamiAnswer, Optional, ReasonBody, RenewBody, RenewalAnswer,
};

/// The routes of enrolment and renewal for agents and resource servers.
pub(crate) fn agent_routes() -> Routes<AgentServices> {
    Routes::new()
        .route(&wire::ENROL, enrol_agent)
        .route(&wire::RENEW, renew_agent)
        .route(&wire::AGENT_WHOAMI, agent_whoami)
}

/// The routes of enrolment and renewal for operators.
pub(crate) fn operator_routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::ENROL, enrol_operator)
        .route(&wire::RENEW, renew_operator)
        .route(&wire::OPERATOR_WHOAMI, operator_whoami)
        .idempotent(&wire::REVOKE_OWN_CERTIFICATE, revoke_own_certificate)
        .without_waiting()
}

async fn enrol_agent(
    services: AgentServices,
    call: RouteRequest<Anyone, Nothing, EnrolBody>,
) -> Result<IdentityAnswer, Problem> {
    let enrolled = services.enrol(enrol_input(&call.input, call.by.0)?).await?;
    Ok(identity(&services.authorities(), &enrolled))
}

async fn enrol_operator(
    services: AdminServices,
    call: RouteRequest<Anyone, Nothing, EnrolBody>,
) -> Result<IdentityAnswer, Problem> {
    let enrolled = services.enrol(enrol_input(&call.input, call.by.0)?).await?;
    let other_certificates = services.certificates_beside(&enrolled);
    Ok(IdentityAnswer { other_certificates, ..identity(&services.authorities_in_use(), &enrolled) })
}

fn enrol_input(body: &EnrolBody, connection: Connection) -> Result<EnrolInput, Problem> {
    let malformed = |what: &str| {
        let why = format!("`{what}` is malformed");
        Problem::new(code::ENROLMENT_MALFORMED).because(why)
    };
    let secret = from_base64url(body.secret.value().expose()).map(zeroize::Zeroizing::new);
    let secret = secret.filter(|bytes| bytes.len() == 32).ok_or_else(|| malformed("secret"))?;
    Ok(EnrolInput {
        code: body.code_id.parse().map_err(|_| malformed("code_id"))?,
        secret: Sensitive::filled(|to| to.copy_from_slice(&secret)),
        request: from_base64url(&body.csr).ok_or_else(|| malformed("csr"))?,
        connection,
    })
}

async fn renew_agent(
    services: AgentServices,
    call: RouteRequest<Renewing, Nothing, RenewBody>,
) -> Result<RenewalAnswer, Problem> {
    let input = RenewInput { request: signing_request(&call.input)?, connection: call.by.connection };
    let renewed = services.renew(&call.by.agent, input).await?;
    let late = call.by.agent.timeliness() == Timeliness::Late;
    Ok(RenewalAnswer { identity: identity(&services.authorities(), &renewed), late })
}

async fn renew_operator(
    services: AdminServices,
    call: RouteRequest<RenewingOperatorCaller, Nothing, RenewBody>,
) -> Result<RenewalAnswer, Problem> {
    let input = RenewInput { request: signing_request(&call.input)?, connection: call.by.connection };
    let renewed = services.renew(&call.by.operator, input).await?;
    let late = call.by.operator.timeliness() == Timeliness::Late;
    Ok(RenewalAnswer { identity: identity(&services.authorities_in_use(), &renewed), late })
}

pub(crate) fn signing_request(body: &RenewBody) -> Result<Vec<u8>, Problem> {
    from_base64url(&body.csr).ok_or_else(|| Problem::new(code::RENEWAL_MALFORMED))
}

/// A certificate for the response to its request.
pub(crate) fn identity(authorities: &[AuthorityCertificate], enrolled: &Certified) -> IdentityAnswer {
    let (mut agent, mut resource_server, mut operator) = (None, None, None);
    match &enrolled.spiffe {
        SpiffeId::Agent { name, .. } => agent = Some(name.to_string()),
        SpiffeId::ResourceServer { name, .. } => resource_server = Some(name.to_string()),
        SpiffeId::Operator { name, .. } => operator = Some(name.to_string()),
    }
    IdentityAnswer {
        agent,
        instance: enrolled.instance.map(|id| id.to_string()),
        resource_server,
        operator,
        spiffe_id: enrolled.spiffe.to_string(),
        certificate: certificate_pem(&enrolled.certificate),
        authority: authorities_pem(authorities),
        not_after: enrolled.not_after.to_string(),
        other_certificates: Vec::new(),
    }
}

async fn agent_whoami(
    services: AgentServices,
    call: RouteRequest<EnrolledCaller, Nothing, Nothing>,
) -> Result<AgentWhoamiAnswer, Problem> {
    Ok(match call.by {
        EnrolledCaller::Agent(agent) => agent_itself(&services, &agent),
        EnrolledCaller::ResourceServer(server) => server_itself(&services, &server),
    })
}

fn agent_itself(services: &AgentServices, agent: &AgentPrincipal) -> AgentWhoamiAnswer {
    let overview = services.overview(agent);
    AgentWhoamiAnswer {
        kind: "agent".into(),
        name: agent.name().to_string(),
        spiffe_id: agent.spiffe().to_string(),
        instance: agent.instance().to_string(),
        audience: None,
        roles: overview.roles.iter().map(ToString::to_string).collect(),
        capabilities: overview.capabilities,
        secrets: overview.secrets,
        certificate: agent.certificate().into(),
        renew_now: services.is_to_be_replaced(agent.certificate()),
    }
}

fn server_itself(services: &AgentServices, server: &ResourceServer) -> AgentWhoamiAnswer {
    AgentWhoamiAnswer {
        kind: "resource-server".into(),
        name: server.principal.name().to_string(),
        spiffe_id: server.certificate.spiffe().to_string(),
        instance: server.principal.instance().to_string(),
        audience: Some(server.principal.serves().to_string()),
        roles: Vec::new(),
        capabilities: Vec::new(),
        secrets: Vec::new(),
        certificate: (&*server.certificate).into(),
        renew_now: services.is_to_be_replaced(&server.certificate),
    }
}

async fn operator_whoami(
    services: AdminServices,
    call: RouteRequest<AuthorisedOperator<BeOneself>, Nothing, Nothing>,
) -> Result<OperatorWhoamiAnswer, Problem> {
    let (principal, certificate) = (call.by.operator(), &call.by.certificate);
    Ok(OperatorWhoamiAnswer {
        kind: "operator".into(),
        name: principal.name().to_string(),
        role: principal.role().as_str().into(),
        owner: principal.scope().owner().map(ToString::to_string),
        spiffe_id: certificate.spiffe().to_string(),
        certificate: (&**certificate).into(),
        renew_now: services.is_to_be_replaced(certificate),
    })
}

async fn revoke_own_certificate(
    services: AdminServices,
    call: AdminRequest<BeOneself, Nothing, Optional<ReasonBody>>,
    idempotency: Option<IdempotencyKey>,
) -> Result<EndedAnswer, Problem> {
    let reason = reason(call.input.reason.as_deref())?;
    let request = OperatorRequest { idempotency: idempotency.as_ref(), reason: reason.as_ref() };
    Ok(services.revoke_own_certificate(&call.by, request).await?.into())
}

impl From<&PeerCertificate> for CertificateAnswer {
    fn from(certificate: &PeerCertificate) -> Self {
        Self { serial: certificate.serial().to_string(), not_after: certificate.not_after().to_string() }
    }
}
