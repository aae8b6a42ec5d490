use std::collections::BTreeSet;

use super::canonical::Canonical;
use super::context::DecisionContext;
use super::decision::{Act, AgentAct, Basis, Decision};
use super::granted::Granted;
use super::judged::{Judged, JudgedRequest, LifeLimit};
use super::policy_refusal::PolicyRefusal;
use super::refusal::Refusal;
use super::requester::Requester;
use super::right::{Authorised, RenewLeases};
use crate::authn::AgentPrincipal;
use crate::base::code::{self, Code};
use crate::base::limits::{LEASE_LIFE_MIN_S, LEASE_LIFE_S};
use crate::base::{CapabilityName, LeaseId, PolicyName, Timestamp};
use crate::leases::{Lease, LeaseStage};
use crate::quota::Permit;
use crate::registry::{Capability, Delivery};
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

/// The end of a new lease, with the reasons for a shorter life; otherwise the reason for a refusal.
fn first_end(
    context: &DecisionContext<'_>,
    offered: &Offered<'_>,
    certificate: Timestamp,
    life_s: Option<u32>,
) -> Result<(Ends, Vec<String>), Code> {
    let now = context.now();
    if certificate.seconds_since(now) < i64::from(LEASE_LIFE_MIN_S) {
        return Err(code::CERTIFICATE_EXPIRES_TOO_SOON);
    }
    let renewable_until = now.plus_s(i64::from(offered.max_life_s()));
    Ok(Bounds { renewable_until, certificate, earliest: now }.end(offered, life_s, now))
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

/// Whether policies let `lease` be reused: an agent whose login lives longer than they allow gets a new one.
#[must_use]
pub fn is_reusable_lease(
    context: &DecisionContext<'_>,
    principal: &AgentPrincipal,
    request: &LeaseRequest,
    lease: &Lease,
) -> bool {
    if context.records.rules.is_empty() {
        return true;
    }
    let asked = JudgedRequest::by(principal, Action::Lease, request.life_s);
    let (offered, _) = Offered::of(context, &asked, &request.capability);
    offered.is_none_or(|offered| offered.outlived_by(lease, context.now()).is_none())
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

/// The new end of a live lease, with the reasons for a shorter life; otherwise the reason for a refusal.
fn later_end(
    context: &DecisionContext<'_>,
    lease: &Lease,
    offered: &Offered<'_>,
    certificate: Timestamp,
    life_s: Option<u32>,
) -> Result<(Ends, Vec<String>), LeaseRefusal> {
    let now = context.now();
    if let Some(refusal) = offered.refusal() {
        return Err(LeaseRefusal::Policy(refusal));
    }
    if !matches!(lease.stage, LeaseStage::Live { .. }) || lease.ends.expires_at <= now {
        return Err(LeaseRefusal::Code(code::LEASE_NOT_ACTIVE));
    }
    // A shorter life of the capability shortens the renewal, never the granted life.
    let longest = |life_s: u32| lease.ends.renewable_until.min(lease.issued.at.plus_s(i64::from(life_s)));
    if lease.ends.expires_at >= longest(offered.capability.max_life_s) {
        return Err(LeaseRefusal::Code(code::LEASE_MAX_LIFE_REACHED));
    }
    let renewable_until = longest(offered.max_life_s());
    if let Some(limit) = offered.limit.as_ref().filter(|_| lease.ends.expires_at >= renewable_until) {
        return Err(LeaseRefusal::Policy(limit.refusal("the lease already lives so long")));
    }
    if lease.ends.expires_at >= certificate {
        return Err(LeaseRefusal::Code(code::CERTIFICATE_EXPIRES_TOO_SOON));
    }
    let bounds = Bounds { renewable_until, certificate, earliest: lease.ends.expires_at };
    Ok(bounds.end(offered, life_s, now))
}

/// Why a lease is refused.
enum LeaseRefusal {
    Code(Code),
    Policy(PolicyRefusal),
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

/// A capability that a role of the agent holds and that is delivered as a lease, with the verdict of the policies.
struct Offered<'a> {
    capability: &'a Capability,
    judged: Judged,
    limit: Option<LifeLimit>,
}

impl<'a> Offered<'a> {
    /// With the rules of the decision's basis.
    fn of(
        context: &DecisionContext<'a>,
        request: &JudgedRequest<'_>,
        capability: &CapabilityName,
    ) -> (Option<Self>, Vec<String>) {
        let Granted { capabilities, mut rules } =
            Granted::of(context.declarations(), request.roles, &BTreeSet::from([capability.clone()]));
        let found = capabilities.into_iter().find(|one| one.delivery == Delivery::Lease);
        let judged = Judged::of(context, request, found);
        judged.name_in(&mut rules);
        let limit = judged.life_limit([capability]);
        (found.map(|capability| Self { capability, judged, limit }), rules)
    }

    /// The refusal of every lease.
    fn refusal(&self) -> Option<PolicyRefusal> {
        let too_short = |limit: &&LifeLimit| limit.max_s < LEASE_LIFE_MIN_S;
        let problem = format!("a lease lives at least {LEASE_LIFE_MIN_S} s");
        let limited = || self.limit.as_ref().filter(too_short).map(|limit| limit.refusal(&problem));
        self.judged.refusal(&self.capability.name).or_else(limited)
    }

    /// The refusal to give a login again that lives longer than a new one would.
    fn outlived_by(&self, lease: &Lease, now: Timestamp) -> Option<PolicyRefusal> {
        let left_s = lease.ends.expires_at.seconds_since(now);
        let limit = self.limit.as_ref().filter(|limit| left_s > i64::from(limit.max_s))?;
        Some(limit.refusal("the login of this request lives longer"))
    }

    /// The longest life, in seconds.
    fn max_life_s(&self) -> u32 {
        let declared = self.capability.max_life_s;
        self.limit.as_ref().map_or(declared, |limit| limit.max_s.min(declared))
    }

    /// What limits the life.
    fn limited_by(&self) -> String {
        match self.limit.as_ref().filter(|limit| limit.max_s < self.capability.max_life_s) {
            Some(limit) => limit.cause(),
            None => "the capability".to_owned(),
        }
    }
}

/// The limits of the end of a lease.
struct Bounds {
    renewable_until: Timestamp,
    certificate: Timestamp,
    earliest: Timestamp,
}

impl Bounds {
    /// The end of a lease with a requested life of `life_s` from now on, with the reasons for a shorter life.
    fn end(&self, offered: &Offered<'_>, life_s: Option<u32>, now: Timestamp) -> (Ends, Vec<String>) {
        let Self { renewable_until, certificate, earliest } = *self;
        let requested = life_s.unwrap_or_else(|| LEASE_LIFE_S.min(offered.capability.max_life_s));
        let wanted = now.plus_s(i64::from(requested));
        let expires_at = wanted.min(renewable_until.min(certificate)).max(earliest);
        let mut constrained = Vec::new();
        if expires_at < wanted {
            let by = if certificate < renewable_until {
                "the agent's certificate".to_owned()
            } else {
                offered.limited_by()
            };
            let given = expires_at.seconds_since(now);
            constrained.push(format!("life shortened from {requested} s to {given} s by {by}"));
        }
        (Ends { expires_at, renewable_until }, constrained)
    }
}
