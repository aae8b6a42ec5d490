use serde::{Deserialize, Serialize};

use super::rule::Rule;
use crate::base::{EnvironmentName, OwnerName, PolicyName};

/// A declared policy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Policy {
    /// The name.
    pub name: PolicyName,
    /// The rule.
    pub rule: Rule,
    /// The owner. The policy of an owner concerns only the capabilities of this owner.
    pub owner: Option<OwnerName>,
}

/// A declared environment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Environment {
    /// The name.
    pub name: EnvironmentName,
    /// The owner.
    pub owner: Option<OwnerName>,
}
