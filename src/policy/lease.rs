use std::collections::BTreeSet;

use super::decide::granted;
use super::grant::{Basis, Decision, Denial, Grant};
use super::request::{LeaseRequest, Renewed};
use super::right::{Authorised, RenewLeases};
use crate::authn::AgentPrincipal;
use crate::base::code::{self, Code};
use crate::base::limits::{LEASE_LIFE_MIN_S, LEASE_LIFE_S};
use crate::base::{CapabilityName, DecisionId, RoleName, Timestamp};
use crate::crypto::{Digest, MacKey};
use crate::leases::{Lease, Stage};
use crate::quota::Permit;
use crate::registry::{Capability, Declarations, Delivery};

/// A login upstream for one agent: to be made, handed out again, or to end later.
#[derive(Debug)]
pub struct Lend {
    principal: AgentPrincipal,
    capability: CapabilityName,
    expires_at: Timestamp,
    renewable_until: Timestamp,
    constrained: Vec<String>,
}

impl Lend {
    /// For whom.
    #[must_use]
    pub const fn principal(&self) -> &AgentPrincipal {
        &self.principal
    }

    /// Under which capability.
    #[must_use]
    pub const fn capability(&self) -> &CapabilityName {
        &self.capability
    }

    /// When it ends.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Beyond this it is never renewed.
    #[must_use]
    pub const fn renewable_until(&self) -> Timestamp {
        self.renewable_until
    }

    /// What was taken away from the request, in words; empty when nothing was.
    #[must_use]
    pub fn constrained(&self) -> &[String] {
        &self.constrained
    }
}

/// Decides on a login of the agent's own, made anew. `outstanding` of the agent's leases of
/// the capability have not ended, `per_agent` may be; none when nothing is offered.
pub fn decide_lease(
    declarations: &Declarations,
    principal: AgentPrincipal,
    (request, _permit): (&LeaseRequest, &Permit),
    (outstanding, per_agent): (usize, Option<u32>),
    (decision, digests): (DecisionId, &MacKey),
    now: Timestamp,
) -> Decision<Lend> {
    let (capability, basis) = leased(declarations, &principal, request, (decision, digests));
    let (Some(capability), Some(per_agent)) = (capability, per_agent) else {
        return deny(basis, code::LEASE_NOT_GRANTED);
    };
    if u32::try_from(outstanding).is_ok_and(|count| count < per_agent) {
        let renewable_until = now.plus_s(i64::from(capability.max_life_s));
        until(basis, principal, (capability, request), (renewable_until, now), now)
    } else {
        deny(basis, code::LEASE_LIMIT_REACHED)
    }
}

/// Decides on handing out once more what the same instance has already.
pub fn decide_lease_again(
    declarations: &Declarations,
    principal: AgentPrincipal,
    (request, _permit): (&LeaseRequest, &Permit),
    lease: &Lease,
    (decision, digests): (DecisionId, &MacKey),
) -> Decision<Lend> {
    let (capability, basis) = leased(declarations, &principal, request, (decision, digests));
    if capability.is_none() || !is_own(lease, &principal) || lease.capability != request.capability {
        return deny(basis, code::LEASE_NOT_GRANTED);
    }
    if !matches!(lease.stage, Stage::Live { .. }) {
        return deny(basis, code::LEASE_ENDING);
    }
    let (capability, constrained) = (request.capability.clone(), Vec::new());
    let (expires_at, renewable_until) = (lease.expires_at, lease.renewable_until);
    let lend = Lend { principal, capability, expires_at, renewable_until, constrained };
    Decision::Allow(Grant::assertion(basis, lend))
}

/// Decides on a later end of a live lease: what it is for must still be granted.
pub fn decide_lease_renewal(
    declarations: &Declarations,
    principal: AgentPrincipal,
    (request, _permit): (&LeaseRequest, &Permit),
    lease: &Lease,
    (decision, digests): (DecisionId, &MacKey),
    now: Timestamp,
) -> Decision<Lend> {
    let (capability, basis) = leased(declarations, &principal, request, (decision, digests));
    let capability = match capability {
        Some(capability) if is_own(lease, &principal) && lease.capability == capability.name => capability,
        Some(_) | None => return deny(basis, code::LEASE_NOT_GRANTED),
    };
    match renewable_until(lease, capability, principal.not_after(), now) {
        Ok(bound) => until(basis, principal, (capability, request), (bound, lease.expires_at), now),
        Err(code) => deny(basis, code),
    }
}

/// Who has a lease, as the records say of it.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// What its agent holds.
    pub roles: &'a BTreeSet<RoleName>,
    /// When its instance's certificate ends.
    pub not_after: Timestamp,
}

/// A later end of a lease, by an operator's wish.
#[derive(Clone, Debug)]
pub struct Extension {
    /// When it ends.
    pub expires_at: Timestamp,
    /// Beyond this it is never renewed.
    pub renewable_until: Timestamp,
    /// What was taken away from the request, in words; empty when nothing was.
    pub constrained: Vec<String>,
    /// The policy snapshot.
    pub snapshot: Digest,
    /// The rules that determined it.
    pub rules: Vec<String>,
}

/// Decides on a later end of a live lease for an operator, who gets no more out of it than its holder would.
///
/// # Errors
/// The code that says why not.
pub fn decide_lease_extension(
    declarations: &Declarations,
    _by: &Authorised<RenewLeases>,
    (lease, holder): (&Lease, Holder<'_>),
    life_s: Option<u32>,
    now: Timestamp,
) -> Result<Extension, Code> {
    let (granted, rules) = granted(declarations, holder.roles, &BTreeSet::from([lease.capability.clone()]));
    let capability = granted.into_iter().find(|one| one.delivery == Delivery::Lease);
    let capability = capability.ok_or(code::LEASE_NOT_GRANTED)?;
    let renewable_until = renewable_until(lease, capability, holder.not_after, now)?;
    let bounds = (renewable_until, holder.not_after, lease.expires_at);
    let (expires_at, constrained) = end(capability, life_s, bounds, now);
    Ok(Extension { expires_at, renewable_until, constrained, snapshot: declarations.snapshot(), rules })
}

/// How late a live lease may end; why it may end no later than it does, otherwise.
fn renewable_until(
    lease: &Lease,
    capability: &Capability,
    not_after: Timestamp,
    now: Timestamp,
) -> Result<Timestamp, Code> {
    if !matches!(lease.stage, Stage::Live { .. }) || lease.expires_at <= now {
        return Err(code::LEASE_ENDING);
    }
    // A capability that may live shorter by now shortens what is left, never what was granted.
    let longest = lease.issued_at.plus_s(i64::from(capability.max_life_s));
    let renewable_until = lease.renewable_until.min(longest);
    if lease.expires_at >= renewable_until {
        return Err(code::LEASE_MAX_LIFE_REACHED);
    }
    if lease.expires_at >= not_after {
        return Err(code::CERTIFICATE_EXPIRES_TOO_SOON);
    }
    Ok(renewable_until)
}

fn is_own(lease: &Lease, principal: &AgentPrincipal) -> bool {
    lease.agent == principal.agent() && lease.instance == principal.instance()
}

/// The capability, when it is granted and delivered as a lease.
fn leased<'a>(
    declarations: &'a Declarations,
    principal: &AgentPrincipal,
    request: &LeaseRequest,
    (decision, digests): (DecisionId, &MacKey),
) -> (Option<&'a Capability>, Basis) {
    let asked = BTreeSet::from([request.capability.clone()]);
    let (granted, rules) = granted(declarations, principal.roles(), &asked);
    let request = request.digest(principal, decision, digests);
    let basis = Basis { decision, snapshot: declarations.snapshot(), rules, request };
    (granted.into_iter().find(|one| one.delivery == Delivery::Lease), basis)
}

/// The end of a login: as asked, within what the capability, the certificate and `renewable_until` leave,
/// and not before `earliest`.
fn until(
    basis: Basis,
    principal: AgentPrincipal,
    (capability, request): (&Capability, &LeaseRequest),
    (renewable_until, earliest): (Timestamp, Timestamp),
    now: Timestamp,
) -> Decision<Lend> {
    let is_ending = principal.not_after().seconds_since(now) < i64::from(LEASE_LIFE_MIN_S);
    if request.renewed == Renewed::No && is_ending {
        return deny(basis, code::CERTIFICATE_EXPIRES_TOO_SOON);
    }
    let bounds = (renewable_until, principal.not_after(), earliest);
    let (expires_at, constrained) = end(capability, request.life_s, bounds, now);
    let is_whole = constrained.is_empty();
    let capability = capability.name.clone();
    let lend = Lend { principal, capability, expires_at, renewable_until, constrained };
    let grant = Grant::assertion(basis, lend);
    if is_whole { Decision::Allow(grant) } else { Decision::Constrain(grant) }
}

/// When a login ends that is to last `life_s` from now on, and in words what that was shortened by.
fn end(
    capability: &Capability,
    life_s: Option<u32>,
    (renewable_until, not_after, earliest): (Timestamp, Timestamp, Timestamp),
    now: Timestamp,
) -> (Timestamp, Vec<String>) {
    let asked = life_s.unwrap_or_else(|| LEASE_LIFE_S.min(capability.max_life_s));
    let wanted = now.plus_s(i64::from(asked));
    let expires_at = wanted.min(renewable_until.min(not_after)).max(earliest);
    let mut constrained = Vec::new();
    if expires_at < wanted {
        let by = if not_after < renewable_until { "the agent's certificate" } else { "the capability" };
        let given = expires_at.seconds_since(now);
        constrained.push(format!("life shortened from {asked} s to {given} s by {by}"));
    }
    (expires_at, constrained)
}

const fn deny(basis: Basis, code: Code) -> Decision<Lend> {
    Decision::Deny(Denial { basis, code })
}
