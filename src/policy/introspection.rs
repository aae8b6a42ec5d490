use crate::authn::ResourceServerPrincipal;
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

/// Decides what `caller` may know of a token with `claims`, which were verified just now. Nothing of
/// one that is meant for somebody else, was revoked, is bound to a certificate that was replaced, or has
/// lost everything that it was good for.
pub fn decide_introspection(
    caller: &ResourceServerPrincipal,
    claims: Option<Claims>,
    (registry, revocations): (&Registry, &Revocations),
) -> Option<Introspection> {
    let mut claims = claims.filter(|claims| claims.aud == *caller.serves())?;
    let holder = match claims.sub.parse() {
        Ok(SpiffeId::Agent { name, .. }) => registry.agent_named(&name),
        Ok(SpiffeId::ResourceServer { .. } | SpiffeId::Operator { .. }) | Err(_) => None,
    };
    let holder = holder?;
    let instance = holder.instances.get(claims.instance)?;
    if claims.seq < instance.current_since {
        return None;
    }
    let subjects =
        [Subject::Agent(holder.id), Subject::Instance(claims.instance), Subject::Token(claims.jti)];
    if revocations.judge(claims.seq, &subjects) == Liveness::Dead {
        return None;
    }
    let declarations = registry.declarations();
    let held = |name: &CapabilityName| {
        let mut roles = holder.roles.iter().filter_map(|role| declarations.role(role));
        is_for(declarations, name, &claims) && roles.any(|role| role.capabilities.contains(name))
    };
    let left: Vec<CapabilityName> =
        claims.scope.split(' ').filter_map(|text| text.parse().ok()).filter(|name| held(name)).collect();
    if left.is_empty() {
        return None;
    }
    claims.authorization_details.retain(|detail| left.contains(&detail.capability));
    claims.scope = left.iter().map(CapabilityName::as_str).collect::<Vec<_>>().join(" ").into();
    Some(Introspection { claims })
}

/// Whether the capability is still declared, and for the audience of the token.
fn is_for(declarations: &Declarations, name: &CapabilityName, claims: &Claims) -> bool {
    use crate::registry::Delivery;
    declarations.capability(name).is_some_and(|capability| match &capability.delivery {
        Delivery::Mint { audience } => *audience == claims.aud,
        Delivery::Reveal { .. } | Delivery::Lease => false,
    })
}
