use std::fmt;
use std::marker::PhantomData;

use crate::authn::OperatorPrincipal;
use crate::base::Scope;
use crate::operators::OperatorRole;

/// A right of operators, and the roles that have it.
pub trait Right: Send + Sync + 'static {
    /// The requirements of a route or a use case.
    const NEED: RequiredRight;
}

/// The requirements of a right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequiredRight {
    /// The right's name.
    pub right: &'static str,
    /// The roles with the right.
    pub roles: &'static [OperatorRole],
    /// The required scope.
    pub reach: Reach,
    /// Whether the rate limit applies.
    pub quota: Counted,
}

/// Whether requests for a right count towards an operator's rate limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counted {
    /// They count.
    Yes,
    /// They do not count: a revocation is never refused because of the rate limit.
    Never,
}

/// The required scope of a role.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Any scope: an operator that is bound to an owner has the right for that owner's objects.
    Owned,
    /// Only the scope `all`.
    Everything,
}

/// An operator with the right `R` in this request. Made only by [`authorise`].
#[must_use]
pub struct Authorised<R> {
    operator: OperatorPrincipal,
    right: PhantomData<fn() -> R>,
}

/// The reason for a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unauthorised {
    /// The operator has another role.
    #[error("the operator does not have a role with this right")]
    Role,
    /// The operator is bound to an owner.
    #[error("the operator is bound to an owner")]
    Scope,
}

/// Checks that `operator` has the right `R`.
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
    /// The operator.
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
    /// Reading one's own identity, and renewing one's own certificate.
    BeOneself = "be-oneself", [Admin, Security, Approver, Auditor, Metrics, Deployer], Owned, Yes;
    /// Reading agents, capabilities and roles.
    ReadDeclared = "read-declared", [Admin, Security, Approver, Auditor], Owned, Yes;
    /// Listing secrets; no right reads a value.
    ReadSecretNames = "read-secret-names", [Admin, Security, Auditor], Owned, Yes;
    /// Reading the ledger: all entries, or those that concern the owner that the operator is bound to.
    ReadLedger = "read-ledger", [Admin, Security, Auditor], Owned, Yes;
    /// Making evidence bundles. The scope `all` is required, because the entries also name other owners' objects.
    ExportEvidence = "export-evidence", [Admin, Security, Auditor], Everything, Yes;
    /// Reading metrics, which contain no names but those of capabilities and environments.
    ReadMetrics = "read-metrics", [Admin, Security, Auditor, Metrics], Everything, Yes;
    /// Listing operators.
    ReadOperators = "read-operators", [Admin, Security, Auditor], Everything, Yes;
    /// Listing earlier sets of policies, and reading their rules. The scope `all` is required, because a set has the policies of
    /// all owners.
    ReadPolicySets = "read-policy-sets", [Admin, Security, Auditor], Everything, Yes;
    /// Listing the generations of the signing keys.
    ReadSigningKeys = "read-signing-keys", [Admin, Security, Auditor], Everything, Yes;
    /// Preparing, activating, tainting and revoking generations of the signing keys.
    RotateSigningKeys = "rotate-signing-keys", [Admin], Everything, Never;
    /// Planning declarations, which changes nothing.
    PlanDeclarations = "plan-declarations", [Admin, Auditor, Deployer], Owned, Yes;
    /// Replaying recorded requests against declarations. The scope `all` is required, because the requests of all agents are
    /// replayed.
    SimulateDeclarations = "simulate", [Admin, Security], Everything, Yes;
    /// Exporting declarations, with the requests and SQL of upstreams that a plan does not show. They contain no value.
    ExportDeclarations = "export-declarations", [Admin, Security, Auditor], Owned, Yes;
    /// Applying declarations.
    Declare = "declare", [Admin, Deployer], Owned, Yes;
    /// Trying the upstream of a rotation or a lease before it is declared. The role `deployer` does not have it: a plan of a change
    /// that nobody has reviewed must not use a secret.
    CheckPlanned = "check-planned", [Admin], Owned, Yes;
    /// Inviting agents.
    InviteAgents = "invite-agents", [Admin], Owned, Yes;
    /// Deleting agents and resource servers.
    DeleteAgents = "delete-agents", [Admin], Owned, Yes;
    /// Storing values of secrets, and deleting secrets.
    StoreSecrets = "store-secrets", [Admin], Owned, Yes;
    /// Rotating the value key.
    RotateValueKey = "rotate-value-key", [Admin], Everything, Yes;
    /// Rotating secrets, and controlling their rotations.
    RotateSecrets = "rotate-secrets", [Admin, Security], Owned, Yes;
    /// Revoking, suspending and resuming agents and their credentials.
    Contain = "contain", [Admin, Security], Owned, Never;
    /// Containing subjects in incidents, and lifting containments. Which subjects an operator may contain depends on its
    /// scope.
    HandleIncidents = "handle-incidents", [Admin, Security], Owned, Never;
    /// Freezing and thawing the broker.
    FreezeBroker = "freeze-broker", [Admin, Security], Everything, Never;
    /// Comparing a leaked text with stored values. It tells whether a guess is right, so roles that only read do not have it.
    /// The scope `all` is required, because the text may be the value of any owner.
    CheckValues = "check-values", [Admin], Everything, Yes;
    /// Reading incidents, and previews of containments.
    ReadIncidents = "read-incidents", [Admin, Security, Auditor], Owned, Yes;
    /// Listing requests for approval.
    ReadApprovals = "read-approvals", [Admin, Security, Approver, Auditor], Owned, Yes;
    /// Approving and denying requests. Which requests an operator can approve depends on its person, its scope and its groups.
    VoteApprovals = "vote-approvals", [Admin, Security, Approver], Owned, Yes;
    /// Listing leases, also those whose revocation failed.
    ReadLeases = "read-leases", [Admin, Security, Auditor], Owned, Yes;
    /// Extending leases.
    RenewLeases = "renew-leases", [Admin], Owned, Yes;
    /// Revoking leases.
    EndLeases = "end-leases", [Admin, Security], Owned, Never;
    /// Forgetting leases that cannot be revoked.
    ForgetLeases = "forget-leases", [Admin], Owned, Yes;
    /// Revoking a token by its id. The scope `all` is required, because no list says whose token it is.
    RevokeTokens = "revoke-tokens", [Admin, Security], Everything, Never;
    /// Revoking, suspending and resuming operators.
    ContainOperators = "contain-operators", [Admin, Security], Everything, Never;
    /// Inviting and deleting operators, and changing their roles.
    PlaceOperators = "place-operators", [Admin], Everything, Yes;
}

/// The right to see the signing keys; an operator who may change them has it.
pub trait OfSigningKeys: Right {}

impl OfSigningKeys for ReadSigningKeys {}
impl OfSigningKeys for RotateSigningKeys {}
