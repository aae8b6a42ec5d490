use std::fmt;
use std::marker::PhantomData;

use crate::authn::OperatorPrincipal;
use crate::base::Scope;
use crate::operators::OperatorRole;

/// One thing that operators may do, and who of them may.
pub trait Right: Send + Sync + 'static {
    /// What a route or a use case asks for.
    const NEED: RequiredRight;
}

/// What an operator needs to be let do something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequiredRight {
    /// The right's name.
    pub right: &'static str,
    /// One of these roles.
    pub roles: &'static [OperatorRole],
    /// How far the role has to reach.
    pub reach: Reach,
    /// Whether a quota applies.
    pub quota: Counted,
}

/// Whether requests for a right count towards an operator's quota.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counted {
    /// They do.
    Yes,
    /// They do not: what revokes is never refused for being asked for too often.
    Never,
}

/// How far a role has to reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// An operator who is bound to an owner may do it with that owner's objects.
    Owned,
    /// Only an operator with the scope `all` may do it.
    Everything,
}

/// An operator that may do `R` in the request at hand. Made only by [`authorise`].
#[must_use]
pub struct Authorised<R> {
    operator: OperatorPrincipal,
    right: PhantomData<fn() -> R>,
}

/// Why an operator may not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unauthorised {
    /// It has another role.
    #[error("the operator does not have a role with this right")]
    Role,
    /// It is bound to an owner.
    #[error("the operator is bound to an owner")]
    Scope,
}

/// Whether `operator` may do `R`.
///
/// # Errors
/// [`Unauthorised`].
pub fn authorise<R: Right>(operator: OperatorPrincipal) -> Result<Authorised<R>, Unauthorised> {
    if !R::NEED.roles.contains(&operator.role()) {
        return Err(Unauthorised::Role);
    }
    if R::NEED.reach == Reach::Everything && *operator.scope() != Scope::Everything {
        return Err(Unauthorised::Scope);
    }
    Ok(Authorised { operator, right: PhantomData })
}

impl<R> Authorised<R> {
    /// Who.
    pub const fn operator(&self) -> &OperatorPrincipal {
        &self.operator
    }
}

impl<R> fmt::Debug for Authorised<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorised").field(&self.operator).finish()
    }
}

macro_rules! rights {
    ($($(#[$doc:meta])* $right:ident = $name:literal, [$($role:ident),*], $reach:ident, $counted:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $right {}

        impl Right for $right {
            const NEED: RequiredRight = RequiredRight {
                right: $name,
                roles: &[$(OperatorRole::$role),*],
                reach: Reach::$reach,
                quota: Counted::$counted,
            };
        }
    )*};
}

rights! {
    /// Asking about oneself, and renewing one's own certificate.
    BeOneself = "be-oneself", [Admin, Security, Approver, Auditor], Owned, Yes;
    /// Reading agents, capabilities and roles.
    ReadDeclared = "read-declared", [Admin, Security, Approver, Auditor], Owned, Yes;
    /// Reading what secrets there are; no right reads a value.
    ReadSecretNames = "read-secret-names", [Admin, Security, Auditor], Owned, Yes;
    /// Reading the ledger, which tells of everything.
    ReadLedger = "read-ledger", [Admin, Security, Auditor], Everything, Yes;
    /// Reading what the broker counts: no names in it.
    ReadMetrics = "read-metrics", [Admin, Security, Auditor], Everything, Yes;
    /// Reading who the operators are.
    ReadOperators = "read-operators", [Admin, Security, Auditor], Everything, Yes;
    /// Reading at which stages the keys are that the broker signs with.
    ReadSigningKeys = "read-signing-keys", [Admin, Security, Auditor], Everything, Yes;
    /// Making, taking into use and ending the keys that the broker signs with.
    RotateSigningKeys = "rotate-signing-keys", [Admin], Everything, Never;
    /// Planning and applying declarations.
    Declare = "declare", [Admin], Owned, Yes;
    /// Inviting agents.
    InviteAgents = "invite-agents", [Admin], Owned, Yes;
    /// Storing values of secrets.
    StoreSecrets = "store-secrets", [Admin], Owned, Yes;
    /// Turning to another key that the values of secrets are wrapped by.
    RotateValueKey = "rotate-value-key", [Admin], Everything, Yes;
    /// Having secrets rotated, and changing what becomes of their rotations.
    RotateSecrets = "rotate-secrets", [Admin, Security], Owned, Yes;
    /// Revoking, suspending and resuming agents and what they hold.
    Contain = "contain", [Admin, Security], Owned, Never;
    /// Reading which logins are lent, and which could not be ended.
    ReadLeases = "read-leases", [Admin, Security, Auditor], Owned, Yes;
    /// Having logins that are lent end later.
    RenewLeases = "renew-leases", [Admin], Owned, Yes;
    /// Ending logins that are lent.
    EndLeases = "end-leases", [Admin, Security], Owned, Never;
    /// Giving up on logins that could not be revoked.
    ForgetLeases = "forget-leases", [Admin], Owned, Yes;
    /// Revoking a token by its id: nobody keeps a list that says whose it is.
    RevokeTokens = "revoke-tokens", [Admin, Security], Everything, Never;
    /// Revoking, suspending and resuming operators.
    ContainOperators = "contain-operators", [Admin, Security], Everything, Never;
    /// Inviting operators, and giving them roles.
    PlaceOperators = "place-operators", [Admin], Everything, Yes;
}

/// The right to see the signing keys; an operator who may change them has it.
pub trait OfSigningKeys: Right {}

impl OfSigningKeys for ReadSigningKeys {}
impl OfSigningKeys for RotateSigningKeys {}
