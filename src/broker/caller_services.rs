use std::sync::Arc;

use super::administration::heavy::HeavyRequest;
use super::failure::Failure;
use super::services::Services;
use super::world::records;
use crate::authn::{self, AgentPrincipal, AuthnError, OperatorPrincipal};
use crate::base::RequestId;
use crate::idempotency::{IdempotencyCaller, IdempotencyKey, IdempotentRequest};
use crate::pki::{AuthorityCertificate, PeerCertificate};
use crate::policy::Authorised;
use crate::telemetry::Meters;
use crate::token::KeySet;

/// What agents can reach.
#[derive(Clone, Debug)]
pub struct AgentServices(pub(in crate::broker) Arc<Services>);

/// What operators can reach.
#[derive(Clone, Debug)]
pub struct AdminServices(pub(in crate::broker) Arc<Services>);

impl AgentServices {
    /// The agents' view of `services`.
    #[must_use]
    pub const fn new(services: Arc<Services>) -> Self {
        Self(services)
    }

    /// The agent behind the certificate of a connection, as of now.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify(&self, peer: &PeerCertificate) -> Result<AgentPrincipal, AuthnError> {
        let now = self.0.state.clock.reading();
        self.0.state.store.read(|world, as_of| authn::agent(peer, records(world), as_of, now))
    }

    /// A connection of `peer` is open from now on.
    pub fn connection_opened(&self, peer: &PeerCertificate) {
        self.0.notifications.connections.opened(peer);
    }

    /// A connection of `peer` has ended; `is_cut` if the broker closed it because of a revocation.
    pub fn connection_ended(&self, peer: &PeerCertificate, is_cut: bool) {
        self.0.notifications.connections.ended(peer, self.0.state.clock.now(), is_cut);
    }

    /// The keys that tokens are verified with.
    #[must_use]
    pub fn key_set(&self) -> KeySet {
        self.0.signing.issuer.key_set()
    }

    /// The certificates of the authorities that count, the one that signs first.
    #[must_use]
    pub fn authorities(&self) -> Vec<AuthorityCertificate> {
        self.0.signing.issuer.authorities()
    }

    /// A signed checkpoint of the ledger as it is now (C2SP tlog-checkpoint). Its holder can tell
    /// later whether an entry was cut off or rewritten since.
    #[must_use]
    pub fn checkpoint(&self) -> String {
        self.0.checkpoint()
    }

    /// The key that verifies checkpoints, as signed notes write it.
    #[must_use]
    pub fn checkpoint_key(&self) -> String {
        self.0.with_notary(|notary| notary.verifier().to_string())
    }

    /// What a request of `agent` is known again by: as long as it shows the same certificate, since
    /// what it is given is bound to that.
    #[must_use]
    pub fn idempotency_key(&self, agent: &AgentPrincipal, request: &IdempotentRequest<'_>) -> IdempotencyKey {
        let identity = format!("agent {}", agent.agent());
        let credential = format!("certificate {}", agent.thumbprint().hex());
        self.0
            .state
            .idempotency_key(IdempotencyCaller { identity: &identity, credential: &credential }, request)
    }

    /// The `iss` of tokens, which is also the broker's own audience.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.settings.tokens.broker.as_str()
    }

    /// Whether the broker is to be looked at alone.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.state.store.is_read_only()
    }

    /// What is counted at the listener.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.0.notifications.meters)
    }

    /// A name for one more request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        RequestId::mint(self.0.state.clock.now(), &*self.0.state.entropy)
    }
}

impl AdminServices {
    /// The operators' view of `services`.
    #[must_use]
    pub const fn new(services: Arc<Services>) -> Self {
        Self(services)
    }

    /// What a request of `operator` is known again by.
    #[must_use]
    pub fn idempotency_key(
        &self,
        operator: &OperatorPrincipal,
        request: &IdempotentRequest<'_>,
    ) -> IdempotencyKey {
        self.0
            .state
            .idempotency_key(IdempotencyCaller::named(&format!("operator {}", operator.name())), request)
    }

    /// The certificates of the authorities that count, the one that signs first.
    #[must_use]
    pub fn authorities_in_use(&self) -> Vec<AuthorityCertificate> {
        self.0.signing.issuer.authorities()
    }

    /// The operator behind the certificate of a connection, as of now. What it may do is another
    /// question: [`AdminServices::authorise`].
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify(&self, peer: &PeerCertificate) -> Result<OperatorPrincipal, AuthnError> {
        let now = self.0.state.clock.reading();
        self.0.state.store.read(|world, as_of| authn::operator(peer, records(world), as_of, now))
    }

    /// A connection of `peer` is open from now on.
    pub fn connection_opened(&self, peer: &PeerCertificate) {
        self.0.notifications.connections.opened(peer);
    }

    /// A connection of `peer` has ended; `is_cut` if the broker closed it because of a revocation.
    pub fn connection_ended(&self, peer: &PeerCertificate, is_cut: bool) {
        self.0.notifications.connections.ended(peer, self.0.state.clock.now(), is_cut);
    }

    /// Whether the broker is to be looked at alone.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.state.store.is_read_only()
    }

    /// What is counted at the listener.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.0.notifications.meters)
    }

    /// Takes a heavy request on: before its body is read, so that a body in memory is one of few.
    ///
    /// # Errors
    /// [`Failure`] when the operator, or all operators together, have as many under way as they may.
    pub fn heavy<R>(&self, by: &Authorised<R>) -> Result<HeavyRequest, Failure> {
        self.0.limits.heavy.enter(by.operator().id())
    }

    /// A name for one more request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        RequestId::mint(self.0.state.clock.now(), &*self.0.state.entropy)
    }
}
