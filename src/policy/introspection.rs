use crate::authn::{Credential, Records, ResourceServerPrincipal, live};
use crate::base::CapabilityName;
use crate::pki::SpiffeId;
use crate::registry::Declarations;
use crate::token::{Claims, Minted};

/// The claims of a valid token for a resource server, reduced to what its holder may still do. Made only by
/// [`decide_introspection`].
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

/// Decides what `caller` may know of a token with the verified `claims`; `minted` is the ledger entry that they name.
/// `None` for a token for another audience, a revoked one, and one of whose capabilities none is granted any more.
pub fn decide_introspection(
    caller: &ResourceServerPrincipal,
    claims: Claims,
    minted: Option<&Minted>,
    records: Records<'_>,
) -> Option<Introspection> {
    let mut claims = Some(claims).filter(|claims| claims.aud == *caller.serves())?;
    live(Credential::Token { claims: &claims, minted }, records).ok()?;
    let registry = records.registry;
    let holder = match claims.sub.parse() {
        Ok(SpiffeId::Agent { name, .. }) => registry.agent_named(&name),
        Ok(SpiffeId::ResourceServer { .. } | SpiffeId::Operator { .. }) | Err(_) => None,
    };
    let holder = holder?;
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

/// Whether the capability is still declared, for the audience of the token and with the access that it names.
fn is_for(declarations: &Declarations, name: &CapabilityName, claims: &Claims) -> bool {
    use crate::registry::Delivery;
    let detail = claims.authorization_details.iter().find(|detail| detail.capability == *name);
    declarations.capability(name).is_some_and(|capability| match &capability.delivery {
        Delivery::Mint { audience } => {
            *audience == claims.aud && detail.is_some_and(|one| one.access == capability.access.as_str())
        }
        Delivery::Reveal { .. } | Delivery::Lease => false,
    })
}
