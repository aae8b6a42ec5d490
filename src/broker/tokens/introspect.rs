use std::sync::Arc;

use crate::authn::{
    self, AgentPrincipal, AuthnError, BoundToken, Credential, PresentError, ResourceServerPrincipal, live,
};
use crate::base::{ClockReading, Connection, ParameterName, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::{World, records};
use crate::pki::PeerCertificate;
use crate::policy::{Introspection, decide_introspection};
use crate::registry::parameter_digest;
use crate::token::{AuthorizationDetail, Claims, Minted};

impl AgentServices {
    /// The resource server behind the certificate of a connection, as of now.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify_resource_server(
        &self,
        peer: &PeerCertificate,
    ) -> Result<ResourceServerPrincipal, AuthnError> {
        let now = self.0.state.clock.reading();
        self.0.state.store.read(|world, _| authn::resource_server(peer, records(world), now))
    }

    /// The response to an introspection of `token` by the resource server `principal` (RFC 7662): without claims,
    /// unless the token is valid and has the audience of this resource server.
    ///
    /// # Errors
    /// [`Failure`] if the rate limit is exceeded.
    pub async fn introspect(
        &self,
        principal: &ResourceServerPrincipal,
        token: &str,
    ) -> Result<Option<Introspection>, Failure> {
        let services = &*self.0;
        if services.state.store.is_read_only() {
            // A copy does not know the later revocations.
            return Err(Failure::new(code::READ_ONLY));
        }
        let _permit = services.limits.introspections.admit(&principal.id())?;
        services.follow_token_keys()?;
        let Ok(claims) = services.signing.verifier.verify_for_anybody(token, services.state.clock.reading())
        else {
            return Ok(None);
        };
        let minted = services.entry_of(&claims, principal.connection()).await?;
        let (claims, minted) = (Arc::unwrap_or_clone(claims), minted.as_deref());
        let store = &services.state.store;
        Ok(store.read(|world, _| decide_introspection(principal, claims, minted, records(world))))
    }
}

impl Services {
    /// Accepts `bearer` from `principal` as a token for the broker itself.
    ///
    /// # Errors
    /// [`Failure`] if the ledger cannot be read; the inner error says why the token is not accepted.
    pub(crate) fn present(
        &self,
        principal: AgentPrincipal,
        bearer: &str,
        now: ClockReading,
    ) -> Result<Result<BoundToken, PresentError>, Failure> {
        let broker = &self.settings.tokens.broker;
        let claims = match self.signing.verifier.verify(bearer, broker, now) {
            Ok(claims) => claims,
            Err(error) => return Ok(Err(error.into())),
        };
        let minted = self.minted(&claims)?;
        let present =
            |world: &World| authn::present(principal, &claims, minted.as_deref(), broker, records(world));
        Ok(self.state.store.read(|world, _| present(world)))
    }

    /// Whether a verified token, which was presented on `connection`, is valid by the records.
    ///
    /// # Errors
    /// [`Failure`] when the ledger cannot be read.
    pub(crate) async fn counts(
        &self,
        claims: &Claims,
        connection: Option<Connection>,
    ) -> Result<bool, Failure> {
        let minted = self.entry_of(claims, connection).await?;
        let token = Credential::Token { claims, minted: minted.as_deref() };
        Ok(self.state.store.read(|world, _| live(token, records(world))).is_ok())
    }

    /// The entry that a verified token names, which was presented on `connection`. An entry beyond the head of the ledger raises the alarm about a
    /// rollback.
    async fn entry_of(
        &self,
        claims: &Claims,
        connection: Option<Connection>,
    ) -> Result<Option<Arc<Minted>>, Failure> {
        if claims.seq > self.state.store.read(|_, as_of| as_of) {
            let unrecorded = PresentError::Unrecorded { token: claims.jti, seq: claims.seq };
            self.suspect_token(claims.sub.to_string(), unrecorded, connection).await;
            return Ok(None);
        }
        self.minted(claims)
    }

    /// The entry that a verified token names; `None` if it issued no token.
    ///
    /// # Errors
    /// [`Failure`] when the ledger cannot be read.
    pub(crate) fn minted(&self, claims: &Claims) -> Result<Option<Arc<Minted>>, Failure> {
        let minted = match self.signing.minted.find(claims.seq) {
            Some(known) => Some(known),
            None => {
                let entries = self.state.store.entries(claims.seq, 1)?;
                let minted = entries.first().and_then(Minted::read).map(Arc::new);
                minted.iter().for_each(|minted| self.signing.minted.keep(minted));
                minted
            }
        };
        Ok(minted.filter(|minted| self.has_sensitive_values(minted, claims)))
    }

    /// Whether the sensitive parameters of a token have the digests of its entry: under the present digest key, or an earlier
    /// one.
    fn has_sensitive_values(&self, minted: &Minted, claims: &Claims) -> bool {
        let keys = || std::iter::once(&self.state.digests).chain(&self.state.earlier_digests);
        let has = |detail: &AuthorizationDetail, name: &ParameterName, digest: &str| {
            let value = detail.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| value);
            value.is_some_and(|value| {
                keys()
                    .any(|key| parameter_digest(key, &claims.sub, &detail.capability, name, value) == digest)
            })
        };
        claims
            .authorization_details
            .iter()
            .all(|detail| minted.digests(&detail.capability).all(|(name, digest)| has(detail, name, digest)))
    }
}
