use super::desk::AgentDesk;
use super::failure::Failure;
use crate::authn::AgentPrincipal;
use crate::base::code;
use crate::policy::{Introspection, decide_introspection};

impl AgentDesk {
    /// What the resource server `principal` may know of `token` (RFC 7662): nothing at all, unless it
    /// counts and is meant for this resource server.
    ///
    /// # Errors
    /// [`Failure`] when the caller is no resource server, or asks too often.
    pub fn introspect(
        &self,
        principal: &AgentPrincipal,
        token: &str,
    ) -> Result<Option<Introspection>, Failure> {
        let core = &*self.0;
        let _permit = core.introspections.admit(&principal.agent())?;
        let claims = core.verifier.verify_for_anybody(token, core.clock.now()).ok();
        let decided = core
            .store
            .read(|world, _| decide_introspection(principal, claims, (&world.registry, &world.revocations)));
        decided.map_err(|_| Failure::new(code::INTROSPECTION_NOT_ALLOWED))
    }
}
