//! Rollbacks: applications that bring an earlier version back.

use super::versions::OF_SET;
use crate::base::{Cancellation, PolicyName, Scope, code};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::rules::{self, Policy};
use crate::wire::{DeclaredKind, PlannedChange};

/// The version that an application brings back.
#[derive(Clone, Debug)]
pub struct RollbackTarget {
    /// The policy; `None` for all policies, environments and groups of approvers.
    pub policy: Option<PolicyName>,
    /// The hash, or its beginning.
    pub to: String,
}

/// A version that the ledger has.
#[derive(Debug)]
pub(in crate::broker) enum RolledBack {
    Policy(Policy),
    Set { rules: Box<rules::Rules>, hash: String },
}

impl RolledBack {
    /// Whether `after` has this version.
    pub(in crate::broker) fn is_made_by(&self, after: &rules::Rules) -> bool {
        match self {
            Self::Policy(policy) => after.policy(&policy.name) == Some(policy),
            Self::Set { rules, .. } => after.digest() == rules.digest(),
        }
    }

    /// The first of `changes` that is none of what it brings back.
    pub(in crate::broker) fn other_change<'c>(
        &self,
        changes: &'c [PlannedChange],
    ) -> Option<&'c PlannedChange> {
        let concerns = |change: &PlannedChange| match self {
            Self::Policy(policy) => {
                change.kind == DeclaredKind::Policy.as_str() && change.name == policy.name.as_str()
            }
            Self::Set { .. } => OF_SET.iter().any(|kind| change.kind == kind.as_str()),
        };
        changes.iter().find(|change| !concerns(change))
    }

    /// The hash of the version, in hex.
    pub(in crate::broker) fn hash(&self) -> String {
        match self {
            Self::Policy(policy) => policy.rule.digest().hex(),
            Self::Set { hash, .. } => hash.clone(),
        }
    }
}

impl Services {
    /// Checks that an application makes what `rollback` names: a policy, or the whole set, with the hash of an earlier version.
    ///
    /// # Errors
    /// [`Failure`] if there is no such version, or the application makes another one.
    pub(in crate::broker) fn rolled_back(
        &self,
        scope: &Scope,
        rollback: &RollbackTarget,
        work: &Cancellation,
    ) -> Result<RolledBack, Failure> {
        match &rollback.policy {
            Some(name) => {
                let found = self.policy_with_hash(scope, name, &rollback.to, work)?;
                Ok(RolledBack::Policy(found.policy))
            }
            None if *scope != Scope::Everything => Err(Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT)),
            None => {
                let (found, then) = self.policy_set(&rollback.to, work)?;
                Ok(RolledBack::Set { rules: Box::new(then.rules), hash: found.snapshot })
            }
        }
    }
}
