use std::collections::BTreeSet;

use super::canonical::Canonical;
use super::context::DecisionContext;
use super::decision::{Act, AgentAct, Basis, Decision};
use super::granted::Granted;
use super::right::{Authorised, RenewLeases};
use crate::authn::AgentPrincipal;
use crate::base::code::{self, Code};
use crate::base::limits::{LEASE_LIFE_MIN_S, LEASE_LIFE_S};
use crate::base::{CapabilityName, LeaseId, RoleName, Timestamp};
use crate::leases::{Lease, LeaseStage};
use crate::quota::Permit;
use crate::registry::{Capability, Delivery};

/// An agent's request for a lease, or for its renewal.
#[derive(Debug)]
pub struct LeaseRequest {
    /// The capability.
    pub capability: CapabilityName,
    /// The requested life from now on, in seconds.
    pub life_s: Option<u32>,
}

impl LeaseRequest {
    fn denied<A>(&self, basis: Basis, code: Code) -> Decision<A> {
        Decision::deny_capabilities(basis, code, [&self.capability])
    }
}

/// An agent's leases of a capability, and their limit.
#[derive(Clone, Copy, Debug)]
pub struct LeaseCount {
    /// The number of the agent's active leases of the capability.
    pub outstanding: usize,
    /// The limit; `None` if no lease is declared.
    pub per_agent: Option<u32>,
}

/// A lease for one agent: to issue, to reuse or to renew.
#[derive(Debug)]
pub struct IssueLease {
    principal: AgentPrincipal,
    capability: CapabilityName,
    ends: Ends,
}

/// When a lease ends.
#[derive(Clone, Copy, Debug)]
struct Ends {
    expires_at: Timestamp,
    renewable_until: Timestamp,
}

impl IssueLease {
    /// The capability.
    #[must_use]
    pub const fn capability(&self) -> &CapabilityName {
        &self.capability
    }

    /// The end of the lease.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.ends.expires_at
    }

    /// The latest end that renewals can reach.
    #[must_use]
    pub const fn renewable_until(&self) -> Timestamp {
        self.ends.renewable_until
    }
}

impl Act for IssueLease {
    const HANDS_OUT: bool = true;
}

impl AgentAct for IssueLease {
    fn principal(&self) -> &AgentPrincipal {
        &self.principal
    }

    fn capability_names(&self) -> impl Iterator<Item = &CapabilityName> {
        std::iter::once(&self.capability)
    }
}

/// An extension of a lease by an operator.
#[derive(Debug)]
pub struct Extend {
    ends: Ends,
}

impl Act for Extend {
    const HANDS_OUT: bool = true;
}

impl Extend {
    /// The end of the lease.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.ends.expires_at
    }

    /// The latest end that renewals can reach.
    #[must_use]
    pub const fn renewable_until(&self) -> Timestamp {
        self.ends.renewable_until
    }
}

/// Decides on a new lease.
pub fn decide_lease(
    context: &DecisionContext<'_>,
    principal: AgentPrincipal,
    _permit: Permit,
    request: &LeaseRequest,
    count: LeaseCount,
) -> Decision<IssueLease> {
    let (capability, basis) = leased(context, &principal, request, None);
    let (Some(capability), Some(per_agent)) = (capability, count.per_agent) else {
        return request.denied(basis, code::LEASE_NOT_GRANTED);
    };
    if !u32::try_from(count.outstanding).is_ok_and(|outstanding| outstanding < per_agent) {
        return request.denied(basis, code::LEASE_LIMIT_REACHED);
    }
    let now = context.now();
    if principal.not_after().seconds_since(now) < i64::from(LEASE_LIFE_MIN_S) {
        return request.denied(basis, code::CERTIFICATE_EXPIRES_TOO_SOON);
    }
    let bounds = Bounds {
        renewable_until: now.plus_s(i64::from(capability.max_life_s)),
        certificate: principal.not_after(),
        earliest: now,
    };
    let (ends, constrained) = bounds.end(capability, request.life_s, now);
    let capability = capability.name.clone();
    Decision::allow_constrained(basis, IssueLease { principal, capability, ends }, constrained)
}

/// Decides on the reuse of a lease that the same instance has already.
pub fn decide_lease_again(
    context: &DecisionContext<'_>,
    principal: AgentPrincipal,
    _permit: Permit,
    request: &LeaseRequest,
    lease: &Lease,
) -> Decision<IssueLease> {
    let (capability, basis) = leased(context, &principal, request, None);
    if capability.is_none() || !is_own(lease, &principal) || lease.capability != request.capability {
        return request.denied(basis, code::LEASE_NOT_GRANTED);
    }
    if !matches!(lease.stage, LeaseStage::Live { .. }) {
        return request.denied(basis, code::LEASE_NOT_ACTIVE);
    }
    let ends = Ends { expires_at: lease.ends.expires_at, renewable_until: lease.ends.renewable_until };
    Decision::allow(basis, IssueLease { principal, capability: request.capability.clone(), ends })
}

/// Decides on the renewal of a live lease: its capability must still be granted.
pub fn decide_lease_renewal(
    context: &DecisionContext<'_>,
    principal: AgentPrincipal,
    _permit: Permit,
    lease: &Lease,
    life_s: Option<u32>,
) -> Decision<IssueLease> {
    let request = LeaseRequest { capability: lease.capability.clone(), life_s };
    let (capability, basis) = leased(context, &principal, &request, Some(lease.id));
    let Some(capability) = capability.filter(|_| is_own(lease, &principal)) else {
        return request.denied(basis, code::LEASE_NOT_GRANTED);
    };
    match later_end(context, lease, capability, principal.not_after(), life_s) {
        Ok((ends, constrained)) => {
            let capability = request.capability;
            Decision::allow_constrained(basis, IssueLease { principal, capability, ends }, constrained)
        }
        Err(code) => request.denied(basis, code),
    }
}

/// Decides on the extension of a live lease by an operator, with the limits of a renewal by its holder.
pub fn decide_lease_extension(
    context: &DecisionContext<'_>,
    by: &Authorised<RenewLeases>,
    lease: &Lease,
    life_s: Option<u32>,
) -> Decision<Extend> {
    let agent = context.records.registry.agent(lease.holder.agent);
    let roles = agent.map_or_else(Default::default, |agent| agent.roles.clone());
    let (capability, rules) = offered(context, &roles, &lease.capability);
    let life = life_s.unwrap_or_default().to_be_bytes();
    let canonical = [&by.operator().id().as_bytes()[..], lease.id.as_bytes(), &life].concat();
    let basis = context.basis(rules, &canonical);
    let Some(instance) = agent.and_then(|agent| agent.instances.get(lease.holder.instance)) else {
        return Decision::deny(basis, code::LEASE_NOT_ACTIVE);
    };
    let Some(capability) = capability else { return Decision::deny(basis, code::LEASE_NOT_GRANTED) };
    match later_end(context, lease, capability, instance.not_after(), life_s) {
        Ok((ends, constrained)) => Decision::allow_constrained(basis, Extend { ends }, constrained),
        Err(code) => Decision::deny(basis, code),
    }
}

/// The new end of a live lease, with the reasons for a shorter life; otherwise the reason for a refusal.
fn later_end(
    context: &DecisionContext<'_>,
    lease: &Lease,
    capability: &Capability,
    certificate: Timestamp,
    life_s: Option<u32>,
) -> Result<(Ends, Vec<String>), Code> {
    let now = context.now();
    if !matches!(lease.stage, LeaseStage::Live { .. }) || lease.ends.expires_at <= now {
        return Err(code::LEASE_NOT_ACTIVE);
    }
    // A shorter life of the capability shortens the renewal, never the granted life.
    let longest = lease.issued.at.plus_s(i64::from(capability.max_life_s));
    let renewable_until = lease.ends.renewable_until.min(longest);
    if lease.ends.expires_at >= renewable_until {
        return Err(code::LEASE_MAX_LIFE_REACHED);
    }
    if lease.ends.expires_at >= certificate {
        return Err(code::CERTIFICATE_EXPIRES_TOO_SOON);
    }
    let bounds = Bounds { renewable_until, certificate, earliest: lease.ends.expires_at };
    Ok(bounds.end(capability, life_s, now))
}

fn is_own(lease: &Lease, principal: &AgentPrincipal) -> bool {
    lease.holder.agent == principal.agent() && lease.holder.instance == principal.instance()
}

/// The capability, if it is granted and delivered as a lease.
fn leased<'a>(
    context: &DecisionContext<'a>,
    principal: &AgentPrincipal,
    request: &LeaseRequest,
    renewed: Option<LeaseId>,
) -> (Option<&'a Capability>, Basis) {
    let (capability, rules) = offered(context, principal.roles(), &request.capability);
    let canonical = Canonical::new("lease", principal, context.decision);
    let canonical = canonical.field(request.capability.as_str()).number(request.life_s);
    let canonical = canonical.bytes(renewed.as_ref().map_or(&[], |lease| lease.as_bytes()));
    (capability, context.basis(rules, canonical.as_bytes()))
}

/// The capability, if one of `roles` holds it and it is delivered as a lease, with the rules.
fn offered<'a>(
    context: &DecisionContext<'a>,
    roles: &BTreeSet<RoleName>,
    capability: &CapabilityName,
) -> (Option<&'a Capability>, Vec<String>) {
    let Granted { capabilities, rules } =
        Granted::of(context.declarations(), roles, &BTreeSet::from([capability.clone()]));
    (capabilities.into_iter().find(|one| one.delivery == Delivery::Lease), rules)
}

/// The limits of the end of a lease.
struct Bounds {
    renewable_until: Timestamp,
    certificate: Timestamp,
    earliest: Timestamp,
}

impl Bounds {
    /// The end of a lease with a requested life of `life_s` from now on, with the reasons for a shorter life.
    fn end(&self, capability: &Capability, life_s: Option<u32>, now: Timestamp) -> (Ends, Vec<String>) {
        let Self { renewable_until, certificate, earliest } = *self;
        let requested = life_s.unwrap_or_else(|| LEASE_LIFE_S.min(capability.max_life_s));
        let wanted = now.plus_s(i64::from(requested));
        let expires_at = wanted.min(renewable_until.min(certificate)).max(earliest);
        let mut constrained = Vec::new();
        if expires_at < wanted {
            let by = if certificate < renewable_until { "the agent's certificate" } else { "the capability" };
            let given = expires_at.seconds_since(now);
            constrained.push(format!("life shortened from {requested} s to {given} s by {by}"));
        }
        (Ends { expires_at, renewable_until }, constrained)
    }
}
