use std::collections::BTreeSet;

use super::approval_refusal::{ApprovalRefusal, Unapproved};
use super::policy_refusal::PolicyRefusal;
use super::smaller_request::SmallerRequest;
use crate::authn::AgentPrincipal;
use crate::base::code::{self, Code};
use crate::base::{
    CapabilityName, DecisionId, ParametersByCapability, RequestFacts, RequestTarget, RoleName, SecretName,
};
use crate::crypto::Digest;
use crate::registry::ParameterFault;

/// The outcome. `Constrain` is an `Allow` that grants less than the request, with the reasons.
#[must_use]
#[derive(Debug)]
pub enum Decision<A> {
    /// As requested.
    Allow(Grant<A>),
    /// Less than requested.
    Constrain(Grant<A>),
    /// Not at all.
    Deny(Denial),
}

impl<A: Act> Decision<A> {
    /// Allows `act`, unless the broker is frozen and the act hands out something.
    pub(super) fn allow(basis: Basis, act: A) -> Self {
        Self::allow_constrained(basis, act, Vec::new())
    }

    /// Allows `act`, which is less than the request; `constrained` has the reasons. Likewise.
    pub(super) fn allow_constrained(basis: Basis, act: A, constrained: Vec<String>) -> Self {
        if A::HANDS_OUT && basis.is_frozen {
            return Self::deny(basis, code::BROKER_FROZEN);
        }
        let is_whole = constrained.is_empty();
        let grant = Grant::assertion(basis, act, constrained);
        if is_whole { Self::Allow(grant) } else { Self::Constrain(grant) }
    }
}

impl<A> Decision<A> {
    pub(super) const fn deny(basis: Basis, code: Code) -> Self {
        Self::Deny(Denial::of(basis, code))
    }

    /// Denies because of these capabilities, which the caller named.
    pub(super) fn deny_capabilities<'a>(
        basis: Basis,
        code: Code,
        requested: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        Self::Deny(Denial::of(basis, code).naming(requested))
    }

    /// Denies these capabilities, which the caller named, because of a policy.
    pub(super) fn deny_by_policy<'a>(
        basis: Basis,
        refusal: PolicyRefusal,
        requested: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        let denial = Denial::of(basis, refusal.code).naming(requested);
        Self::Deny(Denial { policy: Some(refusal), ..denial })
    }

    /// Denies these capabilities, which the caller named, because of the parameters that the request gives.
    pub(super) fn deny_by_parameter<'a>(
        basis: Basis,
        fault: ParameterFault,
        requested: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        let denial = Denial::of(basis, fault.code).naming(requested);
        Self::Deny(Denial { parameter: Some(fault), ..denial })
    }

    /// Denies these capabilities, which the caller named, because of the approval that the request needs or names.
    pub(super) fn deny_unapproved<'a>(
        basis: Basis,
        Unapproved { code, refusal: approval }: Unapproved,
        requested: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        Self::Deny(Denial { approval, ..Denial::of(basis, code).naming(requested) })
    }

    /// Denies the value of this secret, which the caller named, because of a policy.
    pub(super) fn deny_secret_by_policy(basis: Basis, refusal: PolicyRefusal, secret: &SecretName) -> Self {
        let denial = Denial::of(basis, refusal.code);
        Self::Deny(Denial { secret: Some(secret.clone()), policy: Some(refusal), ..denial })
    }

    /// Denies the value of this secret, which the caller named.
    pub(super) fn deny_secret(basis: Basis, code: Code, secret: &SecretName) -> Self {
        Self::Deny(Denial { secret: Some(secret.clone()), ..Denial::of(basis, code) })
    }

    /// Whether it denies a request that an approval would allow.
    pub const fn needs_approval(&self) -> bool {
        match self {
            Self::Deny(denial) => matches!(denial.approval, Some(ApprovalRefusal::Needed(_))),
            Self::Allow(_) | Self::Constrain(_) => false,
        }
    }

    /// The decision, with a problem that says more than the code if it denies.
    pub(super) fn with_problem(mut self, problem: Option<String>) -> Self {
        if let Self::Deny(denial) = &mut self {
            denial.problem = problem;
        }
        self
    }

    /// The decision, with a smaller request that would be allowed if this one is denied.
    pub(super) fn with_remedy(mut self, instead: impl FnOnce() -> Option<SmallerRequest>) -> Self {
        if let Self::Deny(denial) = &mut self {
            denial.instead = instead().map(Box::new);
        }
        self
    }

    /// What it allows, if anything.
    pub const fn act(&self) -> Option<&A> {
        match self {
            Self::Allow(grant) | Self::Constrain(grant) => Some(grant.act()),
            Self::Deny(_) => None,
        }
    }

    /// The grant.
    ///
    /// # Errors
    /// The denial.
    pub fn grant(self) -> Result<Grant<A>, Box<Denial>> {
        match self {
            Self::Allow(grant) | Self::Constrain(grant) => Ok(grant),
            Self::Deny(denial) => Err(Box::new(denial)),
        }
    }
}

/// The basis of a decision, named in the token, in the ledger and in the response.
#[derive(Clone, Debug)]
pub struct Basis {
    /// The decision's id.
    pub decision: DecisionId,
    /// The policy snapshot.
    pub snapshot: Digest,
    /// The rules that determined the decision, e.g. `role repo-reader`.
    pub rules: Vec<String>,
    /// The keyed digest of the canonical request.
    pub request: Digest,
    /// What a replay of the decision needs besides.
    pub(super) replayed: ReplayedFacts,
    /// Whether the broker is frozen.
    pub(super) is_frozen: bool,
}

/// The facts of a request that its entry has for replays.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplayedFacts {
    /// The requested life in seconds, if the request names one.
    pub(super) life_s: Option<u32>,
    /// The time since the agent last read a secret of the sensitivity `high`, in seconds, if a policy tests it.
    pub(super) since_sensitive_read_s: Option<u32>,
    /// The audience and the actions that a request for a token names, if it names one.
    pub(super) target: Option<RequestTarget>,
    /// The parameters of the requested capabilities that are declared and that they fit; of sensitive ones a keyed digest.
    pub(super) parameters: ParametersByCapability,
}

impl Basis {
    /// The facts of a request of an agent with `roles`, for its entry.
    #[must_use]
    pub fn facts<'a>(&'a self, roles: &'a BTreeSet<RoleName>) -> RequestFacts<'a> {
        let ReplayedFacts { life_s, since_sensitive_read_s, target, parameters } = &self.replayed;
        RequestFacts {
            since_sensitive_read_s: *since_sensitive_read_s,
            target: target.clone(),
            parameters: Some(parameters).filter(|all| !all.is_empty()),
            ..RequestFacts::new(roles, *life_s)
        }
    }
}

/// Permission to do `A` exactly once. Made only by this room, consumed by move, never copied.
#[must_use]
#[derive(Debug)]
pub struct Grant<A> {
    basis: Basis,
    act: A,
    constrained: Vec<String>,
}

impl<A> Grant<A> {
    const fn assertion(basis: Basis, act: A, constrained: Vec<String>) -> Self {
        Self { basis, act, constrained }
    }

    /// The basis of the decision.
    pub const fn basis(&self) -> &Basis {
        &self.basis
    }

    /// The allowed act.
    pub const fn act(&self) -> &A {
        &self.act
    }

    /// The parts of the request that were not granted, in words.
    #[must_use]
    pub fn constrained(&self) -> &[String] {
        &self.constrained
    }

    /// The outcome in the ledger.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        if self.constrained.is_empty() { "allow" } else { "constrain" }
    }

    /// Consumes the grant.
    pub fn redeem(self) -> (Basis, A) {
        (self.basis, self.act)
    }
}

/// A refusal with its basis. The code has the reason and the next step.
#[derive(Clone, Debug)]
pub struct Denial {
    /// The basis of the decision.
    pub basis: Basis,
    /// The stable code.
    pub code: Code,
    /// The refused capabilities, as the caller named them: perhaps names of nothing.
    pub requested: Vec<CapabilityName>,
    /// The refused secret, likewise.
    pub secret: Option<SecretName>,
    /// The policy that denies the request.
    pub policy: Option<PolicyRefusal>,
    /// Why the parameters of a capability that the agent holds do not fit.
    pub parameter: Option<ParameterFault>,
    /// The problem, if the code alone does not say it.
    problem: Option<String>,
    /// The approval that the request needs or names.
    pub approval: Option<ApprovalRefusal>,
    /// A smaller request that would be allowed now.
    pub instead: Option<Box<SmallerRequest>>,
}

impl Denial {
    /// The problem, if the code alone does not say it.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    const fn of(basis: Basis, code: Code) -> Self {
        Self {
            basis,
            code,
            requested: Vec::new(),
            secret: None,
            policy: None,
            parameter: None,
            problem: None,
            approval: None,
            instead: None,
        }
    }

    fn naming<'a>(self, requested: impl IntoIterator<Item = &'a CapabilityName>) -> Self {
        Self { requested: requested.into_iter().cloned().collect(), ..self }
    }
}

/// Acts that decisions allow.
pub trait Act {
    /// Whether the act hands out a token, a value or a login: a frozen broker denies it.
    const HANDS_OUT: bool;
}

/// Acts that an agent is allowed by capabilities that it holds.
pub trait AgentAct: Act {
    /// The agent.
    fn principal(&self) -> &AgentPrincipal;

    /// The capabilities.
    fn capability_names(&self) -> impl Iterator<Item = &CapabilityName>;
}

/// Acts that issue a certificate.
pub trait Certifying: Send {}
