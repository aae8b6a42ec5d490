use std::collections::BTreeSet;

use super::grant::{Basis, Decision, Denial, Grant, Mint, Reveal};
use super::request::{MintRequest, RevealRequest};
use super::sensitivity::Demands;
use crate::authn::AgentPrincipal;
use crate::base::code;
use crate::base::limits::{LEEWAY_S, TOKEN_LIFE_MIN_S};
use crate::base::{Audience, CapabilityName, ClockReading, DecisionId, RoleName, Timestamp};
use crate::crypto::MacKey;
use crate::idempotency::MintedBefore;
use crate::quota::Permit;
use crate::registry::{Capability, Declarations, Delivery};

/// What tokens are limited by beyond their capabilities.
#[derive(Clone, Debug)]
pub struct LifeLimits {
    /// Life of a token when the request names none, in seconds.
    pub default_s: u32,
    /// The broker itself as an audience: whom tokens for `reveal` are for.
    pub broker: Audience,
}

/// Decides on a token.
///
/// What is granted is what the agent's roles hold of what is declared; what it asks for beyond that
/// is left out and said so, unless nothing remains. What the secrets behind it demand narrows it further.
pub fn decide_mint(
    (declarations, demands): (&Declarations, &Demands),
    principal: AgentPrincipal,
    (request, _permit): (&MintRequest, &Permit),
    limits: &LifeLimits,
    (decision, digests): (DecisionId, &MacKey),
    reading: ClockReading,
) -> Decision<Mint> {
    let (mut granted, rules) = granted(declarations, principal.roles(), &request.scope);
    let is_held = !granted.is_empty();
    granted.retain(|capability| !demands.suspends(&capability.name));
    let is_suspended = is_held && granted.is_empty();
    granted.retain(|capability| demands.permits(&capability.name));
    let basis = Basis {
        decision,
        snapshot: declarations.snapshot(),
        rules,
        request: request.digest(&principal, decision, digests),
    };
    let Some(first) = granted.first() else {
        return match (is_held, is_suspended) {
            (true, true) => Decision::Deny(Denial { basis, code: code::CAPABILITY_SUSPENDED }),
            (true, false) => other_owner(basis),
            (false, _) => not_granted(basis),
        };
    };
    if granted.iter().any(|capability| capability.delivery == Delivery::Lease) {
        return Decision::Deny(Denial { basis, code: code::CAPABILITY_DELIVERED_AS_LEASE });
    }
    let audience = audience_of(first, limits);
    let agreed = granted.iter().all(|capability| audience_of(capability, limits) == audience)
        && request.resource.as_ref().is_none_or(|resource| resource == audience);
    if !agreed {
        return audience_mismatch(basis);
    }
    let mut constrained = Vec::new();
    let (asked, given) = (request.scope.len(), granted.len());
    if given < asked {
        // Without names: what was asked for is input, and whether it is declared is not for everybody.
        let left_out = asked.saturating_sub(given);
        constrained.push(format!("{left_out} of {asked} capabilities are not granted and were left out"));
    }
    let longest = Longest::of(&granted, demands, &principal, reading.now());
    let Some(life_s) = life(request, &longest, limits, &mut constrained) else {
        return certificate_expires_too_soon(basis);
    };
    let life_s = counted_from_earliest(life_s, reading, &mut constrained);
    let is_whole = constrained.is_empty();
    let capabilities = granted.iter().map(|one| (one.name.clone(), one.access)).collect();
    let audience = audience.clone();
    let grant =
        Grant::assertion(basis, Mint { principal, capabilities, audience, life_s, constrained, reading });
    if is_whole { Decision::Allow(grant) } else { Decision::Constrain(grant) }
}

/// Decides on signing once more a token that was minted before, for the certificate that it is bound
/// to: all that it is good for must still be granted, for as long, and for the same audience.
pub fn decide_again(
    (declarations, demands): (&Declarations, &Demands),
    principal: AgentPrincipal,
    (minted, _permit): (&MintedBefore, &Permit),
    limits: &LifeLimits,
    (decision, digests): (DecisionId, &MacKey),
    reading: ClockReading,
) -> Decision<Mint> {
    let scope = minted.capabilities.iter().map(|(name, _)| name.clone()).collect();
    let resource = Some(minted.audience.clone());
    let request = MintRequest { scope, resource, life_s: Some(minted.life_s) };
    let (granted, rules) = granted(declarations, principal.roles(), &request.scope);
    let basis = Basis {
        decision,
        snapshot: declarations.snapshot(),
        rules,
        request: request.digest(&principal, decision, digests),
    };
    let is_as_it_was = |one: &&&Capability| {
        let demanded = demands.life_max_s(&one.name).unwrap_or(one.max_life_s);
        !demands.suspends(&one.name)
            && demands.permits(&one.name)
            && minted.life_s <= demanded.min(one.max_life_s)
            && one.delivery != Delivery::Lease
            && *audience_of(one, limits) == minted.audience
    };
    let granted = granted.iter().filter(is_as_it_was);
    let capabilities: Vec<_> = granted.map(|one| (one.name.clone(), one.access)).collect();
    let now = capabilities.iter().map(|(name, access)| (name, access.as_str()));
    if !now.eq(minted.capabilities.iter().map(|(name, access)| (name, access.as_str()))) {
        return not_granted(basis);
    }
    // The token is the one that the decision before was about, and names that one.
    let basis = Basis { decision: minted.decision, ..basis };
    let (audience, constrained) = (minted.audience.clone(), minted.constrained.clone());
    let mint = Mint { principal, capabilities, audience, life_s: minted.life_s, constrained, reading };
    Decision::Allow(Grant::assertion(basis, mint))
}

/// Decides on handing out a secret: the token's capabilities are judged again, as they are now.
pub fn decide_reveal(
    declarations: &Declarations,
    request: RevealRequest,
    _permit: &Permit,
    (decision, digests): (DecisionId, &MacKey),
    now: Timestamp,
) -> Decision<Reveal> {
    let asked: BTreeSet<CapabilityName> = request.token.capabilities().iter().cloned().collect();
    let (granted, rules) = granted(declarations, request.token.holder().roles(), &asked);
    let basis = Basis {
        decision,
        snapshot: declarations.snapshot(),
        rules,
        request: request.digest(decision, digests),
    };
    let names_it = |capability: &&&Capability| match &capability.delivery {
        Delivery::Reveal { secret } => *secret == request.secret,
        Delivery::Mint { .. } | Delivery::Lease => false,
    };
    // A secret that is not there and one that may not be seen are the same to the caller.
    let (Some(capability), Some(current)) = (granted.iter().find(names_it), request.current) else {
        return Decision::Deny(Denial { basis, code: code::SECRET_NOT_GRANTED });
    };
    let capability = capability.name.clone();
    let RevealRequest { token, secret, demands, .. } = request;
    if !demands.permits(&capability) {
        return Decision::Deny(Denial { basis, code: code::SECRET_OWNER_MISMATCH });
    }
    // A token that was minted before the secret's sensitivity was raised may be good for longer than this.
    let age_s = now.seconds_since(token.issued_at());
    if demands
        .life_max_s(&capability)
        .is_some_and(|longest| age_s > i64::from(longest).saturating_add(LEEWAY_S))
    {
        return Decision::Deny(Denial { basis, code: code::TOKEN_TOO_OLD });
    }
    Decision::Allow(Grant::assertion(basis, Reveal { token, capability, secret, current }))
}

/// Of the capabilities asked for, those that a role of the agent holds and that are declared, and
/// the roles by which they are.
pub(super) fn granted<'a>(
    declarations: &'a Declarations,
    roles: &BTreeSet<RoleName>,
    asked: &BTreeSet<CapabilityName>,
) -> (Vec<&'a Capability>, Vec<String>) {
    let held: Vec<_> = roles.iter().filter_map(|name| declarations.role(name)).collect();
    let mut granted = Vec::with_capacity(asked.len());
    let mut rules = BTreeSet::new();
    for name in asked {
        let role = held.iter().find(|role| role.capabilities.contains(name));
        if let (Some(role), Some(capability)) = (role, declarations.capability(name)) {
            granted.push(capability);
            rules.insert(&role.name);
        }
    }
    let rules = if rules.is_empty() {
        vec!["default deny: no role of the agent holds what was asked for".to_owned()]
    } else {
        rules.into_iter().map(|name| format!("role {name}")).collect()
    };
    (granted, rules)
}

fn audience_of<'a>(capability: &'a Capability, limits: &'a LifeLimits) -> &'a Audience {
    match &capability.delivery {
        Delivery::Mint { audience } => audience,
        Delivery::Reveal { .. } | Delivery::Lease => &limits.broker,
    }
}

/// The longest that a token can live, in seconds, by each of those who limit it.
struct Longest {
    declared: u32,
    demanded: Option<u32>,
    certificate: u32,
}

impl Longest {
    fn of(granted: &[&Capability], demands: &Demands, principal: &AgentPrincipal, now: Timestamp) -> Self {
        Self {
            declared: granted.iter().map(|capability| capability.max_life_s).min().unwrap_or(0),
            demanded: granted.iter().filter_map(|capability| demands.life_max_s(&capability.name)).min(),
            certificate: u32::try_from(principal.not_after().seconds_since(now)).unwrap_or(0),
        }
    }
}

/// The life of the token in seconds; `None` when the certificate leaves too little.
fn life(
    request: &MintRequest,
    longest: &Longest,
    limits: &LifeLimits,
    constrained: &mut Vec<String>,
) -> Option<u32> {
    let Longest { declared, demanded, certificate } = *longest;
    let asked = request.life_s.unwrap_or_else(|| limits.default_s.min(declared));
    let allowed = demanded.map_or(declared, |demanded| demanded.min(declared));
    let life_s = asked.min(allowed).min(certificate);
    if i64::from(life_s) < TOKEN_LIFE_MIN_S {
        return None;
    }
    if life_s < asked {
        let by = if certificate < allowed {
            "the agent's certificate"
        } else if allowed < declared {
            "the sensitivity `high` of a secret"
        } else {
            "the capability"
        };
        constrained.push(format!("life shortened from {asked} s to {life_s} s by {by}"));
    }
    Some(life_s)
}

/// Lives are counted from the entry's time. Where it may be earlier than that, they end earlier.
fn counted_from_earliest(life_s: u32, reading: ClockReading, constrained: &mut Vec<String>) -> u32 {
    let lag_ms = reading.now().ms().saturating_sub(reading.earliest().ms());
    if lag_ms == 0 {
        return life_s;
    }
    let lag_s = u32::try_from(lag_ms.saturating_add(999).div_euclid(1000)).unwrap_or(u32::MAX);
    let left_s = life_s.saturating_sub(lag_s);
    constrained.push(format!("life shortened from {life_s} s to {left_s} s: the broker's clocks disagree"));
    left_s
}

fn not_granted(basis: Basis) -> Decision<Mint> {
    Decision::Deny(Denial { basis, code: code::CAPABILITY_NOT_GRANTED })
}

fn other_owner(basis: Basis) -> Decision<Mint> {
    Decision::Deny(Denial { basis, code: code::SECRET_OWNER_MISMATCH })
}

fn audience_mismatch(basis: Basis) -> Decision<Mint> {
    Decision::Deny(Denial { basis, code: code::AUDIENCE_MISMATCH })
}

fn certificate_expires_too_soon(basis: Basis) -> Decision<Mint> {
    Decision::Deny(Denial { basis, code: code::CERTIFICATE_EXPIRES_TOO_SOON })
}
