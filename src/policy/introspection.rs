use crate::authn::AgentPrincipal;
use crate::base::CapabilityName;
use crate::pki::SpiffeId;
use crate::registry::{Declarations, Registry};
use crate::revocation::{Liveness, Revocations, Subject};
use crate::token::Claims;

/// What a resource server may know of a token that is meant for it and counts: its claims, cut to
/// what its holder still may. Made only by [`decide_introspection`].
#[must_use]
#[derive(Debug)]
pub struct Introspection {
    claims: Claims,
}

impl Introspection {
    /// The claims.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }
}

/// The caller serves no audience: it has no business with anybody's tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("only a resource server asks about tokens")]
pub struct NoResourceServer;

/// Decides what `caller` may know of a token with `claims`, which were verified just now. Nothing of
/// one that is meant for somebody else, was revoked, or has lost everything that it was good for.
///
/// # Errors
/// [`NoResourceServer`].
pub fn decide_introspection(
    caller: &AgentPrincipal,
    claims: Option<Claims>,
    (registry, revocations): (&Registry, &Revocations),
) -> Result<Option<Introspection>, NoResourceServer> {
    let serves = caller.serves().ok_or(NoResourceServer)?;
    let Some(mut claims) = claims.filter(|claims| claims.aud == *serves) else { return Ok(None) };
    let holder = match claims.sub.parse() {
        Ok(SpiffeId::Agent { name, .. }) => registry.agent_named(&name),
        Ok(SpiffeId::Operator { .. }) | Err(_) => None,
    };
    let holder = holder.filter(|agent| agent.instances.contains_key(&claims.instance));
    let Some(holder) = holder else { return Ok(None) };
    let subjects =
        [Subject::Agent(holder.id), Subject::Instance(claims.instance), Subject::Token(claims.jti)];
    if revocations.judge(claims.seq, &subjects) == Liveness::Dead {
        return Ok(None);
    }
    let declarations = registry.declarations();
    let held = |name: &CapabilityName| {
        let mut roles = holder.roles.iter().filter_map(|role| declarations.role(role));
        is_for(declarations, name, &claims) && roles.any(|role| role.capabilities.contains(name))
    };
    let left: Vec<String> = claims
        .scope
        .split(' ')
        .filter(|text| text.parse().is_ok_and(|name| held(&name)))
        .map(str::to_owned)
        .collect();
    if left.is_empty() {
        return Ok(None);
    }
    claims.authorization_details.retain(|detail| left.contains(&detail.capability));
    claims.scope = left.join(" ");
    Ok(Some(Introspection { claims }))
}

/// Whether the capability is still declared, and for the audience of the token.
fn is_for(declarations: &Declarations, name: &CapabilityName, claims: &Claims) -> bool {
    use crate::registry::Delivery;
    declarations.capability(name).is_some_and(|capability| match &capability.delivery {
        Delivery::Mint { audience } => *audience == claims.aud,
        Delivery::Reveal { .. } => false,
    })
}
