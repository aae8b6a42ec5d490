use std::collections::BTreeSet;

use super::canonical::Canonical;
use super::context::DecisionContext;
use super::decision::{Act, AgentAct, Basis, Decision};
use super::judged::JudgedRequest;
use super::lease_end::{Ends, LeaseRefusal, Offered, first_end, later_end, new_life_s};
use super::policy_refusal::PolicyRefusal;
use super::refusal::Refusal;
use super::requester::Requester;
use super::right::{Authorised, RenewLeases};
use crate::authn::AgentPrincipal;
use crate::base::code::{self, Code};
use crate::base::{CapabilityName, LeaseId, PolicyName, Timestamp};
use crate::leases::{Lease, LeaseStage};
use crate::quota::Permit;
use crate::rules::Action;

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

    fn refused<A>(&self, basis: Basis, refusal: LeaseRefusal) -> Decision<A> {
        match refusal {
            LeaseRefusal::Code(code) => self.denied(basis, code),
            LeaseRefusal::Policy(refusal) => Decision::deny_by_policy(basis, refusal, [&self.capability]),
        }
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
    let (offered, basis) = leased(context, &principal, request, None);
    let (Some(offered), Some(per_agent)) = (offered, count.per_agent) else {
        return request.denied(basis, code::LEASE_NOT_GRANTED);
    };
    if let Some(refusal) = offered.refusal() {
        return Decision::deny_by_policy(basis, refusal, [&request.capability]);
    }
    if !u32::try_from(count.outstanding).is_ok_and(|outstanding| outstanding < per_agent) {
        return request.denied(basis, code::LEASE_LIMIT_REACHED);
    }
    let (ends, constrained) = match first_end(context, &offered, principal.not_after(), request.life_s) {
        Ok(ends) => ends,
        Err(code) => return request.denied(basis, code),
    };
    let capability = offered.capability.name.clone();
    Decision::allow_constrained(basis, IssueLease { principal, capability, ends }, constrained)
}

/// The judgement of a request for a new lease, apart from the number of leases that the agent has.
#[derive(Debug)]
pub(super) struct JudgedLease {
    pub(super) rules: Vec<String>,
    pub(super) policies: BTreeSet<PolicyName>,
    /// The life in seconds, and the reasons for a shorter one.
    pub(super) terms: Result<(u32, Vec<String>), Refusal>,
}

/// Judges a request for a new lease as [`decide_lease`] does.
pub(super) fn judge_lease(
    context: &DecisionContext<'_>,
    requester: &Requester<'_>,
    request: &LeaseRequest,
) -> JudgedLease {
    let asked = JudgedRequest::of(requester, Action::Lease, request.life_s);
    let (offered, rules) = Offered::of(context, &asked, &request.capability);
    let refused = |code| Refusal::of(code, [&request.capability]);
    let Some(offered) = offered else {
        return JudgedLease {
            rules,
            policies: BTreeSet::new(),
            terms: Err(refused(code::LEASE_NOT_GRANTED)),
        };
    };
    let terms = match offered.refusal() {
        Some(refusal) => Err(Refusal::by_policy(refusal, [&request.capability])),
        None => first_end(context, &offered, requester.not_after, request.life_s).map_err(refused),
    };
    let life_s = |ends: Ends| u32::try_from(ends.expires_at.seconds_since(context.now())).unwrap_or(0);
    let terms = terms.map(|(ends, constrained)| (life_s(ends), constrained));
    JudgedLease { rules, policies: offered.judged.policies(), terms }
}

/// Decides on the reuse of a lease that the same instance has already.
pub fn decide_lease_again(
    context: &DecisionContext<'_>,
    principal: AgentPrincipal,
    _permit: Permit,
    request: &LeaseRequest,
    lease: &Lease,
) -> Decision<IssueLease> {
    let (offered, basis) = leased(context, &principal, request, None);
    let is_same = is_own(lease, &principal) && lease.capability == request.capability;
    let Some(offered) = offered.filter(|_| is_same) else {
        return request.denied(basis, code::LEASE_NOT_GRANTED);
    };
    if let Some(refusal) = offered.refusal().or_else(|| offered.outlived_by(lease, context.now())) {
        return Decision::deny_by_policy(basis, refusal, [&request.capability]);
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
    let (offered, basis) = leased(context, &principal, &request, Some(lease.id));
    let Some(offered) = offered.filter(|_| is_own(lease, &principal)) else {
        return request.denied(basis, code::LEASE_NOT_GRANTED);
    };
    match later_end(context, lease, &offered, principal.not_after(), life_s) {
        Ok((ends, constrained)) => {
            let capability = request.capability;
            Decision::allow_constrained(basis, IssueLease { principal, capability, ends }, constrained)
        }
        Err(refusal) => request.refused(basis, refusal),
    }
}

/// Whether a login that the agent has is sufficient for the request: it lives no longer than policies allow, and has at least
/// half of the life that a new one would get. A certificate or a policy can make that life shorter than the requested one.
/// The policies are evaluated once, and not for each login.
pub fn sufficient_lease(
    context: &DecisionContext<'_>,
    principal: &AgentPrincipal,
    request: &LeaseRequest,
) -> impl Fn(&Lease) -> bool {
    let asked = JudgedRequest::by(principal, Action::Lease, request.life_s);
    let (offered, _) = Offered::of(context, &asked, &request.capability);
    let now = context.now();
    let offered = offered.map(|offered| {
        let new_s = new_life_s(context, &offered, principal.not_after(), request.life_s);
        (offered, new_s)
    });
    move |lease: &Lease| {
        // Without an offer, the decision refuses the reuse, too.
        let Some((offered, new_s)) = &offered else { return true };
        let left_s = lease.ends.expires_at.seconds_since(now);
        left_s >= *new_s / 2 && offered.outlived_by(lease, now).is_none()
    }
}

/// The refusal of a policy to a lease whose login was created: policies may have changed during the call of the upstream.
#[must_use]
pub fn created_lease_refusal(
    context: &DecisionContext<'_>,
    principal: &AgentPrincipal,
    capability: &CapabilityName,
) -> Option<PolicyRefusal> {
    let asked = JudgedRequest::by(principal, Action::Lease, None);
    Offered::of(context, &asked, capability).0?.refusal()
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
    let asked = JudgedRequest {
        action: Action::Lease,
        agent: lease.holder.agent,
        name: &lease.holder.agent_name,
        roles: &roles,
        source: None,
        life_s,
        parameters: None,
    };
    let (offered, rules) = Offered::of(context, &asked, &lease.capability);
    let life = life_s.unwrap_or_default().to_be_bytes();
    let canonical = [&by.operator().id().as_bytes()[..], lease.id.as_bytes(), &life].concat();
    let basis = context.basis(rules, &canonical);
    let Some(instance) = agent.and_then(|agent| agent.instances.get(lease.holder.instance)) else {
        return Decision::deny(basis, code::LEASE_NOT_ACTIVE);
    };
    let Some(offered) = offered else { return Decision::deny(basis, code::LEASE_NOT_GRANTED) };
    match later_end(context, lease, &offered, instance.not_after(), life_s) {
        Ok((ends, constrained)) => Decision::allow_constrained(basis, Extend { ends }, constrained),
        Err(LeaseRefusal::Code(code)) => Decision::deny(basis, code),
        Err(LeaseRefusal::Policy(refusal)) => Decision::deny_by_policy(basis, refusal, [&lease.capability]),
    }
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
) -> (Option<Offered<'a>>, Basis) {
    let asked = JudgedRequest::by(principal, Action::Lease, request.life_s);
    let (offered, rules) = Offered::of(context, &asked, &request.capability);
    let canonical = Canonical::new("lease", principal, context.decision);
    let canonical = canonical.field(request.capability.as_str()).number(request.life_s);
    let canonical = canonical.bytes(renewed.as_ref().map_or(&[], |lease| lease.as_bytes()));
    (offered, context.basis_of(principal.agent(), request.life_s, rules, canonical.as_bytes()))
}
