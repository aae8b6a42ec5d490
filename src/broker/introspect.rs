use std::sync::Arc;

use super::desk::{AgentDesk, records};
use super::failure::Failure;
use crate::authn::{self, AuthnError, PresentError, ResourceServerPrincipal};
use crate::base::code;
use crate::pki::PeerCertificate;
use crate::policy::{Introspection, decide_introspection};

impl AgentDesk {
    /// The resource server behind the certificate of a connection, as of now.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify_resource_server(
        &self,
        peer: &PeerCertificate,
    ) -> Result<ResourceServerPrincipal, AuthnError> {
        let now = self.0.clock.reading();
        self.0.store.read(|world, _| authn::resource_server(peer, records(world), now))
    }

    /// What the resource server `principal` may know of `token` (RFC 7662): nothing at all, unless it
    /// counts and is meant for this resource server.
    ///
    /// # Errors
    /// [`Failure`] when it asks too often.
    pub async fn introspect(
        &self,
        principal: &ResourceServerPrincipal,
        token: &str,
    ) -> Result<Option<Introspection>, Failure> {
        let core = &*self.0;
        if core.store.is_read_only() {
            // What was revoked since the data was copied it does not know.
            return Err(Failure::new(code::READ_ONLY));
        }
        let _permit = core.introspections.admit(&principal.id())?;
        core.follow_token_keys()?;
        let claims = core.verifier.verify_for_anybody(token, core.clock.reading()).ok();
        let claims = claims.map(Arc::unwrap_or_clone);
        let head = core.store.read(|_, as_of| as_of);
        if let Some(claims) = claims.as_ref().filter(|claims| claims.seq > head) {
            let unrecorded = PresentError::Unrecorded { token: claims.jti, seq: claims.seq };
            core.suspect_token(claims.sub.to_string(), unrecorded).await;
            return Ok(None);
        }
        let decided = core
            .store
            .read(|world, _| decide_introspection(principal, claims, (&world.registry, &world.revocations)));
        Ok(decided)
    }
}
