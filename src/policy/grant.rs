use crate::authn::{AgentPrincipal, BoundToken};
use crate::base::code::Code;
use crate::base::{Audience, CapabilityName, ClockReading, DecisionId, SecretId, SecretName, TokenId};
use crate::crypto::Digest;
use crate::registry::Access;

/// What a decision was made on: named in the token, in the ledger and in the answer.
#[derive(Clone, Debug)]
pub struct Basis {
    /// The decision's id.
    pub decision: DecisionId,
    /// The policy snapshot.
    pub snapshot: Digest,
    /// The rules that determined it, e.g. `role repo-reader`.
    pub rules: Vec<String>,
    /// The keyed digest of the canonical request.
    pub request: Digest,
}

/// Leave to do `A` exactly once. Made only by this room, spent by move, never copied.
#[must_use]
#[derive(Debug)]
pub struct Grant<A> {
    basis: Basis,
    act: A,
}

impl<A> Grant<A> {
    pub(super) const fn assertion(basis: Basis, act: A) -> Self {
        Self { basis, act }
    }

    /// What it was decided on.
    pub const fn basis(&self) -> &Basis {
        &self.basis
    }

    /// What it allows.
    pub const fn act(&self) -> &A {
        &self.act
    }

    /// Spends the grant.
    pub fn redeem(self) -> (Basis, A) {
        (self.basis, self.act)
    }
}

/// Acts that end in a certificate; only this room says which.
pub trait Certifying: Send {}

impl Certifying for super::enrolment::Enrol {}
impl Certifying for super::renewal::Renew {}
impl Certifying for super::operator::CertifyOperator {}
impl Certifying for super::operator::AdmitOperator {}

/// Minting one token.
#[derive(Debug)]
pub struct Mint {
    pub(super) principal: AgentPrincipal,
    pub(super) capabilities: Vec<(CapabilityName, Access)>,
    pub(super) audience: Audience,
    pub(super) life_s: u32,
    pub(super) constrained: Vec<String>,
    pub(super) reading: ClockReading,
}

impl Mint {
    /// For whom.
    #[must_use]
    pub const fn principal(&self) -> &AgentPrincipal {
        &self.principal
    }

    /// What the token is good for, by name.
    #[must_use]
    pub fn capabilities(&self) -> &[(CapabilityName, Access)] {
        &self.capabilities
    }

    /// Whom the token is for.
    #[must_use]
    pub const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// How long it holds, in seconds.
    #[must_use]
    pub const fn life_s(&self) -> u32 {
        self.life_s
    }

    /// What was taken away from the request, in words; empty when nothing was.
    #[must_use]
    pub fn constrained(&self) -> &[String] {
        &self.constrained
    }

    /// What the clocks said when it was decided on.
    #[must_use]
    pub const fn reading(&self) -> ClockReading {
        self.reading
    }
}

/// Revealing one version of one secret once.
#[derive(Debug)]
pub struct Reveal {
    pub(super) token: BoundToken,
    pub(super) capability: CapabilityName,
    pub(super) secret: SecretName,
    pub(super) current: (SecretId, u32),
}

impl Reveal {
    /// To whom.
    #[must_use]
    pub const fn principal(&self) -> &AgentPrincipal {
        self.token.holder()
    }

    /// On which token.
    #[must_use]
    pub const fn token(&self) -> TokenId {
        self.token.token()
    }

    /// Under which capability.
    #[must_use]
    pub const fn capability(&self) -> &CapabilityName {
        &self.capability
    }

    /// Which secret.
    #[must_use]
    pub const fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// The secret's id, and its version that was current.
    #[must_use]
    pub const fn current(&self) -> (SecretId, u32) {
        self.current
    }
}

/// The outcome. `Constrain` is an `Allow` that gives less than was asked for, and says so.
#[must_use]
#[derive(Debug)]
pub enum Decision<A> {
    /// As asked.
    Allow(Grant<A>),
    /// Less than asked.
    Constrain(Grant<A>),
    /// Not at all.
    Deny(Denial),
}

/// A refusal, with what it was decided on; its code says why, and what would change it.
#[derive(Clone, Debug)]
pub struct Denial {
    /// What it was decided on.
    pub basis: Basis,
    /// The stable code.
    pub code: Code,
}
