use std::ops::Deref;
use std::sync::Arc;

use axum::http::header;
use axum::http::request::Parts;

use super::idempotency_header::{IdempotencyHeader, OwnedIdempotentRequest};
use crate::authn::{
    AgentPrincipal, AuthnError, HostPrincipal, RenewingAgent, RenewingOperator, ResourceServerPrincipal,
};
use crate::base::{Connection, OwnerName, Sensitive, code};
use crate::broker::{AdminServices, AgentServices, HostServices};
use crate::http::documents::problem::Problem;
use crate::http::route::Caller;
use crate::http::transport::host_listener::HostPeer;
use crate::http::transport::listener::Peer;
use crate::idempotency::IdempotencyKey;
use crate::pki::{PeerCertificate, SpiffeId};
use crate::policy::{Authorised, BeOneself, Right};
use crate::registry::CertificateSlot;

/// The caller of a handler: the only way for a handler to get one, and the declaration of who may call its route.
pub(crate) trait Identify<S>: Sized + Send {
    const CALLER: Caller;
    const TAKES_TOKEN: bool = false;

    /// The caller of the connection, judged now.
    fn identify(parts: &Parts, services: &S) -> impl Future<Output = Result<Self, Problem>> + Send;

    /// The owner to whose objects the caller is limited. Its refusals name this limit.
    fn owner(&self) -> Option<&OwnerName> {
        None
    }
}

/// A caller whose requests can have an idempotency key.
pub(crate) trait Repeats<S>: Identify<S> {
    type IdempotencyKey: Send;

    /// The identity of the request with this body, if it has an idempotency key.
    fn idempotency_key(&self, services: &S, header: IdempotencyHeader, body: &[u8]) -> Self::IdempotencyKey;
}

/// A caller of a public route, with its connection.
pub(crate) struct Anyone(pub(crate) Connection);

impl<S: Sync> Identify<S> for Anyone {
    const CALLER: Caller = Caller::Public;

    async fn identify(parts: &Parts, _: &S) -> Result<Self, Problem> {
        connection(parts).map(Self)
    }
}

/// An anonymous caller of a public route.
pub(crate) struct AnonymousCaller;

impl<S: Sync> Identify<S> for AnonymousCaller {
    const CALLER: Caller = Caller::Public;

    async fn identify(_: &Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self)
    }
}

fn connection(parts: &Parts) -> Result<Connection, Problem> {
    let peer = parts.extensions.get::<Peer>();
    peer.map(|peer| peer.connection).ok_or_else(|| Problem::new(code::INTERNAL))
}

fn certificate(parts: &Parts) -> Result<Arc<PeerCertificate>, Problem> {
    let peer = parts.extensions.get::<Peer>();
    let certificate = peer.and_then(|peer| peer.certificate.clone());
    certificate.ok_or_else(|| Problem::new(code::CERTIFICATE_REQUIRED))
}

/// The refusal of a certificate at the agents' listener: an expired one can be renewed within its grace period.
fn refused(error: AuthnError, certificate: &PeerCertificate, services: &AgentServices) -> Problem {
    services.note_refused_request(certificate, error);
    match services.renewable_until(certificate) {
        Some(until) if error == AuthnError::OutOfTime => Problem::new(code::CERTIFICATE_EXPIRED)
            .because(format!(
                "the certificate expired at {}; it can be renewed until {until}",
                certificate.not_after()
            ))
            .mended_by("renew it: `keyward renew`"),
        Some(_) | None => error.into(),
    }
}

/// An operator that may do `R`.
pub(crate) struct AuthorisedOperator<R> {
    authorised: Authorised<R>,
    pub(crate) certificate: Arc<PeerCertificate>,
}

impl<R> Deref for AuthorisedOperator<R> {
    type Target = Authorised<R>;

    fn deref(&self) -> &Authorised<R> {
        &self.authorised
    }
}

impl<R: Right> Identify<AdminServices> for AuthorisedOperator<R> {
    const CALLER: Caller = Caller::Operator(R::NEED);

    async fn identify(parts: &Parts, services: &AdminServices) -> Result<Self, Problem> {
        let certificate = certificate(parts)?;
        let authorised = services.authorise(&certificate).await?;
        Ok(Self { authorised, certificate })
    }

    fn owner(&self) -> Option<&OwnerName> {
        self.operator().scope().owner()
    }
}

impl<R: Right> Repeats<AdminServices> for AuthorisedOperator<R> {
    type IdempotencyKey = Option<IdempotencyKey>;

    fn idempotency_key(
        &self,
        services: &AdminServices,
        header: IdempotencyHeader,
        body: &[u8],
    ) -> Option<IdempotencyKey> {
        header.request(body).map(|request| services.idempotency_key(self.operator(), &request))
    }
}

impl Identify<AgentServices> for AgentPrincipal {
    const CALLER: Caller = Caller::Agent;

    async fn identify(parts: &Parts, services: &AgentServices) -> Result<Self, Problem> {
        let certificate = certificate(parts)?;
        let principal = services.identify(&certificate);
        let principal = principal.map_err(|error| refused(error, &certificate, services))?;
        if principal.held() != CertificateSlot::Next {
            return Ok(principal);
        }
        services.promote(&certificate).await?;
        Ok(services.identify(&certificate)?)
    }
}

impl Repeats<AgentServices> for AgentPrincipal {
    type IdempotencyKey = Option<IdempotencyKey>;

    fn idempotency_key(
        &self,
        services: &AgentServices,
        header: IdempotencyHeader,
        body: &[u8],
    ) -> Option<IdempotencyKey> {
        header.request(body).map(|request| services.idempotency_key(self, &request))
    }
}

/// A caller of a public route, optionally with an agent's certificate.
pub(crate) struct OptionalAgent(pub(crate) Option<AgentPrincipal>);

impl Identify<AgentServices> for OptionalAgent {
    const CALLER: Caller = Caller::Public;

    async fn identify(parts: &Parts, services: &AgentServices) -> Result<Self, Problem> {
        Ok(Self(AgentPrincipal::identify(parts, services).await.ok()))
    }
}

/// An agent with the bearer token of its `Authorization` header (RFC 6750 §2.1), if it sent one.
pub(crate) struct TokenBearer {
    pub(crate) agent: AgentPrincipal,
    pub(crate) token: Option<Sensitive<String>>,
}

impl Identify<AgentServices> for TokenBearer {
    const CALLER: Caller = Caller::Agent;
    const TAKES_TOKEN: bool = true;

    async fn identify(parts: &Parts, services: &AgentServices) -> Result<Self, Problem> {
        let agent = AgentPrincipal::identify(parts, services).await?;
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
            (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
        });
        Ok(Self { agent, token: token.map(Sensitive::new) })
    }
}

/// A resource server with its certificate.
pub(crate) struct ResourceServer {
    pub(crate) principal: ResourceServerPrincipal,
    pub(crate) certificate: Arc<PeerCertificate>,
}

impl Identify<AgentServices> for ResourceServer {
    const CALLER: Caller = Caller::ResourceServer;

    async fn identify(parts: &Parts, services: &AgentServices) -> Result<Self, Problem> {
        let certificate = certificate(parts)?;
        let identify = || match services.identify_resource_server(&certificate) {
            // The caller is an agent.
            Err(AuthnError::WrongKind) => Err(Problem::new(code::INTROSPECTION_NOT_ALLOWED)),
            found => found.map_err(|error| refused(error, &certificate, services)),
        };
        let mut principal = identify()?;
        if principal.held() == CertificateSlot::Next {
            services.promote(&certificate).await?;
            principal = identify()?;
        }
        Ok(Self { principal, certificate })
    }
}

/// An agent or a resource server.
pub(crate) enum EnrolledCaller {
    Agent(Box<AgentPrincipal>),
    ResourceServer(ResourceServer),
}

impl Identify<AgentServices> for EnrolledCaller {
    const CALLER: Caller = Caller::Enrolled;

    async fn identify(parts: &Parts, services: &AgentServices) -> Result<Self, Problem> {
        match certificate(parts)?.spiffe() {
            SpiffeId::ResourceServer { .. } => {
                ResourceServer::identify(parts, services).await.map(Self::ResourceServer)
            }
            SpiffeId::Agent { .. } | SpiffeId::Operator { .. } => {
                let agent = AgentPrincipal::identify(parts, services).await?;
                Ok(Self::Agent(Box::new(agent)))
            }
        }
    }
}

/// An agent or a resource server that may renew: its certificate may have expired within the grace period.
pub(crate) struct Renewing {
    pub(crate) agent: RenewingAgent,
    pub(crate) connection: Connection,
}

impl Identify<AgentServices> for Renewing {
    const CALLER: Caller = Caller::Enrolled;

    async fn identify(parts: &Parts, services: &AgentServices) -> Result<Self, Problem> {
        let certificate = certificate(parts)?;
        let renewing = services.identify_renewing(&certificate);
        let mut agent = renewing.inspect_err(|error| services.note_refused_request(&certificate, *error))?;
        if agent.held() == CertificateSlot::Next {
            services.promote(&certificate).await?;
            agent = services.identify_renewing(&certificate)?;
        }
        Ok(Self { agent, connection: connection(parts)? })
    }
}

/// An operator that may renew: its certificate may have expired within the grace period.
pub(crate) struct RenewingOperatorCaller {
    pub(crate) operator: RenewingOperator,
    pub(crate) connection: Connection,
}

impl Identify<AdminServices> for RenewingOperatorCaller {
    const CALLER: Caller = Caller::Operator(BeOneself::NEED);

    async fn identify(parts: &Parts, services: &AdminServices) -> Result<Self, Problem> {
        let certificate = certificate(parts)?;
        let operator = services.authorise_renewal(&certificate).await?;
        Ok(Self { operator, connection: connection(parts)? })
    }
}

impl Identify<HostServices> for HostPrincipal {
    const CALLER: Caller = Caller::Host;

    async fn identify(parts: &Parts, services: &HostServices) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<HostPeer>();
        let peer = peer.ok_or_else(|| Problem::new(code::HOST_USER_NOT_ALLOWED))?;
        Ok(services.identify(peer.uid)?)
    }
}

impl Repeats<HostServices> for HostPrincipal {
    type IdempotencyKey = OwnedIdempotentRequest;

    fn idempotency_key(
        &self,
        _: &HostServices,
        header: IdempotencyHeader,
        body: &[u8],
    ) -> OwnedIdempotentRequest {
        header.with_body(body)
    }
}
